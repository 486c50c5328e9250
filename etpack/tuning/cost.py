"""What it costs a device to load a model: the requests that ExecuTorch makes, replayed on a table of blocks; pure.

The model is the reader in C with one block at a time, on one thread:
- A load reads every block that it touches with a request of its own, in whole sectors, and decodes it; then comes the
  next block. Nothing overlaps, so seconds add up.
- The block that was last wanted in part is kept; a load that wants more of it has it already.
- Of the index and of the extent table, the page that was read last is kept.
- Opening reads the header, the footer with its table of sections, and the extent table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etpack import layout
from etpack.layout import ENTRIES_PER_PAGE, PAGE_SIZE
from etpack.pte import Range
from etpack.tuning.blocks import BlockTable, Ints, table_size
from etpack.tuning.device import Device


@dataclass(frozen=True)
class LoadCost:
    """What all loads together take."""

    # Bytes that storage delivers, whole sectors.
    read_size: int
    request_count: int
    # Bytes of content that are decoded, a block for each time it is.
    decoded_size: int
    read_seconds: float
    decode_seconds: float

    @property
    def seconds(self) -> float:
        return self.read_seconds + self.decode_seconds


def read_cost(
    device: Device, read_size: int, request_count: int, decoded_size: int = 0, decoding: float = 0
) -> LoadCost:
    """Return the cost of so many bytes and requests on a device, and of seconds of decoding."""
    reading = read_size / (device.storage_mb_s * 1e6) + request_count * device.request_us * 1e-6
    return LoadCost(read_size, request_count, decoded_size, reading, decoding)


def plain_cost(loads: Sequence[Range], device: Device) -> LoadCost:
    """Return what the loads cost where the model is not packed: a request each."""
    size = sum(_in_sectors(load.offset, load.end, device.sector_size) for load in loads)
    return read_cost(device, size, len(loads))


def packed_cost(loads: Sequence[Range], table: BlockTable, device: Device) -> LoadCost:
    """Return what opening the `.etz` and the loads cost.

    Args:
        loads: Content ranges, in the order in which they are asked for.
        table: The blocks.
        device: Where it happens.
    """
    sums = _Sums(table, device.sector_size)
    index = _Pages(table.blocks_end, table.count, device.sector_size)
    index_end = table.blocks_end + index.size
    extents = _Pages(index_end, len(table.extent_starts), device.sector_size)
    requests = 3
    read = _in_sectors(0, layout.HEADER_SIZE, device.sector_size)
    read += _in_sectors(0, layout.FOOTER_SIZE + 3 * layout.SECTION_ENTRY_SIZE, device.sector_size)
    read += _in_sectors(index_end, index_end + extents.size, device.sector_size)
    decoded, seconds = 0, 0.0
    kept = -1
    for load, first, end, extent in _touched(loads, table):
        if first == end:
            continue
        new_pages = (extents.turn_to(extent, extent), index.turn_to(first, end - 1))
        read += sum(page_size for page_size, _ in new_pages)
        requests += sum(page_count for _, page_count in new_pages)
        pieces = [(first, end)] if not first <= kept < end else [(first, kept), (kept + 1, end)]
        for start, stop in pieces:
            read += int(sums.read[stop] - sums.read[start])
            requests += int(sums.requests[stop] - sums.requests[start])
            decoded += int(sums.decoded[stop] - sums.decoded[start])
            seconds += float(sums.seconds[stop] - sums.seconds[start])
        if load.end < table.starts[end - 1] + table.sizes[end - 1]:
            kept = end - 1
        elif load.offset > table.starts[first]:
            kept = first
    return read_cost(device, read, requests, decoded, seconds)


def _touched(loads: Sequence[Range], table: BlockTable) -> list[tuple[Range, int, int, int]]:
    """Return with each load the first block that it touches, the one behind its last, and the extent of the first."""
    offsets = np.array([load.offset for load in loads], np.int64)
    ends = np.array([load.end for load in loads], np.int64)
    firsts = np.searchsorted(table.starts + table.sizes, offsets, "right")
    stops = np.maximum(firsts, np.searchsorted(table.starts, ends, "left"))
    extents = np.searchsorted(table.extent_starts, offsets, "right") - 1
    return list(zip(loads, firsts.tolist(), stops.tolist(), np.maximum(extents, 0).tolist(), strict=True))


class _Sums:
    """Sums over all blocks before the one of a number."""

    def __init__(self, table: BlockTable, sector: int) -> None:
        stored = table.stored_sizes > 0
        ends = table.stored_offsets + table.stored_sizes
        read = np.where(stored, -(-ends // sector) * sector - table.stored_offsets // sector * sector, 0)
        self.read = _before(read)
        self.requests = _before(stored.astype(np.int64))
        self.decoded = _before(table.sizes)
        self.seconds = np.concatenate([[0.0], np.cumsum(table.seconds)])


def _before(values: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])


class _Pages:
    """The pages of a table of so many rows at a stored offset; the last one that was read is kept."""

    def __init__(self, offset: int, rows: int, sector: int) -> None:
        self._offset = offset
        self._sector = sector
        self._kept = -1
        self.size = table_size(rows)

    def turn_to(self, first_row: int, last_row: int) -> tuple[int, int]:
        """Return the bytes and the number of the pages that must be read to see these rows in order."""
        first, last = first_row // ENTRIES_PER_PAGE, last_row // ENTRIES_PER_PAGE
        size = count = 0
        for page in range(first + (first == self._kept), last + 1):
            start = self._offset + page * PAGE_SIZE
            size += _in_sectors(start, min(start + PAGE_SIZE, self._offset + self.size), self._sector)
            count += 1
        self._kept = last
        return size, count


def _in_sectors(start: int, end: int, sector: int) -> int:
    """Return the bytes of all sectors that hold a part of what lies from `start` to `end`."""
    return -(-end // sector) * sector - start // sector * sector if end > start else 0
