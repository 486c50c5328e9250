"""The specification against the code: rules, constants, the worked example, and the page that works a file by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import etpack
from etpack import Options, layout
from etpack.layout import CodecId, FilterId, SectionType
from etpack.plan import cut_model
from etpack.sources import FileSource
from tests.counting import CountingSource

ROOT = Path(__file__).parent.parent
SPEC = (ROOT / "schemas" / "etz-v1.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "schemas" / "DESIGN.md").read_text(encoding="utf-8")

_MOMENT = "(?:open|use|verify)"
_RULE_ROW = re.compile(rf"^\| ([a-z0-9-]+) \| .+ \| [a-z, -]+ \| {_MOMENT}(?:, {_MOMENT})* \|$", re.MULTILINE)


def spec_rules() -> list[str]:
    """Return the ids of all rules in the order of the specification."""
    return _RULE_ROW.findall(SPEC)


def verify_rules() -> list[str]:
    """Return the ids of the rules that are checked by a tool that verifies a whole file."""
    return [rule for rule in spec_rules() if re.search(rf"^\| {rule} \|.*verify \|$", SPEC, re.MULTILINE)]


def code_rules() -> set[str]:
    """Return the rule ids that the code names, those of models left out."""
    found = set()
    for path in (ROOT / "etpack").rglob("*.py"):
        if "pte" not in path.relative_to(ROOT / "etpack").parts:
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r'rule="([a-z-]+)"', text)) | set(re.findall(r"\[([a-z]+(?:-[a-z]+)*)\]\"", text))
    return found


def test_rule_ids_are_unique() -> None:
    rules = spec_rules()
    assert len(rules) > 40
    assert len(rules) == len(set(rules))


def test_the_code_names_no_rule_that_is_not_in_the_specification() -> None:
    assert code_rules() - set(spec_rules()) <= {"identifier"}


def test_capitals_are_bcp_14_words() -> None:
    words = set(re.findall(r"\b[A-Z]{3,}\b", re.sub(r"\[.*?\]\(.*?\)", "", SPEC)))
    assert words <= {"MUST", "NOT", "MAY", "SHOULD", "CRC", "SHA", "RFC", "BCP", "ETZM", "XOR"}


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("header                     16 bytes", layout.HEADER_SIZE),
        ("footer                     128 bytes", layout.FOOTER_SIZE),
        ("20 bytes for each of n sections", layout.SECTION_ENTRY_SIZE),
        ("rows of 16 bytes in pages of up to 255 rows", layout.ENTRY_SIZE),
        ("a full page has 4084 bytes", layout.PAGE_SIZE),
        ("section_count is over 64", layout.MAX_SECTIONS),
        ("block_size_log2 is not 12 to 22", layout.MIN_BLOCK_SIZE_LOG2),
        ("alignment_log2 is over 22", layout.MAX_ALIGNMENT_LOG2),
    ],
)
def test_numbers_in_the_text_are_those_of_the_code(words: str, value: int) -> None:
    assert words in SPEC
    assert str(value) in words


def test_id_tables_are_those_of_the_code() -> None:
    codecs = dict(
        re.findall(r"^\| (\d+) \| (raw|constant|zstd|LZ4|LZ4 over bit planes|directory) \|", SPEC, re.MULTILINE)
    )
    assert {int(k) for k in codecs} == set(CodecId)
    filters = re.findall(r"^\| (\d+) \| (?:none|byte planes) \| (\d) \| (yes|no|) ?\|$", SPEC, re.MULTILINE)
    assert {(int(n), int(w), r == "yes") for n, w, r in filters} == {(f.value, f.width, f.rotated) for f in FilterId}
    for section in SectionType:
        assert f"{section.value} {section.name.lower().replace('extents', 'extent table')}" in SPEC


def _dump(data: bytes, start: int = 0) -> str:
    rows = [data[i : i + 16] for i in range(0, len(data), 16)]
    return "\n".join(f"{start + 16 * n:08x}  {row.hex(' ')}" for n, row in enumerate(rows))


def worked_example(folder: Path) -> str:
    """Return the annotated dump of section 10."""
    source = folder / "x"
    source.write_bytes(b"All content comes back, byte for byte. \n")
    etpack.compress(source, folder / "x.etz", Options(4096, "raw", opaque=True))
    data = (folder / "x.etz").read_bytes()
    with etpack.open(data) as file:
        table = len(data) - layout.FOOTER_SIZE - len(file.sections) * layout.SECTION_ENTRY_SIZE
        parts = [("header", 0, 16), ("block 0, raw", 16, file.sections[0].stored_offset)]
        names = {1: "index: one row, CRC of the page", 2: "extent table: one row, CRC of the page", 3: "manifest"}
        parts += [(names[s.type], s.stored_offset, s.end) for s in file.sections]
    parts += [("section table: three rows", table, len(data) - layout.FOOTER_SIZE)]
    parts += [("footer", len(data) - layout.FOOTER_SIZE, len(data))]
    return "\n\n".join(f"{name}\n{_dump(data[start:end], start)}" for name, start, end in parts)


def test_the_worked_example_is_what_the_code_writes(tmp_path: Path) -> None:
    shown = SPEC.split("<!-- worked-example -->\n```\n")[1].split("\n```")[0]
    assert shown == worked_example(tmp_path)


def byte_map(folder: Path) -> str:
    """Return the table of DESIGN.md: where each part of a packed model lies."""
    path = ROOT / "examples" / "models" / "digits_fp32_xnnpack.pte"
    etpack.compress(path, folder / "d.etz", overwrite=True)
    rows = ["| stored bytes | part | content |", "|---|---|---|", "| 0 to 16 | header | |"]
    with etpack.open(folder / "d.etz") as file:
        for number, (extent, noted) in enumerate(zip(file.extents, file.manifest.extents, strict=True)):
            blocks = list(file.blocks(number))
            first, last = blocks[0], blocks[-1]
            segment = f" (segment {noted.segments[0]})" if noted.segments else ""
            name = f"block {first.number}" if first is last else f"blocks {first.number} to {last.number}"
            stored = f"{first.entry.stored_offset:,} to {last.entry.stored_offset + last.entry.stored_size:,}"
            content = f"{extent.content_offset:,} to {extent.end:,}"
            rows.append(f"| {stored} | {name}: {noted.role.value}{segment} | {content} |")
        for section in file.sections:
            name = SectionType(section.type).name.lower().replace("extents", "extent table")
            rows.append(f"| {section.stored_offset:,} to {section.end:,} | {name} | |")
        end = file.stored_size - layout.FOOTER_SIZE
        rows.append(f"| {file.sections[-1].end:,} to {end:,} | section table | |")
        rows.append(f"| {end:,} to {file.stored_size:,} | footer | |")
    return "\n".join(rows)


def test_the_byte_map_is_the_one_of_the_packed_file(tmp_path: Path) -> None:
    assert DESIGN.split("<!-- byte-map -->\n\n")[1].split("\n\n")[0] == byte_map(tmp_path)


def test_the_look_up_by_hand_is_what_the_code_does(packed_digits: Path) -> None:
    page = DESIGN.split("### A look-up")[1].split("## Choices")[0]
    numbers = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", page)}
    source = CountingSource(FileSource(packed_digits))
    with etpack.open(source) as file:
        segment = file.model.segments[6].range
        (extent,) = [e for e in file.extents if e.content_offset == segment.offset]
        entries = [file.entry(number) for number in range(extent.first_block, extent.first_block + 3)]
        source.reads.clear()
        file.read_at(segment.offset, segment.size)
        stored = sum(entry.stored_size for entry in entries)
        assert source.reads == [(entries[0].stored_offset, stored)]
        assert {segment.offset, segment.size, extent.first_block, entries[0].stored_offset} <= numbers
        assert {entries[0].stored_size, stored, 16 * extent.first_block, layout.PAGE_SIZE} <= numbers
        assert f"{file.size:,} bytes) packed at the defaults is {file.stored_size:,} bytes" in DESIGN


def test_the_manifest_schema_has_every_role_and_kind(digits: Path) -> None:
    model = etpack.read_model(FileSource(digits))
    assert {extent.role.name.lower() for extent in cut_model(model, 4096).extents} <= set(
        re.findall(r"(\w+) = \d", (ROOT / "schemas" / "etz.fbs").read_text(encoding="utf-8"))
    )
