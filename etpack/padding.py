"""Reads what lies between the extents of a cut: what is not all zeros there has to be stored."""

from __future__ import annotations

from etpack.plan import Cut, Extent
from etpack.pte import Range
from etpack.sources import Source

_CHUNK_SIZE = 1 << 20


def with_padding(cut: Cut, content: Source) -> tuple[Extent, ...]:
    """Return the extents of a cut of `content` in order, and among them its gaps that are not all zeros.

    Raises:
        OSError: A gap cannot be read.
    """
    return cut.with_padding([gap for gap in cut.gaps if not _is_zero(content, gap)])


def _is_zero(content: Source, place: Range) -> bool:
    for offset in range(place.offset, place.end, _CHUNK_SIZE):
        if content.read_at(offset, min(_CHUNK_SIZE, place.end - offset)).lstrip(b"\0"):
            return False
    return True
