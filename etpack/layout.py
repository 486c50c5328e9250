"""`.etz` bytes <-> frozen values, as `schemas/etz-v1.md` lays them out; no I/O and no decoding.

The rules of this file:
- `from_bytes` validates everything that its bytes alone can prove, in the order magic, size, checksum,
  version and feature bits, values, so that not-etz, truncated, corrupt and unsupported mean what they say.
- What needs more than one structure at hand (exact cover, sharing, maxima) is checked by `etpack.check`.
- All integers are little-endian. A *stored offset* counts from the first byte of the `.etz`, a *content
  offset* from the first byte of the content.
- Every `rule` is an id of the specification; a test compares the two.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from google_crc32c import value as crc32c

from etpack.errors import CorruptError, NotEtzError, TruncatedError, UnsupportedError

FORMAT_VERSION = 1

HEADER_MAGIC = b"\x89ETZ\r\n\x1a\n"
HEADER_SIZE = 16
FOOTER_MAGIC = b"ETZEND\r\n"
FOOTER_SIZE = 128

SECTION_ENTRY_SIZE = 20
MAX_SECTIONS = 64

ENTRY_SIZE = 16
ENTRIES_PER_PAGE = 255
CRC_SIZE = 4
PAGE_SIZE = ENTRIES_PER_PAGE * ENTRY_SIZE + CRC_SIZE

MIN_BLOCK_SIZE_LOG2 = 12
MAX_BLOCK_SIZE_LOG2 = 22
DEFAULT_BLOCK_SIZE = 64 * 1024
MAX_ALIGNMENT_LOG2 = 22
MAX_CODECS = 8

U48_MAX = (1 << 48) - 1
U32_MAX = (1 << 32) - 1

# A reader opens a small file with one read of this many bytes from its end.
TAIL_SIZE = 16 * 1024

_HEADER = struct.Struct("<8sHHI")
_FOOTER = struct.Struct("<32s32sQIIIHBBII8s8sHHI8s")
_FOOTER_CRC_END = FOOTER_SIZE - len(FOOTER_MAGIC) - CRC_SIZE
_SECTION = struct.Struct("<HHIQI")
_ENTRY = struct.Struct("<QII")
_EXTENT = struct.Struct("<QQ")
_PLANE = struct.Struct("<I")
_CRC = struct.Struct("<I")
_PAGE_PLACE = struct.Struct("<II")


class SectionType(IntEnum):
    """What a section holds; types this reader does not know are skipped unless they are marked required."""

    INDEX = 1
    EXTENTS = 2
    MANIFEST = 3


def section_name(kind: int) -> str:
    """Return what to call a section of this type in a message."""
    names = {
        SectionType.INDEX: "the index",
        SectionType.EXTENTS: "the extent table",
        SectionType.MANIFEST: "the manifest",
    }
    return (
        names.get(SectionType(kind), "") if kind in SectionType.__members__.values() else f"the section of type {kind}"
    )


class CodecId(IntEnum):
    """Codecs of the format; `etpack.codecs` implements them."""

    RAW = 0
    CONSTANT = 1
    ZSTD = 2
    LZ4 = 3
    LZ4_BITPLANES = 4
    # Not a codec: the block starts with a directory that gives each plane's codec.
    DIRECTORY = 255


FIRST_PRIVATE_CODEC = 128
LAST_PRIVATE_CODEC = 254


class FilterId(IntEnum):
    """Filters of the format; `etpack.filters` implements them."""

    NONE = 0
    PLANES_2 = 1
    PLANES_2_ROTATED = 2
    PLANES_4 = 3
    PLANES_4_ROTATED = 4
    PLANES_8 = 5
    PLANES_8_ROTATED = 6

    @property
    def width(self) -> int:
        """Bytes per element, which is also the number of planes; 1 for NONE."""
        return (1, 2, 2, 4, 4, 8, 8)[self]

    @property
    def rotated(self) -> bool:
        """Whether elements are rotated left by one bit before they are split."""
        return self in (FilterId.PLANES_2_ROTATED, FilterId.PLANES_4_ROTATED, FilterId.PLANES_8_ROTATED)


def needs_decoder(codec: int) -> bool:
    """Whether streams of this codec id need more than a copy or a fill."""
    return codec not in (CodecId.RAW, CodecId.CONSTANT)


def is_private(codec: int) -> bool:
    """Whether the id is in the range that others may register."""
    return FIRST_PRIVATE_CODEC <= codec <= LAST_PRIVATE_CODEC


def align_up(offset: int, alignment: int) -> int:
    """Return the smallest multiple of `alignment` that is >= offset."""
    return -(-offset // alignment) * alignment


def header_bytes() -> bytes:
    """Return the 16 bytes that every version-1 file starts with."""
    head = _HEADER.pack(HEADER_MAGIC, FORMAT_VERSION, 0, 0)[:-CRC_SIZE]
    return head + _CRC.pack(crc32c(head))


def check_header(data: bytes) -> None:
    """Check the header, `data` being the first 16 bytes of the file, or all of a shorter one.

    Raises:
        NotEtzError: The magic is missing.
        TruncatedError: The file ends inside the header.
        CorruptError: The checksum or a reserved field is wrong.
        UnsupportedError: The format version is not 1.
    """
    if data[: len(HEADER_MAGIC)] != HEADER_MAGIC:
        raise NotEtzError("no .etz header", rule="header-magic", where=0)
    if len(data) < HEADER_SIZE:
        raise TruncatedError("the file ends inside its header", rule="header-size", where=len(data))
    _, version, reserved, crc = _HEADER.unpack_from(data)
    if crc != crc32c(data[: HEADER_SIZE - CRC_SIZE]):
        raise CorruptError("the header's checksum does not match", rule="header-crc", where=0)
    _check_version(version)
    if reserved:
        raise CorruptError("a reserved field of the header is not zero", rule="header-reserved", where=10)


def _check_version(version: int) -> None:
    if version != FORMAT_VERSION:
        raise UnsupportedError(
            f"the file has format version {version}; this etpack reads version {FORMAT_VERSION}",
            rule="version",
            hint="use a newer etpack",
        )


@dataclass(frozen=True)
class Footer:
    """The last 128 bytes of the file: all that a device needs to size its buffers."""

    # SHA-256 of the whole content.
    content_sha256: bytes
    # Bytes of content.
    content_size: int
    # CRC-32C and number of entries of the section table, which lies directly before the footer.
    section_table_crc: int
    section_count: int
    # log2 of the block size in bytes, 12 to 22.
    block_size_log2: int
    # log2 of the alignment of each stream's stored offset, 0 to 22.
    alignment_log2: int
    # Size in bytes of the largest stored block.
    max_stored_block: int
    # Bytes of scratch that the most demanding block needs while its planes are decoded (spec 5.4).
    max_plane_scratch: int
    # Ids of all codecs in use other than raw and constant, ascending, at most 8.
    codecs: tuple[int, ...]

    @property
    def block_size(self) -> int:
        return 1 << self.block_size_log2

    @property
    def alignment(self) -> int:
        return 1 << self.alignment_log2

    def to_bytes(self) -> bytes:
        """Return the 128 bytes."""
        body = _FOOTER.pack(
            self.content_sha256,
            bytes(32),
            self.content_size,
            0,
            0,
            self.section_table_crc,
            self.section_count,
            self.block_size_log2,
            self.alignment_log2,
            self.max_stored_block,
            self.max_plane_scratch,
            bytes(self.codecs).ljust(MAX_CODECS, b"\0"),
            bytes(8),
            FORMAT_VERSION,
            0,
            0,
            FOOTER_MAGIC,
        )
        return body[:_FOOTER_CRC_END] + _CRC.pack(crc32c(body[:_FOOTER_CRC_END])) + FOOTER_MAGIC

    @classmethod
    def from_bytes(cls, data: bytes, where: int) -> Footer:
        """Parse and check the last 128 bytes of a file, which lie at stored offset `where`.

        Raises:
            TruncatedError: The footer magic is missing.
            CorruptError: The checksum, a reserved field or a value is wrong.
            UnsupportedError: The version is not 1, or an incompatible feature bit is set.
        """
        if len(data) != FOOTER_SIZE or data[-len(FOOTER_MAGIC) :] != FOOTER_MAGIC:
            raise TruncatedError(
                "the file does not end with an .etz footer",
                rule="footer-magic",
                where=where,
                hint="it was cut off or appended to; fetch it again",
            )
        (sha, root, content_size, incompat, _compat, table_crc, count, block_log2, align_log2, max_stored, scratch,
         codecs, reserved, version, reserved2, crc, _) = _FOOTER.unpack(data)  # fmt: skip
        if crc != crc32c(data[:_FOOTER_CRC_END]):
            raise CorruptError("the footer's checksum does not match", rule="footer-crc", where=where)
        _check_version(version)
        if incompat:
            raise UnsupportedError(
                f"the file needs feature bits {incompat:#x}, which this etpack does not know",
                rule="footer-incompat",
                hint="use a newer etpack",
            )
        used = tuple(codecs.rstrip(b"\0"))
        footer = cls(sha, content_size, table_crc, count, block_log2, align_log2, max_stored, scratch, used)
        if any(root) or any(reserved) or reserved2:
            raise CorruptError("a reserved field of the footer is not zero", rule="footer-reserved", where=where)
        footer._check_values(where)
        return footer

    def _check_values(self, where: int) -> None:
        if not MIN_BLOCK_SIZE_LOG2 <= self.block_size_log2 <= MAX_BLOCK_SIZE_LOG2:
            raise CorruptError(f"block size 2^{self.block_size_log2}", rule="footer-block-size", where=where + 86)
        if self.alignment_log2 > MAX_ALIGNMENT_LOG2:
            raise CorruptError(f"alignment 2^{self.alignment_log2}", rule="footer-alignment", where=where + 87)
        if self.content_size > U48_MAX:
            raise CorruptError("the content size is over 2^48", rule="footer-content-size", where=where + 64)
        if self.section_count > MAX_SECTIONS:
            raise CorruptError(f"{self.section_count} sections", rule="footer-section-count", where=where + 84)
        if self.max_stored_block > self.block_size:
            raise CorruptError(
                "the largest stored block is over the block size", rule="footer-max-stored", where=where + 88
            )
        ids = self.codecs
        if ids != tuple(sorted(set(ids))) or any(not needs_decoder(i) or i == CodecId.DIRECTORY for i in ids):
            raise CorruptError(f"codec list {list(ids)}", rule="footer-codecs", where=where + 96)


@dataclass(frozen=True)
class Section:
    """One entry of the section table."""

    type: int
    # A reader that does not know the type must refuse the file.
    required: bool
    crc: int
    stored_offset: int
    size: int

    @property
    def end(self) -> int:
        return self.stored_offset + self.size

    def to_bytes(self) -> bytes:
        """Return the entry's 20 bytes."""
        packed = self.stored_offset | (self.size & 0xFFFF) << 48
        return _SECTION.pack(self.type, int(self.required), self.crc, packed, self.size >> 16)


