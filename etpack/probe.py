"""A cheap look at blocks before they are compressed: how many bits their planes would take, in integer arithmetic.

Only a block's own bytes decide, so that equal blocks are coded alike in every file and on every machine. Blocks
are looked at many at a time only because numpy's calls cost more than what they do for one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etpack import kernels
from etpack.filters import DTYPES, Bytes
from etpack.layout import FilterId

# Rows of this many bytes are taken at equal distances; a multiple of the widest element.
_ROW = 64
_MAX_ROWS = 64
# Fixed point of the logarithms below.
ONE_BIT = 1 << 12
# What Miller and Madow add for each symbol but one: half a nat.
_BIAS = ONE_BIT * 72135 // 100000
# Blocks counted at once: as many as stay in a processor's cache.
_BATCH = 16
# A filter must promise this many bits per byte less than a narrower one, since a small sample flatters wide elements.
_MARGINS = (
    (FilterId.PLANES_2, ONE_BIT * 12 // 100),
    (FilterId.PLANES_4, ONE_BIT * 12 // 100),
    (FilterId.PLANES_8, ONE_BIT * 30 // 100),
)
_ROTATED = {FilterId.PLANES_2_ROTATED: 2, FilterId.PLANES_4_ROTATED: 4, FilterId.PLANES_8_ROTATED: 8}
# The columns of each filter's planes in the table of entropies.
_COLUMNS = {
    FilterId.NONE: slice(0, 1),
    FilterId.PLANES_2: slice(1, 3),
    FilterId.PLANES_4: slice(3, 7),
    FilterId.PLANES_8: slice(7, 15),
    FilterId.PLANES_2_ROTATED: slice(15, 17),
    FilterId.PLANES_4_ROTATED: slice(17, 21),
    FilterId.PLANES_8_ROTATED: slice(21, 29),
}
_PLAIN = slice(0, 15)
_PLAIN_WIDTHS = np.repeat((1, 2, 4, 8), (1, 2, 4, 8))


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


@lru_cache(maxsize=1)
def _symbol_costs() -> NDArray[np.int32]:
    """Return what a symbol seen c times takes off the bits of its plane: its cost, less the bias it brings.

    A plane's sum is at most the cost of the whole sample, 12 * 4096 * 4096, which fits.
    """
    costs = (_count_costs() - _BIAS).astype(np.int32)
    costs[0] = 0
    return costs


def sample(blocks: Bytes) -> Bytes:
    """Return at most 4 KiB of each block, in rows of 64 bytes at equal distances; whole 8-byte elements only.

    Args:
        blocks: uint8 of shape (blocks, n).

    Returns:
        uint8 of shape (blocks, size), C-contiguous.
    """
    count, size = blocks.shape
    rows = size // _ROW
    if rows <= _MAX_ROWS:
        return np.ascontiguousarray(blocks[:, : min(size // 8 * 8, _ROW * _MAX_ROWS)])
    step = rows // _MAX_ROWS
    chosen = blocks[:, : rows * _ROW].reshape(count, rows, _ROW)[:, ::step][:, :_MAX_ROWS]
    return np.ascontiguousarray(chosen).reshape(count, _ROW * _MAX_ROWS)


def _totals(samples: Bytes, width: int) -> NDArray[np.int64]:
    """Return what the symbols of each plane take off its bits, from a histogram for each plane of each block.

    Args:
        samples: uint8 of shape (blocks, size), C-contiguous.
        width: 0 for the columns of the filters that do not rotate, else that of the rotated element.

    Returns:
        int64 of shape (blocks, 15), or (blocks, width).
    """
    if kernels.native:
        totals = np.empty((len(samples), width or 15), np.int64)
        kernels.native.totals(samples, len(samples), width, _symbol_costs(), totals)
        return totals
    starts = range(0, len(samples), _BATCH)
    return np.concatenate([_totals_of_batch(samples[start : start + _BATCH], width) for start in starts])


def _totals_of_batch(samples: Bytes, width: int) -> NDArray[np.int64]:
    if width:
        elements = samples.view(DTYPES[width])
        histograms = _histograms(((elements << 1) | (elements >> (8 * width - 1))).view(np.uint8), width)
    else:
        by_8 = _histograms(samples, 8)
        by_4 = by_8[:, :4] + by_8[:, 4:]
        by_2 = by_4[:, :2] + by_4[:, 2:]
        histograms = np.concatenate([by_2[:, :1] + by_2[:, 1:], by_2, by_4, by_8], axis=1)
    totals: NDArray[np.int64] = np.add.reduce(_symbol_costs().take(histograms), axis=2, dtype=np.int64)
    return totals


@lru_cache(maxsize=8)
def _cells(count: int, size: int, width: int) -> NDArray[np.int64]:
    """Return the histogram cell of byte 0 at each place of `count` samples: int64 of shape (count, size)."""
    positions = np.tile(np.arange(width, dtype=np.int64) * 256, size // width)
    return positions + np.arange(count, dtype=np.int64)[:, np.newaxis] * (width * 256)


def _histograms(samples: Bytes, width: int) -> NDArray[np.int64]:
    """Return how often each byte value stands at each position in an element.

    Args:
        samples: uint8 of shape (count, size).
        width: Bytes per element; divides `size`.

    Returns:
        int64 of shape (count, width, 256).
    """
    count, size = samples.shape
    cells = _cells(count, size, width) + samples
    return np.bincount(cells.reshape(-1), minlength=count * width * 256).reshape(count, width, 256)


def _entropies(totals: NDArray[np.int64], counts: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Return the entropy of each plane's byte in 1/4096 bit, corrected for the bias of a small sample.

    Args:
        totals: int64 of shape (blocks, planes), from `_totals`.
        counts: Bytes in a plane's sample, one number or int64 of shape (planes,).

    Returns:
        int64 of shape (blocks, planes).
    """
    # Miller and Madow: the plug-in estimate is low by (symbols - 1) / 2 nats, that is 0.72135 bits, in all.
    bits = _count_costs()[counts] - totals - _BIAS
    entropies: NDArray[np.int64] = np.minimum(bits // np.maximum(counts, 1), 8 * ONE_BIT)
    return entropies


def _means(table: NDArray[np.int64], kind: FilterId) -> NDArray[np.int64]:
    """Return the mean entropy of a byte under a filter, for each row of a table of entropies."""
    columns = _COLUMNS[kind]
    means: NDArray[np.int64] = table[:, columns].sum(axis=1) // (columns.stop - columns.start)
    return means


class Probes:
    """What samples of some blocks say; entropies in bits per byte, in units of 1/4096.

    Args:
        blocks: uint8 of shape (blocks, n), C-contiguous.
        thorough: Look at every rotation, and not only at that of the best filter without.
    """

    def __init__(self, blocks: Bytes, thorough: bool = False) -> None:
        samples = sample(blocks)
        # One row for each block; what was not looked at stays 0.
        table = np.zeros((len(blocks), 29), np.int64)
        best = _look(samples, table, thorough)
        self._rows: list[list[int]] = table.tolist()
        # For each block the filter under which its sample has the lowest entropy, the narrower one when in doubt.
        self.best = [FilterId(kind) for kind in best.tolist()]

    def planes(self, number: int, kind: FilterId) -> list[int]:
        """Return the entropy of each plane that a filter would give of a block."""
        return self._rows[number][_COLUMNS[kind]]


def _look(samples: Bytes, table: NDArray[np.int64], thorough: bool) -> NDArray[np.int64]:
    """Fill the rows of a table of entropies from samples, uint8 of shape (count, size); return the best filters."""
    size = samples.shape[1]
    table[:, _PLAIN] = _entropies(_totals(samples, 0), size // _PLAIN_WIDTHS)
    best = np.zeros(len(samples), np.int64)
    mean = _means(table, FilterId.NONE)
    for kind, margin in _MARGINS:
        other = _means(table, kind)
        better = other + margin < mean
        best[better], mean[better] = kind, other[better]
    for kind, width in _ROTATED.items():
        chosen = np.flatnonzero(best == kind - 1)
        looked_at = np.arange(len(samples)) if thorough else chosen
        if len(looked_at):
            table[looked_at, _COLUMNS[kind]] = _entropies(_totals(samples[looked_at], width), size // width)
            better = _means(table[chosen], kind) < mean[chosen]
            best[chosen[better]] = kind
    return best
