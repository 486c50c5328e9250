"""The section table."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from google_crc32c import value as crc32c

from etpack.errors import CorruptError, UnsupportedError
from etpack.layout.ends import Footer
from etpack.layout.names import HEADER_SIZE, SECTION_ENTRY_SIZE, U48_MAX, SectionType, section_name

_SECTION = struct.Struct("<HHIQI")


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
