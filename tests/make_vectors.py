"""Writes `schemas/vectors/`: `python -m tests.make_vectors`.

One function makes one vector; its name is the file's, its docstring the comment. Good ones begin with `ok_`, bad ones
with the part that must object, and have one fault each. Streams of zstd and LZ4 are frozen: the files in git are the
contract, and a vector is written anew only if its folder lacks it or `--all` is given.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from etpack.layout import CodecId, FilterId, SectionType
from etpack.manifest import PackOptions
from tests.make_etz import (
    BlockSpec,
    EtzSpec,
    ExtentSpec,
    SectionSpec,
    build_etz,
    constant_block,
    opaque_spec,
    plane_block,
    raw_block,
    stream_block,
)

FOLDER = Path(__file__).parent.parent / "schemas" / "vectors"

TEXT = b"Every vector has one fault, and every rule has a vector. " * 6
NOISE = np.random.default_rng(42).integers(0, 256, 6000, dtype=np.uint8).tobytes()
NUMBERS = (np.arange(200, dtype="<i8") * 3 - 100).tobytes()
# Codecs for its planes of 8: the upper six have long runs.
NUMBERS_CODECS = [CodecId.RAW] * 2 + [CodecId.LZ4] * 6


@dataclass(frozen=True)
class Vector:
    """A file and what a reader must make of it."""

    name: str
    comment: str
    spec: EtzSpec
    # Slug of the error, or "ok".
    expect: str = "ok"
    rule: str = ""
    # When the error comes: at "open", on "use" of a block, or only when a tool comes to "verify".
    moment: str = ""
    # Bytes of content that are given out before the error, reading block by block from the start.
    released: int = 0

    def text(self) -> str:
        """Return the sidecar: `key: value` lines."""
        content = self.spec.content if self.expect == "ok" else self.spec.content[: self.released]
        rows = {
            "expect": self.expect,
            "rule": self.rule,
            "moment": self.moment,
            "content_size": str(len(content)),
            "content_sha256": hashlib.sha256(content).hexdigest(),
            "comment": self.comment,
        }
        return "".join(f"{key}: {value}\n" for key, value in rows.items() if value)


VECTORS: list[Vector] = []


def _name_and_comment(make: Callable[[], EtzSpec]) -> tuple[str, str]:
    return make.__name__, " ".join((make.__doc__ or "").split())


def good(make: Callable[[], EtzSpec]) -> Callable[[], EtzSpec]:
    """Register a vector that every reader must read."""
    VECTORS.append(Vector(*_name_and_comment(make), make()))
    return make


def bad(
    expect: str, rule: str, moment: str, released: int = 0
) -> Callable[[Callable[[], EtzSpec]], Callable[[], EtzSpec]]:
    """Register a vector that a reader must refuse with this slug, for this rule, at this moment."""

    def register(make: Callable[[], EtzSpec]) -> Callable[[], EtzSpec]:
        VECTORS.append(Vector(*_name_and_comment(make), make(), expect, rule, moment, released))
        return make

    return register


def one_block(block: BlockSpec, content: bytes) -> EtzSpec:
    """Return a file of one extent of one block."""
    return EtzSpec(content, [ExtentSpec(0, [block])])


def raw_file() -> EtzSpec:
    """Return the file that most bad vectors are a lie away from: two raw blocks in two extents, a gap between."""
    first, second = TEXT[:100], TEXT[100:164]
    content = first + bytes(28) + second
    return EtzSpec(content, [ExtentSpec(0, [raw_block(first)]), ExtentSpec(128, [raw_block(second)])])


# Good files.


@good
def ok_empty() -> EtzSpec:
    """No content, no extents, no blocks."""
    return EtzSpec(b"", [])


@good
def ok_raw() -> EtzSpec:
    """Two raw blocks in two extents, and a gap of zeros between them."""
    return raw_file()


@good
def ok_gap_at_both_ends() -> EtzSpec:
    """Zeros before the first extent and behind the last."""
    return EtzSpec(bytes(7) + b"x" + bytes(5), [ExtentSpec(7, [raw_block(b"x")])])


@good
def ok_constant() -> EtzSpec:
    """Constant blocks of zeros, of 0x5A and of 0xFF: none stores anything."""
    content = bytes(4096) + b"\x5a" * 4096 + b"\xff" * 10
    blocks = [constant_block(0, 4096), constant_block(0x5A, 4096), constant_block(0xFF, 10)]
    return EtzSpec(content, [ExtentSpec(0, blocks)])


@good
def ok_zstd() -> EtzSpec:
    """One zstd frame."""
    return one_block(stream_block(TEXT, CodecId.ZSTD), TEXT)


@good
def ok_lz4() -> EtzSpec:
    """One LZ4 block."""
    return one_block(stream_block(TEXT, CodecId.LZ4), TEXT)


@good
def ok_lz4_bitplanes() -> EtzSpec:
    """One LZ4 block over bit planes; the size is no multiple of 8."""
    content = bytes(b & 0x0F for b in NOISE[:1501])
    return one_block(stream_block(content, CodecId.LZ4_BITPLANES), content)


@good
def ok_shared() -> EtzSpec:
    """Blocks 0 and 2 are equal and share what is stored."""
    content = NOISE[:4096] + bytes(4096) + NOISE[:4096]
    shared = replace(raw_block(NOISE[:4096]), shares=0)
    return EtzSpec(content, [ExtentSpec(0, [raw_block(NOISE[:4096]), constant_block(0, 4096), shared])])


@good
def ok_many_extents() -> EtzSpec:
    """300 extents of one byte each: two pages of index and of extent table."""
    content = bytes(range(1, 256)) + bytes(range(1, 46))
    return EtzSpec(content, [ExtentSpec(n, [constant_block(value, 1)]) for n, value in enumerate(content)])


@good
def ok_unknown_section() -> EtzSpec:
    """A private section that a reader skips."""
    spec = raw_file()
    spec.sections.insert(1, SectionSpec(0x8001, b"of some vendor"))
    return spec


@good
def ok_unknown_compat_bit() -> EtzSpec:
    """A compat bit that a reader does not know."""
    spec = raw_file()
    spec.footer.compat = 1 << 31
    return spec


@good
def ok_aligned() -> EtzSpec:
    """Streams at multiples of 64, those of planes too."""
    planes = plane_block(NUMBERS, FilterId.PLANES_8, NUMBERS_CODECS, alignment=64)
    content = TEXT[:100] + NUMBERS
    return EtzSpec(content, [ExtentSpec(0, [raw_block(TEXT[:100])]), ExtentSpec(100, [planes])], alignment=64)


@good
def ok_largest_block_size() -> EtzSpec:
    """Blocks of 4 MiB, of which there is one, much smaller."""
    return opaque_spec(TEXT, block_size=1 << 22)


@good
def ok_other_options() -> EtzSpec:
    """The manifest notes other options than the defaults."""
    spec = raw_file()
    spec.options = PackOptions("lz4", "max", False)
    return spec


def _planes(kind: FilterId, tail: int) -> EtzSpec:
    """Return a block of the given planes: low ones raw, the others LZ4 or constant; `tail` bytes behind them."""
    width = kind.width
    values = np.random.default_rng(width).integers(0, 1 << 8, 240, dtype=np.uint64) | np.uint64(1 << 8 * width - 1)
    content = values.astype(f"<u{width}").tobytes() + NOISE[:tail]
    spec = plane_block(content, kind, _plane_codecs(content, kind))
    return one_block(spec, content)


def _plane_codecs(content: bytes, kind: FilterId) -> list[int]:
    from etpack import filters

    found: list[int] = []
    for planes in filters.split(np.frombuffer(content, np.uint8)[np.newaxis], kind.width, kind.rotated):
        distinct = len(set(planes[0].tolist()))
        found.append(CodecId.CONSTANT if distinct == 1 else CodecId.LZ4 if distinct == 2 else CodecId.RAW)
    return found


def _register_planes() -> None:
    """Register a vector for every filter and every length of tail."""
    for kind in FilterId:
        for tail in range(kind.width if kind is not FilterId.NONE else 0):
            name = f"ok_{kind.name.lower()}_tail_{tail}"
            comment = f"Filter {kind.value}: {kind.width} planes, {'' if kind.rotated else 'not '}rotated, tail {tail}."
            VECTORS.append(Vector(name, comment, _planes(kind, tail)))


_register_planes()


@good
def ok_planes_zstd() -> EtzSpec:
    """Rotated planes of 4 with zstd, LZ4, LZ4 over bit planes, and raw."""
    content = np.arange(1024, dtype="<u4").tobytes()
    kinds = [CodecId.ZSTD, CodecId.LZ4, CodecId.CONSTANT, CodecId.CONSTANT]
    return one_block(plane_block(content, FilterId.PLANES_4_ROTATED, kinds), content)


@good
def ok_planes_lz4_bitplanes() -> EtzSpec:
    """Planes of 2, the upper one LZ4 over bit planes."""
    content = (np.frombuffer(NOISE[:1200], "<u2") & 0x03FF).tobytes()
    return one_block(plane_block(content, FilterId.PLANES_2, [CodecId.RAW, CodecId.LZ4_BITPLANES]), content)


# Header.


@bad("not-etz", "header-magic", "open")
def header_magic() -> EtzSpec:
    """The first byte is that of another format."""
    spec = raw_file()
    spec.header.magic = b"\x88" + spec.header.magic[1:]
    return spec


@bad("truncated", "header-size", "open")
def header_size() -> EtzSpec:
    """The file ends behind the header's magic and two bytes of its version."""
    return replace(raw_file(), keep=10)


