"""`etpack.layout`: every structure comes back from its bytes, and each check objects to its fault."""

from __future__ import annotations

import pytest
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st

from etpack import layout
from etpack.errors import CorruptError, EtpackError, NotEtzError, TruncatedError, UnsupportedError
from etpack.layout import ExtentEntry, Footer, IndexEntry, PlaneEntry, Section, SectionType

U48 = st.integers(0, layout.U48_MAX)
U32 = st.integers(0, layout.U32_MAX)
U8 = st.integers(0, 255)

FOOTER = Footer(bytes(range(32)), 1 << 40, 7, 3, 16, 9, 65536, 99999, (2, 3, 200))


@given(U48, U8, U8, U32, U32)
def test_index_entries_come_back(offset: int, kind: int, codec: int, size: int, crc: int) -> None:
    entry = IndexEntry(offset, size, crc, kind, codec)
    data = entry.to_bytes()
    assert len(data) == layout.ENTRY_SIZE
    assert data[:6] == offset.to_bytes(6, "little")
    assert data[6:8] == bytes([kind, codec])
    assert layout.unpack_index_entry(bytes(16) + data, 1) == entry
    assert list(layout.unpack_index(data)) == [entry]


@given(U48, U48, U32)
def test_extent_entries_come_back(offset: int, size: int, block: int) -> None:
    entry = ExtentEntry(offset, size, block)
    data = entry.to_bytes()
    assert data == offset.to_bytes(6, "little") + size.to_bytes(6, "little") + block.to_bytes(4, "little")
    assert list(layout.unpack_extents(data)) == [entry]


@given(st.lists(st.tuples(U8, st.integers(0, 0xFFFFFF)), min_size=8, max_size=8), st.sampled_from([2, 4, 8]))
def test_directories_come_back(entries: list[tuple[int, int]], width: int) -> None:
    codecs, sizes = zip(*entries[:width], strict=True)
    data = layout.pack_directory(codecs, sizes)
    assert data == b"".join(size.to_bytes(3, "little") + bytes([codec]) for codec, size in entries[:width])
    assert layout.unpack_directory(data + b"rest", width) == [PlaneEntry(*entry) for entry in entries[:width]]


