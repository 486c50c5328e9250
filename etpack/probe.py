"""A cheap look at blocks before they are compressed: how many bits their planes would take, in integer arithmetic.

Only a block's own bytes decide, so that equal blocks are coded alike in every file and on every machine. Blocks
are looked at many at a time only because numpy's calls cost more than what they do for one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etpack.filters import DTYPES, Bytes
from etpack.layout import FilterId

# Rows of this many bytes are taken at equal distances; a multiple of the widest element.
_ROW = 64
_MAX_ROWS = 64
# Fixed point of the logarithms below.
_ONE_BIT = 1 << 12
# What Miller and Madow add for each symbol but one: half a nat.
_BIAS = _ONE_BIT * 72135 // 100000
# Blocks counted at once: as many as stay in a processor's cache.
_BATCH = 16
# A filter must promise this many bits per byte less than a narrower one, since a small sample flatters wide elements.
_MARGINS = (
    (FilterId.PLANES_2, _ONE_BIT * 12 // 100),
    (FilterId.PLANES_4, _ONE_BIT * 12 // 100),
    (FilterId.PLANES_8, _ONE_BIT * 30 // 100),
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


def sample(block: Bytes) -> Bytes:
    """Return at most 4 KiB of the block, in rows of 64 bytes at equal distances; whole 8-byte elements only."""
    rows = len(block) // _ROW
    if rows <= _MAX_ROWS:
        return block[: min(len(block) // 8 * 8, _ROW * _MAX_ROWS)]
    step = rows // _MAX_ROWS
    return block[: rows * _ROW].reshape(rows, _ROW)[::step][:_MAX_ROWS].reshape(-1)


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


def _entropies(histograms: NDArray[np.int64], counts: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Return the entropy of each plane's byte in 1/4096 bit, corrected for the bias of a small sample.

    Args:
        histograms: int64 of shape (blocks, planes, 256).
        counts: Bytes in a plane's sample, one number or int64 of shape (planes,).

    Returns:
        int64 of shape (blocks, planes).
    """
    # Miller and Madow: the plug-in estimate is low by (symbols - 1) / 2 nats, that is 0.72135 bits, in all.
    symbols = np.add.reduce(_symbol_costs().take(histograms), axis=2, dtype=np.int32)
    bits = _count_costs()[counts] - symbols - _BIAS
    entropies: NDArray[np.int64] = np.minimum(bits // np.maximum(counts, 1), 8 * _ONE_BIT)
    return entropies


def _plain_entropies(samples: Bytes) -> NDArray[np.int64]:
    """Return the entropies under the filters that do not rotate: int64 of shape (count, 15), as in _COLUMNS."""
    by_8 = _histograms(samples, 8)
    by_4 = by_8[:, :4] + by_8[:, 4:]
    by_2 = by_4[:, :2] + by_4[:, 2:]
    by_1 = by_2[:, :1] + by_2[:, 1:]
    return _entropies(np.concatenate([by_1, by_2, by_4, by_8], axis=1), samples.shape[1] // _PLAIN_WIDTHS)


def _rotated_entropies(samples: Bytes, width: int) -> NDArray[np.int64]:
    """Return the entropies of the planes of rotated elements: int64 of shape (count, width)."""
    elements = samples.view(DTYPES[width])
    rotated = (elements << 1) | (elements >> (8 * width - 1))
    return _entropies(_histograms(rotated.view(np.uint8), width), samples.shape[1] // width)


def _means(table: NDArray[np.int64], kind: FilterId) -> NDArray[np.int64]:
    """Return the mean entropy of a byte under a filter, for each row of a table of entropies."""
    columns = _COLUMNS[kind]
    means: NDArray[np.int64] = table[:, columns].sum(axis=1) // (columns.stop - columns.start)
    return means


class Probes:
    """What samples of some blocks say; entropies in bits per byte, in units of 1/4096.

    Args:
        blocks: Each uint8 of shape (n,); n may differ.
        thorough: Look at every rotation, and not only at that of the best filter without.
    """

    ONE_BIT = _ONE_BIT

    def __init__(self, blocks: Sequence[Bytes], thorough: bool = False) -> None:
        # One row for each block; what was not looked at stays 0.
        self._table = np.zeros((len(blocks), 29), np.int64)
        by_size: defaultdict[int, list[int]] = defaultdict(list)
        samples = [sample(block) for block in blocks]
        for number, data in enumerate(samples):
            by_size[len(data)].append(number)
        best = np.zeros(len(blocks), np.int64)
        for numbers in by_size.values():
            for start in range(0, len(numbers), _BATCH):
                batch = numbers[start : start + _BATCH]
                best[batch] = self._look(np.stack([samples[number] for number in batch]), batch, thorough)
        self._rows: list[list[int]] = self._table.tolist()
        # For each block the filter under which its sample has the lowest entropy, the narrower one when in doubt.
        self.best = [FilterId(kind) for kind in best.tolist()]

    def _look(self, samples: Bytes, batch: list[int], thorough: bool) -> NDArray[np.int64]:
        """Fill the rows of blocks whose samples, uint8 of shape (count, size), are given; return their filters."""
        table = np.zeros((len(batch), self._table.shape[1]), np.int64)
        table[:, _PLAIN] = _plain_entropies(samples)
        best = np.zeros(len(batch), np.int64)
        mean = _means(table, FilterId.NONE)
        for kind, margin in _MARGINS:
            other = _means(table, kind)
            better = other + margin < mean
            best[better], mean[better] = kind, other[better]
        for kind, width in _ROTATED.items():
            chosen = np.flatnonzero(best == kind - 1)
            looked_at = np.arange(len(batch)) if thorough else chosen
            if len(looked_at):
                table[looked_at, _COLUMNS[kind]] = _rotated_entropies(samples[looked_at], width)
                better = _means(table[chosen], kind) < mean[chosen]
                best[chosen[better]] = kind
        self._table[batch] = table
        return best

    def planes(self, number: int, kind: FilterId) -> list[int]:
        """Return the entropy of each plane that a filter would give of a block."""
        return self._rows[number][_COLUMNS[kind]]