@bad("corrupt", "header-crc", "open")
def header_crc() -> EtzSpec:
    """The header's checksum is off by one bit."""
    spec = raw_file()
    spec.patches = {12: bytes([build_etz(spec)[12] ^ 1])}
    return spec


@bad("unsupported", "version", "open")
def header_version() -> EtzSpec:
    """The header says version 2."""
    spec = raw_file()
    spec.header.version = 2
    return spec


@bad("corrupt", "header-reserved", "open")
def header_reserved() -> EtzSpec:
    """The header's reserved field is 1."""
    spec = raw_file()
    spec.header.reserved = 1
    return spec


# Footer.


@bad("truncated", "footer-magic", "open")
def footer_magic_trailing_byte() -> EtzSpec:
    """A byte follows the footer."""
    return replace(raw_file(), trailing=b"\0")


@bad("truncated", "footer-magic", "open")
def footer_magic_short_file() -> EtzSpec:
    """The file ends after 100 bytes."""
    return replace(raw_file(), keep=100)


@bad("corrupt", "footer-crc", "open")
def footer_crc() -> EtzSpec:
    """The footer's checksum is wrong."""
    spec = raw_file()
    spec.footer.crc = 0
    return spec


@bad("unsupported", "version", "open")
def footer_version() -> EtzSpec:
    """The footer says version 2."""
    spec = raw_file()
    spec.footer.version = 2
    return spec


