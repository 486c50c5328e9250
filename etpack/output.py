"""Output files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, TypeAlias

from etpack.errors import EtpackError
from etpack.sources.urls import is_url, shown

TEMPORARY_SUFFIX = ".etpack-tmp"

# Called with the bytes of content done and their total.
Progress: TypeAlias = "Callable[[int, int], None]"


class OutputError(EtpackError):
    """The output cannot be what it shall be: it is there already, is the input itself, or has no name."""

    slug = "output"
    exit_code = 2


def refuse_input(output: str | os.PathLike[str], source: str | os.PathLike[str]) -> None:
    """Raise OutputError if both are the same file: the source is always kept."""
    with contextlib.suppress(OSError):
        if os.path.samefile(output, source) and os.path.isfile(source):
            error = OutputError("is the input itself, which is kept", hint="choose another output with -o")
            error.path = os.fspath(output)
            raise error


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
        size: Bytes that will be written at least.
        readable: Whether `read_at` will be called; a device or a pipe then gets everything at the end, from a spool.

    Raises:
        OutputError: On entry and again at the end, if the file exists and `overwrite` is False.
        OSError: Something about the place is wrong, has no room, or another process writes the same file.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, readable: bool = False, size: int = 0
    ) -> None:
        self.path = os.fspath(path)
        self._size = size
        self._overwrite = overwrite
        self._readable = readable
        self._target_fd = -1
        self._temporary: str | None = None
        self._fd = -1

    def __enter__(self) -> FileOutput:
        if is_url(self.path):
            error = OutputError("a URL cannot be written to", hint="write to a file with -o, and upload that")
            error.path = shown(self.path)
            raise error
        with _naming(self.path):
            if os.path.exists(self.path) and not stat.S_ISREG(os.stat(self.path).st_mode):
                self._open_special()
                return self
            self.path = os.path.realpath(self.path)
            self._refuse_existing()
            folder, name = os.path.split(self.path)
            _check_room(folder, self._size)
            self._temporary = os.path.join(folder, f".{name}{TEMPORARY_SUFFIX}")
            self._fd = _open_locked(self._temporary, self.path)
        return self

    def _open_special(self) -> None:
        """Open a device or a pipe, and a spool in front of it if what is written must be readable."""
        self._target_fd = os.open(self.path, os.O_WRONLY)
        if self._readable:
            with tempfile.TemporaryFile(prefix="etpack-") as spool:
                self._fd = os.dup(spool.fileno())
        else:
            self._fd = os.dup(self._target_fd)

    def _close_special(self, complete: bool) -> None:
        try:
            if complete and self._readable:
                with (
                    _naming(self.path),
                    open(self._fd, "rb", closefd=False) as spool,
                    open(self._target_fd, "wb", closefd=False) as target,
                ):
                    spool.seek(0)
                    shutil.copyfileobj(spool, target, 1 << 20)
        finally:
            os.close(self._fd)
            os.close(self._target_fd)

    def _refuse_existing(self) -> None:
        if not self._overwrite and os.path.lexists(self.path):
            error = OutputError("exists already", hint="choose another output with -o, or overwrite it with -f")
            error.path = self.path
            raise error

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        with _naming(self.path):
            while view:
                view = view[os.write(self._fd, view) :]

    def read_at(self, offset: int, size: int) -> bytes:
        if self._temporary is None and not self._readable:
            raise OSError(errno.ESPIPE, "cannot be read back", self.path)
        with _naming(self.path):
            return os.pread(self._fd, size, offset)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary is None:
            self._close_special(complete=kind is None)
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
                    if os.path.samestat(os.fstat(self._fd), os.lstat(self._temporary)):
                        os.unlink(self._temporary)
            os.close(self._fd)

    def _commit(self, temporary: str) -> None:
        with _naming(self.path):
            _check_ours(self._fd, temporary)
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(self._fd, stat.S_IMODE(os.stat(self.path).st_mode))
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


def _check_room(folder: str, size: int) -> None:
    """Raise OSError if `size` bytes have no room in the folder: better now than after minutes."""
    usage = shutil.disk_usage(folder)
    if usage.total and usage.free < size:  # not all file systems say how large they are
        raise OSError(errno.ENOSPC, f"{size:,} bytes have no room, {usage.free:,} are free")


def _open_locked(temporary: str, path: str) -> int:
    """Create the temporary file, or take over one whose writer is gone; return its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        try:
            fd = os.open(temporary, flags, 0o666)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise _in_the_way(temporary) from exc
            raise
        try:
            _lock(fd, path)
            # The former writer may have renamed or removed the file between our open and our lock.
            if os.path.lexists(temporary) and os.path.samestat(os.fstat(fd), os.lstat(temporary)):
                _check_ours(fd, temporary)
                os.ftruncate(fd, 0)
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _check_ours(fd: int, temporary: str) -> None:
    """Raise OSError unless the temporary file is a plain file of ours, with no other name."""
    status = os.fstat(fd)
    good = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    if not (good and os.path.lexists(temporary) and os.path.samestat(status, os.lstat(temporary))):
        raise _in_the_way(temporary)


def _in_the_way(temporary: str) -> OutputError:
    return OutputError(
        f"{temporary} is in the way, and is not a file that etpack left", hint="look at it and remove it"
    )


def _lock(fd: int, path: str) -> None:
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
