"""Reads a content once, block by block, and keeps digests: what is the same in two files is told by them.

Memory is a few spans, and some tens of bytes a block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etpack.errors import LimitError
from etpack.parallel import in_order
from etpack.plan import Extent, Span, spans
from etpack.pte import Range
from etpack.sources import Source

# SHA-256, cut: processors have instructions for it, and two blocks that agree in so much are not met by chance.
DIGEST_SIZE = 16

_CHUNK_SIZE = 1 << 20
# Parts may overlap without end in a hostile file. So many bytes for each of the content may be read again.
_MOST_READS = 8

# What it costs to look at a block's digest, against reading a byte.
_COST_OF_BLOCK = 64


class Survey:
    """The digests of a content's blocks.

    Attributes:
        starts: Content offset of each block: int64 of shape (blocks,).
        ends: Where each ends: int64 of shape (blocks,).
        digests: Of each block: S16 of shape (blocks,).
        meter: What may be read again.
    """

    def __init__(self, content: Source, extents: Sequence[Extent], block_size: int, jobs: int) -> None:
        """Read all blocks.

        Args:
            content: What is surveyed.
            extents: Where it is cut, by offset; what lies between is zeros.
            block_size: Bytes of a full block.
            jobs: Threads.

        Raises:
            FormatError: The content is that of a damaged `.etz`.
            OSError: It cannot be read.
        """
        self._content = content
        self._known: dict[Range, bytes] = {}
        self.meter = Meter(content)
        sizes, digests = [], bytearray()
        offsets = []
        todo = (span for span in spans(extents, content.size, block_size) if span.rows)
        for span, found in in_order(self._hash, todo, jobs):
            for row in span.rows:
                offsets.append(row.offset + np.arange(row.count, dtype=np.int64) * row.block_size)
                sizes.append(np.full(row.count, row.block_size, np.int64))
            digests += found
        none = np.empty(0, np.int64)
        self.starts: NDArray[np.int64] = np.concatenate([none, *offsets])
        self.ends: NDArray[np.int64] = self.starts + np.concatenate([none, *sizes])
        self.digests: NDArray[np.bytes_] = np.frombuffer(bytes(digests), f"S{DIGEST_SIZE}")

    def _hash(self, span: Span) -> tuple[Span, bytes]:
        start = span.range.offset
        view = memoryview(bytearray(span.range.size))
        self._content.read_into(start, view)
        found = bytearray()
        for row in span.rows:
            for offset in range(row.offset - start, row.end - start, row.block_size):
                found += _digest(view[offset : offset + row.block_size])
        return span, bytes(found)

    def blocks_of(self, place: Range) -> tuple[NDArray[np.int64], NDArray[np.bytes_]] | None:
        """Return the blocks that make up a part, or None if it is not cut where they are.

        Returns:
            Start and end of each, counted from the start of the part: int64 of shape (2, blocks); and their digests.

        Raises:
            LimitError: The parts overlap too much.
        """
        first = int(np.searchsorted(self.ends, place.offset, "right"))
        last = int(np.searchsorted(self.starts, place.end, "left"))
        self.meter.spend(_COST_OF_BLOCK * max(0, last - first))
        if first < last and (self.starts[first] < place.offset or self.ends[last - 1] > place.end):
            return None
        bounds = np.stack([self.starts[first:last], self.ends[first:last]]) - place.offset
        return bounds, self.digests[first:last]

    def lacking(self, other: Survey) -> NDArray[np.bool_]:
        """Return which of the blocks the other content does not have: bool of shape (blocks,)."""
        known = np.sort(other.digests)
        if not len(known):
            return np.ones(len(self.digests), np.bool_)
        nearest = np.minimum(np.searchsorted(known, self.digests), len(known) - 1)
        lacking: NDArray[np.bool_] = known[nearest] != self.digests
        return lacking

    def digest(self, place: Range) -> bytes:
        """Return a digest of the bytes of a part; equal ones mean equal bytes, others only mostly other bytes.

        A part that is cut like the blocks is not read again.

        Raises:
            LimitError: The parts overlap too much.
        """
        known = self._known.get(place)
        if known is None:
            blocks = self.blocks_of(place)
            known = self._from_bytes(place) if blocks is None else _digest_of_blocks(place, *blocks)
            self._known[place] = known
        return known

    def _from_bytes(self, place: Range) -> bytes:
        self.meter.spend(place.size)
        digest = hashlib.sha256()
        for offset in range(place.offset, place.end, _CHUNK_SIZE):
            digest.update(self._content.read_at(offset, min(_CHUNK_SIZE, place.end - offset)))
        return digest.digest()[:DIGEST_SIZE]


class Meter:
    """Counts what is read again."""

    def __init__(self, content: Source) -> None:
        self._left = _MOST_READS * (content.size + _CHUNK_SIZE)

    def spend(self, size: int) -> None:
        """Raise LimitError if, with these, too many bytes were read again."""
        self._left -= size
        if self._left < 0:
            raise LimitError("the parts overlap each other too much to be compared", hint="compare the files with cmp")


def _digest_of_blocks(place: Range, bounds: NDArray[np.int64], digests: NDArray[np.bytes_]) -> bytes:
    if len(digests) == 1 and bounds.T.tolist() == [[0, place.size]]:
        return digests.tobytes()  # that of the bytes: what is one block here may be a part of one in the other file
    # Longer than one of bytes, so that the two are never equal.
    return _digest(bounds.tobytes() + digests.tobytes()) + place.size.to_bytes(8, "little")


def _digest(data: memoryview | bytes) -> bytes:
    return hashlib.sha256(data).digest()[:DIGEST_SIZE]
