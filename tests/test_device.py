"""Reads a packed model as a device without a heap would: by the specification alone, one small read after another."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from google_crc32c import value as crc32c

from etpack.sources import FileSource
from tests.counting import CountingSource
from tests.test_spec import DESIGN

ROWS = 255


def u48(data: bytes) -> int:
    """Return an integer of six bytes."""
    return int.from_bytes(data[:6], "little")


class Device:
    """Opens an `.etz` and finds blocks with reads of at most a page; notes each step and what it read."""

    def __init__(self, source: CountingSource) -> None:
        self.source = source
        self.steps: list[tuple[str, int, int]] = []
        footer = self._read("open: footer", source.size - 128, 128)
        assert crc32c(footer[:116]) == struct.unpack("<I", footer[116:120])[0]
        count, self.block_size = struct.unpack("<H", footer[84:86])[0], 1 << footer[86]
        self.max_stored = struct.unpack("<I", footer[88:92])[0]
        table = self._read("open: section table", source.size - 128 - 20 * count, 20 * count)
        rows = [table[20 * n : 20 * n + 20] for n in range(count)]
        self.sections = {struct.unpack("<H", row[:2])[0]: (u48(row[8:]), u48(row[14:])) for row in rows}
        assert self._read("open: header", 0, 16)[:4] == b"\x89ETZ"

    def _read(self, step: str, offset: int, size: int) -> bytes:
        data = self.source.read_at(offset, size)
        self.steps.append((step, 1, size))
        return data

    def page(self, table: int, number: int) -> list[bytes]:
        """Read and check one page of a table (1 index, 2 extents) and return its rows."""
        offset, size = self.sections[table]
        start = number * (16 * ROWS + 4)
        names = {1: "look-up: a page of the index", 2: "look-up: a page of the extent table"}
        data = self._read(names[table], offset + start, min(16 * ROWS + 4, size - start))
        rows, crc = data[:-4], struct.unpack("<I", data[-4:])[0]
        assert crc == crc32c(rows + struct.pack("<II", table, number))
        return [rows[n : n + 16] for n in range(0, len(rows), 16)]

    def load(self, offset: int, size: int) -> bytes:
        """Read the stored blocks of a segment that begins an extent; return them joined."""
        extent = next(row for row in self.page(2, 0) if u48(row) == offset)
        first = struct.unpack("<I", extent[12:])[0]
        last = first + (size - 1) // self.block_size
        rows = self.page(1, first // ROWS)[first % ROWS : last % ROWS + 1]
        stored = b""
        for row in rows:
            stored_size, crc = struct.unpack("<II", row[8:])
            assert stored_size <= self.max_stored
            data = self.source.read_at(u48(row), stored_size)
            assert crc32c(data) == crc
            stored += data
        self.steps.append(("load the segment: its stored blocks", len(rows), len(stored)))
        return stored


def device_reads(path: Path, offset: int, size: int) -> str:
    """Return the table of DESIGN.md for loading one segment of a packed model."""
    device = Device(CountingSource(FileSource(path)))
    device.load(offset, size)
    rows = [f"| {step} | {reads} | {count:,} |" for step, reads, count in device.steps]
    return "\n".join(["| step | reads | bytes |", "|---|---:|---:|", *rows])


# Segment 6 of the model that DESIGN.md works by hand.
SEGMENT = (80_768, 147_456)


def test_the_page_that_works_a_file_by_hand_counts_right(packed_digits: Path) -> None:
    shown = DESIGN.split("<!-- device-reads -->\n\n")[1].split("\n\n")[0]
    assert shown == device_reads(packed_digits, *SEGMENT)


def test_a_device_reads_what_it_says(packed_digits: Path) -> None:
    source = CountingSource(FileSource(packed_digits))
    device = Device(source)
    device.load(*SEGMENT)
    assert len(source.reads) == sum(reads for _, reads, _ in device.steps)
    assert source.bytes_read == sum(count for _, _, count in device.steps)


def test_a_flipped_bit_in_a_page_is_seen(packed_digits: Path, tmp_path: Path) -> None:
    device = Device(CountingSource(FileSource(packed_digits)))
    data = bytearray(packed_digits.read_bytes())
    data[device.sections[1][0] + 5] ^= 1
    (tmp_path / "x.etz").write_bytes(data)
    with pytest.raises(AssertionError):
        Device(CountingSource(FileSource(tmp_path / "x.etz"))).load(*SEGMENT)