@given(st.binary(max_size=20_000), st.sampled_from([SectionType.INDEX, SectionType.EXTENTS]))
def test_pages_come_back(data: bytes, table: SectionType) -> None:
    entries = data[: len(data) // 16 * 16]
    paged = layout.to_pages(entries, table)
    assert len(paged) == len(entries) + 4 * -(-len(entries) // (16 * 255))
    assert layout.entry_count(len(paged)) == len(entries) // 16
    assert layout.from_pages(paged, table, 0) == entries


def test_rows_lie_where_the_specification_says() -> None:
    entries = b"".join(n.to_bytes(16, "little") for n in range(600))
    paged = layout.to_pages(entries, SectionType.INDEX)
    for n in (0, 1, 254, 255, 256, 509, 510, 599):
        place = 16 * n + 4 * (n // 255)
        assert int.from_bytes(paged[place : place + 16], "little") == n


def test_a_page_in_another_place_is_refused() -> None:
    paged = layout.to_pages(bytes(2 * 255 * 16), SectionType.INDEX)
    first, second = paged[: layout.PAGE_SIZE], paged[layout.PAGE_SIZE :]
    with pytest.raises(CorruptError, match="page-crc"):
        layout.from_pages(second + first, SectionType.INDEX, 0)
    with pytest.raises(CorruptError, match="page-crc"):
        layout.from_pages(paged, SectionType.EXTENTS, 0)


@pytest.mark.parametrize("size", [1, 4, 15, 19, 21, layout.PAGE_SIZE + 4, layout.PAGE_SIZE + 16])
def test_a_broken_page_is_refused(size: int) -> None:
    with pytest.raises(CorruptError, match=r"page-(size|crc)"):
        layout.from_pages(layout.to_pages(bytes(16 * 300), SectionType.INDEX)[:size], SectionType.INDEX, 0)


def test_the_header_is_fixed() -> None:
    header = layout.header_bytes()
    assert header[:12].hex() == "8945545a0d0a1a0a01000000"
    assert len(header) == layout.HEADER_SIZE
    layout.check_header(header)


def _with_crc(head: bytes) -> bytes:
    crc: int = crc32c(head)
    return head + crc.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("data", "error", "rule"),
    [
        (b"", NotEtzError, "header-magic"),
        (b"PK\x03\x04" + bytes(12), NotEtzError, "header-magic"),
        (layout.HEADER_MAGIC + b"\1", TruncatedError, "header-size"),
        (layout.header_bytes()[:-1] + b"\0", CorruptError, "header-crc"),
        (_with_crc(layout.HEADER_MAGIC + b"\2\0\0\0"), UnsupportedError, "version"),
        (_with_crc(layout.HEADER_MAGIC + b"\1\0\1\0"), CorruptError, "header-reserved"),
    ],
)
def test_a_bad_header_is_refused(data: bytes, error: type[EtpackError], rule: str) -> None:
    with pytest.raises(error, match=rule):
        layout.check_header(data)


def test_the_footer_comes_back() -> None:
    data = FOOTER.to_bytes()
    assert len(data) == layout.FOOTER_SIZE
    assert Footer.from_bytes(data, 0) == FOOTER
    assert (FOOTER.block_size, FOOTER.alignment) == (65536, 512)


def _patched(offset: int, value: bytes) -> bytes:
    """Return a footer with some bytes changed and its checksum made good again."""
    body = bytearray(FOOTER.to_bytes())
    body[offset : offset + len(value)] = value
    return _with_crc(bytes(body[:116])) + bytes(body[120:])


@pytest.mark.parametrize(
    ("data", "error", "rule"),
    [
        (FOOTER.to_bytes()[:-1] + b"x", TruncatedError, "footer-magic"),
        (FOOTER.to_bytes()[1:], TruncatedError, "footer-magic"),
        (b"\xff" + FOOTER.to_bytes()[1:], CorruptError, "footer-crc"),
        (_patched(112, b"\2\0"), UnsupportedError, "version"),
        (_patched(72, b"\1"), UnsupportedError, "footer-incompat"),
        (_patched(32, b"\1"), CorruptError, "footer-reserved"),
        (_patched(104, b"\1"), CorruptError, "footer-reserved"),
        (_patched(114, b"\1"), CorruptError, "footer-reserved"),
        (_patched(86, b"\x0b"), CorruptError, "footer-block-size"),
        (_patched(86, b"\x17"), CorruptError, "footer-block-size"),
        (_patched(87, b"\x17"), CorruptError, "footer-alignment"),
        (_patched(70, b"\1"), CorruptError, "footer-content-size"),
        (_patched(84, b"\x41"), CorruptError, "footer-section-count"),
        (_patched(88, b"\1\0\1\0"), CorruptError, "footer-max-stored"),
        (_patched(96, b"\3\2"), CorruptError, "footer-codecs"),
        (_patched(96, b"\1"), CorruptError, "footer-codecs"),
        (_patched(96, b"\2\xff"), CorruptError, "footer-codecs"),
        (_patched(96, b"\2\0\3"), CorruptError, "footer-codecs"),
    ],
)
def test_a_bad_footer_is_refused(data: bytes, error: type[EtpackError], rule: str) -> None:
    with pytest.raises(error, match=rule):
        Footer.from_bytes(data, 1000)


def test_an_unknown_compat_bit_is_ignored() -> None:
    assert Footer.from_bytes(_patched(76, b"\xff\xff\xff\xff"), 0) == FOOTER


def _table(*sections: Section) -> tuple[bytes, Footer]:
    data = b"".join(section.to_bytes() for section in sections)
    return data, Footer(bytes(32), 0, crc32c(data), len(sections), 16, 0, 0, 0, ())


INDEX = Section(SectionType.INDEX, True, 1, 16, 20)
EXTENTS = Section(SectionType.EXTENTS, True, 2, 36, 20)
MANIFEST = Section(SectionType.MANIFEST, False, 3, 56, 44)


def test_the_section_table_comes_back() -> None:
    large = Section(SectionType.MANIFEST, False, 3, 56, (1 << 47) + 5)
    data, footer = _table(INDEX, EXTENTS, large)
    assert layout.parse_section_table(data, footer, large.end) == (INDEX, EXTENTS, large)


def test_an_unknown_section_is_skipped() -> None:
    other = Section(0x8001, False, 0, 100, 11)
    data, footer = _table(INDEX, EXTENTS, MANIFEST, other)
    assert layout.parse_section_table(data, footer, 111)[3] == other


@pytest.mark.parametrize(
    ("sections", "end", "error", "rule"),
    [
        ((INDEX, EXTENTS, MANIFEST, Section(9, True, 0, 100, 0)), 100, UnsupportedError, "section-required"),
        ((INDEX, EXTENTS, MANIFEST), 101, CorruptError, "section-cover"),
        ((INDEX, MANIFEST, EXTENTS), 100, CorruptError, "section-cover"),
        ((Section(SectionType.INDEX, True, 1, 15, 21), EXTENTS, MANIFEST), 100, CorruptError, "section-cover"),
        ((), 100, CorruptError, "section-once"),
        ((INDEX, EXTENTS), 56, CorruptError, "section-once"),
        ((INDEX, EXTENTS, Section(1, True, 0, 56, 44)), 100, CorruptError, "section-once"),
    ],
)
def test_a_bad_section_table_is_refused(
    sections: tuple[Section, ...], end: int, error: type[EtpackError], rule: str
) -> None:
    data, footer = _table(*sections)
    with pytest.raises(error, match=rule):
        layout.parse_section_table(data, footer, end)


def test_unknown_section_flags_are_refused() -> None:
    data = INDEX.to_bytes()[:2] + b"\2\0" + INDEX.to_bytes()[4:]
    footer = Footer(bytes(32), 0, crc32c(data), 1, 16, 0, 0, 0, ())
    with pytest.raises(CorruptError, match="section-flags"):
        layout.parse_section_table(data, footer, 36)


def test_the_section_table_has_a_checksum() -> None:
    data, footer = _table(INDEX, EXTENTS, MANIFEST)
    with pytest.raises(CorruptError, match="section-table-crc"):
        layout.parse_section_table(data[:-1] + b"\1", footer, 100)


@pytest.mark.parametrize(
    ("extents", "blocks", "rule"),
    [
        ([ExtentEntry(0, 0, 0)], 0, "extent-empty"),
        ([ExtentEntry(0, 10, 0), ExtentEntry(9, 1, 1)], 2, "extent-order"),
        ([ExtentEntry(0, 10, 0), ExtentEntry(10, 1, 2)], 2, "extent-blocks"),
        ([ExtentEntry(0, 65537, 0), ExtentEntry(65537, 1, 1)], 2, "extent-blocks"),
        ([ExtentEntry(0, 10, 1)], 1, "extent-blocks"),
        ([ExtentEntry(0, 100_001, 0)], 2, "extent-bounds"),
        ([ExtentEntry(0, 100_000, 0)], 1, "extent-count"),
        ([], 1, "extent-count"),
    ],
)
def test_bad_extents_are_refused(extents: list[ExtentEntry], blocks: int, rule: str) -> None:
    footer = Footer(bytes(32), 100_000, 0, 3, 16, 0, 0, 0, ())
    with pytest.raises(CorruptError, match=rule):
        layout.check_extents(extents, footer, blocks, 0)
