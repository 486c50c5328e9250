"""Fetches and decodes the blocks of an `.etz`, keeping those that were wanted in part; thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from etpack import layout
from etpack.errors import CorruptError
from etpack.layout import Footer, IndexEntry
from etpack.runs import Run
from etpack.sources import Source

if TYPE_CHECKING:
    from etpack.filters import Bytes

# The cache of blocks that were read in part holds about this many bytes, and at least two blocks.
KEPT_SIZE = 1 << 20


class BlockReader:
    """Random access to the blocks of an `.etz`.

    Args:
        source: The stored bytes.
        index: The index entries, 16 bytes a block.
        footer: The parsed footer.
        blocks_end: Stored offset behind the last block.
    """

    def __init__(self, source: Source, index: bytes, footer: Footer, blocks_end: int) -> None:
        self._source = source
        self._index = index
        self._footer = footer
        self._blocks_end = blocks_end
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Bytes] = OrderedDict()

    def entries(self, first: int, end: int) -> list[IndexEntry]:
        """Return the index entries of blocks `first` up to, and without, `end`."""
        return list(layout.unpack_index(self._index[first * layout.ENTRY_SIZE : end * layout.ENTRY_SIZE]))

    def check_place(self, entry: IndexEntry, number: int) -> None:
        """Raise CorruptError unless the stored bytes of block `number` may lie where its entry says."""
        if entry.stored_size == 0:
            return
        if entry.stored_size > self._footer.max_stored_block:
            raise CorruptError(f"block {number} is larger than the largest", rule="footer-max-stored")
        if not layout.HEADER_SIZE <= entry.stored_offset <= self._blocks_end - entry.stored_size:
            raise CorruptError(f"block {number} lies outside the blocks", rule="block-range", where=entry.stored_offset)
        if entry.stored_offset % self._footer.alignment:
            raise CorruptError(f"block {number} is not aligned", rule="block-alignment", where=entry.stored_offset)

    def read_run(self, run: Run, out: Bytes) -> None:
        """Put what a run wants into `out`, uint8 of shape (run.end - run.start,).

        Raises:
            CorruptError: A block fails its check.
            UnsupportedError: A block uses a filter or codec that is not known here.
            OSError: The source cannot be read.
        """
        entries = self.entries(run.first_block, run.end_block)
        for number, entry in enumerate(entries, run.first_block):
            self.check_place(entry, number)
        # Blocks that are copied from, by number: those that were kept, and those of which only a part is wanted.
        apart = self._kept(run)
        for group in _groups(entries, [number - run.first_block for number in apart]):
            apart |= self._decode(run, run.first_block + group.start, entries[group], out)
        size = self._footer.block_size
        for number, block in apart.items():
            offset = run.block_start + (number - run.first_block) * size
            start, end = max(offset, run.start), min(offset + len(block), run.end)
            out[start - run.start : end - run.start] = block[start - offset : end - offset]

    def _decode(self, run: Run, first: int, entries: Sequence[IndexEntry], out: Bytes) -> dict[int, Bytes]:
        """Decode blocks that are stored side by side: into `out` if it takes them whole, else into what is returned."""
        import numpy as np

        from etpack import blocks

        stored = self._fetch(entries)
        size, alignment = self._footer.block_size, self._footer.alignment
        offset = run.block_start + (first - run.first_block) * size
        # What is left after the first block, if it begins before what is wanted, and the last, if it goes on behind it.
        head = int(offset < run.start)
        whole = max(0, (min(offset + len(entries) * size, run.end) - offset) // size - head)
        apart = {}
        for i in (*range(head), *range(head + whole, len(entries))):
            block = np.empty(min(size, run.block_end - offset - i * size), np.uint8)
            blocks.decode_many(stored[i : i + 1], entries[i : i + 1], block[np.newaxis], first + i, alignment)
            apart[first + i] = block
        if whole:
            rows = out[offset + head * size - run.start :][: whole * size].reshape(whole, size)
            inner = slice(head, head + whole)
            blocks.decode_many(stored[inner], entries[inner], rows, first + head, alignment)
        if apart:
            self._keep(apart)
        return apart

    def _fetch(self, entries: Sequence[IndexEntry]) -> list[memoryview]:
        """Return the stored bytes of each entry, with one read of all from the first to the last."""
        places = [(entry.stored_offset, entry.stored_offset + entry.stored_size) for entry in entries]
        stored = [place for place, entry in zip(places, entries, strict=True) if entry.stored_size]
        if not stored:
            return [memoryview(b"")] * len(entries)
        start = stored[0][0]
        data = memoryview(self._source.read_at(start, stored[-1][1] - start))
        return [
            data[place[0] - start : place[1] - start] if entry.stored_size else data[:0]
            for place, entry in zip(places, entries, strict=True)
        ]

    def _kept(self, run: Run) -> dict[int, Bytes]:
        """Return those blocks of a run that were kept."""
        if not self._cache:
            return {}
        with self._lock:
            found = [number for number in self._cache if run.first_block <= number < run.end_block]
            for number in found:
                self._cache.move_to_end(number)
            return {number: self._cache[number] for number in found}

    def _keep(self, blocks: dict[int, Bytes]) -> None:
        with self._lock:
            self._cache.update(blocks)
            while len(self._cache) > max(2, KEPT_SIZE // self._footer.block_size):
                self._cache.popitem(last=False)


def _groups(entries: Sequence[IndexEntry], without: Sequence[int]) -> Iterator[slice]:
    """Cut entries, less those at the places in `without`, into slices whose stored bytes one read can fetch."""
    start = 0
    last: IndexEntry | None = None
    for place, entry in enumerate(entries):
        if place in without or (last and entry.stored_size and not _adjoins(last, entry)):
            if place > start:
                yield slice(start, place)
            start = place + (place in without)
            last = None
        if entry.stored_size and place not in without:
            last = entry
    if start < len(entries):
        yield slice(start, len(entries))


def _adjoins(first: IndexEntry, second: IndexEntry) -> bool:
    """Whether one read can fetch both blocks without fetching anything else but padding."""
    gap = second.stored_offset - (first.stored_offset + first.stored_size)
    return 0 <= gap < layout.PAGE_SIZE
