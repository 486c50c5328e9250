"""`etpack.filters`: what the specification says of planes, rotation and bit planes, worked out in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etpack import filters, kernels

WIDTHS = (2, 4, 8)


def _planes_by_the_book(data: bytes, width: int, rotated: bool) -> list[bytes]:
    elements = [int.from_bytes(data[i : i + width], "little") for i in range(0, len(data) // width * width, width)]
    if rotated:
        bits = 8 * width
        elements = [(e << 1 | e >> (bits - 1)) & ((1 << bits) - 1) for e in elements]
    return [bytes(e >> 8 * k & 0xFF for e in elements) for k in range(width)]


def _bitplanes_by_the_book(data: bytes) -> bytes:
    padded = data + bytes(-len(data) % 8)
    return bytes(
        sum((padded[8 * i + j] >> b & 1) << j for j in range(8)) for b in range(8) for i in range(len(padded) // 8)
    )


SEVERAL = st.tuples(st.integers(1, 5), st.integers(0, 100)).flatmap(
    lambda shape: st.binary(min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
        lambda data: np.frombuffer(data, np.uint8).reshape(shape)
    )
)


@pytest.mark.usefixtures("both_kernels")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEVERAL, st.sampled_from(WIDTHS), st.booleans())
def test_planes_are_those_of_the_specification(contents: filters.Bytes, width: int, rotated: bool) -> None:
    planes = filters.split(contents, width, rotated)
    for number, block in enumerate(contents):
        assert [plane[number].tobytes() for plane in planes] == _planes_by_the_book(block.tobytes(), width, rotated)


@pytest.mark.usefixtures("both_kernels")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEVERAL, st.sampled_from(WIDTHS), st.booleans())
def test_merge_undoes_split(contents: filters.Bytes, width: int, rotated: bool) -> None:
    out = np.zeros_like(contents)
    planes = zip(*filters.split(contents, width, rotated), strict=True)
    filters.merge([plane for block in planes for plane in block], width, rotated, [row.data for row in out])
    whole = contents.shape[1] // width * width
    assert np.array_equal(out[:, :whole], contents[:, :whole])
    assert not out[:, whole:].any()


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", [(300, 4096), (3, 65536 + 7), (1, 1 << 20), (1, 0), (9, 1)])
def test_many_blocks_are_filtered_as_one_by_one(width: int, shape: tuple[int, int]) -> None:
    contents = np.random.default_rng(width).integers(0, 256, shape, dtype=np.uint8)
    together = filters.split(contents, width, True)
    for number in range(shape[0]):
        alone = filters.split(contents[number : number + 1], width, True)
        assert all(np.array_equal(plane[0], many[number]) for plane, many in zip(alone, together, strict=True))


def test_a_batch_has_a_size_or_one_block() -> None:
    assert list(filters.batches(5, filters.BATCH_SIZE // 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(filters.batches(2, filters.BATCH_SIZE + 1)) == [slice(0, 1), slice(1, 2)]
    assert list(filters.batches(0, 5)) == []


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize(
    "call",
    [
        lambda native, data: native.split(data, 3, 2, False, bytearray(len(data))),
        lambda native, data: native.split(data, 1, 3, False, bytearray(len(data))),
        lambda native, data: native.split(data, -1, 2, False, bytearray(len(data))),
        lambda native, data: native.split(data, 1, 2, False, bytearray(len(data) - 1)),
        lambda native, data: native.merge([data, data], 2, False, [bytearray(2 * len(data) + 2)]),
        lambda native, data: native.merge([data], 2, False, [bytearray(2 * len(data))]),
        lambda native, data: native.merge([data, data], 3, False, [bytearray(2 * len(data))]),
        lambda native, data: native.merge([data, data[1:]], 2, False, [bytearray(2 * len(data))]),
        lambda native, data: native.merge([data, data], 2, False, [bytearray(2 * len(data))] * 2),
        lambda native, data: native.merge([], 2, False, [bytearray(2)]),
        lambda native, data: native.totals(data, 1, 5, bytes(20000), bytearray(40)),
        lambda native, data: native.totals(data, 1, 0, bytes(20000), bytearray(8 * 14)),
        lambda native, data: native.totals(data, 1, 0, bytes(4 * len(data)), bytearray(8 * 15)),
        lambda native, data: native.totals(data[:9], 1, 0, bytes(20000), bytearray(8 * 15)),
        lambda native, data: native.totals(data, 1, 0, memoryview(bytes(20001))[1:], bytearray(8 * 15)),
        lambda native, data: native.totals(data, 1, 0, bytes(20000), memoryview(bytearray(8 * 15 + 4))[4:]),
    ],
)
def test_buffers_that_do_not_fit_are_refused(call: Callable[[Any, bytes], None]) -> None:
    with pytest.raises(ValueError, match="sizes"):
        call(kernels.native, bytes(range(64)))


@pytest.mark.usefixtures("native_kernels")
def test_blocks_of_no_bytes_take_no_time() -> None:
    assert kernels.native
    kernels.native.split(b"", 1 << 58, 2, False, bytearray())


@given(st.binary(min_size=1, max_size=300))
def test_bit_planes_are_those_of_the_specification(data: bytes) -> None:
    rows = filters.to_bitplanes(np.frombuffer(data, np.uint8))
    assert rows.tobytes() == _bitplanes_by_the_book(data)
    before = rows.copy()
    assert filters.from_bitplanes(rows, len(data)).tobytes() == data
    assert (rows == before).all(), "the input was changed in place"


def test_bits_past_the_end_of_a_plane_are_ignored() -> None:
    rows = np.full(8, 0xFF, np.uint8)
    assert filters.from_bitplanes(rows, 3).tobytes() == b"\xff\xff\xff"


@pytest.mark.parametrize("width", WIDTHS)
def test_rotation_puts_a_sign_into_bit_0(width: int) -> None:
    negative_zero = bytes(width - 1) + b"\x80"
    planes = filters.split(np.frombuffer(negative_zero, np.uint8)[np.newaxis], width, True)
    assert [int(plane[0, 0]) for plane in planes] == [1] + [0] * (width - 1)


@pytest.mark.usefixtures("native_kernels")
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_bytes_are_the_same_or_not(first: bytes, second: bytes) -> None:
    native = kernels.native
    assert native is not None
    assert native.same(first, second) is (first == second)
    assert native.same(first, bytearray(first)) is True