@bad("unsupported", "footer-incompat", "open")
def footer_incompat() -> EtzSpec:
    """An incompat bit is set that this version does not define."""
    spec = raw_file()
    spec.footer.incompat = 1
    return spec


@bad("corrupt", "footer-reserved", "open")
def footer_root_digest() -> EtzSpec:
    """The root digest is not zero, and no feature bit says why."""
    spec = raw_file()
    spec.footer.root_digest = bytes(31) + b"\1"
    return spec


@bad("corrupt", "footer-reserved", "open")
def footer_reserved() -> EtzSpec:
    """The footer's first reserved field is not zero."""
    spec = raw_file()
    spec.footer.reserved = b"\1" + bytes(7)
    return spec


@bad("corrupt", "footer-reserved", "open")
def footer_reserved_2() -> EtzSpec:
    """The footer's second reserved field is not zero."""
    spec = raw_file()
    spec.footer.reserved2 = 1
    return spec


@bad("corrupt", "footer-block-size", "open")
def footer_block_size_small() -> EtzSpec:
    """Blocks of 2 KiB."""
    spec = raw_file()
    spec.footer.block_size_log2 = 11
    return spec


@bad("corrupt", "footer-block-size", "open")
def footer_block_size_large() -> EtzSpec:
    """Blocks of 8 MiB."""
    spec = raw_file()
    spec.footer.block_size_log2 = 23
    return spec


