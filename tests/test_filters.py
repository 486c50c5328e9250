"""`etpack.filters`: what the specification says of planes, rotation and bit planes, worked out in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpack import filters

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


@given(st.binary(min_size=0, max_size=300), st.sampled_from(WIDTHS), st.booleans())
def test_planes_are_those_of_the_specification(data: bytes, width: int, rotated: bool) -> None:
    planes = filters.split(np.frombuffer(data, np.uint8), width, rotated)
    assert [plane.tobytes() for plane in planes] == _planes_by_the_book(data, width, rotated)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("sizes", [[4096] * 70, [1 << 20], [8, 1, 9, 300_000, 0, 15, 131072, 131072], [0], []])
def test_many_blocks_are_split_as_one_by_one(width: int, sizes: list[int]) -> None:
    data = np.random.default_rng(width).integers(0, 256, sum(sizes), dtype=np.uint8)
    parts = np.split(data, np.cumsum(sizes)[:-1]) if sizes else []
    together = filters.split_many(parts, width, True)
    assert [[plane.tobytes() for plane in planes] for planes in together] == [
        [plane.tobytes() for plane in filters.split(part, width, True)] for part in parts
    ]


def test_a_batch_has_a_size_or_one_block() -> None:
    sizes = [filters.BATCH_SIZE, 1, filters.BATCH_SIZE - 1, 1, filters.BATCH_SIZE + 1, 2]
    parts = [np.zeros(size, np.uint8) for size in sizes]
    assert [(b.start, b.stop) for b in filters.batches(parts)] == [(0, 1), (1, 3), (3, 4), (4, 5), (5, 6)]


@given(st.binary(min_size=0, max_size=300), st.sampled_from(WIDTHS), st.booleans())
def test_merge_undoes_split(data: bytes, width: int, rotated: bool) -> None:
    block = np.frombuffer(data, np.uint8)
    out = np.zeros(len(data), np.uint8)
    filters.merge(filters.split(block, width, rotated), rotated, out)
    whole = len(data) // width * width
    assert out[:whole].tobytes() == data[:whole]
    assert not out[whole:].any()


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
    planes = filters.split(np.frombuffer(negative_zero, np.uint8), width, True)
    assert [int(plane[0]) for plane in planes] == [1] + [0] * (width - 1)
