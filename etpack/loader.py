"""The chunked loader: the Python twin of ExecuTorch's `DataLoader`, over an `.etz` or a plain file.

ExecuTorch asks a loader for ranges of the uncompressed model and holds each answer in a `FreeableBuffer` until it
is freed. Everything in etpack that reads whole contents (decompress, verify, extract) does so through this module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING

from etpack.limits import Limits
from etpack.reader import EtzFile, available_processors, check_jobs, is_etz
from etpack.sources import SourceLike, check_range, open_source

if TYPE_CHECKING:
    from concurrent.futures import Future

_CHUNK_SIZE = 1 << 20
# Threads that read ahead of one consumer, and with them the chunks in memory.
_MAX_JOBS = 16


class SegmentType(Enum):
    """What ExecuTorch says it loads a range for."""

    PROGRAM = "program"
    CONSTANT = "constant"
    BACKEND = "backend"
    MUTABLE = "mutable"
    EXTERNAL = "external"


@dataclass(frozen=True)
class SegmentInfo:
    """What ExecuTorch passes with a request. Named data comes as CONSTANT with index 0, so rely on the range only."""

    type: SegmentType
    index: int = 0
    # Backend id for BACKEND, else None.
    descriptor: str | None = None


class FreeableBuffer:
    """Bytes that somebody holds until `free` is called; also a context manager that frees at its end."""

    def __init__(self, data: bytearray) -> None:
        self.size = len(data)
        self._view: memoryview | None = memoryview(data).toreadonly()

    @property
    def data(self) -> memoryview:
        """The bytes, read-only.

        Raises:
            ValueError: The buffer was freed.
        """
        if self._view is None:
            raise ValueError("the buffer was freed")
        return self._view

    @property
    def freed(self) -> bool:
        return self._view is None

    def free(self) -> None:
        """Give the memory back; a second call does nothing. Views taken of `data` keep it alive."""
        self._view = None

    def __enter__(self) -> FreeableBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()


class DataLoader:
    """Random access to an uncompressed model, whether it lies in an `.etz` or in a plain file; thread-safe.

    Args:
        source: A path, a URL, a buffer, a seekable binary file object, a `Source`, or an open `EtzFile`. What is not
            an `.etz` by its first bytes is taken as a plain file.
        limits: What an `.etz` may ask for.

    Raises:
        EtpackError: The file begins like an `.etz` and cannot be opened as one.
        OSError: It cannot be read.
    """

    def __init__(self, source: SourceLike, *, limits: Limits | None = None) -> None:
        self._source = open_source(source, limits=limits)
        self._owns_source = self._source is not source
        self._content = self._source
        if not isinstance(self._source, EtzFile) and is_etz(self._source):
            try:
                self._content = EtzFile(self._source, limits=limits)
            except BaseException:
                self.close()
                raise
        self.name = self._content.name

    @property
    def size(self) -> int:
        """Bytes of the uncompressed model."""
        return self._content.size

    @property
    def chunk_size(self) -> int:
        """Bytes of a chunk by default: 1 MiB, or a block if that is more."""
        block_size = self._content.block_size if isinstance(self._content, EtzFile) else 0
        return max(_CHUNK_SIZE, block_size)

    def load(self, offset: int, size: int, info: SegmentInfo | None = None) -> FreeableBuffer:
        """Return `size` bytes of content from content offset `offset` in a buffer that the caller frees.

        Args:
            offset: Content offset in bytes.
            size: Bytes wanted; offset + size must not exceed `size`.
            info: What it is for; the bytes do not depend on it.

        Raises:
            ValueError: The range leaves the content.
            CorruptError: A block that it touches fails its check.
            OSError: The file cannot be read.
        """
        check_range(self._content, offset, size)
        data = bytearray(size)
        self.load_into(offset, size, info, memoryview(data))
        return FreeableBuffer(data)

    def load_into(self, offset: int, size: int, info: SegmentInfo | None, buffer: memoryview) -> None:
        """Fill the first `size` bytes of the caller's writable buffer; errors as `load`."""
        del info
        view = memoryview(buffer).cast("B")
        if len(view) < size:
            raise ValueError(f"a buffer of {len(view)} bytes for {size}")
        self._content.read_into(offset, view[:size])

    def iter_chunks(
        self, offset: int = 0, size: int | None = None, chunk_size: int | None = None, jobs: int | None = None
    ) -> Iterator[memoryview]:
        """Yield the content of a range in order, in chunks of at most `chunk_size` bytes.

        A chunk of an `.etz` ends at the end of a block where it can, so that no block is decoded twice. Each chunk
        is valid until the next one is asked for. Memory is `jobs` chunks, or one more, whatever the size.

        Args:
            offset: Content offset in bytes of the first chunk.
            size: Bytes in all; up to the end of the content by default.
            chunk_size: Bytes, at least 1; by default 1 MiB, or a block if that is more.
            jobs: Threads that work at it, the caller's included; all processors by default. With 1 nothing is read
                ahead.

        Raises:
            ValueError: The range leaves the content, or `chunk_size` is not positive.
            CorruptError: A block fails its check; what was yielded before is good.
            OSError: The file cannot be read.
        """
        if size is None:
            size = max(0, self.size - offset)
        check_range(self._content, offset, size)
        if chunk_size is None:
            chunk_size = self.chunk_size
        if chunk_size < 1:
            raise ValueError(f"chunks of {chunk_size} bytes")
        check_jobs(jobs)
        return self._chunks(offset, offset + size, chunk_size, jobs or available_processors())

    def _chunks(self, offset: int, end: int, chunk_size: int, jobs: int) -> Iterator[memoryview]:
        # What the caller does with a chunk takes a thread too.
        ahead = min(jobs - 1, (end - offset - 1) // chunk_size, _MAX_JOBS)
        # One more than are at work, so that neither side waits for the other to let go of one.
        count = ahead + 2 if ahead > 0 else 1
        free = [memoryview(bytearray(min(chunk_size, end - offset))) for _ in range(count)]
        places = self._places(offset, end, chunk_size)
        if ahead < 1:
            for start, size in places:
                chunk = free[0][:size]
                self._content.read_into(start, chunk)
                yield chunk.toreadonly()
            return
        from concurrent.futures import ThreadPoolExecutor

        pending: deque[tuple[Future[None], memoryview, memoryview]] = deque()
        with ThreadPoolExecutor(ahead, thread_name_prefix="etpack-load") as pool:
            try:
                while True:
                    for start, size in islice(places, len(free)):
                        buffer = free.pop()
                        chunk = buffer[:size]
                        pending.append((pool.submit(self._content.read_into, start, chunk), buffer, chunk))
                    if not pending:
                        return
                    buffer, chunk = pending[0][1:]
                    # An error holds this frame: if this frame held the error, both would keep the buffers.
                    pending.popleft()[0].result()
                    yield chunk.toreadonly()
                    free.append(buffer)
            finally:
                for future, _, _ in pending:
                    future.cancel()

    def _places(self, offset: int, end: int, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Yield content offset and size of each chunk."""
        while offset < end:
            stop = min(offset + chunk_size, end)
            if isinstance(self._content, EtzFile):
                stop = self._content.cut_before(offset, stop)
            yield offset, stop - offset
            offset = stop

    def close(self) -> None:
        """Close what was opened here; buffers that were loaded stay good."""
        if self._content is not self._source:
            self._content.close()
        if self._owns_source:
            self._source.close()

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