@bad("corrupt", "footer-alignment", "open")
def footer_alignment() -> EtzSpec:
    """An alignment of 8 MiB."""
    spec = raw_file()
    spec.footer.alignment_log2 = 23
    return spec


@bad("corrupt", "footer-content-size", "open")
def footer_content_size() -> EtzSpec:
    """The content has 2^48 bytes."""
    spec = raw_file()
    spec.footer.content_size = 1 << 48
    return spec


@bad("corrupt", "footer-section-count", "open")
def footer_section_count() -> EtzSpec:
    """The footer counts 65 sections."""
    spec = raw_file()
    spec.footer.section_count = 65
    return spec


@bad("corrupt", "footer-max-stored", "open")
def footer_max_stored_over_block_size() -> EtzSpec:
    """The largest stored block is larger than a block."""
    spec = raw_file()
    spec.footer.max_stored_block = 4097
    return spec


@bad("corrupt", "footer-max-stored", "use")
def footer_max_stored_too_small() -> EtzSpec:
    """Block 0 is larger than the largest stored block."""
    spec = raw_file()
    spec.footer.max_stored_block = 99
    return spec


@bad("corrupt", "footer-max-stored", "verify", 192)
def footer_max_stored_too_large() -> EtzSpec:
    """The largest stored block is smaller than the footer says."""
    spec = raw_file()
    spec.footer.max_stored_block = 101
    return spec


@bad("corrupt", "footer-codecs", "open")
def footer_codecs_order() -> EtzSpec:
    """The codec list is not ascending."""
    spec = raw_file()
    spec.footer.codecs = [3, 2]
    return spec


@bad("corrupt", "footer-codecs", "open")
def footer_codecs_constant() -> EtzSpec:
    """The codec list names constant."""
    spec = raw_file()
    spec.footer.codecs = [1]
    return spec


@bad("corrupt", "footer-codecs-used", "verify", len(TEXT))
def footer_codecs_used() -> EtzSpec:
    """The codec list names LZ4, and the only block is zstd."""
    spec = one_block(stream_block(TEXT, CodecId.ZSTD), TEXT)
    spec.footer.codecs = [3]
    return spec


@bad("corrupt", "footer-max-scratch", "verify", 192)
def footer_max_scratch() -> EtzSpec:
    """No block needs scratch, and the footer says 1."""
    spec = raw_file()
    spec.footer.max_plane_scratch = 1
    return spec


@bad("corrupt", "content-sha256", "verify", 192)
def footer_content_sha256() -> EtzSpec:
    """The recorded SHA-256 is of another content."""
    spec = raw_file()
    spec.footer.content_sha256 = hashlib.sha256(b"another content").digest()
    return spec


# Sections.


@bad("corrupt", "section-table-crc", "open")
def section_table_crc() -> EtzSpec:
    """The section table's checksum is wrong."""
    spec = raw_file()
    spec.footer.section_table_crc = 0
    return spec


@bad("corrupt", "section-flags", "open")
def section_flags() -> EtzSpec:
    """A section has flag bit 1."""
    spec = raw_file()
    spec.section(SectionType.MANIFEST).flags = 2
    return spec


@bad("unsupported", "section-required", "open")
def section_required() -> EtzSpec:
    """A section of a reserved type must be understood."""
    spec = raw_file()
    spec.sections.append(SectionSpec(77, b"the future", flags=1))
    return spec


@bad("corrupt", "section-cover", "open")
def section_cover_hole() -> EtzSpec:
    """A byte lies between the last section and the section table."""
    return replace(raw_file(), after_sections=b"\0")


