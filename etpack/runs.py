"""Which blocks a read of content touches: ranges in, runs of neighbouring blocks out; pure, reads nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from etpack.layout import ExtentEntry

# Neighbouring blocks are read together, up to this many bytes of content.
RUN_SIZE = 1 << 20


class Run(NamedTuple):
    """Neighbouring blocks of one extent, and what a read wants of them."""

    # Numbers of the blocks: first_block up to, and without, end_block.
    first_block: int
    end_block: int
    # Content offsets: where the first block starts and the last one ends.
    block_start: int
    block_end: int
    # Content offsets of the part that is wanted, which leaves out no whole block.
    start: int
    end: int


def find_runs(
    extents: Sequence[ExtentEntry], extent_offsets: Sequence[int], block_size: int, start: int, end: int
) -> Iterator[Run]:
    """Yield the runs that hold the content from `start` to `end`, in order; what lies between them is zeros.

    Args:
        extents: The extent table, by content offset.
        extent_offsets: The content offset of each extent.
        block_size: Bytes of content of a full block.
        start: Content offset, in bytes.
        end: Content offset, not below `start`.
    """
    most = max(1, RUN_SIZE // block_size)
    for number in range(max(0, bisect_right(extent_offsets, start) - 1), len(extents)):
        extent_start, extent_size, first_block = extents[number]
        if extent_start >= end:
            break
        position = max(start, extent_start)
        extent_end = extent_start + extent_size
        stop = min(end, extent_end)
        while position < stop:
            in_extent = (position - extent_start) // block_size
            block_start = extent_start + in_extent * block_size
            count = min(most, -(-(stop - block_start) // block_size))
            block_end = min(block_start + count * block_size, extent_end)
            first = first_block + in_extent
            run_end = min(stop, block_end)
            yield Run(first, first + count, block_start, block_end, position, run_end)
            position = run_end