def parse_section_table(data: bytes, footer: Footer, where: int) -> tuple[Section, ...]:
    """Parse the section table, `data` being its bytes and `where` its stored offset.

    Raises:
        CorruptError: Its checksum, order, cover or a field is wrong, or a known section is there twice.
        UnsupportedError: A section that must be understood has an unknown type.
    """
    if footer.section_table_crc != crc32c(data):
        raise CorruptError("the section table's checksum does not match", rule="section-table-crc", where=where)
    sections = []
    for position in range(0, len(data), SECTION_ENTRY_SIZE):
        kind, flags, crc, low, high = _SECTION.unpack_from(data, position)
        section = Section(kind, bool(flags), crc, low & U48_MAX, low >> 48 | high << 16)
        if flags > 1:
            raise CorruptError(f"flags {flags:#x} of a section", rule="section-flags", where=where + position + 2)
        if section.required and kind not in SectionType.__members__.values():
            raise UnsupportedError(
                f"section type {kind} must be understood and is not known here",
                rule="section-required",
                hint="use a newer etpack",
            )
        sections.append(section)
    _check_section_order(sections, where)
    return tuple(sections)


def check_section_crc(section: Section, data: bytes) -> None:
    """Raise CorruptError unless the section's bytes match the checksum in the section table."""
    if section.crc != crc32c(data):
        raise CorruptError(
            f"the checksum of {section_name(section.type)} does not match",
            rule="section-crc",
            where=section.stored_offset,
        )


