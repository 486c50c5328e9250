"""Index, extent table and plane directories: rows, and pages of rows with their checksums."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from google_crc32c import value as crc32c

from etpack.errors import CorruptError
from etpack.layout.ends import Footer
from etpack.layout.names import (
    CRC_SIZE,
    ENTRIES_PER_PAGE,
    ENTRY_SIZE,
    PAGE_SIZE,
    U32_MAX,
    U48_MAX,
    CodecId,
    SectionType,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ENTRY = struct.Struct("<QII")
_EXTENT = struct.Struct("<QQ")
_CRC = struct.Struct("<I")
_PAGE_PLACE = struct.Struct("<II")
# Of up to 8 planes.
_DIRECTORIES = [struct.Struct(f"<{width}I") for width in range(9)]


class IndexEntry(NamedTuple):
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


class ExtentEntry(NamedTuple):
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


def index_columns(entries: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return of all entries the stored offsets, the stored sizes, and filter | codec << 8: int64 of shape (blocks,)."""
    import numpy as np

    words = np.frombuffer(entries, "<u8").reshape(-1, 2)
    offsets, kinds = words[:, 0] & np.uint64(U48_MAX), words[:, 0] >> np.uint64(48)
    return offsets.astype(np.int64), (words[:, 1] & np.uint64(U32_MAX)).astype(np.int64), kinds.astype(np.int64)


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


def to_pages(entries: bytes, table: SectionType, first: int = 0) -> bytes:
    """Cut a table of 16-byte entries, from page `first` on, into pages of 255 and put each page's CRC-32C behind it."""
    step = ENTRIES_PER_PAGE * ENTRY_SIZE
    pages = (entries[start : start + step] for start in range(0, len(entries), step))
    return b"".join(page + _CRC.pack(_page_crc(page, table, number)) for number, page in enumerate(pages, first))


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


class PlaneEntry(NamedTuple):
    """One plane's entry in the directory at the start of a block of several planes."""

    codec: int
    # Size in bytes of the plane's stream; for a constant plane, the value of each of its bytes instead.
    size: int

    @property
    def stream_size(self) -> int:
        """Bytes that the plane has in the block."""
        return 0 if self.codec == CodecId.CONSTANT else self.size


def pack_directory(codecs: Sequence[int], sizes: Sequence[int]) -> bytes:
    """Return the directory of a block of several planes: 4 bytes a plane."""
    words = [codec << 24 | size for codec, size in zip(codecs, sizes, strict=True)]
    return struct.pack(f"<{len(words)}I", *words)


def unpack_directory(data: memoryview | bytes, width: int) -> list[PlaneEntry]:
    """Return the first `width` plane entries of a block's stored bytes, or what is there, without judging values."""
    words = _DIRECTORIES[min(width, len(data) // 4)].unpack_from(data)
    return [PlaneEntry(word >> 24, word & 0xFFFFFF) for word in words]
