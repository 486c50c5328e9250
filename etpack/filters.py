"""Byte planes, rotation and bit transposition, over numpy; all reversible, none changes the size of its data.

An element is a little-endian integer of `width` bytes, counted from the block's first byte; plane k is byte k
of every element. The last (size mod width) bytes of a block belong to no element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = "NDArray[np.uint8]"

# Small blocks are filtered together up to this many bytes, which amortises numpy's calls and still stays in a cache.
BATCH_SIZE = 128 << 10
# The element of each width.
DTYPES: dict[int, np.dtype[np.unsignedinteger[Any]]] = {2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}


def split(block: Bytes, width: int, rotated: bool) -> list[Bytes]:
    """Return the `width` planes of a block of n bytes, each uint8 of shape (n // width,).

    Args:
        block: uint8 of shape (n,), C-contiguous.
        width: 2, 4 or 8.
        rotated: Rotate each element left by one bit first, which puts a float's exponent into one byte.
    """
    count = len(block) // width
    elements = block[: count * width].view(DTYPES[width])
    if rotated:
        elements = (elements << 1) | (elements >> (8 * width - 1))
    # Shifts of whole elements run several times faster than strided copies of single bytes.
    return [elements.astype(np.uint8)] + [(elements >> (8 * k)).astype(np.uint8) for k in range(1, width)]


def batches(blocks: Sequence[Bytes]) -> Iterator[slice]:
    """Cut a sequence of blocks into runs that are worth one call each: of up to BATCH_SIZE bytes, or one block."""
    start = size = 0
    for number, block in enumerate(blocks):
        if number > start and size + len(block) > BATCH_SIZE:
            yield slice(start, number)
            start, size = number, 0
        size += len(block)
    if start < len(blocks):
        yield slice(start, len(blocks))


def split_many(blocks: Sequence[Bytes], width: int, rotated: bool) -> list[list[Bytes]]:
    """Return for each block what `split` gives; cheaper than one by one when blocks are small."""
    made = []
    for batch in batches(blocks):
        counts = [len(block) // width for block in blocks[batch]]
        wholes = [block[: count * width] for block, count in zip(blocks[batch], counts, strict=True)]
        planes = split(wholes[0] if len(wholes) == 1 else np.concatenate(wholes), width, rotated)
        for count, end in zip(counts, accumulate(counts), strict=True):
            made.append([plane[end - count : end] for plane in planes])
    return made


def merge(planes: list[Bytes], rotated: bool, out: Bytes) -> None:
    """Undo `split`: write the elements that `planes` make up to the start of `out`.

    Args:
        planes: 2, 4 or 8 arrays of uint8, all of shape (count,).
        rotated: Whether `split` rotated.
        out: uint8 of at least count * len(planes) bytes, C-contiguous.
    """
    width = len(planes)
    dtype = DTYPES[width]
    count = len(planes[0])
    elements = planes[-1].astype(dtype)
    for plane in reversed(planes[:-1]):
        elements <<= 8
        elements |= plane
    target = out[: count * width].view(dtype)
    if rotated:
        np.right_shift(elements, 1, out=target)
        elements <<= 8 * width - 1
        target |= elements
    else:
        target[:] = elements


def _transpose_8x8(words: NDArray[np.uint64]) -> None:
    """Transpose each word in place as an 8 by 8 matrix of bits: bit b of byte j becomes bit j of byte b."""
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        moved = words >> np.uint64(shift)
        moved ^= words
        moved &= np.uint64(mask)
        words ^= moved
        moved <<= np.uint64(shift)
        words ^= moved


def to_bitplanes(plane: Bytes) -> Bytes:
    """Return the bit-transposed plane: row b holds bit b of every byte, byte 8 i + j at bit j of the row's byte i.

    The result is uint8 of shape (8 * ceil(n / 8),); bits past the plane's end are zero.
    """
    words: NDArray[np.uint64] = np.zeros(-(-len(plane) // 8), dtype="<u8")
    words.view(np.uint8)[: len(plane)] = plane
    _transpose_8x8(words)
    rows: Bytes = words.view(np.uint8).reshape(-1, 8).T.copy(order="C").reshape(-1)
    return rows


def from_bitplanes(rows: Bytes, size: int) -> Bytes:
    """Undo `to_bitplanes`; `size` is the plane's size in bytes. Bits past it are ignored."""
    words: NDArray[np.uint64] = rows.reshape(8, -1).T.copy(order="C").reshape(-1).view("<u8")
    _transpose_8x8(words)
    plane: Bytes = words.view(np.uint8)[:size]
    return plane
