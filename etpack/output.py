"""Output files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, TypeAlias

from etpack.errors import EtpackError

TEMPORARY_SUFFIX = ".etpack-tmp"

# Called with the bytes of content done and their total.
Progress: TypeAlias = "Callable[[int, int], None]"


class OutputExistsError(EtpackError):
    """The output file is there and overwriting was not asked for."""

    slug = "exists"
    exit_code = 2


class Output(Protocol):
    """Where bytes go, in order; what was written can be read again until the output is committed."""

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes that were written at `offset`."""


class FileOutput:
    """A temporary sibling of `path` that takes its name when the `with` block ends well, and goes if it does not.

    The sibling's name is fixed, `.NAME.etpack-tmp`, and locked while it is written: what a killed process left
    is taken over, and two processes never write the same file. A path that is there and is no regular file
    (a device, a pipe) is written straight.

    Args:
        path: Where the file shall be.
        overwrite: Replace a file that is there; the old one stays whole until the new one is complete.

    Raises:
        OutputExistsError: On entry and again at the end, if the file exists and `overwrite` is False.
        OSError: Something about the place is wrong, or another process writes the same file.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = os.path.realpath(path)
        self._overwrite = overwrite
        self._temporary: str | None = None
        self._fd = -1
        self._size = 0

    def __enter__(self) -> FileOutput:
        with _naming(self.path):
            if os.path.exists(self.path) and not stat.S_ISREG(os.stat(self.path).st_mode):
                self._fd = os.open(self.path, os.O_WRONLY)
                return self
            self._refuse_existing()
            folder, name = os.path.split(self.path)
            self._temporary = os.path.join(folder, f".{name}{TEMPORARY_SUFFIX}")
            self._fd = _open_locked(self._temporary, self.path)
        return self

    def _refuse_existing(self) -> None:
        if not self._overwrite and os.path.lexists(self.path):
            error = OutputExistsError("is there already", hint="choose another output with -o, or overwrite it with -f")
            error.path = self.path
            raise error

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        with _naming(self.path):
            while view:
                done = os.write(self._fd, view)
                self._size += done
                view = view[done:]

    def read_at(self, offset: int, size: int) -> bytes:
        if self._temporary is None:
            raise OSError(errno.ESPIPE, "cannot be read back", self.path)
        with _naming(self.path):
            return os.pread(self._fd, size, offset)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary is None:
            os.close(self._fd)
            return
        committed = False
        try:
            if kind is None:
                self._commit(self._temporary)
                committed = True
        finally:
            # Before the lock goes with the descriptor: afterwards the name may be another process's.
            if not committed:
                with contextlib.suppress(OSError):
                    os.unlink(self._temporary)
            os.close(self._fd)

    def _commit(self, temporary: str) -> None:
        with _naming(self.path):
            os.fsync(self._fd)
            self._refuse_existing()
            os.replace(temporary, self.path)
        _sync_folder(os.path.dirname(self.path))


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Make an OSError from inside name the output file, not the temporary one or nothing."""
    try:
        yield
    except OSError as exc:
        exc.filename = path
        exc.filename2 = None
        raise


def _open_locked(temporary: str, path: str) -> int:
    """Create the temporary file, or take over one whose writer is gone; return its descriptor."""
    while True:
        fd = os.open(
            temporary, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0), 0o666
        )
        try:
            _lock(fd, path)
            # The former writer may have renamed or removed the file between our open and our lock.
            if os.path.exists(temporary) and os.path.samestat(os.fstat(fd), os.stat(temporary)):
                os.ftruncate(fd, 0)
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lock(fd: int, path: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows refuses to replace a file that another process holds open
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(errno.EBUSY, "another etpack is writing this file", path) from None


def _sync_folder(folder: str) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
