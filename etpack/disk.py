"""What everything that writes files needs: writing all of something, and knowing whether there is room for it."""

from __future__ import annotations

import errno
from collections.abc import Callable


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
    import shutil

    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else None