def _check_section_order(sections: Sequence[Section], table_offset: int) -> None:
    if not sections:
        raise CorruptError("there are no sections", rule="section-once", where=table_offset)
    if sections[0].stored_offset < HEADER_SIZE:
        raise CorruptError("the first section lies in the header", rule="section-cover", where=table_offset)
    ends = [section.stored_offset for section in sections[1:]] + [table_offset]
    for section, end in zip(sections, ends, strict=True):
        if section.end != end:
            raise CorruptError(
                f"{section_name(section.type)} does not end where the next part begins",
                rule="section-cover",
                where=section.stored_offset,
            )
    known = [section.type for section in sections if section.type in SectionType.__members__.values()]
    if sorted(known) != sorted(SectionType):
        raise CorruptError(
            "index, extents and manifest must each be there once", rule="section-once", where=table_offset
        )


@dataclass(frozen=True)
class IndexEntry:
    """What the index says of one block."""

    # First stored byte of the block; for a constant block, the value of each of its bytes instead.
    stored_offset: int
    stored_size: int
    # CRC-32C of the stored bytes; 0 where there are none.
    crc: int
    # Ids as stored: a file may use ones that this reader does not know.
    filter: int
    codec: int

    def to_bytes(self) -> bytes:
        """Return the entry's 16 bytes."""
        return _ENTRY.pack(self.stored_offset | self.filter << 48 | self.codec << 56, self.stored_size, self.crc)


