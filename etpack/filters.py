"""Byte planes, rotation and bit transposition, over numpy; all reversible, none changes the size of its data.

An element is a little-endian integer of `width` bytes, counted from the block's first byte; plane k is byte k
of every element. The last (size mod width) bytes of a block belong to no element.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from etpack import kernels
from etpack.kernels import BytesLike

Bytes: TypeAlias = "NDArray[np.uint8]"

# Small blocks are filtered together up to this many bytes, which amortises numpy's calls and still stays in a cache.
BATCH_SIZE = 128 << 10
# The element of each width.
DTYPES: dict[int, np.dtype[np.unsignedinteger[Any]]] = {2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}


class Scratch(threading.local):
    """A buffer for each thread that is used again and again, since every page of fresh memory costs a fault."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def take(self, *shape: int) -> Bytes:
        """Return uninitialised uint8 of this shape; what this thread took before is not to be used any more."""
        size = math.prod(shape)
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size].reshape(shape)


def batches(count: int, size: int) -> Iterator[slice]:
    """Cut `count` blocks of `size` bytes into runs of up to BATCH_SIZE bytes, or of one block."""
    step = max(1, BATCH_SIZE // max(1, size))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def split(blocks: Bytes, width: int, rotated: bool, scratch: Scratch | None = None) -> list[Bytes]:
    """Return the planes of each of several blocks of one size.

    Args:
        blocks: uint8 of shape (blocks, n), C-contiguous.
        width: 2, 4 or 8.
        rotated: Rotate each element left by one bit first, which puts a float's exponent into one byte.
        scratch: Where the planes go; into memory of their own by default.

    Returns:
        `width` arrays of uint8 of shape (blocks, n // width).
    """
    count, size = blocks.shape
    planes = (scratch or Scratch()).take(width, count, size // width)
    if kernels.native:
        kernels.native.split(blocks, count, width, rotated, planes)
        return list(planes)
    for batch in batches(count, size):
        elements = blocks[batch, : size // width * width].view(DTYPES[width])
        if rotated:
            elements = (elements << 1) | (elements >> (8 * width - 1))
        # Shifts of whole elements run several times faster than strided copies of single bytes.
        for k in range(width):
            planes[k, batch] = (elements >> (8 * k)).astype(np.uint8)
    return list(planes)


def merge(planes: Sequence[BytesLike | Bytes], width: int, rotated: bool, outs: Sequence[memoryview]) -> None:
    """Undo `split`: write the elements that planes make up to the start of each of `outs`.

    Args:
        planes: The planes of the first block, then those of the second, and so on; all of one block have n // width
            bytes.
        width: 2, 4 or 8.
        rotated: Whether `split` rotated.
        outs: For each block n writable bytes.
    """
    if kernels.native:
        kernels.native.merge(planes, width, rotated, outs)
        return
    for number, out in enumerate(outs):
        part = planes[number * width : (number + 1) * width]
        _merge([np.frombuffer(plane, np.uint8) for plane in part], rotated, np.frombuffer(out, np.uint8))


def _merge(planes: Sequence[Bytes], rotated: bool, out: Bytes) -> None:
    width = len(planes)
    dtype = DTYPES[width]
    elements = planes[-1].astype(dtype)
    for plane in reversed(planes[:-1]):
        elements <<= 8
        elements |= plane
    target = out[: len(elements) * width].view(dtype)
    if rotated:
        np.right_shift(elements, 1, out=target)
        elements <<= 8 * width - 1
        target |= elements
    else:
        target[...] = elements


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