@bad("corrupt", "section-cover", "open")
def section_cover_overlap() -> EtzSpec:
    """The extent table begins one byte before the index ends."""
    spec = raw_file()
    whole = build_etz(spec)
    table = len(whole) - 128 - 3 * 20
    spec.section(SectionType.EXTENTS).stored_offset = int.from_bytes(whole[table + 28 : table + 34], "little") - 1
    return spec


@bad("corrupt", "section-cover", "open")
def section_cover_before_the_file() -> EtzSpec:
    """A table of 64 sections would begin before the file does."""
    spec = raw_file()
    spec.footer.section_count = 64
    return spec


@bad("corrupt", "section-once", "open")
def section_none() -> EtzSpec:
    """The footer counts no section."""
    spec = raw_file()
    spec.footer.section_count = 0
    spec.footer.section_table_crc = 0
    return spec


@bad("corrupt", "section-crc", "verify", 192)
def section_crc_manifest() -> EtzSpec:
    """The manifest's checksum is wrong; whoever only reads content need not look."""
    spec = raw_file()
    spec.section(SectionType.MANIFEST).crc = 0
    return spec


@bad("corrupt", "section-once", "open")
def section_missing() -> EtzSpec:
    """There is no manifest."""
    spec = raw_file()
    spec.sections.pop()
    return spec


@bad("corrupt", "section-once", "open")
def section_twice() -> EtzSpec:
    """There are two manifests."""
    spec = raw_file()
    spec.sections.append(SectionSpec(SectionType.MANIFEST))
    return spec


@bad("corrupt", "section-crc", "verify", 192)
def section_crc() -> EtzSpec:
    """The checksum of a private section is wrong."""
    spec = raw_file()
    spec.sections.append(SectionSpec(0x8001, b"of some vendor", crc=0))
    return spec


@bad("corrupt", "page-size", "open")
def page_size() -> EtzSpec:
    """The index ends inside a row."""
    spec = raw_file()
    spec.section(SectionType.INDEX).edit = lambda data: data[:-9] + data[-4:]
    return spec


@bad("corrupt", "page-crc", "open")
def page_crc_index() -> EtzSpec:
    """A bit of the index is flipped, under a good checksum of the section."""
    spec = raw_file()
    spec.section(SectionType.INDEX).edit = lambda data: bytes([data[0] ^ 1]) + data[1:]
    return spec


@bad("corrupt", "page-crc", "open")
def page_crc_swapped() -> EtzSpec:
    """Two full pages of the extent table have changed places."""
    spec = EtzSpec(b"abc" * 170, [ExtentSpec(n, [constant_block(b"abc"[n % 3], 1)]) for n in range(510)])
    spec.section(SectionType.EXTENTS).edit = lambda data: data[4084:] + data[:4084]
    return spec


# Extents.


@bad("corrupt", "extent-empty", "open")
def extent_empty() -> EtzSpec:
    """An extent has no bytes."""
    spec = raw_file()
    spec.extents.insert(1, ExtentSpec(100, []))
    return spec


@bad("corrupt", "extent-order", "open")
def extent_order() -> EtzSpec:
    """The second extent begins before the first ends."""
    spec = raw_file()
    spec.extents[1].content_offset = 99
    return spec


@bad("corrupt", "extent-blocks", "open")
def extent_blocks() -> EtzSpec:
    """The second extent says that it begins with block 0."""
    spec = raw_file()
    spec.extents[1].first_block = 0
    return spec


@bad("corrupt", "extent-bounds", "open")
def extent_bounds() -> EtzSpec:
    """The last extent ends a byte behind the content."""
    spec = raw_file()
    spec.extents[1].content_offset = 129
    return spec


@bad("corrupt", "extent-count", "open")
def extent_count() -> EtzSpec:
    """The extents have two blocks and the index has three rows."""
    spec = opaque_spec(bytes(3 * 4096))
    spec.extents[0].blocks = [constant_block(0, 4096)] * 3
    spec.extents[0].content_size = 2 * 4096
    return spec


# Manifest.


