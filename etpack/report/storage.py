"""How a content is stored, or would be, as the load simulation asks for it: what decoding a range takes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from etpack import layout
from etpack.memory import PackedCost, Storage
from etpack.plan import Extent
from etpack.pte import Range
from etpack.reader import EtzFile


class _Blocks:
    """The blocks of some extents: which of them a content range touches."""

    def __init__(self, extents: Sequence[Range], block_size: int) -> None:
        self._extents = [extent for extent in extents if extent.size]
        self._starts = [extent.offset for extent in self._extents]
        self._block_size = block_size

    def touched(self, place: Range) -> list[tuple[int, int, int]]:
        """Return the position of each extent that a range touches, and the first and last of its blocks."""
        found = []
        number = max(0, bisect_right(self._starts, place.offset) - 1)
        while number < len(self._extents) and self._starts[number] < place.end:
            extent = self._extents[number]
            begin, end = max(place.offset, extent.offset), min(place.end, extent.end)
            if begin < end:
                first, last = (begin - extent.offset) // self._block_size, (end - 1 - extent.offset) // self._block_size
                found.append((number, first, last))
            number += 1
        return found

    def content_size(self, number: int, first: int, last: int) -> int:
        """Return the bytes of content in the blocks `first` to `last` of an extent."""
        end = min((last + 1) * self._block_size, self._extents[number].size)
        return end - first * self._block_size


def plain_storage(extents: Sequence[Extent], content_size: int, block_size: int) -> Storage:
    """Return the storage of a file that is not packed; for EtzDataLoader as if it were packed in such blocks."""
    blocks = _Blocks([extent.range for extent in extents], block_size)

    def cost(place: Range) -> PackedCost:
        return PackedCost(None, sum(blocks.content_size(*each) for each in blocks.touched(place)))

    largest = min(block_size, max((extent.range.size for extent in extents), default=0))
    # A stored block is no larger than its content, nor are its planes; and one is decoded for the edges of a load.
    return Storage(content_size, block_size, 3 * largest, packed=False, cost=cost)


def packed_storage(file: EtzFile) -> Storage:
    """Return the storage of a packed file: stored sizes as the index has them."""
    import numpy as np  # a model that is not packed needs none of it

    _, sizes, _ = layout.index_columns(file.index)
    stored = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    extents = [extent for extent in file.extents if extent.content_size]
    blocks = _Blocks([Range(extent.content_offset, extent.content_size) for extent in extents], file.block_size)

    def cost(place: Range) -> PackedCost:
        read = decoded = 0
        for number, first, last in blocks.touched(place):
            start = extents[number].first_block
            read += int(stored[start + last + 1] - stored[start + first])
            decoded += blocks.content_size(number, first, last)
        return PackedCost(read, decoded)

    footer = file.footer
    scratch = footer.max_stored_block + footer.max_plane_scratch + file.block_size
    return Storage(file.size, file.block_size, scratch, packed=True, cost=cost)
