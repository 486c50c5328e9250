"""Positional reads from paths, URLs, buffers and file objects; no two readers ever share a seek position."""

from __future__ import annotations

import errno
import io
import mmap
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, TypeAlias, runtime_checkable

from etpack.errors import EtpackError, SourceError
from etpack.limits import Limits
from etpack.sources.urls import as_path, is_url

Readable: TypeAlias = "bytes | bytearray | memoryview | mmap.mmap"
SourceLike: TypeAlias = "str | os.PathLike[str] | Readable | BinaryIO | Source"


@runtime_checkable
class Source(Protocol):
    """Anything that can be read at any offset, from many threads at once."""

    name: str

    @property
    def size(self) -> int:
        """Size in bytes, fixed when the source was opened."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes starting at byte `offset`.

        Raises:
            ValueError: The range leaves the source.
            SourceError: The source ended before its size; it was cut while it was read.
        """

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` (C-contiguous bytes) from byte `offset`; errors as `read_at`."""

    def close(self) -> None:
        """Let go of what the source opened itself."""


def check_range(source: Source, offset: int, size: int) -> None:
    """Raise ValueError unless 0 <= offset, 0 <= size and offset + size <= source.size."""
    if offset < 0 or size < 0 or offset + size > source.size:
        raise ValueError(f"range {offset:#x}+{size:#x} leaves {source.name}, which has {source.size:,} bytes")


def _ended_early(name: str, offset: int) -> SourceError:
    message = f"ended at {offset:#x}, before its size; was it cut while it was read?"
    return SourceError(message, hint="try again", path=name)


def _refuse_special(path: str) -> None:
    """Raise OSError for what cannot be read at random: a folder, a pipe, a terminal, a character device."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise _not_at_random(path)


def _not_at_random(path: str) -> OSError:
    return OSError(errno.ESPIPE, "cannot be read at random; give a regular file", path)


class FileSource:
    """A regular file, or a block device, read with `pread`: no seek position at all."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        _refuse_special(self.name)
        self._fd = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._fingerprint = self.fingerprint()
            self._size = os.lseek(self._fd, 0, os.SEEK_END)  # unlike st_size, also right for block devices
        except OSError as exc:
            os.close(self._fd)
            if exc.errno == errno.EINVAL:  # such files of /proc pass for regular ones
                raise _not_at_random(self.name) from exc
            exc.filename = self.name
            raise

    @property
    def size(self) -> int:
        return self._size

    def _check(self, offset: int, size: int) -> None:
        if self._fd < 0:
            raise ValueError(f"{self.name} was closed")
        check_range(self, offset, size)

    def _explain(self, error: OSError) -> None:
        """Name the file in an OSError; one that comes of a `close` meanwhile is a ValueError, as after it."""
        if self._fd < 0:
            raise ValueError(f"{self.name} was closed") from error
        error.filename = self.name

    def fingerprint(self) -> tuple[int, int, int]:
        """Size in bytes, and times of modification and change in ns, read anew; they differ when it was written to.

        Only the last one cannot be set back; it also differs when the file was renamed, linked or replaced.
        """
        status = os.fstat(self._fd)
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def changed(self) -> bool:
        """Whether the file was written to since it was opened."""
        return self.fingerprint() != self._fingerprint

    def read_at(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        try:
            data = os.pread(self._fd, size, offset)
        except OSError as exc:
            self._explain(exc)
            raise
        if len(data) == size:
            return data
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._check(offset, len(buffer))
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._fd, [buffer[done:]], offset + done)
            except OSError as exc:
                self._explain(exc)
                raise
            if count == 0:
                raise _ended_early(self.name, offset + done)
            done += count

    def close(self) -> None:
        # First the number, then the file: another thread must not read from what gets the number next.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BufferSource:
    """Bytes that are already in memory or mapped; the buffer must not change while it is read."""

    def __init__(self, buffer: Readable, name: str = "<buffer>") -> None:
        self.name = name
        self._view = memoryview(buffer).cast("B")

    @property
    def size(self) -> int:
        return len(self._view)

    def read_at(self, offset: int, size: int) -> bytes:
        check_range(self, offset, size)
        return bytes(self._view[offset : offset + size])

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        buffer[:] = self._view[offset : offset + len(buffer)]

    def close(self) -> None:
        self._view.release()


class FileObjectSource:
    """A seekable binary file object of the caller's; a lock keeps its one seek position to one reader at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self.name = str(getattr(file, "name", "<file object>"))
        self._file = file
        self._lock = threading.Lock()
        self._size = file.seek(0, io.SEEK_END)

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        check_range(self, offset, size)
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(size)
            while len(data) < size:
                more = self._file.read(size - len(data))
                if not more:
                    raise _ended_early(self.name, offset + len(data))
                data += more
        return data

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.read_at(offset, len(buffer))

    def close(self) -> None:
        """Leave the caller's file open: it is theirs."""


def open_source(thing: SourceLike, *, limits: Limits | None = None, whole: bool = False) -> Source:
    """Return a source over a path, a URL, a buffer, a seekable binary file object, or a source itself.

    Args:
        thing: What to read. A string with `://` in it is a URL, read by ranges if its server does them.
        limits: How much of a URL may go into a temporary file.
        whole: All of it will be read; what is behind a URL then goes through a temporary file, each byte once.

    Raises:
        OSError: The path cannot be opened, or the URL cannot be fetched.
        UnsupportedError: A library that the URL needs is not installed.
        LimitError: What would have to be downloaded is too large.
        TypeError: `thing` is none of these, or is a file object that cannot seek or is not binary.
    """
    if isinstance(thing, (str, os.PathLike)):
        path = as_path(thing)
        return _open_url(path, limits or Limits(), whole) if is_url(path) else FileSource(path)
    if isinstance(thing, (bytes, bytearray, memoryview, mmap.mmap)):
        return BufferSource(thing)
    if isinstance(thing, Source):
        return thing
    if hasattr(thing, "read") and hasattr(thing, "seek"):
        if isinstance(thing, io.TextIOBase):
            raise TypeError("a text file cannot be a source; open it with mode 'rb'")
        try:
            return FileObjectSource(thing)
        except (OSError, ValueError) as exc:
            raise TypeError(f"{thing!r} cannot seek, so it cannot be read at random") from exc
    raise TypeError(f"cannot read from {type(thing).__name__}; give a path, a buffer or a seekable binary file")


def _open_url(url: str, limits: Limits, whole: bool) -> Source:
    from etpack.sources.remote import open_remote  # needs libraries that take long to load

    return open_remote(url, limits, whole=whole)


@contextmanager
def steady(source: Source) -> Iterator[None]:
    """Raise SourceError if the file changed meanwhile, whatever else that led to.

    Only a `FileSource` is asked: what is behind a URL looks after itself, and nothing else can tell.
    """
    try:
        yield
    except (EtpackError, OSError) as exc:
        if _has_changed(source) and not isinstance(exc, SourceError):
            raise _changed(source.name) from exc
        raise
    if _has_changed(source):
        raise _changed(source.name)


def _has_changed(source: Source) -> bool:
    return isinstance(source, FileSource) and source.changed()


def _changed(name: str) -> SourceError:
    return SourceError("changed while it was read", hint="try again when nothing writes to it", path=name)
