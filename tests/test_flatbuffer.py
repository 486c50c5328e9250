"""The flatbuffer reader: right values from right bytes, one kind of error from all others, and never too much work."""

from __future__ import annotations

import struct
import time

import pytest
from flatbuffers import Builder
from hypothesis import given
from hypothesis import strategies as st

from etpack.flatbuffer import WORK_LIMIT, Flatbuffer, Table
from etpack.sources import BufferSource


class FaultError(Exception):
    """What these tests have the reader raise."""

    def __init__(self, message: str, where: int) -> None:
        super().__init__(message)
        self.where = where


def root(data: bytes, offset: int = 0, work_limit: int = WORK_LIMIT) -> Table:
    return Flatbuffer(BufferSource(data), FaultError, offset=offset, work_limit=work_limit).root()


def sample() -> bytes:
    """A table with one field of every type; slot numbers are the order of the lines that add them."""
    builder = Builder(64)
    text = builder.CreateString("grüße")
    numbers = [builder.CreateString(word) for word in ("a", "bc")]
    builder.StartVector(4, 2, 4)
    for number in reversed(numbers):
        builder.PrependUOffsetTRelative(number)
    strings = builder.EndVector()
    builder.StartVector(8, 2, 8)
    for value in (7, -8):
        builder.PrependInt64(value)
    longs = builder.EndVector()
    blob = builder.CreateByteVector(b"blob")
    builder.StartObject(1)
    builder.PrependUint16Slot(0, 65535, 0)
    child = builder.EndObject()
    builder.StartVector(4, 2, 4)
    builder.PrependUOffsetTRelative(child)
    builder.PrependUOffsetTRelative(child)
    children = builder.EndVector()
    builder.StartObject(14)
    builder.PrependUint8Slot(0, 200, 0)
    builder.PrependInt8Slot(1, -5, 0)
    builder.PrependBoolSlot(2, True, False)
    builder.PrependUint32Slot(3, 2**32 - 1, 0)
    builder.PrependInt32Slot(4, -(2**31), 0)
    builder.PrependUint64Slot(5, 2**64 - 1, 0)
    builder.PrependInt64Slot(6, -(2**63), 0)
    builder.PrependUOffsetTRelativeSlot(7, text, 0)
    builder.PrependUOffsetTRelativeSlot(8, strings, 0)
    builder.PrependUOffsetTRelativeSlot(9, longs, 0)
    builder.PrependUOffsetTRelativeSlot(10, blob, 0)
    builder.PrependUOffsetTRelativeSlot(11, children, 0)
    builder.PrependUint8Slot(12, 3, 0)
    builder.PrependUOffsetTRelativeSlot(13, child, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def everything(table: Table) -> list[object]:
    """Read every field of the sample."""
    kind, member = table.union(12)
    return [
        table.u8(0),
        table.i8(1),
        table.flag(2),
        table.u32(3),
        table.i32(4),
        table.u64(5),
        table.i64(6),
        table.string(7),
        table.strings(8),
        table.scalars(9, "q"),
        table.blob(10),
        [child.u16(0) for child in table.tables(11)],
        table.count(11),
        kind,
        member and member.u16(0),
    ]


EXPECTED_NUMBERS = [200, -5, True, 2**32 - 1, -(2**31), 2**64 - 1, -(2**63)]


@pytest.mark.parametrize("before", [b"", b"junk " * 5])
def test_every_type_reads_back_at_any_offset_in_the_source(before: bytes) -> None:
    data = before + sample()
    found = everything(root(data, offset=len(before)))
    blob = (data.index(b"blob"), 4)
    assert found == [*EXPECTED_NUMBERS, "grüße", ["a", "bc"], (-8, 7), blob, [65535, 65535], 2, 3, 65535]


def test_absent_fields_give_defaults() -> None:
    builder = Builder(16)
    builder.StartObject(0)
    builder.Finish(builder.EndObject())
    table = root(bytes(builder.Output()))
    assert table.u8(0, 9) == 9
    assert table.flag(1, True) is True
    assert table.string(2) is None
    assert table.table(3) is None
    assert table.blob(4) is None
    assert table.union(5) == (0, None)
    assert table.scalars(6, "I") == ()
    assert table.tables(7) == []
    assert table.count(8) == 0
    assert not table.has(9)


def fault_of(data: bytes) -> FaultError | None:
    """Read everything; return what was raised, which must name a place in the data."""
    try:
        everything(root(data))
    except FaultError as fault:
        return fault
    return None


def test_truncated_anywhere_is_refused() -> None:
    data = sample()
    end = data.index("grüße".encode()) + len("grüße".encode())  # only the zero that ends the text follows
    for length in range(end):
        assert fault_of(data[:length]) is not None


def test_every_changed_byte_is_read_or_refused() -> None:
    data = sample()
    for at in range(len(data)):
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            fault = fault_of(data[:at] + bytes([value]) + data[at + 1 :])
            assert fault is None or 0 <= fault.where <= len(data)


@given(st.binary(max_size=300))
def test_arbitrary_bytes(data: bytes) -> None:
    fault = fault_of(data)
    assert fault is None or 0 <= fault.where <= len(data)


def test_text_must_be_utf8() -> None:
    data = sample().replace("grüße".encode(), b"gr\xff\xff\xff\xffe")
    with pytest.raises(FaultError, match="UTF-8"):
        root(data).string(7)


def test_a_table_may_share_the_vtable_of_a_smaller_one() -> None:
    """The Python builder compares vtables by their fields alone, so the size in a vtable may be another table's."""
    small = struct.pack("<HHH", 6, 8, 4)
    table = struct.pack("<iQ", 8, 2**40 + 1)
    assert root(struct.pack("<I", 12) + small + b"\0\0" + table).u64(0) == 2**40 + 1


def test_a_bomb_of_shared_vectors_is_refused_soon() -> None:
    """100,000 references to one table whose vector has 100,000 elements: ten thousand million steps in one MB."""
    count = 100_000
    shared = 24 + 4 * count
    vtable = struct.pack("<HHH", 6, 8, 4) + b"\0\0"
    data = struct.pack("<I", 12) + vtable + struct.pack("<iI", 8, 4)
    data += struct.pack(f"<I{count}I", count, *(shared - 24 - 4 * number for number in range(count)))
    data += struct.pack("<iI", shared - 4, 4) + struct.pack("<I", count) + bytes(4 * count)

    def walk() -> None:
        for child in root(data).tables(0):
            child.scalars(0, "I")

    started = time.process_time()
    with pytest.raises(FaultError, match="steps"):
        walk()
    assert time.process_time() - started < 10


def test_reads_only_the_pages_it_touches() -> None:
    reads: list[tuple[int, int]] = []

    class Counting(BufferSource):
        def read_at(self, offset: int, size: int) -> bytes:
            reads.append((offset, size))
            return super().read_at(offset, size)

    builder = Builder(16)
    blob = builder.CreateByteVector(bytes(8 << 20))
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, blob, 0)
    builder.Finish(builder.EndObject())
    data = bytes(builder.Output())
    assert Flatbuffer(Counting(data), FaultError).root().blob(0) == (len(data) - (8 << 20), 8 << 20)
    assert sum(size for _, size in reads) <= 1 << 18


def test_values_across_a_page_boundary_are_whole() -> None:
    page = 1 << 18
    at = page - 3
    data = struct.pack("<I", 12) + struct.pack("<HHHH", 6, 8, 4, 0) + struct.pack("<iI", 8, at - 16)
    text = "across the boundary"
    data = data.ljust(at, b"\0") + struct.pack("<I", len(text)) + text.encode()
    assert root(data).string(0) == text


def test_where_is_an_offset_in_the_source() -> None:
    with pytest.raises(FaultError) as caught:
        root(b"\xff" * 32, offset=8)
    assert caught.value.where == 32


def test_the_part_must_lie_in_the_source() -> None:
    with pytest.raises(ValueError):
        Flatbuffer(BufferSource(b"1234"), FaultError, offset=2, size=3)