@bad("corrupt", "manifest-valid", "verify", 192)
def manifest_identifier() -> EtzSpec:
    """The manifest has another FlatBuffer identifier; whoever only reads content need not look."""
    spec = raw_file()
    spec.section(SectionType.MANIFEST).edit = lambda data: data[:4] + b"XXXX" + data[8:]
    return spec


@bad("corrupt", "manifest-agrees", "verify", 192)
def manifest_agrees() -> EtzSpec:
    """The manifest says that opaque content has a program."""
    from etpack.pte import Role

    spec = raw_file()
    spec.extents[0].role = Role.PROGRAM
    return spec


# Blocks. Each keeps a good raw block before the bad one.


def second(block: BlockSpec, content: bytes) -> EtzSpec:
    """Return a good raw block of 128 bytes, in an extent of its own, and then `block`."""
    return EtzSpec(TEXT[:128] + content, [ExtentSpec(0, [raw_block(TEXT[:128])]), ExtentSpec(128, [block])])


@bad("corrupt", "block-crc", "use", 128)
def block_crc() -> EtzSpec:
    """A stored byte is not what the index row's checksum covers."""
    return second(replace(raw_block(NOISE[:50]), crc=1), NOISE[:50])


@bad("unsupported", "block-filter", "use", 128)
def block_filter() -> EtzSpec:
    """Filter 7 is reserved."""
    return second(replace(raw_block(NOISE[:50]), filter=7), NOISE[:50])


@bad("unsupported", "codec-known", "use", 128)
def block_codec_reserved() -> EtzSpec:
    """Codec 5 is reserved."""
    return second(BlockSpec(50, codec=5, stored=NOISE[:40]), NOISE[:50])


@bad("codec-missing", "codec-known", "use", 128)
def block_codec_private() -> EtzSpec:
    """Codec 250 is private, and nobody provides it."""
    return second(BlockSpec(50, codec=250, stored=NOISE[:40]), NOISE[:50])


@bad("corrupt", "block-codec", "use", 128)
def block_codec_directory_without_filter() -> EtzSpec:
    """A directory, but no filter."""
    return second(BlockSpec(50, codec=255, stored=NOISE[:40]), NOISE[:50])


@bad("corrupt", "block-codec", "use", 128)
def block_codec_filter_without_directory() -> EtzSpec:
    """A filter, but the codec is raw."""
    return second(replace(raw_block(NOISE[:50]), filter=1), NOISE[:50])


@bad("corrupt", "block-size", "use", 128)
def block_size_raw() -> EtzSpec:
    """A raw block of 50 bytes stores 49."""
    return second(BlockSpec(50, stored=NOISE[:49]), NOISE[:50])


@bad("corrupt", "block-size", "use", 128)
def block_size_not_smaller() -> EtzSpec:
    """An LZ4 block is as large as what it stands for."""
    return second(BlockSpec(50, codec=3, stored=NOISE[:50]), NOISE[:50])


@bad("corrupt", "block-size", "use", 128)
def block_size_constant_value() -> EtzSpec:
    """A constant block has the value 256."""
    return second(BlockSpec(50, codec=1, value=256), bytes(50))


@bad("corrupt", "constant-crc", "use", 128)
def block_constant_crc() -> EtzSpec:
    """A constant block has a checksum."""
    return second(replace(constant_block(0, 50), crc=1), bytes(50))


@bad("corrupt", "block-range", "use", 128)
def block_range_behind() -> EtzSpec:
    """A block ends inside the index."""
    spec = second(raw_block(NOISE[:50]), NOISE[:50])
    spec.blocks[1].stored_offset = 16 + 128 + 1
    return spec


@bad("corrupt", "block-range", "use", 128)
def block_range_before() -> EtzSpec:
    """A block begins inside the header."""
    spec = second(raw_block(NOISE[:50]), NOISE[:50])
    spec.blocks[1].stored_offset = 15
    return spec


@bad("corrupt", "block-alignment", "use", 128)
def block_alignment() -> EtzSpec:
    """With an alignment of 64, a block begins at a multiple of 32."""
    spec = second(raw_block(NOISE[:50]), NOISE[:50])
    spec.alignment = 64
    spec.blocks[1].padding = bytes(32)
    return spec


