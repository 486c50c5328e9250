"""The rules of `.etz` files that need more than one structure at hand: sections, cover, sharing, padding, maxima."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from google_crc32c import extend as crc32c_extend
from numpy.typing import NDArray

from etpack import blocks, layout
from etpack.check.parts import Parts, block_place
from etpack.check.verdict import Finding, Findings, Place
from etpack.errors import CorruptError, EtpackError
from etpack.layout import CodecId, FilterId, IndexEntry, Section, SectionType
from etpack.reader import Block, EtzFile
from etpack.sources import Source

_CHUNK_SIZE = 1 << 20


@dataclass
class StoredFacts:
    """What the stored blocks need of a reader, and which of them are distinct."""

    # bool of shape (block count,): the blocks that have stored bytes, one of those whose entries are equal.
    distinct: NDArray[np.bool_]
    max_stored: int = 0
    max_scratch: int = 0
    codecs: set[int] = field(default_factory=set)
    # Stored bytes whose checksum was compared.
    bytes_checked: int = 0


def corrupt(rule: str, message: str, place: Place) -> Finding:
    """Return the finding for a broken rule of the format."""
    return Finding(rule, CorruptError.slug, message, place, hint="fetch the file again, or pack it anew")


def check_sections(file: EtzFile, source: Source, findings: Findings) -> None:
    """Compare the checksum of every section but the manifest, whose checksum is compared when a file is opened."""
    for section in file.sections:
        if section.type != SectionType.MANIFEST and _section_crc(source, section) != section.crc:
            message = f"the checksum of {layout.section_name(section.type)} does not match"
            findings.add(corrupt("section-crc", message, Place(section.stored_offset)))


def _section_crc(source: Source, section: Section) -> int:
    crc = 0
    for offset in range(section.stored_offset, section.end, _CHUNK_SIZE):
        crc = crc32c_extend(crc, source.read_at(offset, min(_CHUNK_SIZE, section.end - offset)))
    return crc


def check_entries(file: EtzFile, source: Source, parts: Parts, findings: Findings) -> StoredFacts:
    """Check each index entry by itself, then, if all are good, that the stored ranges cover what they must."""
    before = findings.count
    rows = array("Q")
    for block in file.blocks():
        _check_entry(file, block, parts, findings)
        entry = block.entry
        if entry.stored_size:
            kind = entry.filter << 8 | entry.codec
            rows.extend((block.number, entry.stored_offset, entry.stored_size, entry.crc, kind))
    table = np.frombuffer(rows, np.uint64).astype(np.int64).reshape(-1, 5)
    # By stored offset and size, then by what else the entry says; first come the blocks of a lower number.
    table = table[np.lexsort((table[:, 0], table[:, 4], table[:, 3], table[:, 2], table[:, 1]))]
    distinct = np.zeros(file.block_count, np.bool_)
    distinct[table[_is_first(table[:, 1:]), 0]] = True
    if findings.count == before:
        _check_cover(file, source, table[_is_first(table[:, 1:3])], findings)
    return StoredFacts(distinct)


def _is_first(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the sorted rows differ from the one before."""
    first = np.ones(len(rows), np.bool_)
    first[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return first


def _check_entry(file: EtzFile, block: Block, parts: Parts, findings: Findings) -> None:
    try:
        file.check_place(block.entry, block.number)
        blocks.check_entry(block.entry, block.range.size, block.number)
    except EtpackError as exc:
        findings.add_error(exc, block_place(file, parts, block.number, block.range))


def _check_cover(file: EtzFile, source: Source, rows: NDArray[np.int64], findings: Findings) -> None:
    """Check that header, blocks and sections follow each other with nothing between but padding.

    `rows` are the distinct stored ranges, by offset: block number, stored offset, stored size, and more.
    """
    starts = rows[:, 1]
    # Where the part before each block ends, and the last block.
    ends = np.concatenate(([layout.HEADER_SIZE], np.maximum.accumulate(starts + rows[:, 2])))
    alignment = file.footer.alignment
    aligned = -(-ends[:-1] // alignment) * alignment
    for position in np.flatnonzero(starts < ends[:-1]):
        message = f"block {rows[position, 0]} shares stored bytes with another block, but not all of them"
        findings.add(corrupt("stored-overlap", message, Place(int(starts[position]), block=int(rows[position, 0]))))
    for position in np.flatnonzero(starts > aligned):
        _add_hole(int(ends[position]), int(starts[position]), findings)
    for position in np.flatnonzero((starts > ends[:-1]) & (starts <= aligned)):
        _check_padding(source, int(ends[position]), int(starts[position]), findings)
    sections_start = file.sections[0].stored_offset
    if ends[-1] != sections_start:
        _add_hole(int(ends[-1]), sections_start, findings)


def _add_hole(start: int, end: int, findings: Findings) -> None:
    findings.add(corrupt("stored-cover", f"{end - start:,} stored bytes belong to nothing", Place(start)))


def _check_padding(source: Source, start: int, end: int, findings: Findings) -> None:
    if any(source.read_at(start, end - start)):
        findings.add(corrupt("padding-zero", "the padding before a block is not zero", Place(start)))


def check_stored(
    file: EtzFile, source: Source, facts: StoredFacts, parts: Parts, findings: Findings, *, fast: bool
) -> None:
    """Gather into `facts` what the distinct blocks need; with `fast`, compare their checksums and directories too.

    Without `fast` no more of a block is read than its directory: whoever decodes it checks the rest.
    """
    for block in file.blocks():
        if not facts.distinct[block.number] or block.number in findings.bad_blocks:
            continue
        try:
            codecs = _plane_codecs(file, source, block, fast)
        except EtpackError as exc:
            findings.add_error(exc, block_place(file, parts, block.number, block.range))
            continue
        facts.bytes_checked += block.entry.stored_size if fast else 0
        facts.max_stored = max(facts.max_stored, block.entry.stored_size)
        scratch = blocks.scratch_size(FilterId(block.entry.filter), codecs, block.range.size)
        facts.max_scratch = max(facts.max_scratch, scratch)
        facts.codecs.update(filter(layout.needs_decoder, codecs))


def _plane_codecs(file: EtzFile, source: Source, block: Block, fast: bool) -> list[int]:
    """Return the codecs of a block's planes; with `fast`, check all that can be without decoding."""
    entry: IndexEntry = block.entry
    width = FilterId(entry.filter).width
    step = blocks.DIRECTORY_ENTRY_SIZE
    # Of a block that ends in its directory, the whole entries: whoever decodes it finds that the rest is missing.
    size = entry.stored_size if fast else min(entry.stored_size // step, width) * step
    stored = source.read_at(entry.stored_offset, size) if fast or entry.codec == CodecId.DIRECTORY else b""
    if fast:
        blocks.check_crc(stored, entry, block.number)
    if entry.codec != CodecId.DIRECTORY:
        return [entry.codec]
    if fast:
        where, alignment = entry.stored_offset, file.footer.alignment
        streams, _ = blocks.parse_planes(memoryview(stored), width, block.range.size, block.number, alignment, where)
        return [stream.codec for stream in streams]
    return [plane.codec for plane in layout.unpack_directory(stored, width)]


def check_footer(file: EtzFile, facts: StoredFacts, findings: Findings) -> None:
    """Compare what the footer says that blocks need with what they need; all blocks must have been found good."""
    place = Place(file.stored_size - layout.FOOTER_SIZE)
    footer = file.footer
    if footer.max_stored_block != facts.max_stored:
        message = (
            f"the largest block has {facts.max_stored:,} stored bytes, the footer says {footer.max_stored_block:,}"
        )
        findings.add(corrupt("footer-max-stored", message, place))
    if footer.max_plane_scratch != facts.max_scratch:
        message = f"blocks need {facts.max_scratch:,} bytes of scratch, the footer says {footer.max_plane_scratch:,}"
        findings.add(corrupt("footer-max-scratch", message, place))
    if set(footer.codecs) != facts.codecs:
        message = f"blocks use the codecs {sorted(facts.codecs)}, the footer says {list(footer.codecs)}"
        findings.add(corrupt("footer-codecs-used", message, place))