@dataclass(frozen=True)
class ExtentEntry:
    """A part of the content that starts a new block."""

    content_offset: int
    content_size: int
    first_block: int

    @property
    def end(self) -> int:
        return self.content_offset + self.content_size

    def to_bytes(self) -> bytes:
        """Return the entry's 16 bytes."""
        size = self.content_size
        return _EXTENT.pack(self.content_offset | (size & 0xFFFF) << 48, size >> 16 | self.first_block << 32)


def unpack_index(entries: bytes) -> Iterator[IndexEntry]:
    """Yield the entries in `entries`, a multiple of 16 bytes, without judging their values."""
    for packed, stored_size, crc in _ENTRY.iter_unpack(entries):
        yield IndexEntry(packed & U48_MAX, stored_size, crc, packed >> 48 & 0xFF, packed >> 56)


def unpack_index_entry(entries: bytes, number: int) -> IndexEntry:
    """Return entry `number` of `entries`."""
    packed, stored_size, crc = _ENTRY.unpack_from(entries, number * ENTRY_SIZE)
    return IndexEntry(packed & U48_MAX, stored_size, crc, packed >> 48 & 0xFF, packed >> 56)


def unpack_extents(entries: bytes) -> Iterator[ExtentEntry]:
    """Yield the extent entries in `entries`, a multiple of 16 bytes, without judging their values."""
    for low, high in _EXTENT.iter_unpack(entries):
        yield ExtentEntry(low & U48_MAX, low >> 48 | (high & U32_MAX) << 16, high >> 32)


