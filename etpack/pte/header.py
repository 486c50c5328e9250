"""The head of a file: which kind it is, and the extended header that says where the flatbuffer and the segments lie."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from etpack._flatbuffers import bundled_program, flat_tensor, program
from etpack.pte.model import FileKind, Range
from etpack.pte.rules import broken
from etpack.sources import Source

# A runtime reads so many bytes before anything else, and refuses files that have fewer.
HEAD_SIZE = 64

# Offsets in a flatbuffer are 32 bits wide and signed in places.
MAX_PROGRAM_SIZE = 2**31 - 1

_KINDS = {
    program.IDENTIFIER: FileKind.PTE,
    flat_tensor.IDENTIFIER: FileKind.PTD,
    bundled_program.IDENTIFIER: FileKind.BPTE,
}

# Both headers stand between the flatbuffer's identifier and the rest of it; their length includes magic and length.
_MAGIC_AT = 8
_LENGTH = Struct("<I")
_PTE_MAGIC = b"eh00"
_PTE_FIELDS = Struct("<QQ")  # program size, segment base
_PTE_MIN_LENGTH = 24
_PTE_DATA_SIZE = Struct("<Q")  # segment data size, since ExecuTorch 1.0
_PTE_DATA_SIZE_LENGTH = 32
_PTD_MAGIC = b"FH01"
_PTD_FIELDS = Struct("<QQQQ")  # flatbuffer offset, flatbuffer size, segment base, segment data size
_PTD_MIN_LENGTH = 40


@dataclass(frozen=True)
class Header:
    """What the head of a file says; offsets are counted from the first byte of the whole file."""

    # The flatbuffer with its headers.
    program: Range
    # The header's length field in bytes, or 0 when there is no header.
    length: int
    # None without a header.
    segment_base: int | None
    # Bytes; None without a header, or when it is too short to say.
    segment_data_size: int | None
    # Whether segments may have bytes: a .pte's base of 0 means that there are none.
    has_segments: bool

    @property
    def data_end(self) -> int:
        """Where the declared segment data ends, or 0 where the header does not say."""
        return (self.segment_base or 0) + self.segment_data_size if self.segment_data_size else 0


def sniff(head: bytes) -> FileKind | None:
    """Return the kind of a file that begins with `head` (16 bytes are enough), or None if it is none that we know."""
    return _KINDS.get(bytes(head[4:8]))


def check_identifier(head: bytes, at: int) -> FileKind:
    """Return the kind of a file or nested file at offset `at` that begins with `head`; raise PteError if unknown."""
    kind = sniff(head)
    if kind is not None:
        return kind
    found = bytes(head[4:8])
    hint = "is it a .pte, .ptd or .bpte, as written by ExecuTorch?"
    if found[:2] in {known[:2] for known in _KINDS}:
        hint = "the file was made by an ExecuTorch that this etpack does not know; update etpack"
    raise broken("identifier", f"identifier {found!r} is not that of a model file", at + 4, hint=hint)


def read_head(source: Source, nested: Range) -> bytes:
    """Return the first 64 bytes of `nested`; raise PteError if it has fewer."""
    if nested.size < HEAD_SIZE:
        raise broken("file-size", f"{nested.size} bytes are too few for a model; it takes {HEAD_SIZE}", nested.offset)
    return source.read_at(nested.offset, HEAD_SIZE)


def read_pte_header(head: bytes, nested: Range) -> Header:
    """Return what the head of the .pte in `nested` says; raise PteError if that is impossible."""
    at = nested.offset
    if head[_MAGIC_AT : _MAGIC_AT + 4] != _PTE_MAGIC:
        return Header(_program(nested, nested.size, HEAD_SIZE), 0, None, None, has_segments=False)
    length = _header_length(head, at, _PTE_MIN_LENGTH)
    size, base = _PTE_FIELDS.unpack_from(head, 16)
    data_size = None
    if length >= _PTE_DATA_SIZE_LENGTH:
        (data_size,) = _PTE_DATA_SIZE.unpack_from(head, 32)
    _check_data_size(nested, base, data_size or 0, 32)
    region = _program(nested, size, _MAGIC_AT + _PTE_MIN_LENGTH)
    return Header(region, length, at + base, data_size, has_segments=base > 0)


def read_ptd_header(head: bytes, nested: Range) -> Header:
    """Return what the head of a .ptd says; raise PteError if that is impossible."""
    at = nested.offset
    if head[_MAGIC_AT : _MAGIC_AT + 4] != _PTD_MAGIC:
        raise broken("header-magic", "the .ptd has no header", at + _MAGIC_AT)
    length = _header_length(head, at, _PTD_MIN_LENGTH)
    offset, size, base, data_size = _PTD_FIELDS.unpack_from(head, 16)
    _check_data_size(nested, base, data_size, 40)
    region = _program(nested, offset + size, _MAGIC_AT + _PTD_MIN_LENGTH)
    return Header(region, length, at + base, data_size, has_segments=True)


def _header_length(head: bytes, at: int, minimum: int) -> int:
    length: int = _LENGTH.unpack_from(head, _MAGIC_AT + 4)[0]
    if length < minimum:
        message = f"header length {length} is less than {minimum}"
        raise broken("header-length", message, at + _MAGIC_AT + 4)
    return length


def _program(nested: Range, size: int, minimum: int) -> Range:
    """Return the flatbuffer's range; its size must be known to the file and enough for its own header."""
    at = nested.offset
    if size < minimum:
        raise broken("program-size", f"program size {size} is less than {minimum}", at)
    if size > nested.size:
        hint = "was the file downloaded completely?"
        raise broken("program-size", f"program size {size:,} exceeds the file's {nested.size:,} bytes", at, hint=hint)
    if size > MAX_PROGRAM_SIZE:
        raise broken("program-size", f"program size {size:,} exceeds {MAX_PROGRAM_SIZE:,}", at)
    return Range(at, size)


def _check_data_size(nested: Range, base: int, data_size: int, field: int) -> None:
    if data_size and base + data_size > nested.size:
        message = f"segment data ends at {base + data_size:,}, but the file has {nested.size:,} bytes"
        hint = "was the file downloaded completely?"
        raise broken("segment-data-size", message, nested.offset + field, hint=hint)
