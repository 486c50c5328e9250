"""Replays ExecuTorch's load sequence through the chunked loader on packed models, and prints what it cost.

    python -m benchmarks.load_sequence FILE_OR_FOLDER ... > table.md

Each model is packed at the defaults. Then every request that the runtime makes of a data loader to load the program and
all methods goes to `etpack.DataLoader`. The table shows reads and bytes of the stored file, bytes decoded, blocks
decoded more than once, and blocks decoded that lie in no part of the request; the last must be 0. A block may be
decoded again when the runtime asks for its segment again: two methods that share weights load them twice.
Exits 1 if a byte differs or a foreign block was decoded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import etpack
from benchmarks.roundtrip import find_files
from etpack import DataLoader, EtzFile, blocks
from etpack.layout import IndexEntry
from etpack.memory.events import Load
from etpack.memory.sequence import load_sequence
from etpack.pte import read_blobs
from etpack.sources import FileSource


class CountingSource(FileSource):
    """A file that counts its reads and their bytes."""

    reads = 0
    bytes_read = 0

    def read_at(self, offset: int, size: int) -> bytes:
        self.reads += 1
        self.bytes_read += size
        return super().read_at(offset, size)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.reads += 1
        self.bytes_read += len(buffer)
        super().read_into(offset, buffer)


@dataclass
class Cost:
    """What one model's load sequence cost."""

    requests: int = 0
    requested: int = 0
    asked_again: int = 0
    decoded_bytes: int = 0
    foreign: int = 0
    same: bool = True
    # How often each block was decoded.
    decodes: Counter[int] = field(default_factory=Counter)


def replay(path: Path, packed: Path) -> tuple[Cost, CountingSource, int]:
    """Load the packed model as ExecuTorch would; return the cost, the counted source, and reads to open the file."""
    source = CountingSource(packed)
    cost = Cost()
    with EtzFile(source, jobs=1) as file, FileSource(path) as plain:
        opening = source.reads
        loads = list(load_sequence(file.model, read_blobs(file, file.model)))
        file._blocks._cache.clear()
        loader = DataLoader(file)
        source.reads = source.bytes_read = 0
        seen = set()
        for load in loads:
            cost.requests += 1
            cost.requested += load.range.size
            cost.asked_again += load.range.size if load.range in seen else 0
            seen.add(load.range)
            _request(load, file, loader, plain, cost)
    return cost, source, opening


def _request(load: Load, file: EtzFile, loader: DataLoader, plain: FileSource, cost: Cost) -> None:
    """Make one request, note which blocks it decodes, and compare the bytes with the plain file."""
    honest = blocks.decode_many

    def decode_many(
        stored: Sequence[bytes | memoryview],
        entries: Sequence[IndexEntry],
        outs: Sequence[memoryview],
        first: int,
        alignment: int,
    ) -> None:
        for number in range(first, first + len(entries)):
            cost.decodes[number] += 1
            cost.foreign += number not in wanted
        cost.decoded_bytes += sum(map(len, outs))
        honest(stored, entries, outs, first, alignment)

    end = load.range.offset + load.range.size
    wanted = {
        first + number
        for extent in file.extents
        if extent.content_offset < end and load.range.offset < extent.end
        for first in [extent.first_block]
        for number in range(
            max(0, load.range.offset - extent.content_offset) // file.block_size,
            -(-(min(end, extent.end) - extent.content_offset) // file.block_size),
        )
    }
    with (
        mock.patch.object(blocks, "decode_many", decode_many),
        loader.load(load.range.offset, load.range.size, load.info) as got,
    ):
        for offset in range(0, load.range.size, 1 << 20):
            size = min(1 << 20, load.range.size - offset)
            cost.same &= got.data[offset : offset + size] == plain.read_at(load.range.offset + offset, size)


def main() -> int:
    """Print the table; return 1 if bytes differ or a foreign block was decoded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="FILE_OR_FOLDER")
    good = True
    print("| file | reads to open | requests | bytes asked for | of them again | reads | stored bytes read "
          "| bytes decoded | blocks decoded again | foreign blocks | bytes are |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory(prefix="etpack-bench-") as folder:
        for path in find_files(parser.parse_args().places):
            packed = Path(folder) / "packed.etz"
            etpack.compress(path, packed, overwrite=True)
            cost, source, opening = replay(path, packed)
            again = sum(count > 1 for count in cost.decodes.values())
            good &= cost.same and not cost.foreign
            asked = f"{cost.requests} | {cost.requested:,} | {cost.asked_again:,}"
            read = f"{source.reads:,} | {source.bytes_read:,} | {cost.decoded_bytes:,} | {again} | {cost.foreign}"
            verdict = "same" if cost.same else "**DIFFERENT**"
            print(f"| {path.name} | {opening} | {asked} | {read} | {verdict} |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
