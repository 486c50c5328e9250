"""Header and footer: the fixed-size parts at both ends of the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from google_crc32c import value as crc32c

from etpack.errors import CorruptError, NotEtzError, TruncatedError, UnsupportedError
from etpack.layout.names import (
    CRC_SIZE,
    FOOTER_MAGIC,
    FOOTER_SIZE,
    FORMAT_VERSION,
    HEADER_MAGIC,
    HEADER_SIZE,
    MAX_ALIGNMENT_LOG2,
    MAX_BLOCK_SIZE_LOG2,
    MAX_CODECS,
    MAX_SECTIONS,
    MIN_BLOCK_SIZE_LOG2,
    U48_MAX,
    CodecId,
    needs_decoder,
)

_HEADER = struct.Struct("<8sHHI")
_FOOTER = struct.Struct("<32s32sQIIIHBBII8s8sHHI8s")
_FOOTER_CRC_END = FOOTER_SIZE - len(FOOTER_MAGIC) - CRC_SIZE
_CRC = struct.Struct("<I")


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

    @property
    def decode_memory(self) -> int:
        """Bytes that decoding one block takes: its stored bytes, scratch and content."""
        return self.max_stored_block + self.max_plane_scratch + self.block_size

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
