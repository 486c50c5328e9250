"""`EtzFile`: random access to the content of an `.etz`, from many threads at once."""

from __future__ import annotations

import io
import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from etpack import layout
from etpack.block_reader import BlockReader
from etpack.errors import CorruptError, EtpackError, TruncatedError, naming
from etpack.layout import ExtentEntry, Footer, IndexEntry, Section, SectionType
from etpack.limits import Limits
from etpack.manifest import Manifest
from etpack.plan import Extent
from etpack.pte import ModelFile, Range, read_model
from etpack.runs import Run, find_runs
from etpack.source_io import SourceIO
from etpack.sources import Source, SourceLike, check_range, open_source

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# Reads of this size and up are worth a thread pool.
_PARALLEL_SIZE = 4 << 20
_ZEROS = bytes(64 << 10)


@dataclass(frozen=True)
class Block:
    """One block: where its content goes and what the index says of it."""

    number: int
    range: Range
    entry: IndexEntry


class EtzFile:
    """An open `.etz` file. Immutable, a context manager, and safe to use from many threads.

    It has `size`, `read_at` and `read_into` of the *content*, so it serves wherever etpack takes a source.

    Attributes:
        name: The file's name, for messages.
        footer: The parsed footer.
        sections: The section table.
        extents: The extent table, by content offset.
        stored_size: Bytes of the `.etz` itself.
    """

    def __init__(self, source: SourceLike, *, limits: Limits | None = None, jobs: int | None = None) -> None:
        """Open an `.etz`: reads and checks header, footer, section table, extents, index and manifest, no block.

        Args:
            source: A path, a URL, a buffer, a seekable binary file object, or a `Source`.
            limits: What the file may ask for.
            jobs: Threads for large reads; all processors by default.

        Raises:
            FormatError: The file breaks a rule of the format.
            UnsupportedError: It needs a newer etpack.
            LimitError: It is over one of the limits.
            OSError: It cannot be read.
        """
        check_jobs(jobs)
        self._source = open_source(source, limits=limits)
        self._owns_source = self._source is not source
        self.name = self._source.name
        self.jobs = jobs or available_processors()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False
        try:
            self._open(limits or Limits())
        except BaseException as exc:
            if isinstance(exc, EtpackError):
                exc.path = exc.path or self.name
            self.close()
            raise

    def _open(self, limits: Limits) -> None:
        self.stored_size = self._source.size
        tail_offset = max(0, self.stored_size - layout.TAIL_SIZE)
        tail = self._source.read_at(tail_offset, self.stored_size - tail_offset)
        head = tail[: layout.HEADER_SIZE] if tail_offset == 0 else self._source.read_at(0, layout.HEADER_SIZE)
        layout.check_header(head)
        footer_offset = self.stored_size - layout.FOOTER_SIZE
        if footer_offset < layout.HEADER_SIZE:
            raise TruncatedError("the file ends before its footer", rule="footer-magic", where=self.stored_size)
        self.footer = Footer.from_bytes(tail[-layout.FOOTER_SIZE :], footer_offset)
        limits.check_content(self.footer.content_size, self.stored_size)
        limits.check("decode_memory", self.footer.decode_memory)
        table_offset = footer_offset - self.footer.section_count * layout.SECTION_ENTRY_SIZE
        if table_offset < layout.HEADER_SIZE:
            raise CorruptError("the section table leaves the file", rule="section-cover", where=footer_offset)
        table = tail[table_offset - tail_offset : -layout.FOOTER_SIZE]
        self.sections = layout.parse_section_table(table, self.footer, table_offset)
        self._load_tables(tail, tail_offset, limits)

    def _load_tables(self, tail: bytes, tail_offset: int, limits: Limits) -> None:
        index = self._section(SectionType.INDEX)
        extents = self._section(SectionType.EXTENTS)
        manifest = self._section(SectionType.MANIFEST)
        limits.check("blocks", layout.entry_count(index.size))
        limits.check("extents", layout.entry_count(extents.size))
        limits.check("manifest_size", manifest.size)
        wanted = (index, extents, manifest)
        data, offset = tail, tail_offset
        start = min(section.stored_offset for section in wanted)
        end = max(section.end for section in wanted)
        if start < tail_offset and end - start == sum(section.size for section in wanted):
            # One read of what the tail does not have already.
            rest = min(end, tail_offset)
            data, offset = self._source.read_at(start, rest - start) + tail[: max(0, end - tail_offset)], start

        def section_bytes(section: Section) -> bytes:
            if section.stored_offset < offset:
                return self._source.read_at(section.stored_offset, section.size)
            return data[section.stored_offset - offset : section.end - offset]

        self._index = layout.from_pages(section_bytes(index), SectionType.INDEX, index.stored_offset)
        entries = layout.from_pages(section_bytes(extents), SectionType.EXTENTS, extents.stored_offset)
        self.extents: tuple[ExtentEntry, ...] = tuple(layout.unpack_extents(entries))
        layout.check_extents(self.extents, self.footer, self.block_count, extents.stored_offset)
        self._extent_offsets = [extent.content_offset for extent in self.extents]
        self._manifest_bytes = section_bytes(manifest)
        self._blocks = BlockReader(self._source, self._index, self.footer, self.sections[0].stored_offset)

    def _section(self, kind: SectionType) -> Section:
        return next(section for section in self.sections if section.type == kind)

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.footer.content_size

    @property
    def block_size(self) -> int:
        """Bytes of content of a full block."""
        return self.footer.block_size

    @property
    def block_count(self) -> int:
        return len(self._index) // layout.ENTRY_SIZE

    @cached_property
    def manifest(self) -> Manifest:
        """What the packer noted for tools.

        Raises:
            CorruptError: Its checksum does not match, it is no valid flatbuffer, or it does not fit the extent table.
        """
        section = self._section(SectionType.MANIFEST)
        with naming(self.name):
            layout.check_section_crc(section, self._manifest_bytes)
            return Manifest.from_bytes(self._manifest_bytes, len(self.extents), section.stored_offset)

    @cached_property
    def described_extents(self) -> tuple[Extent, ...]:
        """What the manifest says of each extent, with its range from the extent table; errors as `manifest`."""
        pairs = zip(self.manifest.extents, self.extents, strict=True)
        return tuple(replace(said, range=Range(entry.content_offset, entry.content_size)) for said, entry in pairs)

    @cached_property
    def model(self) -> ModelFile:
        """The packed model, parsed from the content: decodes the blocks of its flatbuffer.

        Raises:
            PteError: The content is no model (it was packed with `--opaque`).
        """
        return read_model(self)

    @property
    def index(self) -> bytes:
        """The index entries, 16 bytes a block, without the checksums of their pages."""
        return self._index

    def entry(self, number: int) -> IndexEntry:
        """Return the index entry of block `number`."""
        if not 0 <= number < self.block_count:
            raise ValueError(f"block {number} of {self.block_count}")
        return layout.unpack_index_entry(self._index, number)

    def blocks(self, extent: int | None = None) -> Iterator[Block]:
        """Yield every block in order, or those of one extent, given its number."""
        for number in range(len(self.extents)) if extent is None else (extent,):
            entry = self.extents[number]
            starts = range(entry.content_offset, entry.end, self.block_size)
            for block, offset in enumerate(starts, entry.first_block):
                yield Block(block, Range(offset, min(self.block_size, entry.end - offset)), self.entry(block))

    def segment_range(self, number: int) -> Range:
        """Return where segment `number` of the model lies in the content.

        Raises:
            ValueError: The model has no such segment.
            PteError: The content is no model.
        """
        if not 0 <= number < len(self.model.segments):
            raise ValueError(f"segment {number} of {len(self.model.segments)}")
        return self.model.segments[number].range

    def segment(self, number: int) -> bytes:
        """Return the bytes of segment `number` of the model; errors as `segment_range` and `read_at`."""
        place = self.segment_range(number)
        return self.read_at(place.offset, place.size)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes of content starting at content offset `offset`.

        Raises:
            ValueError: The range leaves the content.
            CorruptError: A block that it touches fails its check.
            UnsupportedError: A block that it touches uses a filter or codec that is not known here.
            OSError: The file cannot be read.
        """
        check_range(self, offset, size)
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer`, writable and C-contiguous, with the content from content offset `offset` on.

        Errors as `read_at`; what `buffer` holds after an error is undefined, but no byte of a block that failed
        its check was put there.
        """
        view = memoryview(buffer).cast("B")
        if self._closed:
            raise ValueError(f"{self.name} was closed")
        size = len(view)
        check_range(self, offset, size)
        runs = []
        position = offset
        for run in find_runs(self.extents, self._extent_offsets, self.block_size, offset, offset + size):
            _clear(view[position - offset : run.start - offset])
            position = run.end
            runs.append((run, view[run.start - offset : run.end - offset]))
        _clear(view[position - offset :])
        try:
            if size < _PARALLEL_SIZE or self.jobs == 1:
                for run, part in runs:
                    self._blocks.read_run(run, part)
            else:
                self._read_side_by_side(runs)
        except EtpackError as exc:
            exc.path = exc.path or self.name
            raise
        except RuntimeError as exc:
            if self._closed:  # the pool takes nothing more
                raise ValueError(f"{self.name} was closed") from exc
            raise

    def _read_side_by_side(self, runs: Sequence[tuple[Run, memoryview]]) -> None:
        from concurrent.futures import Future, wait

        pool = self._threads()
        pending: list[Future[None]] = []
        try:
            for run, part in runs:
                pending.append(pool.submit(self._blocks.read_run, run, part))
            list(map(Future.result, pending))
        finally:
            # After an error the buffer is the caller's again: nobody may be writing to it.
            wait([future for future in pending if not future.cancel()])
            # The error holds this frame: if this frame held the error, both would keep the buffer.
            pending.clear()

    def _threads(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.jobs, thread_name_prefix="etpack-read")
            return self._pool

    def check_place(self, entry: IndexEntry, number: int) -> None:
        """Raise CorruptError unless the stored bytes of block `number` may lie where its entry says."""
        self._blocks.check_place(entry, number)

    def cut_before(self, offset: int, limit: int) -> int:
        """Return the last end of a block after `offset` and up to `limit`, or `limit` if there is none.

        Reads that are cut there decode no block twice.
        """
        number = bisect_right(self._extent_offsets, limit - 1) - 1
        if number < 0 or self.extents[number].end <= limit:
            return limit
        start = self.extents[number].content_offset
        end = limit - (limit - start) % self.block_size
        return end if end > offset else limit

    def open_file(self) -> io.BufferedReader:
        """Return the content as a read-only, seekable binary file object with a position of its own."""
        return io.BufferedReader(SourceIO(self), buffer_size=self.block_size)

    def close(self) -> None:
        """Close the source, if it was opened here, and the threads; a read that goes on may end in a ValueError."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        if self._owns_source:
            self._source.close()

    def __enter__(self) -> EtzFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<EtzFile {self.name!r}: {self.size:,} bytes of content in {self.block_count:,} blocks>"


def _clear(view: memoryview) -> None:
    for start in range(0, len(view), len(_ZEROS)):
        part = view[start : start + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]


def check_jobs(jobs: int | None) -> None:
    """Raise ValueError unless `jobs` is None or at least 1."""
    if jobs is not None and jobs < 1:
        raise ValueError(f"{jobs} threads; at least 1 is needed")


def available_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_etz(source: Source) -> bool:
    """Whether the source begins with the `.etz` magic."""
    size = min(source.size, len(layout.HEADER_MAGIC))
    return source.read_at(0, size) == layout.HEADER_MAGIC
