"""Counting what is read of a source, and which blocks are decoded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from etpack import blocks
from etpack.layout import IndexEntry
from etpack.sources import Source


class CountingSource:
    """Passes reads on to another source and notes each as (offset, size)."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.reads: list[tuple[int, int]] = []
        self._source = source

    @property
    def size(self) -> int:
        return self._source.size

    @property
    def bytes_read(self) -> int:
        return sum(size for _, size in self.reads)

    def read_at(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return self._source.read_at(offset, size)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.reads.append((offset, len(buffer)))
        self._source.read_into(offset, buffer)

    def close(self) -> None:
        self._source.close()


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of every block that is decoded from now on."""
    decoded: list[int] = []
    honest = blocks.decode_many

    def decode_many(
        stored: Sequence[bytes | memoryview],
        entries: Sequence[IndexEntry],
        outs: Sequence[memoryview],
        first: int,
        alignment: int,
    ) -> None:
        decoded.extend(range(first, first + len(entries)))
        honest(stored, entries, outs, first, alignment)

    monkeypatch.setattr(blocks, "decode_many", decode_many)
    return decoded
