"""How far two ranges of equal size differ: in how many bytes, and, where they are numbers, by how much."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etpack.pte import Range
from etpack.sources import Source

# A multiple of any element's size.
_CHUNK_SIZE = 1 << 20

# What numpy calls the types that a difference can be told of; bfloat16 is the upper half of a float32.
_NUMPY_TYPES = {
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "bfloat16": "<u2",
    "int8": "i1",
    "int16": "<i2",
    "int32": "<i4",
    "uint8": "u1",
    "uint16": "<u2",
    "uint32": "<u4",
}


class Difference(NamedTuple):
    """How far two ranges differ."""

    # Bytes that are not the same.
    size: int
    # The largest difference of two elements; None if they are no numbers, or not all of them are finite.
    largest: float | None


def measure(
    contents: tuple[Source, Source], places: tuple[Range, Range], dtype: str | None, pieces: Iterable[Range]
) -> Difference:
    """Compare two ranges of equal size, a chunk at a time.

    Args:
        contents: What the ranges lie in.
        places: A range of each.
        dtype: The field's name of the elements' type, where it is known and the same in both.
        pieces: What of them may differ; offsets are counted from the start of a range, and of whole elements.

    Raises:
        FormatError: A content is that of a damaged `.etz`.
        OSError: One cannot be read.
    """
    kind = _NUMPY_TYPES.get(dtype or "")
    if kind and places[0].size % np.dtype(kind).itemsize:
        kind = None
    count, largest = 0, 0.0
    for piece in pieces:
        for offset in range(piece.offset, piece.end, _CHUNK_SIZE):
            chunks = [np.empty(min(piece.end - offset, _CHUNK_SIZE), np.uint8) for _ in places]
            for content, place, chunk in zip(contents, places, chunks, strict=True):
                content.read_into(place.offset + offset, memoryview(chunk.data))
            differing = int(np.count_nonzero(chunks[0] != chunks[1]))
            count += differing
            if differing and kind:
                largest = max(largest, _largest(_numbers(chunks[0], kind, dtype), _numbers(chunks[1], kind, dtype)))
    return Difference(count, largest if count and kind and np.isfinite(largest) else None)


def _numbers(chunk: NDArray[np.uint8], kind: str, dtype: str | None) -> NDArray[np.float64]:
    elements = chunk.view(kind)
    if dtype == "bfloat16":
        elements = (elements.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return elements.astype(np.float64)


def _largest(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the largest difference, or infinity if that is no number."""
    with np.errstate(all="ignore"):
        found = float(np.abs(a - b).max())
    return found if np.isfinite(found) else float("inf")
