"""What is known of every block of a packed model, without its bytes: columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etpack import codecs, layout
from etpack.encode import EncodedBlock
from etpack.layout import CodecId, ExtentEntry, FilterId
from etpack.tuning.device import PLANES, Device

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BlockTable:
    """The blocks of an `.etz` in order; columns of shape (blocks,), but for the extents'."""

    # Content offset and bytes of content of each block.
    starts: Ints
    sizes: Ints
    # Stored offset of each block, and its stored bytes: 0 for a constant block.
    stored_offsets: Ints
    stored_sizes: Ints
    # Seconds that a device takes to decode each block.
    seconds: Floats
    # Content offset of each extent.
    extent_starts: Ints
    # Stored bytes up to the end of the last block.
    blocks_end: int
    max_stored_block: int
    max_plane_scratch: int

    @property
    def count(self) -> int:
        return len(self.starts)


def block_places(extents: Sequence[ExtentEntry], block_size: int) -> tuple[Ints, Ints]:
    """Return the content offset and the bytes of content of every block."""
    starts, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for extent in extents:
        begin = np.arange(extent.content_offset, extent.end, block_size, dtype=np.int64)
        starts.append(begin)
        sizes.append(np.minimum(block_size, extent.end - begin))
    return np.concatenate(starts), np.concatenate(sizes)


class Decoding:
    """How long a device takes to decode a block. A codec that it does not have takes forever."""

    def __init__(self, device: Device) -> None:
        per_byte = {name: 1e-6 / speed for name, speed in device.decode_mb_s.items()}
        self._planes = per_byte.pop(PLANES, float("inf"))
        self._codecs: dict[int, float] = {CodecId.CONSTANT: 0.0, CodecId.RAW: per_byte.pop("raw", 0.0)}
        self._codecs |= {codec_id(name): seconds for name, seconds in per_byte.items()}
        if CodecId.LZ4 in self._codecs:
            self._codecs[CodecId.LZ4_BITPLANES] = self._codecs[CodecId.LZ4] + self._planes
        self._known: dict[tuple[int, FilterId, tuple[int, ...]], float] = {}

    def of_block(self, block: EncodedBlock, size: int) -> float:
        """Return the seconds that decoding a block of `size` bytes of content takes."""
        kind = FilterId(block.entry.filter)
        if kind is FilterId.NONE:
            ids: tuple[int, ...] = (block.entry.codec,)
        else:
            ids = tuple([plane.codec for plane in layout.unpack_directory(block.stored, kind.width)])
        key = size, kind, ids
        if key not in self._known:
            self._known[key] = self._seconds(*key)
        return self._known[key]

    def _seconds(self, size: int, kind: FilterId, ids: tuple[int, ...]) -> float:
        merging = 0.0 if kind is FilterId.NONE else size * self._planes
        return merging + size // kind.width * sum(self._codecs.get(number, float("inf")) for number in ids)


def codec_id(name: str) -> int:
    """Return the id of a codec that is not raw."""
    built_in: dict[str, int] = {codec.name: codec.id for codec in (codecs.ZSTD, codecs.LZ4)}
    return built_in.get(name) or codecs.by_name(name).id


def table_size(rows: int) -> int:
    """Return the bytes of an index, or an extent table, of so many rows, in pages."""
    return rows * layout.ENTRY_SIZE + -(-rows // layout.ENTRIES_PER_PAGE) * layout.CRC_SIZE
