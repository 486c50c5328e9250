"""Packs a model into an `.etz`: streaming, in parallel, the same bytes for any number of threads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple, TypeAlias

import numpy as np

from etpack import __version__, layout
from etpack.body import Body
from etpack.codecs import Effort
from etpack.encode import EncodedBlock, Encoder
from etpack.errors import CorruptError, LimitError, PteError, SourceError, naming
from etpack.filters import Bytes
from etpack.layout import ExtentEntry, IndexEntry
from etpack.limits import Limits
from etpack.manifest import Manifest, PackOptions
from etpack.output import Output, Progress
from etpack.padding import with_padding
from etpack.parallel import in_order
from etpack.plan import SPAN_SIZE, Cut, Extent, Row, Span, cut_model, cut_opaque, spans
from etpack.pte import FileKind, read_model
from etpack.reader import available_processors, check_jobs, is_etz
from etpack.selfcheck import check_blocks
from etpack.sources import Source, SourceLike, open_source, steady

_OPAQUE = "pack it with --opaque"

# Called with blocks as they are stored: where they lie in the content, their index entries, and how each was encoded.
Observer: TypeAlias = "Callable[[Row, Sequence[IndexEntry], Sequence[EncodedBlock]], None]"


@dataclass(frozen=True)
class Options:
    """How to pack.

    Raises:
        ValueError: A value is outside its range.
    """

    # Bytes of content in a block; a power of two, 4 KiB to 4 MiB.
    block_size: int = layout.DEFAULT_BLOCK_SIZE
    # "auto", "zstd", "lz4", "raw", or the name of a registered codec.
    codec: str = "auto"
    effort: Effort = Effort.DEFAULT
    # Whether blocks may be split into byte planes; without, each block is one bare stream.
    filters: bool = True
    # What the stored offset of each stream is a multiple of; a power of two up to 4 MiB.
    alignment: int = 1
    # Pack any file as one extent, without looking into it.
    opaque: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "effort", Effort(self.effort))
        if self.block_size not in layout.BLOCK_SIZES:
            raise ValueError(f"block size {self.block_size:,} is not a power of two from 4K to 4M")
        if self.alignment.bit_count() != 1 or not 1 <= self.alignment <= 1 << layout.MAX_ALIGNMENT_LOG2:
            raise ValueError(f"alignment {self.alignment:,} is not a power of two up to 4M")


@dataclass(frozen=True)
class PackResult:
    """What `pack` did.

    Sizes are in bytes; `ratio` is content size over stored size.
    """

    kind: FileKind
    content_size: int
    stored_size: int
    block_count: int
    # Blocks that share the stored bytes of an earlier one.
    shared_count: int
    content_sha256: str

    @property
    def ratio(self) -> float:
        return self.content_size / self.stored_size


def pack(
    source: SourceLike,
    output: Output,
    options: Options | None = None,
    *,
    jobs: int | None = None,
    check: bool = True,
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> PackResult:
    """Pack a model into `output`.

    Args:
        source: A path, a buffer, a seekable binary file object or a `Source`: a `.pte`, `.ptd` or `.bpte`, or
            anything with `options.opaque`. It must not change meanwhile; a path's size and time are compared.
        output: Where the `.etz` goes, for instance a `FileOutput`.
        options: How to pack.
        jobs: Threads; all processors by default. The bytes written do not depend on it.
        check: Decode each block again from the bytes to be written and compare, before they are written.
        progress: Called with the bytes of content done and their total.
        observe: Called with all blocks in order, some at a time.

    Raises:
        PteError: The source is no model that can be read.
        CodecMissingError: There is no codec of that name.
        SelfCheckError: A block did not decode to what it was made from.
        SourceError: The source changed or ended early.
        OSError: Reading or writing failed.
    """
    options = options or Options()
    check_jobs(jobs)
    opened = open_source(source)
    try:
        with naming(opened.name):
            return _pack(opened, output, options, jobs or available_processors(), check, progress, observe)
    finally:
        if opened is not source:
            opened.close()


def _pack(
    source: Source,
    output: Output,
    options: Options,
    jobs: int,
    check: bool,
    progress: Progress | None,
    observe: Observer | None,
) -> PackResult:
    if source.size > layout.U48_MAX:
        raise LimitError("a content is below 256 TiB")
    encoder = Encoder(options.codec, options.effort, options.filters, options.alignment)
    kind, extents, manifest = outline(source, options)
    sha256 = hashlib.sha256()

    def encode(span: Span) -> _EncodedSpan:
        return _encode_span(source, span, encoder, options.alignment, check)

    def ahead(span: Span) -> int:
        return jobs + 2 if span.range.size <= SPAN_SIZE else jobs - 1  # a larger span is one large block

    todo = spans(extents, source.size, options.block_size)
    done = 0
    with closing(Body(output, options.alignment, source)) as body:
        with steady(source):
            for span in in_order(encode, todo, jobs, ahead=ahead):
                sha256.update(span.content)
                _append(body, span, observe)
                done += len(span.content)
                del span  # the next one is waited for without it
                if progress:
                    progress(done, source.size)
        body.finish(
            extent_entries(extents, options.block_size), manifest, options.block_size, source.size, sha256.digest()
        )
    return PackResult(kind, source.size, body.position, body.block_count, body.shared_count, sha256.hexdigest())


class Outline(NamedTuple):
    """What of an `.etz` is known before any block is encoded."""

    kind: FileKind
    extents: tuple[Extent, ...]
    # The bytes of the manifest.
    manifest: bytes


def outline(source: Source, options: Options) -> Outline:
    """Return how `pack` cuts a source, which must not change meanwhile, and what it notes of that; errors as `pack`."""
    with steady(source):
        kind, cut = _cut(source, options)
        extents = with_padding(cut, source)
    return Outline(kind, extents, _manifest(kind, options, extents))


def _cut(source: Source, options: Options) -> tuple[FileKind, Cut]:
    if options.opaque:
        return FileKind.OPAQUE, cut_opaque(source.size)
    if is_etz(source):
        raise PteError(
            "this is an .etz already", rule="identifier", hint="decompress it first to pack it with other options"
        )
    model = read_model(source)
    return model.kind, cut_model(model, options.block_size)


def _changed() -> SourceError:
    return SourceError("changed while it was packed", hint="pack it again when nothing writes to it")


class _EncodedSpan(NamedTuple):
    """The content of a span, and each row of blocks in it: its content, and how the blocks are stored."""

    content: bytes
    rows: list[tuple[Row, Bytes, list[EncodedBlock]]]


def _encode_span(source: Source, span: Span, encoder: Encoder, alignment: int, check: bool) -> _EncodedSpan:
    content = source.read_at(span.range.offset, span.range.size)
    data = np.frombuffer(content, np.uint8)
    places: list[tuple[Row, Bytes]] = []
    position = 0
    for row in span.rows:
        start = row.offset - span.range.offset
        if data[position:start].any():
            raise _changed()
        position = start + row.block_size * row.count
        places.append((row, data[start:position].reshape(row.count, row.block_size)))
    if data[position:].any():
        raise _changed()
    rows = []
    # A model may have thousands of segments of a few bytes: blocks of one size go together, whatever row they are in.
    for _, group in groupby(places, lambda place: place[0].block_size):
        together = list(group)
        blocks = together[0][1] if len(together) == 1 else np.concatenate([contents for _, contents in together])
        encoded = encoder.encode_many(blocks)
        if check:
            offsets = [offset for row, _ in together for offset in row.offsets]
            check_blocks(offsets, blocks, encoded, alignment, encoder.scratch)
        left = iter(encoded)
        rows += [(row, contents, list(islice(left, row.count))) for row, contents in together]
    return _EncodedSpan(content, rows)


def _append(body: Body, span: _EncodedSpan, observe: Observer | None) -> None:
    for row, contents, encoded in span.rows:
        entries = body.append(row, contents, encoded)
        if observe:
            observe(row, entries, encoded)


def extent_entries(extents: Sequence[Extent], block_size: int) -> list[ExtentEntry]:
    """Return the extent table."""
    entries = []
    first_block = 0
    for extent in extents:
        entries.append(ExtentEntry(extent.range.offset, extent.range.size, first_block))
        first_block += -(-extent.range.size // block_size)
    return entries


def _manifest(kind: FileKind, options: Options, extents: Sequence[Extent]) -> bytes:
    """Return the manifest, having made sure that a reader will take it."""
    used = PackOptions(options.codec, options.effort.value, options.filters)
    manifest = Manifest(kind, f"etpack {__version__}", used, tuple(extents)).to_bytes()
    try:
        Limits().check("extents", len(extents))
        Limits().check("manifest_size", len(manifest))
        Manifest.from_bytes(manifest, len(extents), 0)
    except (CorruptError, LimitError) as exc:
        raise LimitError("the model has more parts, or names of them, than a manifest takes", hint=_OPAQUE) from exc
    return manifest
