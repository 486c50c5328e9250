"""A cheap look at a block before it is compressed: how many bits its planes would take, in integer arithmetic.

Only the block's own bytes decide, so that equal blocks are coded alike in every file and on every machine.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etpack.filters import Bytes
from etpack.layout import FilterId

# Rows of this many bytes are taken at equal distances; a multiple of the widest element.
_ROW = 64
_MAX_ROWS = 64
# Fixed point of the logarithms below.
_ONE_BIT = 1 << 12


@lru_cache(maxsize=1)
def _count_costs() -> NDArray[np.int64]:
    """Return c * log2(c) for c in 0 .. sample size, in units of 1/4096 bit, by repeated squaring."""
    counts = np.arange(_ROW * _MAX_ROWS + 1, dtype=np.uint64)
    whole = np.zeros(len(counts), np.uint64)
    for shift in range(1, 14):
        whole += (counts >> np.uint64(shift)) > 0
    mantissa = counts << (np.uint64(31) - whole)
    log2 = whole << np.uint64(12)
    for bit in range(11, -1, -1):
        mantissa = mantissa * mantissa >> np.uint64(31)
        carry = mantissa >> np.uint64(32)
        log2 += carry << np.uint64(bit)
        mantissa >>= carry
    costs: NDArray[np.int64] = (counts * log2).astype(np.int64)
    costs[0] = 0
    return costs


def sample(block: Bytes) -> Bytes:
    """Return at most 4 KiB of the block, in rows of 64 bytes at equal distances; whole 8-byte elements only."""
    rows = len(block) // _ROW
    if rows <= _MAX_ROWS:
        return block[: len(block) // 8 * 8]
    step = rows // _MAX_ROWS
    return block[: rows * _ROW].reshape(rows, _ROW)[::step][:_MAX_ROWS].reshape(-1)


@lru_cache(maxsize=8)
def _positions(size: int, width: int) -> NDArray[np.int64]:
    return np.tile(np.arange(width, dtype=np.int64) * 256, size // width)


def _histograms(data: Bytes, width: int) -> NDArray[np.int64]:
    """Return the counts of each byte value by position in the element: int64 of shape (width, 256)."""
    return np.bincount(_positions(len(data), width) + data, minlength=width * 256).reshape(width, 256)


def _entropies(histograms: NDArray[np.int64]) -> list[int]:
    """Return the entropy of each row's byte in 1/4096 bit, corrected for the bias of a small sample."""
    costs = _count_costs()
    counts = histograms.sum(axis=1)
    bits = costs[counts] - costs[histograms].sum(axis=1)
    # Miller and Madow: the plug-in estimate is low by (symbols - 1) / 2 nats, that is 0.72135 bits, in all.
    bits += ((histograms > 0).sum(axis=1) - 1) * (_ONE_BIT * 72135 // 100000)
    return [min(b // max(count, 1), 8 * _ONE_BIT) for b, count in zip(bits.tolist(), counts.tolist(), strict=True)]


class Probe:
    """What a sample of one block says; entropies in bits per byte, in units of 1/4096."""

    ONE_BIT = _ONE_BIT

    def __init__(self, block: Bytes) -> None:
        self._data = sample(block)
        by_8 = _histograms(self._data, 8)
        by_4 = by_8[:4] + by_8[4:]
        by_2 = by_4[:2] + by_4[2:]
        by_1 = by_2[:1] + by_2[1:]
        entropies = _entropies(np.concatenate([by_1, by_2, by_4, by_8]))
        self._planes = {
            FilterId.NONE: entropies[:1],
            FilterId.PLANES_2: entropies[1:3],
            FilterId.PLANES_4: entropies[3:7],
            FilterId.PLANES_8: entropies[7:],
        }

    def planes(self, kind: FilterId) -> list[int]:
        """Return the entropy of each plane that the filter would give."""
        known = self._planes.get(kind)
        if known is None:
            elements = self._data.view(f"<u{kind.width}")
            rotated = (elements << 1) | (elements >> (8 * kind.width - 1))
            known = self._planes[kind] = _entropies(_histograms(rotated.view(np.uint8), kind.width))
        return known

    def mean(self, kind: FilterId) -> int:
        """Return the mean entropy of a byte under the filter."""
        planes = self.planes(kind)
        return sum(planes) // len(planes)
