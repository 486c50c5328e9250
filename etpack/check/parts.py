"""What lies where in the content, for messages: by the manifest of an `.etz`, or by the model itself."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from etpack.check.verdict import Place
from etpack.errors import EtpackError
from etpack.layout import DEFAULT_BLOCK_SIZE
from etpack.plan import Extent, cut_model
from etpack.pte import ModelFile, Range
from etpack.reader import EtzFile


class Parts:
    """The extents of a content, to be looked up by content offset."""

    def __init__(self, extents: Sequence[Extent]) -> None:
        self._extents = extents
        self._offsets = [extent.range.offset for extent in extents]

    def find(self, offset: int) -> Extent | None:
        """Return the extent that holds the byte at content offset `offset`, or None."""
        number = bisect_right(self._offsets, offset) - 1
        return self._extents[number] if number >= 0 and offset < self._extents[number].range.end else None


def parts_of_etz(file: EtzFile) -> Parts:
    """Return what the manifest says of each extent; nothing if it is damaged."""
    try:
        return Parts(file.described_extents)
    except EtpackError:
        return Parts(())


def parts_of_model(model: ModelFile) -> Parts:
    """Return the extents that a plain model would be cut into at the defaults; nothing if there are too many."""
    try:
        return Parts(cut_model(model, DEFAULT_BLOCK_SIZE).extents)
    except EtpackError:
        return Parts(())


def block_place(file: EtzFile, parts: Parts, number: int, content: Range) -> Place:
    """Return the place of block `number`, which holds `content`."""
    entry = file.entry(number)
    offset = entry.stored_offset if entry.stored_size else None
    return Place(offset, content, number, parts.find(content.offset))


def blocks_between(file: EtzFile, start: int, stop: int) -> Iterator[tuple[int, Range]]:
    """Yield number and content range of each block that holds a byte of the content from `start` up to `stop`."""
    first = max(0, bisect_right(file.extents, start, key=lambda extent: extent.content_offset) - 1)
    for extent in file.extents[first:]:
        if extent.content_offset >= stop:
            return
        skipped = max(0, start - extent.content_offset) // file.block_size
        for offset in range(extent.content_offset + skipped * file.block_size, min(stop, extent.end), file.block_size):
            number = extent.first_block + (offset - extent.content_offset) // file.block_size
            yield number, Range(offset, min(file.block_size, extent.end - offset))