@bad("corrupt", "stored-overlap", "verify", 128 + 50)
def stored_overlap() -> EtzSpec:
    """The second block's stored bytes are a part of the first one's."""
    block = replace(raw_block(TEXT[10:60]), shares=0, stored_offset=26)
    return second(block, TEXT[10:60])


@bad("corrupt", "stored-cover", "verify", 192)
def stored_cover() -> EtzSpec:
    """A byte between the last block and the index belongs to nothing."""
    return replace(raw_file(), after_blocks=b"\0")


@bad("corrupt", "padding-zero", "verify", 192)
def padding_zero() -> EtzSpec:
    """A byte of the padding before the first block is 1."""
    spec = raw_file()
    spec.alignment = 64
    spec.blocks[0].padding = bytes(47) + b"\1"
    return spec


# Streams.


def stream(codec: int, stored: bytes) -> EtzSpec:
    """Return a file whose second block, of TEXT, has this stream."""
    return second(BlockSpec(len(TEXT), codec=codec, stored=stored), TEXT)


ZSTD_STREAM = stream_block(TEXT, CodecId.ZSTD).stored
LZ4_STREAM = stream_block(TEXT, CodecId.LZ4).stored


@bad("corrupt", "block-stream", "use", 128)
def block_stream_zstd_cut() -> EtzSpec:
    """A zstd frame lacks its last byte."""
    return stream(CodecId.ZSTD, ZSTD_STREAM[:-1])


@bad("corrupt", "block-stream", "use", 128)
def block_stream_zstd_two_frames() -> EtzSpec:
    """A second, empty zstd frame follows."""
    return stream(CodecId.ZSTD, ZSTD_STREAM + bytes.fromhex("28b52ffd2000010000"))


@bad("corrupt", "block-stream", "use", 128)
def block_stream_zstd_size() -> EtzSpec:
    """A zstd frame declares one byte less than the block has."""
    return stream(CodecId.ZSTD, stream_block(TEXT[:-1], CodecId.ZSTD).stored)


@bad("corrupt", "block-stream", "use", 128)
def block_stream_zstd_no_size() -> EtzSpec:
    """A zstd frame does not declare its size."""
    return stream(CodecId.ZSTD, bytes.fromhex("28b52ffd0058") + b"\x13\x0b\x00" + TEXT[:100])


@bad("corrupt", "block-stream", "use", 128)
def block_stream_zstd_skippable() -> EtzSpec:
    """A skippable frame stands where a zstd frame must."""
    return stream(CodecId.ZSTD, bytes.fromhex("502a4d18040000000badc0de"))


@bad("corrupt", "block-stream", "use", 128)
def block_stream_lz4_long() -> EtzSpec:
    """An LZ4 block decodes to one byte more than the block has."""
    return stream(CodecId.LZ4, stream_block(TEXT + b"!", CodecId.LZ4).stored)


@bad("corrupt", "block-stream", "use", 128)
def block_stream_lz4_short() -> EtzSpec:
    """An LZ4 block decodes to one byte less than the block has."""
    return stream(CodecId.LZ4, stream_block(TEXT[:-1], CodecId.LZ4).stored)


@bad("corrupt", "block-stream", "use", 128)
def block_stream_lz4_offset() -> EtzSpec:
    """An LZ4 match reaches back before the first byte."""
    return stream(CodecId.LZ4, b"\x1fA\xff\xff" + b"\xff" * 1 + b"\x00" + LZ4_STREAM[10:])


@bad("corrupt", "block-stream", "use", 128)
def block_stream_bitplanes_short() -> EtzSpec:
    """An LZ4 block over bit planes decodes to the plane's size, not to that of its bit planes."""
    content = bytes(b & 1 for b in NOISE[:401])
    stored = stream_block(content, CodecId.LZ4).stored
    return second(BlockSpec(401, codec=CodecId.LZ4_BITPLANES, stored=stored), content)


# Planes.


