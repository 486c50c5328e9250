"""Compares two files: first whether their contents are the same, and if not, what became of each part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from etpack import layout
from etpack.compare.content import Content, open_content
from etpack.compare.difference import Difference, measure
from etpack.compare.match import Pair, match_parts
from etpack.compare.parts import Part
from etpack.compare.survey import Survey
from etpack.compare.totals import compare_methods, compare_packing, count_changes
from etpack.compare.values import (
    Basis,
    Change,
    Diff,
    NewBlocks,
    PartChange,
    PartKind,
    Side,
)
from etpack.errors import naming
from etpack.limits import Limits
from etpack.loader import DataLoader
from etpack.plan import Extent
from etpack.pte import Range
from etpack.reader import available_processors, check_jobs
from etpack.sources import Source, SourceLike

# To see whether only keys differ: bytes of a part in memory, and bytes to go through in all.
_LARGEST_KEYED = 1 << 23
_MOST_REPLACED = 1 << 28


def diff(
    a: SourceLike,
    b: SourceLike,
    *,
    everything: bool = False,
    block_size: int | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
) -> Diff:
    """Compare two models, `.pte`, `.ptd`, `.bpte` or `.etz`, and return what changed from `a` to `b`.

    Both are read whole, once if they are the same and about twice if not; memory does not grow with them.

    Args:
        a: A path, a URL, a buffer, a seekable binary file object or a `Source`.
        b: The same.
        everything: List also what is unchanged.
        block_size: Bytes of a block, for the count of new ones: a power of two, 4 KiB to 4 MiB; by default that of
            `b` if it is an `.etz`, else 64 KiB.
        jobs: Threads; all processors by default.
        limits: What an `.etz` may ask for.

    Raises:
        FormatError: An `.etz` is damaged.
        UnsupportedError: An `.etz` needs a newer etpack, or a codec that is not installed.
        PteError: A file is no model that can be read.
        LimitError: A file is over a limit, or its parts overlap too much.
        SourceError: A file changed meanwhile.
        OSError: A file cannot be read.
        ValueError: The block size or the number of threads is not possible.
    """
    check_jobs(jobs)
    if block_size is not None and block_size not in layout.BLOCK_SIZES:
        raise ValueError(f"block size {block_size:,} is not a power of two from 4K to 4M")
    with ExitStack() as stack:
        contents = [open_content(source, stack, jobs, limits) for source in (a, b)]
        return _compare(contents[0], contents[1], everything, block_size, jobs or available_processors())


def _compare(a: Content, b: Content, everything: bool, block_size: int | None, jobs: int) -> Diff:
    block_size = block_size or (b.packed.block_size if b.packed else layout.DEFAULT_BLOCK_SIZE)
    same = _are_same(a.source, b.source, jobs)
    extents = b.extents(block_size)
    if same:
        parts = [_unchanged(part) for part in b.parts(extents)]
        count = sum(-(-extent.range.size // block_size) for extent in extents)
        blocks = NewBlocks(block_size, count, 0, 0, 0 if b.packed else None)
    else:
        comparison = _Comparison(a, b, extents, block_size, jobs)
        parts = [comparison.change(pair) for pair in comparison.pairs()]
        blocks = comparison.new_blocks()
    methods = compare_methods(a.model.methods if a.model else (), b.model.methods if b.model else ())
    described = a.describe(), b.describe()
    return Diff(
        same=same,
        a=described[0],
        b=described[1],
        packing=compare_packing(described[0].packing, described[1].packing),
        blocks=blocks,
        totals=count_changes(parts),
        methods=tuple(each for each in methods if everything or each.change is not Change.UNCHANGED),
        parts=tuple(part for part in parts if everything or part.change is not Change.UNCHANGED),
    )


def _are_same(a: Source, b: Source, jobs: int) -> bool:
    """Whether two contents are equal, byte for byte; reads up to the first difference."""
    if a.size != b.size:
        return False
    offset = 0
    buffer = np.empty(0, np.uint8)
    for chunk in DataLoader(a).iter_chunks(jobs=jobs):
        if len(buffer) < len(chunk):
            buffer = np.empty(len(chunk), np.uint8)
        other = buffer[: len(chunk)]
        b.read_into(offset, memoryview(other.data))
        if not np.array_equal(np.frombuffer(chunk, np.uint8), other):
            return False
        offset += len(chunk)
    return True


def _unchanged(part: Part) -> PartChange:
    side = _side(part)
    return PartChange(
        kind=part.kind,
        change=Change.UNCHANGED,
        matched_by=Basis.NAME,
        backend=part.backend,
        users=part.users,
        a=side,
        b=side,
        differing_size=0 if part.range else None,
        only_keys=False,
        max_difference=None,
        new_block_count=0,
    )


class _Comparison:
    """Two contents that are not the same."""

    def __init__(self, a: Content, b: Content, extents: Sequence[Extent], block_size: int, jobs: int) -> None:
        """Read both; `extents` are those of b."""
        self._sources = a.source, b.source
        self._packed = b.packed if b.packed and b.packed.block_size == block_size else None
        self._block_size = block_size
        surveys, parts = [], []
        for content, cut in ((a, a.extents(block_size)), (b, extents)):
            with naming(content.source.name):
                surveys.append(Survey(content.source, cut, block_size, jobs))
                parts.append(content.parts(cut))
        self._surveys, self._parts = surveys, parts
        self._measured: dict[tuple[Range, Range, str | None], Difference] = {}
        # Keys of named data that belong together and are not the same, in order.
        self._keys: dict[tuple[bytes, bytes], None] = {}
        self._keyed: dict[tuple[Range, Range], bool] = {}
        self._most_replaced = _MOST_REPLACED
        self._is_new = surveys[1].lacking(surveys[0])
        self._new_before = np.concatenate([[0], np.cumsum(self._is_new)])

    def pairs(self) -> list[Pair]:
        """Return the parts of both, in pairs where they belong together."""
        found = match_parts(self._parts[0], self._parts[1], self._digest)
        named = [(p.a.name or "", p.b.name or "") for p in found if p.a and p.b and p.a.kind is PartKind.NAMED_DATA]
        keys = dict.fromkeys((a.encode(), b.encode()) for a, b in named if a != b)
        # One of another length would make the part as long as it likes, and does not stand in one of equal size.
        self._keys = {(a, b): None for a, b in keys if len(a) == len(b)}
        return found

    def _digest(self, side: int, part: Part) -> bytes:
        if part.range is None:
            return b""
        with naming(self._sources[side].name):
            return self._surveys[side].digest(part.range)

    def change(self, pair: Pair) -> PartChange:
        """Return what became of a part."""
        a, b = pair.a, pair.b
        part = b or a
        assert part is not None
        change, differing, largest = self._judge(pair)
        return PartChange(
            kind=part.kind,
            change=change,
            matched_by=pair.basis,
            backend=part.backend,
            users=part.users,
            a=_side(a) if a else None,
            b=_side(b) if b else None,
            differing_size=differing,
            only_keys=change is Change.CHANGED and self._only_keys(pair),
            max_difference=largest,
            new_block_count=self._count_new(b.range) if b and b.range else 0,
        )

    def _judge(self, pair: Pair) -> tuple[Change, int | None, float | None]:
        a, b = pair.a, pair.b
        if a is None or b is None:
            return (Change.REMOVED if b is None else Change.ADDED), None, None
        if a.size != b.size:
            return Change.RESIZED, None, None
        differing, largest = self._measure(a, b)
        if differing:
            return Change.CHANGED, differing, largest
        return _same_bytes(a, b), None if a.range is None else 0, None

    def _measure(self, a: Part, b: Part) -> Difference:
        """Return how far two parts of equal size differ; many may be the same ranges, which are read once."""
        if a.range is None or b.range is None or self._digest(0, a) == self._digest(1, b):
            return Difference(0, None)
        dtype = a.dtype if a.dtype == b.dtype else None
        known = self._measured.get((a.range, b.range, dtype))
        if known is None:
            known = measure(self._sources, (a.range, b.range), dtype, self._pieces(a.range, b.range))
            self._measured[a.range, b.range, dtype] = known
        return known

    def _pieces(self, a: Range, b: Range) -> Iterator[Range]:
        """Yield what of two ranges may differ: the blocks that do, if both are cut alike, else all."""
        cuts = self._surveys[0].blocks_of(a), self._surveys[1].blocks_of(b)
        pieces = [[0, a.size]]
        if cuts[0] and cuts[1] and np.array_equal(cuts[0][0], cuts[1][0]):
            pieces = cuts[0][0][:, cuts[0][1] != cuts[1][1]].T.tolist()
        for start, end in pieces:
            for survey in self._surveys:
                survey.meter.spend(end - start)
            yield Range(start, end - start)

    def _only_keys(self, pair: Pair) -> bool:
        """Whether the program, or a delegate, is the same but for keys of named data that belong together."""
        a, b = pair.a, pair.b
        if not (a and b and a.range and b.range and b.kind in (PartKind.PROGRAM, PartKind.DELEGATE)):
            return False
        known = self._keyed.get((a.range, b.range))
        if known is None:
            keys: Collection[tuple[bytes, bytes]] = self._keys
            if b.kind is PartKind.DELEGATE:
                own = dict.fromkeys((old.encode(), new.encode()) for old, new in zip(a.keys, b.keys, strict=False))
                keys = [both for both in own if both in self._keys]
            known = self._keyed[a.range, b.range] = self._are_but_for(keys, a.range, b.range)
        return known

    def _are_but_for(self, keys: Collection[tuple[bytes, bytes]], a: Range, b: Range) -> bool:
        self._most_replaced -= a.size * len(keys)
        if not keys or a.size > _LARGEST_KEYED or self._most_replaced < 0:
            return False
        old = self._sources[0].read_at(a.offset, a.size)
        for key, other in keys:
            old = old.replace(key, other)
        return old == self._sources[1].read_at(b.offset, b.size)

    def _count_new(self, place: Range) -> int:
        survey = self._surveys[1]
        if not place.size:
            return 0
        first = int(np.searchsorted(survey.ends, place.offset, "right"))
        last = int(np.searchsorted(survey.starts, place.end, "left"))
        return int(self._new_before[max(first, last)] - self._new_before[first])

    def new_blocks(self) -> NewBlocks:
        """Return how much of b is in no block of a; of equal blocks, the first counts."""
        survey = self._surveys[1]
        numbers = np.flatnonzero(self._is_new)
        _, firsts = np.unique(survey.digests[numbers], return_index=True)
        chosen: NDArray[np.int64] = numbers[firsts]
        stored = None
        if self._packed:
            _, stored_sizes, _ = layout.index_columns(self._packed.index)
            stored = int(stored_sizes[chosen].sum())
        size = int((survey.ends - survey.starts)[chosen].sum())
        return NewBlocks(self._block_size, len(survey.starts), len(chosen), size, stored)


def _side(part: Part) -> Side:
    offset = part.range.offset if part.range else None
    return Side(part.kind, part.name, part.number, offset, part.size, part.segment, part.dtype, part.sizes)


def _same_bytes(a: Part, b: Part) -> Change:
    """Return what became of a part whose bytes are the same."""
    if any(None not in pair and pair[0] != pair[1] for pair in ((a.dtype, b.dtype), (a.sizes, b.sizes))):
        return Change.RETYPED
    if None not in (a.name, b.name) and (a.name, a.backend) != (b.name, b.backend):
        return Change.RENAMED
    return Change.UNCHANGED if a.range == b.range else Change.MOVED
