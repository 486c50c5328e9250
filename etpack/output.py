"""Output files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeAlias

from etpack.disk import free_space, write_all
from etpack.errors import EtpackError, naming_file
from etpack.interrupts import held_back
from etpack.sources.urls import is_url, shown

# Of the command line, for most outputs.
OPTION = "-o"
TEMPORARY_SUFFIX = ".etpack-tmp"
_LONGEST_NAME = 255

# What `os.link` says where a file system has no hard links, or does not want this one.
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)

# Called with the bytes of content done and their total.
Progress: TypeAlias = "Callable[[int, int], None]"


class OutputError(EtpackError):
    """The output cannot be what it shall be: it is there already, is the input itself, or has no name."""

    slug = "output"
    exit_code = 2


def refuse_input(output: str | os.PathLike[str], source: str | os.PathLike[str], option: str = OPTION) -> None:
    """Raise OutputError if both are the same file: the source is always kept; `option` as for `FileOutput`."""
    with contextlib.suppress(OSError):
        if os.path.samefile(output, source) and os.path.isfile(source):
            raise OutputError(
                "is the input itself, which is kept",
                hint=f"choose another output with {option}",
                path=os.fspath(output),
            )


class Output(Protocol):
    """Where bytes go, in order."""

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""


class FileOutput:
    """A temporary sibling of `path` that takes its name when the `with` block ends well, and goes if it does not.

    The sibling's name is fixed, `.NAME.etpack-tmp`, and locked while it is written: what a killed process left
    is taken over, and two processes never write the same file. A path that is there and is no regular file
    (a device, a pipe) is written straight.

    Args:
        path: Where the file shall be.
        overwrite: Replace a file that is there; the old one stays whole until the new one is complete.
        size: Bytes that will be written at least.
        option: That of the command line which names `path`, for what errors say.

    Raises:
        OutputError: On entry and again at the end, if the file exists and `overwrite` is False.
        OSError: Something about the place is wrong, has no room, or another process writes the same file.
    """

    # Set here, so that an object that was never made whole can be thrown away too.
    _fd = -1

    def __init__(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, size: int = 0, option: str = OPTION
    ) -> None:
        self.path = os.fspath(path)
        self._option = option
        self._size = size
        self._overwrite = overwrite
        # Where `path` is whatever becomes of links and of the current folder.
        self._target = self.path
        # None for a device or a pipe.
        self._temporary: str | None = None

    def __enter__(self) -> FileOutput:
        if is_url(self.path):
            raise OutputError(
                "a URL cannot be written to",
                hint=f"write to a file with {self._option}, and upload that",
                path=shown(self.path),
            )
        try:
            with naming_file(self.path, option=self._option):
                if _is_special(self.path):
                    self._open_special()
                else:
                    self._open_sibling()
        except BaseException:
            self._discard()
            raise
        return self

    def _open_special(self) -> None:
        """Open a device or a pipe, without waiting for a reader."""
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                exc.strerror = "nothing reads from this pipe or device"
            raise
        os.set_blocking(self._fd, True)

    def _open_sibling(self) -> None:
        self._target = os.path.realpath(self.path)
        if os.path.islink(self.path):
            self.path = self._target  # which is what errors are about
        self._temporary = _temporary_path(self._target)
        try:
            self._refuse_existing()
        except OutputError:
            _remove_leftover(self._temporary)
            raise
        with held_back():
            self._fd = _open_locked(self._temporary, self._target)
        _check_room(os.path.dirname(self._target), self._size)  # now that what a killed process left takes none

    def _refuse_existing(self) -> None:
        if not self._overwrite and os.path.lexists(self._target):
            raise _exists(self.path, self._option)

    def write(self, data: bytes | memoryview) -> None:
        with naming_file(self.path, option=self._option):
            write_all(lambda view: os.write(self._fd, view), data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with naming_file(self.path, option=self._option):
                    self._commit()
        finally:
            self._discard()

    def __del__(self) -> None:
        if self._fd >= 0:  # a signal came before the first line of `__exit__`
            self._discard()

    def _commit(self) -> None:
        if self._temporary is None:
            return
        _check_ours(self._fd, self._temporary)
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(self._fd, stat.S_IMODE(os.stat(self._target).st_mode))
        os.fsync(self._fd)
        with held_back():
            if self._overwrite:
                os.replace(self._temporary, self._target)
            else:
                self._rename_if_free(self._temporary)
        _sync_folder(os.path.dirname(self._target))

    def _rename_if_free(self, temporary: str) -> None:
        """Give the file its name unless somebody else did; `_discard` takes the other one away.

        Where a file system has no links, it is checked and renamed, with a moment in between.
        """
        try:
            os.link(temporary, self._target)
        except FileExistsError:
            raise _exists(self.path, self._option) from None
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            self._refuse_existing()
            os.replace(temporary, self._target)

    def _discard(self) -> None:
        """Close everything, and remove the temporary file if it is still there and ours."""
        with held_back():
            if self._fd < 0:
                return
            fd, self._fd = self._fd, -1
            try:
                # Before the lock goes with the descriptor: afterwards the name may be another process's.
                with contextlib.suppress(OSError):
                    if self._temporary and os.path.samestat(os.fstat(fd), os.lstat(self._temporary)):
                        os.unlink(self._temporary)
            finally:
                os.close(fd)


def _is_special(path: str) -> bool:
    """Whether there is a device or a pipe.

    Raises:
        OSError: It is a folder, or a place where nothing can be.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if path.endswith(os.sep):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path) from None
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return not stat.S_ISREG(mode)


