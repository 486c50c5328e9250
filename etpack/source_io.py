"""A source as a file object, for whatever wants one."""

from __future__ import annotations

import io

from etpack.sources import Source


class SourceIO(io.RawIOBase):
    """A source as a raw file with a position of its own; `io.BufferedReader` around it does the rest."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._position = 0
        self.name = source.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        size = max(0, min(len(view), self._source.size - self._position))
        if size:
            self._source.read_into(self._position, view[:size])
        self._position += size
        return size