def check_extents(extents: Sequence[ExtentEntry], footer: Footer, block_count: int, where: int) -> None:
    """Check that the extents are in order, inside the content, and number all blocks without a gap.

    Raises:
        CorruptError: They do not; `where` is the stored offset of the extent table.
    """
    content_end = next_block = 0
    for number, extent in enumerate(extents):
        place = where + number * ENTRY_SIZE + number // ENTRIES_PER_PAGE * CRC_SIZE
        if extent.content_size == 0:
            raise CorruptError(f"extent {number} is empty", rule="extent-empty", where=place)
        if extent.content_offset < content_end:
            raise CorruptError(f"extent {number} begins before the last one ends", rule="extent-order", where=place)
        if extent.first_block != next_block:
            raise CorruptError(f"extent {number} does not begin at the next block", rule="extent-blocks", where=place)
        content_end = extent.end
        next_block += -(-extent.content_size // footer.block_size)
    if content_end > footer.content_size:
        raise CorruptError("the last extent leaves the content", rule="extent-bounds", where=where)
    if next_block != block_count:
        raise CorruptError(
            f"the extents have {next_block} blocks and the index {block_count}", rule="extent-count", where=where
        )


def _page_crc(rows: bytes, table: SectionType, number: int) -> int:
    # The place is part of the checksum: a page that was read from, or written to, the wrong place does not match.
    crc: int = crc32c(rows + _PAGE_PLACE.pack(table, number))
    return crc


def to_pages(entries: bytes, table: SectionType) -> bytes:
    """Cut a table of 16-byte entries into pages of 255 and put each page's CRC-32C behind it."""
    step = ENTRIES_PER_PAGE * ENTRY_SIZE
    pages = (entries[start : start + step] for start in range(0, len(entries), step))
    return b"".join(page + _CRC.pack(_page_crc(page, table, number)) for number, page in enumerate(pages))


def from_pages(data: bytes, table: SectionType, where: int) -> bytes:
    """Check the pages of a table at stored offset `where` and return its entries without the checksums.

    Raises:
        CorruptError: A page's checksum does not match, or the last page is no whole number of entries.
    """
    name = "index" if table is SectionType.INDEX else "extent table"
    pages = []
    for number, start in enumerate(range(0, len(data), PAGE_SIZE)):
        page = data[start : start + PAGE_SIZE]
        if len(page) % ENTRY_SIZE != CRC_SIZE or len(page) == CRC_SIZE:
            raise CorruptError(f"the {name} ends inside an entry", rule="page-size", where=where + start)
        rows = page[:-CRC_SIZE]
        if _CRC.unpack_from(page, len(rows))[0] != _page_crc(rows, table, number):
            raise CorruptError(f"a checksum of the {name} does not match", rule="page-crc", where=where + start)
        pages.append(rows)
    return b"".join(pages)


def entry_count(size: int) -> int:
    """Return how many entries a paged table of `size` bytes has, rounding a broken last entry down."""
    return (size - -(-size // PAGE_SIZE) * CRC_SIZE) // ENTRY_SIZE


@dataclass(frozen=True)
class PlaneEntry:
    """One plane's entry in the directory at the start of a block of several planes."""

    codec: int
    # Size in bytes of the plane's stream; for a constant plane, the value of each of its bytes instead.
    size: int

    @property
    def stream_size(self) -> int:
        """Bytes that the plane has in the block."""
        return 0 if self.codec == CodecId.CONSTANT else self.size

    def to_bytes(self) -> bytes:
        """Return the entry's 4 bytes."""
        return _PLANE.pack(self.size | self.codec << 24)


def unpack_directory(data: memoryview | bytes, width: int) -> tuple[PlaneEntry, ...]:
    """Return the first `width` plane entries of a block's stored bytes, without judging their values."""
    return tuple(PlaneEntry(word >> 24, word & 0xFFFFFF) for (word,) in _PLANE.iter_unpack(data[: 4 * width]))


def bitplanes_size(size: int) -> int:
    """Return the size in bytes of a plane of `size` bytes once its bits are transposed, padding included."""
    return 8 * (-(-size // 8))
