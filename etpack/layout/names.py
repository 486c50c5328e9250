"""Constants, ids and small sums of the format."""

from __future__ import annotations

from enum import IntEnum

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
# In bytes.
BLOCK_SIZES = tuple(1 << log2 for log2 in range(MIN_BLOCK_SIZE_LOG2, MAX_BLOCK_SIZE_LOG2 + 1))
DEFAULT_BLOCK_SIZE = 64 * 1024
MAX_ALIGNMENT_LOG2 = 22
MAX_CODECS = 8

U48_MAX = (1 << 48) - 1
U32_MAX = (1 << 32) - 1

# A reader opens a small file with one read of this many bytes from its end.
TAIL_SIZE = 16 * 1024


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
        return (False, False, True, False, True, False, True)[self]


def needs_decoder(codec: int) -> bool:
    """Whether streams of this codec id need more than a copy or a fill."""
    return codec not in (CodecId.RAW, CodecId.CONSTANT)


def is_private(codec: int) -> bool:
    """Whether the id is in the range that others may register."""
    return FIRST_PRIVATE_CODEC <= codec <= LAST_PRIVATE_CODEC


def align_up(offset: int, alignment: int) -> int:
    """Return the smallest multiple of `alignment` that is >= offset."""
    return -(-offset // alignment) * alignment


def bitplanes_size(size: int) -> int:
    """Return the size in bytes of a plane of `size` bytes once its bits are transposed, padding included."""
    return 8 * (-(-size // 8))
