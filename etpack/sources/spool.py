"""A remote file in a temporary one, which has no name and goes at the end: each byte is fetched once."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from typing import BinaryIO

from etpack.disk import free_space, write_all
from etpack.errors import SourceError, naming_file
from etpack.sources import check_range

# Bytes that are fetched together.
PIECE_SIZE = 4 << 20


def make_spool(size: int) -> BinaryIO:
    """Return a temporary file without a name.

    Raises:
        SourceError: Its folder has no room for `size` bytes.
        OSError: It cannot be made; names the folder.
    """
    folder = tempfile.gettempdir()
    free = free_space(folder)
    if free is not None and free < size:
        raise _no_room(f"{size:,} bytes; {free:,} are free")
    with naming_file(folder):
        file: BinaryIO = tempfile.TemporaryFile(prefix="etpack-", buffering=0)  # noqa: SIM115  (closed by its source)
    return file


def _no_room(what: str) -> SourceError:
    """Return the error for a temporary folder that is full."""
    folder = tempfile.gettempdir()
    return SourceError(f"{folder} has no room for {what}", hint="set TMPDIR to a folder that has")


def write_at(file: BinaryIO, offset: int, data: bytes) -> None:
    """Write `data` at `offset`; raise SourceError if that fails. For one thread at a time."""
    try:
        file.seek(offset)
        write_all(file.write, data)
    except OSError as exc:
        raise _no_room(f"what is fetched: {exc.strerror}") from exc


class SpooledSource:
    """A source over a temporary file that is filled as it is read, in pieces of 4 MiB; safe to use from many threads.

    Args:
        name: For messages.
        size: Bytes of the remote file.
        file: The temporary file; it is closed with the source.
        known: Bytes at its start that are there already.
        fetch: Takes an offset of the remote file and a size, and returns the bytes; None if all are there.
        done: Called at the end.
    """

    def __init__(
        self,
        name: str,
        size: int,
        file: BinaryIO,
        known: int,
        fetch: Callable[[int, int], bytes] | None,
        done: Callable[[], None],
    ) -> None:
        self.name = name
        self._size = size
        self._file = file
        self._known = known
        self._fetch = fetch
        self._done = done
        self._lock = threading.Lock()
        self._missing = set(range(-(-size // PIECE_SIZE))) if fetch else set()

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        check_range(self, offset, size)
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if self._file.closed:
            raise ValueError(f"{self.name} was closed")
        check_range(self, offset, len(buffer))
        end = offset + len(buffer)
        if end > self._known:
            for piece in range(offset // PIECE_SIZE, -(-end // PIECE_SIZE)):
                self._fill(piece)
        fd = self._file.fileno()
        with naming_file(tempfile.gettempdir()):
            while buffer:
                count = os.preadv(fd, [buffer], offset)
                if not count:
                    raise OSError(errno.EIO, "the temporary file was cut")
                buffer, offset = buffer[count:], offset + count

    def _fill(self, piece: int) -> None:
        with self._lock:
            if piece not in self._missing or self._fetch is None:
                return
            start = max(piece * PIECE_SIZE, self._known if piece == 0 else 0)
            end = min((piece + 1) * PIECE_SIZE, self._size)
            if end > start:
                write_at(self._file, start, self._fetch(start, end - start))
            self._missing.remove(piece)

    def close(self) -> None:
        """Give the temporary file back, and end the connection."""
        self._file.close()
        self._done()
