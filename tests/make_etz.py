"""Builds small .etz files from pieces, and files that lie. The same spec gives the same bytes.

It packs every structure by itself, from the tables of `schemas/etz-v1.md`, so that it can write what `etpack.layout`
would never write. Checksums fit what is written unless the spec says another one.

A file is an `EtzSpec`; its fields named after a field of the format are None (the truth) or the lie to write.
`to_spec` takes a good file apart, so that `build_etz(to_spec(data)) == data` and one piece of it can be changed.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from google_crc32c import value as crc32c

from etpack import blocks, codecs, filters
from etpack.blocks import Stream
from etpack.codecs import Effort
from etpack.layout import CodecId, FilterId, SectionType, needs_decoder
from etpack.manifest import Manifest, PackOptions
from etpack.plan import Extent
from etpack.pte import FileKind, Range, Role
from etpack.reader import EtzFile

ROWS_PER_PAGE = 255
MIN_BLOCK_SIZE = 4096


@dataclass
class BlockSpec:
    """A block; `raw_block`, `constant_block`, `stream_block` and `plane_block` make good ones."""

    # Bytes of content.
    size: int
    filter: int = FilterId.NONE
    codec: int = CodecId.RAW
    # Stored bytes; none for a constant block.
    stored: bytes = b""
    # The byte that a constant block is full of.
    value: int = 0
    # Codecs of its planes, for the footer.
    plane_codecs: Sequence[int] = ()
    # Number of the block whose stored bytes it shares.
    shares: int | None = None
    # Bytes before it, instead of zeros up to the alignment.
    padding: bytes | None = None

    stored_offset: int | None = None
    stored_size: int | None = None
    crc: int | None = None


@dataclass
class ExtentSpec:
    """An extent: its blocks, what the manifest says of it, and lies for the extent table."""

    offset: int
    blocks: list[BlockSpec]
    role: Role = Role.OPAQUE
    segments: tuple[int, ...] = ()
    delegate_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    content_offset: int | None = None
    content_size: int | None = None
    first_block: int | None = None


@dataclass
class HeaderSpec:
    """The header's fields."""

    magic: bytes = b"\x89ETZ\r\n\x1a\n"
    version: int = 1
    reserved: int = 0
    crc: int | None = None


@dataclass
class SectionSpec:
    """A section: its bytes if it is none of the known three, and lies for the section table."""

    type: int
    # Made from the other pieces if None.
    data: bytes | None = None
    # Changes the bytes before the section's checksum is made.
    edit: Callable[[bytes], bytes] | None = None
    # Bit 0: a reader that does not know the type must refuse the file.
    flags: int = 0

    crc: int | None = None
    stored_offset: int | None = None
    size: int | None = None


@dataclass
class FooterSpec:
    """The footer's fields in their order; None is the truth."""

    content_sha256: bytes | None = None
    root_digest: bytes = bytes(32)
    content_size: int | None = None
    incompat: int = 0
    compat: int = 0
    section_table_crc: int | None = None
    section_count: int | None = None
    block_size_log2: int | None = None
    alignment_log2: int | None = None
    max_stored_block: int | None = None
    max_plane_scratch: int | None = None
    codecs: Sequence[int] | None = None
    reserved: bytes = bytes(8)
    version: int = 1
    reserved2: int = 0
    crc: int | None = None
    magic: bytes = b"ETZEND\r\n"


def _default_sections() -> list[SectionSpec]:
    return [
        SectionSpec(SectionType.INDEX, flags=1),
        SectionSpec(SectionType.EXTENTS, flags=1),
        SectionSpec(SectionType.MANIFEST),
    ]


@dataclass
class EtzSpec:
    """A whole file."""

    content: bytes
    extents: list[ExtentSpec]
    block_size: int = MIN_BLOCK_SIZE
    alignment: int = 1
    header: HeaderSpec = field(default_factory=HeaderSpec)
    # In the order in which they lie in the file and stand in the table.
    sections: list[SectionSpec] = field(default_factory=_default_sections)
    footer: FooterSpec = field(default_factory=FooterSpec)
    kind: FileKind = FileKind.OPAQUE
    tool: str = "etpack test"
    options: PackOptions = field(default_factory=PackOptions)
    # Bytes between the last block and the first section.
    after_blocks: bytes = b""
    # Bytes between the last section and the section table.
    after_sections: bytes = b""
    # Bytes after the footer.
    trailing: bytes = b""
    # Replaces bytes at stored offsets of the finished file; no checksum follows.
    patches: Mapping[int, bytes] = field(default_factory=dict)
    # Cuts the finished file to so many bytes.
    keep: int | None = None

    @property
    def blocks(self) -> list[BlockSpec]:
        """All blocks in order."""
        return [block for extent in self.extents for block in extent.blocks]

    def section(self, kind: int) -> SectionSpec:
        """Return the first section of a type."""
        return next(section for section in self.sections if section.type == kind)


