"""Fetches and decodes the blocks of an `.etz`, keeping those that were wanted in part; thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from etpack import layout
from etpack.errors import CorruptError
from etpack.layout import Footer, IndexEntry
from etpack.runs import Run
from etpack.sources import Source

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
        self._blocks_end = blocks_end
        self._block_size = footer.block_size
        self._alignment = footer.alignment
        self._max_stored = footer.max_stored_block
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, memoryview] = OrderedDict()
        self._most_kept = max(2, KEPT_SIZE // self._block_size)

    def entries(self, first: int, end: int) -> list[IndexEntry]:
        """Return the index entries of blocks `first` up to, and without, `end`."""
        return list(layout.unpack_index(self._index[first * layout.ENTRY_SIZE : end * layout.ENTRY_SIZE]))

    def check_place(self, entry: IndexEntry, number: int) -> None:
        """Raise CorruptError unless the stored bytes of block `number` may lie where its entry says."""
        offset, size = entry.stored_offset, entry.stored_size
        if size == 0:
            return
        if size > self._max_stored:
            raise CorruptError(f"block {number} is larger than the largest", rule="footer-max-stored")
        if not layout.HEADER_SIZE <= offset <= self._blocks_end - size:
            raise CorruptError(f"block {number} lies outside the blocks", rule="block-range", where=offset)
        if offset % self._alignment:
            raise CorruptError(f"block {number} is not aligned", rule="block-alignment", where=offset)

    def read_run(self, run: Run, out: memoryview) -> None:
        """Put what a run wants into `out`, which has run.end - run.start bytes.

        Raises:
            CorruptError: A block fails its check.
            UnsupportedError: A block uses a filter or codec that is not known here.
            OSError: The source cannot be read.
        """
        first, size = run.first_block, self._block_size
        entries = self.entries(first, run.end_block)
        for number, entry in enumerate(entries, first):
            self.check_place(entry, number)
        # Blocks that are copied from, by number: those that were kept, and those of which only a part is wanted.
        apart = self._kept(first, run.end_block)
        fresh = {}
        for group in _groups(entries, [number - first for number in apart]):
            targets = []
            for number in range(first + group.start, first + group.stop):
                offset = run.block_start + (number - first) * size
                end = min(offset + size, run.block_end)
                if run.start <= offset and end <= run.end:
                    targets.append(out[offset - run.start : end - run.start])
                else:
                    fresh[number] = memoryview(bytearray(end - offset))
                    targets.append(fresh[number])
            self._decode(entries[group], targets, first + group.start)
        if fresh:
            self._keep(fresh)
            apart |= fresh
        for number, block in apart.items():
            offset = run.block_start + (number - first) * size
            start, end = max(offset, run.start), min(offset + len(block), run.end)
            out[start - run.start : end - run.start] = block[start - offset : end - offset]

    def _decode(self, entries: Sequence[IndexEntry], targets: Sequence[memoryview], first: int) -> None:
        """Decode blocks that are stored side by side, with one read of all from the first to the last."""
        from etpack import blocks  # loads numpy, which opening a file does not need

        blocks.decode_many(self._fetch(entries), entries, targets, first, self._alignment)

    def _fetch(self, entries: Sequence[IndexEntry]) -> Sequence[bytes | memoryview]:
        """Return the stored bytes of each entry."""
        stored = [entry for entry in entries if entry.stored_size]
        if not stored:
            return [b""] * len(entries)
        start = stored[0].stored_offset
        data = self._source.read_at(start, stored[-1].stored_offset + stored[-1].stored_size - start)
        if len(entries) == 1:
            return [data]
        view = memoryview(data)
        return [
            view[entry.stored_offset - start :][: entry.stored_size] if entry.stored_size else b"" for entry in entries
        ]

    def _kept(self, first: int, end: int) -> dict[int, memoryview]:
        """Return those of the blocks `first` up to, and without, `end` that were kept."""
        cache = self._cache
        if not cache:
            return {}
        with self._lock:
            found = [number for number in range(first, end) if number in cache]
            for number in found:
                cache.move_to_end(number)
            return {number: cache[number] for number in found}

    def _keep(self, blocks: dict[int, memoryview]) -> None:
        with self._lock:
            self._cache.update(blocks)
            while len(self._cache) > self._most_kept:
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
