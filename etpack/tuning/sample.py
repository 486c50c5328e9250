"""A sample of a model: whole pieces of its content, spread evenly over each role; pure, the same for every run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from etpack.layout import ExtentEntry
from etpack.plan import SPAN_SIZE, Extent, Row
from etpack.pte import Range, Role
from etpack.tuning.blocks import Ints

# A role gets this part of the sample at least, if it has as much.
_SMALLEST_SHARE = 16


def choose_pieces(extents: Sequence[Extent], size: int, piece_size: int) -> tuple[Range, ...]:
    """Return pieces of content of about `size` bytes in all, in order.

    Each role has a part of it by its size, taken at equal distances through all its extents; a small role is whole.

    Args:
        extents: Of a cut at the largest blocks.
        size: Bytes that are wanted; there may be a piece for each role more.
        piece_size: Bytes of a piece; the last of an extent may be shorter.
    """
    by_role: dict[Role, list[Range]] = {}
    for extent in extents:
        pieces = by_role.setdefault(extent.role, [])
        for offset in range(extent.range.offset, extent.range.end, piece_size):
            pieces.append(Range(offset, min(piece_size, extent.range.end - offset)))
    total = sum(extent.range.size for extent in extents)
    chosen: list[Range] = []
    for pieces in by_role.values():
        of_role = sum(piece.size for piece in pieces)
        share = max(size * of_role // total, size // _SMALLEST_SHARE)
        chosen += pieces if of_role <= share else _evenly(pieces, of_role, max(1, -(-share // piece_size)))
    return tuple(sorted(chosen, key=lambda piece: piece.offset))


def _evenly(pieces: Sequence[Range], total: int, count: int) -> Iterator[Range]:
    """Yield the pieces in the middle of `count` equal parts of their `total` bytes."""
    position = number = 0
    for piece in pieces:
        position += piece.size
        if number < count and position * 2 * count > (2 * number + 1) * total:
            yield piece
            while number < count and position * 2 * count > (2 * number + 1) * total:
                number += 1


def rows_in(extents: Sequence[ExtentEntry], pieces: Sequence[Range], block_size: int) -> Iterator[tuple[int, Row]]:
    """Yield the blocks that touch one of the pieces, in rows of up to a span, with the number of the first of each.

    Args:
        extents: The extent table.
        pieces: In order, and apart from each other.
        block_size: Bytes of content of a full block.
    """
    offsets = [extent.content_offset for extent in extents]
    end = 0
    for piece in pieces:
        number = max(0, bisect_right(offsets, piece.offset) - 1)
        while number < len(extents) and offsets[number] < piece.end:
            for first, row in _rows_of(extents[number], max(piece.offset, end), piece.end, block_size):
                yield first, row
                end = row.end
            number += 1


def _rows_of(extent: ExtentEntry, start: int, end: int, block_size: int) -> Iterator[tuple[int, Row]]:
    """Yield the blocks of an extent that hold a byte of the content from `start` to `end`."""
    if start >= min(end, extent.end):
        return
    full, rest = divmod(extent.content_size, block_size)
    first = max(0, start - extent.content_offset) // block_size
    stop = -(-(min(end, extent.end) - extent.content_offset) // block_size)
    most = max(1, SPAN_SIZE // block_size)
    for number in range(first, min(stop, full), most):
        row = Row(extent.content_offset + number * block_size, block_size, min(most, min(stop, full) - number))
        yield extent.first_block + number, row
    if rest and first <= full < stop:
        yield extent.first_block + full, Row(extent.end - rest, rest, 1)


def stand_ins(roles: Ints, sampled: Ints) -> Ints:
    """Return for every block the number of the sampled one that stands for it: itself, or one of its role.

    Those of a role follow each other in order, so that each stands for as many. A role of which no block was sampled is
    represented by all that were.

    Args:
        roles: A number for the role of each block.
        sampled: Numbers of the sampled blocks in order, at least one.
    """
    chosen = np.empty(len(roles), np.int64)
    for role in np.unique(roles):
        members = np.flatnonzero(roles == role)
        pool = sampled[roles[sampled] == role]
        if not len(pool):
            pool = sampled
        chosen[members] = pool[np.arange(len(members)) * len(pool) // len(members)]
    chosen[sampled] = sampled
    return chosen