def raw_block(content: bytes) -> BlockSpec:
    """Return a block that stores its content as it is."""
    return BlockSpec(len(content), stored=content)


def constant_block(value: int, size: int) -> BlockSpec:
    """Return a block of `size` bytes of one value, of which nothing is stored."""
    return BlockSpec(size, codec=CodecId.CONSTANT, value=value)


def stream_block(content: bytes, codec: int) -> BlockSpec:
    """Return a block of one stream of the given codec."""
    stored = bytes(codecs.by_id(codec).encode(content, Effort.DEFAULT))
    return BlockSpec(len(content), codec=codec, stored=stored)


def plane_block(content: bytes, kind: FilterId, plane_codecs: Sequence[int], alignment: int = 1) -> BlockSpec:
    """Return a block of several planes, each stored with its codec; a constant plane must be of one value."""
    planes = filters.split(np.frombuffer(content, np.uint8)[np.newaxis], kind.width, kind.rotated)
    streams = [_stream(plane.tobytes(), codec) for plane, codec in zip(planes, plane_codecs, strict=True)]
    tail = content[len(content) // kind.width * kind.width :]
    stored = blocks.join_planes(streams, tail, alignment)
    return BlockSpec(len(content), kind, CodecId.DIRECTORY, stored, plane_codecs=tuple(plane_codecs))


def _stream(plane: bytes, codec: int) -> Stream:
    if codec == CodecId.CONSTANT:
        return Stream(codec, b"", plane[0])
    return Stream(codec, plane if codec == CodecId.RAW else bytes(codecs.by_id(codec).encode(plane, Effort.DEFAULT)))


def opaque_spec(content: bytes, *, block_size: int = MIN_BLOCK_SIZE, alignment: int = 1) -> EtzSpec:
    """Return a file of one extent of raw blocks."""
    spec = EtzSpec(content, [], block_size, alignment)
    starts = range(0, len(content), spec.block_size)
    raw = [raw_block(content[start : start + spec.block_size]) for start in starts]
    spec.extents = [ExtentSpec(0, raw)] if raw else []
    return spec


def to_spec(data: bytes) -> EtzSpec:
    """Take a good file without unknown sections apart."""
    with EtzFile(data) as file:
        spec = EtzSpec(
            content=file.read_at(0, file.size),
            extents=[],
            block_size=file.block_size,
            alignment=file.footer.alignment,
            kind=file.manifest.kind,
            tool=file.manifest.tool,
            options=file.manifest.options,
        )
        first: dict[tuple[int, int], int] = {}
        for number, (entry, said) in enumerate(zip(file.extents, file.manifest.extents, strict=True)):
            specs = []
            for block in file.blocks(number):
                place = block.entry.stored_offset, block.entry.stored_size
                shares = first.setdefault(place, block.number) if place[1] else block.number
                specs.append(_to_block(data, file, block.number, block.range.size))
                specs[-1].shares = None if shares == block.number else shares
            users = said.segments, said.delegate_ids, said.keys, said.methods
            spec.extents.append(ExtentSpec(entry.content_offset, specs, said.role, *users))
    return spec


def _to_block(data: bytes, file: EtzFile, number: int, size: int) -> BlockSpec:
    entry = file.entry(number)
    spec = BlockSpec(size, entry.filter, entry.codec)
    if entry.codec == CodecId.CONSTANT:
        spec.value = entry.stored_offset
        return spec
    spec.stored = data[entry.stored_offset : entry.stored_offset + entry.stored_size]
    if entry.codec == CodecId.DIRECTORY:
        spec.plane_codecs = [spec.stored[4 * plane + 3] for plane in range(FilterId(entry.filter).width)]
    return spec


def build_etz(spec: EtzSpec) -> bytes:
    """Return the bytes of a file."""
    return _Builder(spec).build()


class _Builder:
    """Writes the parts in their order; what comes later says where the earlier ones are."""

    def __init__(self, spec: EtzSpec) -> None:
        self.spec = spec
        self.data = bytearray()

    def build(self) -> bytes:
        spec = self.spec
        self.data += _header(spec.header)
        places = self._store_blocks()
        self.data += spec.after_blocks
        table = b"".join(self._section(section, places) for section in spec.sections)
        self.data += spec.after_sections + table + self._footer(table) + spec.trailing
        for offset, new in spec.patches.items():
            self.data[offset : offset + len(new)] = new
        return bytes(self.data[: spec.keep])

    def _store_blocks(self) -> list[int]:
        """Append what the blocks store; return the stored offset of each, or a constant block's value."""
        places: list[int] = []
        for block in self.spec.blocks:
            if block.shares is not None:
                places.append(places[block.shares])
            elif not block.stored:
                places.append(block.value)
            else:
                zeros = bytes(-len(self.data) % self.spec.alignment)
                self.data += zeros if block.padding is None else block.padding
                places.append(len(self.data))
                self.data += block.stored
        return places

    def _section(self, section: SectionSpec, places: Sequence[int]) -> bytes:
        """Append a section and return its entry in the section table."""
        data = self._section_data(section.type, places) if section.data is None else section.data
        data = section.edit(data) if section.edit else data
        offset = _said(section.stored_offset, len(self.data))
        size = _said(section.size, len(data))
        self.data += data
        crc = _said(section.crc, crc32c(data))
        return struct.pack("<HHI", section.type, section.flags, crc) + _u48(offset) + _u48(size)

    def _section_data(self, kind: int, places: Sequence[int]) -> bytes:
        if kind == SectionType.INDEX:
            rows = [_index_row(block, place) for block, place in zip(self.spec.blocks, places, strict=True)]
            return _pages(rows, kind)
        if kind == SectionType.EXTENTS:
            return _pages(self._extent_rows(), kind)
        if kind == SectionType.MANIFEST:
            return _manifest(self.spec)
        return b""

    def _extent_rows(self) -> list[bytes]:
        rows, number = [], 0
        for extent in self.spec.extents:
            offset = _said(extent.content_offset, extent.offset)
            size = _said(extent.content_size, sum(block.size for block in extent.blocks))
            first = _said(extent.first_block, number)
            rows.append(_u48(offset) + _u48(size) + struct.pack("<I", first))
            number += len(extent.blocks)
        return rows

    def _footer(self, table: bytes) -> bytes:
        spec, said = self.spec, self.spec.footer
        used = sorted({codec for block in spec.blocks for codec in _codecs(block) if needs_decoder(codec)})
        body = struct.pack(
            "<32s32sQIIIHBBII8s8sHH",
            said.content_sha256 or hashlib.sha256(spec.content).digest(),
            said.root_digest,
            _said(said.content_size, len(spec.content)),
            said.incompat,
            said.compat,
            _said(said.section_table_crc, crc32c(table)),
            _said(said.section_count, len(spec.sections)),
            _said(said.block_size_log2, spec.block_size.bit_length() - 1),
            _said(said.alignment_log2, spec.alignment.bit_length() - 1),
            _said(said.max_stored_block, max((len(block.stored) for block in spec.blocks), default=0)),
            _said(said.max_plane_scratch, max(map(_scratch, spec.blocks), default=0)),
            bytes(used if said.codecs is None else said.codecs),
            said.reserved,
            said.version,
            said.reserved2,
        )
        return body + struct.pack("<I", _said(said.crc, crc32c(body))) + said.magic


def _said(lie: int | None, truth: int) -> int:
    return truth if lie is None else lie


def _u48(value: int) -> bytes:
    return value.to_bytes(6, "little")


def _header(said: HeaderSpec) -> bytes:
    head = struct.pack("<8sHH", said.magic, said.version, said.reserved)
    return head + struct.pack("<I", _said(said.crc, crc32c(head)))


def _index_row(block: BlockSpec, place: int) -> bytes:
    offset = _said(block.stored_offset, place)
    size = _said(block.stored_size, len(block.stored))
    crc = _said(block.crc, crc32c(block.stored) if block.stored else 0)
    return _u48(offset) + struct.pack("<BBII", block.filter, block.codec, size, crc)


def _pages(rows: Sequence[bytes], table: int) -> bytes:
    """Return a table in pages; each page's checksum covers its rows, the section's type and the page's number."""
    data = b""
    for number, start in enumerate(range(0, len(rows), ROWS_PER_PAGE)):
        page = b"".join(rows[start : start + ROWS_PER_PAGE])
        data += page + struct.pack("<I", crc32c(page + struct.pack("<II", table, number)))
    return data


def _manifest(spec: EtzSpec) -> bytes:
    extents = tuple(
        Extent(Range(0, 0), extent.role, extent.segments, extent.delegate_ids, extent.keys, extent.methods)
        for extent in spec.extents
    )
    return Manifest(spec.kind, spec.tool, spec.options, extents).to_bytes()


def _codecs(block: BlockSpec) -> Sequence[int]:
    return block.plane_codecs if block.codec == CodecId.DIRECTORY else (block.codec,)


def _scratch(block: BlockSpec) -> int:
    """Return the bytes of scratch that a block needs (section 5.4); 0 for a filter that is not known."""
    width = {0: 1, 1: 2, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8}.get(block.filter)
    if width is None:
        return 0
    plane_size = block.size // width
    planes = 0 if width == 1 else sum(map(needs_decoder, _codecs(block)))
    return plane_size * planes + (-(-plane_size // 8) * 8 if CodecId.LZ4_BITPLANES in _codecs(block) else 0)