def planes(edit: Callable[[bytes], bytes], alignment: int = 1) -> EtzSpec:
    """Return a file whose second block has planes, of which `edit` changes the stored bytes."""
    good_block = plane_block(NUMBERS, FilterId.PLANES_8, NUMBERS_CODECS, alignment)
    spec = second(replace(good_block, stored=edit(good_block.stored)), NUMBERS)
    spec.alignment = alignment
    return spec


@bad("corrupt", "block-directory", "use", 128)
def block_directory_size() -> EtzSpec:
    """The third plane's stream is one byte shorter than the directory says."""
    return planes(lambda stored: stored[:8] + bytes([stored[8] + 1]) + stored[9:])


@bad("corrupt", "block-directory", "use", 128)
def block_directory_raw_size() -> EtzSpec:
    """A raw plane has another size than the plane."""
    return planes(lambda stored: bytes([stored[0] - 1]) + stored[1:-1])


@bad("corrupt", "block-directory", "use", 128)
def block_directory_nested() -> EtzSpec:
    """A plane's codec is 255."""
    return planes(lambda stored: stored[:11] + b"\xff" + stored[12:])


@bad("corrupt", "block-directory", "use", 128)
def block_directory_constant_value() -> EtzSpec:
    """A constant plane has the value 256."""
    return planes(lambda stored: b"\x00\x01\x00\x01" + stored[4:])


@bad("corrupt", "block-directory", "use", 128)
def block_directory_too_small() -> EtzSpec:
    """A block of 5 bytes cannot have planes of 8."""
    block = BlockSpec(5, FilterId.PLANES_8, CodecId.DIRECTORY, b"abcd")
    return second(block, b"abcde")


@bad("corrupt", "block-directory", "use", 128)
def block_directory_trailing() -> EtzSpec:
    """A byte follows the last stream, and there is no tail."""
    return planes(lambda stored: stored + b"\0")


@bad("corrupt", "block-padding", "use", 128)
def block_padding() -> EtzSpec:
    """A byte between the directory and the first stream is 1."""
    return planes(lambda stored: stored[:40] + b"\1" + stored[41:], alignment=64)


@bad("unsupported", "codec-known", "use", 128)
def block_plane_codec_reserved() -> EtzSpec:
    """A plane uses codec 6, which is reserved."""
    return planes(lambda stored: stored[:11] + b"\x06" + stored[12:])


def main() -> None:
    """Write the vectors that are not there; with --all, all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = {vector.name for vector in VECTORS}
    for path in FOLDER.glob("*.etz"):
        if path.stem not in names:
            path.unlink()
            path.with_suffix(".txt").unlink()
    for vector in VECTORS:
        path = FOLDER / f"{vector.name}.etz"
        if "--all" in sys.argv or not path.exists():
            path.write_bytes(build_etz(vector.spec))
        path.with_suffix(".txt").write_text(vector.text(), encoding="utf-8")
    ordered = sorted(VECTORS, key=lambda vector: vector.name)
    rows = "".join(f"| {v.name} | {v.expect} | {v.rule} | {v.moment} | {v.comment} |\n" for v in ordered)
    (FOLDER / "README.md").write_text(README.format(count=len(VECTORS)) + rows, encoding="utf-8")


README = """# Test vectors of the `.etz` format

{count} files that a reader must read or must refuse. Each `NAME.etz` has a `NAME.txt` beside it of `key: value` lines:

| key | meaning |
|---|---|
| expect | `ok`, or the error that must come |
| rule | id of the rule in [etz-v1.md](../etz-v1.md) that is broken |
| moment | when the error comes: `open`, `use` of a block, or only `verify` |
| content_size, content_sha256 | the content; of a bad file, what may be given out before the error, from the start |
| comment | what is special |

Readers ignore keys that they do not know. Names begin with the part that objects; each bad file has one fault. The
files are frozen: `python -m tests.make_vectors` writes only those that are not there. CC0: copy them into your project.

| name | expect | rule | moment | |
|---|---|---|---|---|
"""


if __name__ == "__main__":
    main()
