"""What holds for any content, any options and any range."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpack import DataLoader, EtpackError, EtzFile, Options, PteError
from etpack.check import verify_file
from etpack.codecs import Effort
from etpack.pte import read_model
from etpack.sources import BufferSource
from etpack.writer import pack
from tests import damage, make_etz
from tests.conftest import REAL_MODELS
from tests.counting import count_decodes
from tests.make_etz import ExtentSpec
from tests.make_pte import (
    DelegateSpec,
    MethodSpec,
    NamedSpec,
    PtdSpec,
    PteSpec,
    TensorSpec,
    build_bpte,
    build_ptd,
    build_pte,
    weights,
)


class Memory:
    """An `Output` in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        self.data += data

    def read_at(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])


def _packed(content: bytes, options: Options, jobs: int) -> bytes:
    out = Memory()
    pack(content, out, options, jobs=jobs)
    return bytes(out.data)


def _pieces(seed: int, kinds: list[str]) -> list[bytes]:
    """Return pieces of a few bytes to some blocks of the smallest size, each of its kind."""
    rng, noise = Random(seed), np.random.default_rng(seed)
    found = []
    for kind in kinds:
        size = rng.choice((rng.randrange(1, 100), 4095, 4096, 4097, rng.randrange(1, 20_000)))
        if kind == "constant":
            found.append(bytes([rng.randrange(256)]) * size)
        elif kind == "noise":
            found.append(noise.bytes(size))
        elif kind == "repeated" and found:
            found.append(rng.choice(found))
        elif kind in ("bfloat16", "float16", "float32", "float64"):
            found.append(weights(1 + size // 4, kind, seed)[:size])
        else:
            found.append((b"text that is said again and again; %d " % seed * (1 + size // 30))[:size])
    return found


KINDS = ("constant", "noise", "repeated", "bfloat16", "float32", "text")
pieces = st.builds(_pieces, st.integers(0, 1 << 16), st.lists(st.sampled_from(KINDS), max_size=6))
options = st.builds(
    Options,
    block_size=st.sampled_from((4096, 8192, 65536, 1 << 22)),
    codec=st.sampled_from(("auto", "auto", "zstd", "lz4", "raw")),
    effort=st.sampled_from((Effort.FAST, Effort.DEFAULT)),
    filters=st.booleans(),
    alignment=st.sampled_from((1, 1, 16, 512, 4096)),
    opaque=st.booleans(),
)


@st.composite
def models(draw: st.DrawFn) -> bytes:
    """Return a `.pte`, `.ptd` or `.bpte` of any pieces; between its parts, and behind them, anything may lie."""
    parts = draw(pieces)
    named = [NamedSpec(f"key {number}", part) for number, part in enumerate(parts[::3])]
    if draw(st.booleans()) and named:
        return build_ptd(PtdSpec(named_data=named, trailing=draw(st.binary(max_size=50))))
    delegates = [DelegateSpec(data=part, inline=draw(st.booleans())) for part in parts[1::3]]
    tensors = [TensorSpec(part[: len(part) // 4 * 4]) for part in parts[2::3] if len(part) >= 4]
    methods = [MethodSpec(tensors=tensors, delegates=delegates)]
    alignment = draw(st.sampled_from((16, 128, 4096)))
    trailing = draw(st.binary(max_size=50))
    spec = PteSpec(methods=methods, named_data=named, segment_alignment=alignment, trailing=trailing)
    model = bytearray(build_pte(spec))
    behind = read_model(BufferSource(bytes(model))).program.end
    if behind < len(model):
        for offset in draw(st.lists(st.integers(behind, len(model) - 1), max_size=3)):
            model[offset] = 1
    return build_bpte(bytes(model)) if draw(st.integers(0, 4)) == 0 else bytes(model)


def _check_round_trip(content: bytes, chosen: Options, jobs: int) -> None:
    packed = _packed(content, chosen, 1)
    assert _packed(content, chosen, jobs) == packed
    with EtzFile(packed, jobs=jobs) as file:
        assert file.read_at(0, file.size) == content
    plain = () if chosen.opaque else verify_file(content).findings  # a model that can be read may be broken
    assert verify_file(packed, jobs=jobs).findings == plain


@given(pieces, options, st.integers(1, 4))
def test_any_bytes_come_back(parts: list[bytes], chosen: Options, jobs: int) -> None:
    content = b"".join(parts)
    if not chosen.opaque:
        with pytest.raises(PteError):
            _packed(content, chosen, jobs)
        chosen = Options(chosen.block_size, chosen.codec, chosen.effort, chosen.filters, chosen.alignment, opaque=True)
    _check_round_trip(content, chosen, jobs)


@given(models(), options, st.integers(1, 4))
def test_any_model_comes_back(model: bytes, chosen: Options, jobs: int) -> None:
    _check_round_trip(model, chosen, jobs)


SMALL_MODELS = [path.read_bytes() for path in REAL_MODELS if path.stat().st_size < 60_000]


@given(st.sampled_from(SMALL_MODELS), st.integers(0, 1 << 16), options, st.integers(1, 4))
def test_a_damaged_model_comes_back_or_is_refused(model: bytes, seed: int, chosen: Options, jobs: int) -> None:
    content = next(damage.random_edits(model, 1, seed))
    if not chosen.opaque:
        try:
            read_model(BufferSource(content))
        except PteError:
            with pytest.raises(EtpackError):
                _packed(content, chosen, jobs)
            return
    _check_round_trip(content, chosen, jobs)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return a content of extents and gaps of zeros, and its packed bytes."""
    content = bytearray()
    spec = make_etz.EtzSpec(b"", [])
    for gap, size in draw(st.lists(st.tuples(st.sampled_from((0, 1, 5000)), st.integers(1, 10_000)), max_size=4)):
        content += bytes(gap)
        piece = Random(size).randbytes(size)
        starts = range(0, size, spec.block_size)
        raw = [make_etz.raw_block(piece[start : start + spec.block_size]) for start in starts]
        spec.extents.append(ExtentSpec(len(content), raw))
        content += piece
    content += bytes(draw(st.sampled_from((0, 1, 5000))))
    spec.content = bytes(content)
    return spec.content, make_etz.build_etz(spec)


def _draw_range(data: st.DataObject, size: int) -> tuple[int, int]:
    start = data.draw(st.integers(0, size), "start")
    return start, data.draw(st.integers(start, size), "end")


@given(layouts(), st.data())
def test_a_read_decodes_the_blocks_that_it_touches(layout: tuple[bytes, bytes], data: st.DataObject) -> None:
    content, packed = layout
    start, end = _draw_range(data, len(content))
    with pytest.MonkeyPatch.context() as patch, EtzFile(packed, jobs=1) as file:
        decoded = count_decodes(patch)
        assert file.read_at(start, end - start) == content[start:end]
        touched = [b.number for b in file.blocks() if max(start, b.range.offset) < min(end, b.range.end)]
    assert sorted(decoded) == touched


@given(layouts(), st.data())
def test_a_cut_is_the_last_end_of_a_block_that_fits(layout: tuple[bytes, bytes], data: st.DataObject) -> None:
    content, packed = layout
    if not content:
        return
    start = data.draw(st.integers(0, len(content) - 1), "offset")
    limit = data.draw(st.integers(start + 1, len(content)), "limit")
    with EtzFile(packed) as file:
        cut = file.cut_before(start, limit)
        inside = [block for block in file.blocks() if block.range.offset < limit < block.range.end]
    ends = [block.range.offset for block in inside if block.range.offset > start]
    assert cut == (ends[0] if ends else limit)


@given(layouts(), st.integers(1, 3), st.sampled_from((1000, 4096, 6000, 1 << 20)), st.data())
def test_chunks_are_the_range_in_order(
    layout: tuple[bytes, bytes], jobs: int, chunk_size: int, data: st.DataObject
) -> None:
    content, packed = layout
    start, end = _draw_range(data, len(content))
    with pytest.MonkeyPatch.context() as patch, DataLoader(packed) as loader:
        decoded = count_decodes(patch)
        chunks = [bytes(chunk) for chunk in loader.iter_chunks(start, end - start, chunk_size, jobs)]
    assert b"".join(chunks) == content[start:end]
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)
    if chunk_size >= 4096 and start == 0:
        assert len(set(decoded)) == len(decoded), "a block was decoded twice"
