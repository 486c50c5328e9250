"""Where the content is cut: a model file in, extents and blocks out; pure, reads nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from etpack.errors import LimitError
from etpack.pte import FileKind, ModelFile, Range, Role

# An extent may lie in several segments, and a segment in several extents; a file of segments that all overlap would
# name each in each. Counted are the segments of each extent, and the names that it shares with others.
MAX_OVERLAPS = 1 << 18
# A longer name counts as several.
_NAME_SIZE = 64

# Content is read and encoded in spans of about this many bytes.
SPAN_SIZE = 2 << 20


@dataclass(frozen=True)
class Extent:
    """A part of the content that has a role and starts a new block."""

    range: Range
    role: Role
    # Numbers of the segments that cover it; empty for what lies in no segment.
    segments: tuple[int, ...] = ()
    # Delegate ids, named-data keys and methods that use it.
    delegate_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cut:
    """A content cut into extents; a gap becomes an extent of padding if it is not all zeros."""

    extents: tuple[Extent, ...]
    gaps: tuple[Range, ...]

    def with_padding(self, padding: Sequence[Range]) -> tuple[Extent, ...]:
        """Return all extents in order, those of `padding` (gaps that are not all zeros) included."""
        extra = [Extent(gap, Role.PADDING) for gap in padding]
        return tuple(sorted([*self.extents, *extra], key=lambda extent: extent.range.offset))


@dataclass(frozen=True)
class Row:
    """Neighbouring blocks of one size: content offset of the first, bytes of content in each, and how many."""

    offset: int
    block_size: int
    count: int

    @property
    def end(self) -> int:
        return self.offset + self.block_size * self.count

    @property
    def offsets(self) -> range:
        """Content offset of each block."""
        return range(self.offset, self.end, self.block_size)


@dataclass(frozen=True)
class Span:
    """A piece of content to read at once, with the blocks in it; what no block covers is zeros."""

    range: Range
    rows: tuple[Row, ...]


def cut_opaque(size: int) -> Cut:
    """Return the one extent of a content that is packed without looking into it."""
    return Cut((Extent(Range(0, size), Role.OPAQUE),) if size else (), ())


def cut_model(model: ModelFile, block_size: int) -> Cut:
    """Cut a model at its program, every segment, each constant of a block or more, and the trailing bytes.

    Args:
        model: The parsed file.
        block_size: Block size in bytes.

    Raises:
        LimitError: Its segments overlap so much that their extents could not be described in memory.
    """
    owners = _owners(model) + _inline_blobs(model, block_size)
    constants = sorted({t.data for t in model.tensors if t.kind == "constant" and t.data}, key=lambda r: r.offset)
    points = {0, model.size}
    for extent in owners:
        points |= {extent.range.offset, extent.range.end}
    for constant in constants:
        if constant.size >= block_size:
            points |= {constant.offset, constant.end}
    islands = _merge(constants)
    extents: list[Extent] = []
    gaps: list[Range] = []
    for piece, cover in _sweep(sorted(points), owners):
        if not cover or _is_between_constants(piece, cover, islands):
            gaps.append(piece)
        else:
            extents.append(_combine(piece, cover))
    return Cut(tuple(extents), tuple(gaps))


def _owners(model: ModelFile) -> list[Extent]:
    """Return everything that claims a part of the file, not empty, overlapping or not."""
    nested = model.nested
    program_role = Role.METADATA if model.kind is FileKind.PTD else Role.PROGRAM
    methods = tuple(sorted(method.name for method in model.methods))
    found = [
        Extent(Range(0, nested.offset), Role.METADATA),
        Extent(Range(nested.end, model.size - nested.end), Role.METADATA),
        Extent(model.program, program_role, methods=methods),
        Extent(model.trailing, Role.TRAILING),
    ]
    for s in model.segments:
        found.append(Extent(s.range, min(s.roles, key=_rank), (s.number,), s.delegate_ids, s.keys, s.methods))
    return [extent for extent in found if extent.range.size]


def _inline_blobs(model: ModelFile, block_size: int) -> list[Extent]:
    """Return the blobs and constants of a block or more that lie inside the flatbuffer."""
    found: dict[Range, list[Extent]] = {}
    for method in model.methods:
        for delegate in method.delegates:
            if delegate.segment is None and delegate.blob.size >= block_size:
                user = Extent(delegate.blob, Role.DELEGATE, (), (delegate.id,), (), (method.name,))
                found.setdefault(delegate.blob, []).append(user)
    for tensor in model.tensors:
        if tensor.segment is None and tensor.data and tensor.data.size >= block_size:
            found.setdefault(tensor.data, [Extent(tensor.data, Role.CONSTANT, methods=tensor.methods)])
    return [_combine(blob, users) for blob, users in found.items()]


_RANKS = {role: rank for rank, role in enumerate(Role)}


def _rank(role: Role) -> int:
    return _RANKS[role]


def _is_between_constants(piece: Range, cover: Sequence[Extent], islands: Sequence[tuple[int, int]]) -> bool:
    """Whether a piece is the padding behind a tensor of a constant segment."""
    return not _touches(islands, piece) and all(
        extent.role is Role.CONSTANT and extent.segments and _touches(islands, extent.range) for extent in cover
    )


def _sweep(points: Sequence[int], owners: Sequence[Extent]) -> Iterator[tuple[Range, list[Extent]]]:
    """Yield each piece between two points with the owners that cover it."""
    starting = sorted(owners, key=lambda extent: extent.range.offset)
    weights = {id(extent): _weight(extent) for extent in owners}
    active: list[Extent] = []
    overlaps = position = 0
    for start, end in pairwise(points):
        active = [extent for extent in active if extent.range.end > start]
        overlaps += sum(weights[id(extent)] for extent in active)
        while position < len(starting) and starting[position].range.offset <= start:
            active.append(starting[position])
            position += 1
        overlaps += max(0, len(active) - 1)
        if overlaps > MAX_OVERLAPS:
            raise LimitError("the segments overlap each other too much", hint="pack it with --opaque")
        yield Range(start, end - start), active


def _weight(extent: Extent) -> int:
    """Return what it costs to say once more what is said of an extent."""
    names = extent.methods + extent.keys + extent.delegate_ids
    return len(names) + sum(map(len, names)) // _NAME_SIZE


def _merge(ranges: Sequence[Range]) -> list[tuple[int, int]]:
    """Return the union of ranges sorted by offset, as disjoint (start, end) pairs."""
    merged: list[tuple[int, int]] = []
    for part in ranges:
        if merged and part.offset <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], part.end)
        elif part.size:
            merged.append((part.offset, part.end))
    return merged


def _touches(islands: Sequence[tuple[int, int]], piece: Range) -> bool:
    before = bisect_left(islands, (piece.end, 0))
    return before > 0 and islands[before - 1][1] > piece.offset


def _combine(piece: Range, cover: Sequence[Extent]) -> Extent:
    """Return the extent for a piece that all of `cover` claims.

    A blob inside the flatbuffer is more telling than the flatbuffer; elsewhere the role that stays longest wins.
    """
    inline = [extent for extent in cover if not extent.segments and extent.role in (Role.DELEGATE, Role.CONSTANT)]
    parts = inline or cover
    return Extent(
        piece,
        min((extent.role for extent in parts), key=_rank),
        tuple(sorted({number for extent in cover for number in extent.segments})),
        tuple(sorted({name for extent in parts for name in extent.delegate_ids})),
        tuple(sorted({key for extent in parts for key in extent.keys})),
        tuple(sorted({name for extent in parts for name in extent.methods})),
    )


def spans(extents: Sequence[Extent], content_size: int, block_size: int) -> Iterator[Span]:
    """Yield spans that cover the whole content in order, each of about SPAN_SIZE bytes or one block."""
    start = 0
    rows: list[Row] = []
    for row in _rows(extents, block_size):
        if row.end - start > SPAN_SIZE and row.offset > start:
            yield from _close_span(start, row.offset, rows)
            start, rows = row.offset, []
        rows.append(row)
    yield from _close_span(start, content_size, rows)


def _rows(extents: Sequence[Extent], block_size: int) -> Iterator[Row]:
    """Yield all blocks in rows of up to a span: every extent starts a new one, and may end in a smaller block."""
    most = max(1, SPAN_SIZE // block_size)
    for extent in extents:
        count, rest = divmod(extent.range.size, block_size)
        for first in range(0, count, most):
            yield Row(extent.range.offset + first * block_size, block_size, min(most, count - first))
        if rest:
            yield Row(extent.range.end - rest, rest, 1)


def _close_span(start: int, end: int, rows: Sequence[Row]) -> Iterator[Span]:
    """Yield the span of `rows`, then what follows up to `end`, in pieces: a gap may be huge."""
    last = rows[-1].end if rows else start
    if rows:
        yield Span(Range(start, last - start), tuple(rows))
    for offset in range(last, end, SPAN_SIZE):
        yield Span(Range(offset, min(SPAN_SIZE, end - offset)), ())
