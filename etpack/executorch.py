"""Runs an `.etz` in ExecuTorch's Python runtime, without a file on disk; needs torch and executorch.

ExecuTorch's bindings load from a path or from bytes. The path that they get here is that of a file in memory (Linux):
each part that they load is mapped from it, and what no mapping holds any more is given back after each `load_method`.
"""

from __future__ import annotations

import io
import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from etpack.disk import write_all
from etpack.limits import Limits
from etpack.loader import DataLoader
from etpack.output import Output
from etpack.reader import EtzFile
from etpack.sources import SourceLike
from etpack.unpack import copy_range, unpack

if TYPE_CHECKING:
    from executorch.runtime import Program, Runtime

_REMEDY = "install it with pip install 'etpack[executorch]'; for torch without CUDA, install a CPU build of torch first"

_MAPS = "/proc/self/maps"
_FDS = "/proc/self/fd"

# Whether this process has forked: then another one may map what this one does not.
_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(before=_note_fork)


def load_program(
    source: SourceLike,
    *,
    sha256: bool = False,
    release: bool = True,
    limits: Limits | None = None,
    jobs: int | None = None,
    **options: Any,
) -> Program:
    """Load the model in an `.etz` as `executorch.runtime.Runtime.get().load_program` loads a `.pte`.

    Memory, on Linux: the whole content, until the first `load_method` returns; then what the Program and its Methods
    hold: flatbuffer, constants, and whatever a backend keeps. While a further method is loaded it is the whole content
    again, decoded anew; a second call for a loaded method costs nothing. What a backend makes of the content comes on
    top. The memory is that of an anonymous file: the system cannot drop it and read it again, as it can with the pages
    of a `.pte`; and what is not mapped counts for the cgroup, not in the RSS of the process. On other systems the
    Program keeps the whole content as bytes for as long as it is there.

    Args:
        source: An `.etz`: a path, a URL, or what else `etpack.open` takes. It is read again for each further method, so
            it must not change; what was opened by path or URL is closed with the Program.
        sha256: Compare the SHA-256 of the whole content too. Each block is checked in any case.
        release: Give memory back after `load_method`. False keeps the whole content, for a backend that loads model
            data while it executes, which ExecuTorch does not foresee.
        limits: What the file may ask for.
        jobs: Threads that decode; all processors by default.
        options: Passed on: `verification`, `enable_etdump`, `debug_buffer_size`, and `data_path`, a plain `.ptd`.

    Returns:
        An `executorch.runtime.Program`. Its `load_method` may raise what is said of the source below.

    Raises:
        ImportError: executorch or torch is not installed.
        EtpackError: The file cannot be opened, or a block fails its check.
        OSError: It cannot be read, or there is no memory.
        RuntimeError: ExecuTorch does not accept the content.
    """
    runtime = _runtime()
    with ExitStack() as undo:
        file = undo.enter_context(closing(EtzFile(source, limits=limits, jobs=jobs)))
        if not _has_files_in_memory():
            content = _Bytes()
            _decode(file, content, sha256)
            return runtime.load_program(content.take(), **options)
        memory = undo.enter_context(closing(_Memory(file)))
        _decode(file, memory, sha256)
        program = runtime.load_program(memory.path, **options)
        if not release:
            return program  # ExecuTorch has opened the memory for itself
        program = _program_class()(program, memory)
        weakref.finalize(program, undo.pop_all().close)
        return program


def _runtime() -> Runtime:
    try:
        from executorch.runtime import Runtime
    except ImportError as exc:
        raise ImportError(f"ExecuTorch's runtime does not load: {exc}; {_REMEDY}", name=exc.name) from exc
    return Runtime.get()


def _has_files_in_memory() -> bool:
    """Whether the system has anonymous files, and says which parts of them are mapped."""
    return hasattr(os, "memfd_create") and os.path.exists(_MAPS) and os.path.exists(_FDS)


def _decode(file: EtzFile, output: Output, sha256: bool) -> None:
    if sha256:
        unpack(file, output, jobs=file.jobs)
    else:
        copy_range(DataLoader(file), 0, file.size, output, jobs=file.jobs)


class _Bytes:
    """An output that becomes bytes without a second copy."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()

    def write(self, data: bytes | memoryview) -> None:
        self._buffer.write(data)

    def take(self) -> bytes:
        """Return all that was written."""
        return self._buffer.getvalue()


class _Memory:
    """The content of an `.etz` in an anonymous file: all of it, or only what is mapped from it."""

    def __init__(self, file: EtzFile) -> None:
        self._file = file
        self._fd = os.memfd_create("etpack", os.MFD_CLOEXEC)
        self._holes: list[tuple[int, int]] = []
        # Under which ExecuTorch can open it.
        self.path = f"{_FDS}/{self._fd}"

    def close(self) -> None:
        """Close it; the memory is there until what was mapped from it is unmapped."""
        os.close(self._fd)

    def write(self, data: bytes | memoryview) -> None:
        write_all(partial(os.write, self._fd), data)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Hold the whole content for as long as something is loaded from it, and then only what is mapped."""
        while self._holes:
            start, end = self._holes[-1]
            os.lseek(self._fd, start, os.SEEK_SET)
            copy_range(DataLoader(self._file), start, end - start, self, jobs=self._file.jobs)
            self._holes.pop()
        try:
            yield
        finally:
            if not _forked:
                self._release()

    def _release(self) -> None:
        position = 0
        places = [*self._mapped(), (self._file.size, self._file.size)]
        with mmap.mmap(self._fd, self._file.size) as view:
            for start, end in places:
                if start > position:
                    view.madvise(mmap.MADV_REMOVE, position, start - position)
                    self._holes.append((position, start))
                position = max(position, end)

    def _mapped(self) -> list[tuple[int, int]]:
        """Return which ranges of it this process has mapped, in order; they begin at pages."""
        status = os.fstat(self._fd)
        ranges = []
        with open(_MAPS, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                # Addresses, permissions, offset in the file, device, inode, name.
                addresses, _, offset, device, inode = line.split()[:5]
                if int(inode) == status.st_ino and _device(device) == status.st_dev:
                    start, end = (int(address, 16) for address in addresses.split("-"))
                    ranges.append((int(offset, 16), int(offset, 16) + end - start))
        return sorted(ranges)


def _device(text: str) -> int:
    major, minor = (int(number, 16) for number in text.split(":"))
    return os.makedev(major, minor)


@cache
def _program_class() -> type[Any]:
    from executorch.runtime import Method, Program

    class EtzProgram(Program):  # type: ignore[misc]
        """A Program that has its memory whole while it loads a method."""

        def __init__(self, program: Program, memory: _Memory) -> None:
            self.__dict__.update(program.__dict__)
            self._memory = memory
            self._loading = threading.Lock()
            self._loaded: dict[str, Method] = {}

        def load_method(self, name: str) -> Method:
            with self._loading:
                if name not in self._loaded:
                    with self._memory.whole():
                        self._loaded[name] = super().load_method(name)
                return self._loaded[name]

    return EtzProgram
