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

from etpack.layout.ends import Footer, check_header, header_bytes
from etpack.layout.names import (
    CRC_SIZE,
    DEFAULT_BLOCK_SIZE,
    ENTRIES_PER_PAGE,
    ENTRY_SIZE,
    FIRST_PRIVATE_CODEC,
    FOOTER_MAGIC,
    FOOTER_SIZE,
    FORMAT_VERSION,
    HEADER_MAGIC,
    HEADER_SIZE,
    LAST_PRIVATE_CODEC,
    MAX_ALIGNMENT_LOG2,
    MAX_BLOCK_SIZE_LOG2,
    MAX_CODECS,
    MAX_SECTIONS,
    MIN_BLOCK_SIZE_LOG2,
    PAGE_SIZE,
    SECTION_ENTRY_SIZE,
    TAIL_SIZE,
    U32_MAX,
    U48_MAX,
    CodecId,
    FilterId,
    SectionType,
    align_up,
    bitplanes_size,
    is_private,
    needs_decoder,
    section_name,
)
from etpack.layout.sections import Section, check_section_crc, parse_section_table
from etpack.layout.tables import (
    ExtentEntry,
    IndexEntry,
    PlaneEntry,
    check_extents,
    entry_count,
    from_pages,
    to_pages,
    unpack_directory,
    unpack_extents,
    unpack_index,
    unpack_index_entry,
)

__all__ = [
    "CRC_SIZE",
    "CodecId",
    "DEFAULT_BLOCK_SIZE",
    "ENTRIES_PER_PAGE",
    "ENTRY_SIZE",
    "ExtentEntry",
    "FIRST_PRIVATE_CODEC",
    "FOOTER_MAGIC",
    "FOOTER_SIZE",
    "FORMAT_VERSION",
    "FilterId",
    "Footer",
    "HEADER_MAGIC",
    "HEADER_SIZE",
    "IndexEntry",
    "LAST_PRIVATE_CODEC",
    "MAX_ALIGNMENT_LOG2",
    "MAX_BLOCK_SIZE_LOG2",
    "MAX_CODECS",
    "MAX_SECTIONS",
    "MIN_BLOCK_SIZE_LOG2",
    "PAGE_SIZE",
    "PlaneEntry",
    "SECTION_ENTRY_SIZE",
    "Section",
    "SectionType",
    "TAIL_SIZE",
    "U32_MAX",
    "U48_MAX",
    "align_up",
    "bitplanes_size",
    "check_extents",
    "check_header",
    "check_section_crc",
    "entry_count",
    "from_pages",
    "header_bytes",
    "is_private",
    "needs_decoder",
    "parse_section_table",
    "section_name",
    "to_pages",
    "unpack_directory",
    "unpack_extents",
    "unpack_index",
    "unpack_index_entry",
]
