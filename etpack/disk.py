"""What everything that writes files needs: writing all of something, room for it, and a disk that is not idle."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from functools import lru_cache
from typing import cast

_SYNC_FILE_RANGE_WRITE = 2


def write_all(write: Callable[[bytes | memoryview], int], data: bytes | memoryview) -> None:
    """Call `write`, which returns how many bytes it took, until it took all of `data`."""
    view = memoryview(data).cast("B")
    while view:
        count = write(view)
        if count == 0:
            raise OSError(errno.EIO, "takes no more bytes")
        view = view[count:]


def free_space(folder: str) -> int | None:
    """Return how many bytes are free where a folder is, or None: not all file systems say how large they are."""
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else None


def start_write_back(fd: int, offset: int, size: int) -> None:
    """Let the system begin to write a part of a file to its disk, and do not wait; Linux only, elsewhere nothing."""
    function = _sync_file_range()
    if function is not None:
        function(fd, offset, size, _SYNC_FILE_RANGE_WRITE)


@lru_cache(maxsize=1)
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    import ctypes

    try:
        function = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return cast("Callable[[int, int, int, int], int]", function)