def _temporary_path(path: str) -> str:
    """Return the name of the sibling: `.NAME.etpack-tmp`, or a digest for a name that leaves no room for more."""
    folder, name = os.path.split(path)
    raw = os.fsencode(name)
    if len(raw) + len(TEMPORARY_SUFFIX) + 1 > _LONGEST_NAME:
        from hashlib import sha256

        name = sha256(raw).hexdigest()
    return os.path.join(folder, f".{name}{TEMPORARY_SUFFIX}")


def _exists(path: str, option: str) -> OutputError:
    hint = f"choose another output with {option}, or overwrite it with -f"
    return OutputError("exists already", hint=hint, path=path)


def _check_room(folder: str, size: int) -> None:
    """Raise OSError if `size` bytes have no room in the folder: better now than after minutes."""
    free = free_space(folder)
    if free is not None and free < size:
        raise OSError(errno.ENOSPC, f"{size:,} bytes have no room, {free:,} are free")


def _open_locked(temporary: str, path: str) -> int:
    """Create the temporary file, or take over one whose writer is gone; return its descriptor."""
    while True:
        fd, created = _create_or_open(temporary)
        try:
            _lock(fd, path)
            # The former writer may have renamed or removed the file between our open and our lock.
            if _is_at(fd, temporary):
                if not _is_at(fd, path):
                    _check_ours(fd, temporary)
                    os.ftruncate(fd, 0)
                    return fd
                os.unlink(temporary)  # complete: its writer was killed between the link and this
        except BaseException as exc:
            if created and not isinstance(exc, BlockingIOError):  # which says that somebody else took it over
                os.unlink(temporary)
            os.close(fd)
            raise
        os.close(fd)


def _create_or_open(temporary: str) -> tuple[int, bool]:
    """Return a descriptor of the temporary file, and whether it was made here."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(temporary, flags | os.O_CREAT | os.O_EXCL, 0o666), True
        try:
            return os.open(temporary, flags), False
        except FileNotFoundError:
            continue  # it went meanwhile
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise _in_the_way(temporary) from exc
            raise


def _remove_leftover(temporary: str) -> None:
    """Remove what a killed process left; what is being written, and what is not ours, stays."""
    with contextlib.suppress(OSError, OutputError):
        fd = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _lock(fd, temporary)
            if stat.S_ISREG(os.fstat(fd).st_mode) and _is_at(fd, temporary):
                os.unlink(temporary)
        finally:
            os.close(fd)


def _is_at(fd: int, path: str) -> bool:
    """Whether the open file has this name."""
    return os.path.lexists(path) and os.path.samestat(os.fstat(fd), os.lstat(path))


def _check_ours(fd: int, temporary: str) -> None:
    """Raise OutputError unless the temporary file is a plain file of ours, with no other name."""
    status = os.fstat(fd)
    if not (stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and _is_at(fd, temporary)):
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
