"""`etpack.encode` and `etpack.blocks`: every block comes back; the choice follows the bytes and the options alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etpack import blocks, filters, kernels
from etpack.codecs import Effort
from etpack.encode import EncodedBlock, Encoder
from etpack.errors import CorruptError, UnsupportedError
from etpack.filters import Bytes
from etpack.layout import CodecId, FilterId, IndexEntry
from etpack.probe import ONE_BIT, Probes, _count_costs, sample

RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, 65536, dtype=np.uint8)
WEIGHTS = RNG.normal(0, 0.05, 32768).astype(np.float32)
FP32 = WEIGHTS[:16384].view(np.uint8)
BF16 = (WEIGHTS.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
FP64 = WEIGHTS[:8192].astype(np.float64).view(np.uint8)
INT64 = RNG.integers(0, 30000, 8192).astype(np.int64).view(np.uint8)
TEXT = np.frombuffer((b"the quick brown fox jumps over the lazy dog. " * 1500)[:65536], np.uint8)


def _decode(made: EncodedBlock, size: int, alignment: int = 1) -> bytes:
    out = bytearray(size)
    blocks.decode_many([made.stored], [made.entry], [memoryview(out)], 0, alignment)
    return bytes(out)


def _encode(encoder: Encoder, block: Bytes) -> EncodedBlock:
    (made,) = encoder.encode_many(block[np.newaxis])
    return made


def _mixed(data: bytes, repeat: int, step: int) -> Bytes:
    """Return something between noise, runs and numbers of a few bytes."""
    return np.frombuffer((data * repeat)[::step] or b"\0", np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(_mixed, st.binary(min_size=1, max_size=400), st.integers(1, 40), st.integers(1, 3)),
    st.sampled_from(["auto", "zstd", "lz4", "raw"]),
    st.sampled_from(Effort),
    st.booleans(),
    st.sampled_from([1, 64, 512]),
)
def test_blocks_come_back(block: Bytes, codec: str, effort: Effort, use_filters: bool, alignment: int) -> None:
    made = _encode(Encoder(codec, effort, use_filters, alignment), block)
    assert _decode(made, len(block), alignment) == block.tobytes()
    assert len(made.stored) <= len(block)
    assert made == _encode(Encoder(codec, effort, use_filters, alignment), block.copy())
    if not use_filters:
        assert made.entry.filter == FilterId.NONE
        assert made.entry.codec != CodecId.LZ4_BITPLANES


@pytest.mark.parametrize(
    ("block", "width", "at_least"),
    [(FP32, 4, 1.15), (BF16, 2, 1.4), (FP64, 8, 1.5), (INT64, 8, 3.0), (TEXT, 1, 50.0)],
    ids=["fp32", "bf16", "fp64", "int64", "text"],
)
def test_the_filter_fits_the_data(block: Bytes, width: int, at_least: float) -> None:
    made = _encode(Encoder("auto", Effort.DEFAULT, True, 1), block)
    assert FilterId(made.entry.filter).width == width
    assert len(block) / len(made.stored) >= at_least


def test_floats_are_rotated() -> None:
    made = _encode(Encoder("auto", Effort.DEFAULT, True, 1), FP32)
    assert FilterId(made.entry.filter) is FilterId.PLANES_4_ROTATED


def test_lz4_gains_on_exponents_through_bit_planes() -> None:
    encoder = Encoder("lz4", Effort.DEFAULT, True, 1)
    made = _encode(encoder, BF16)
    assert made.codecs == {CodecId.LZ4_BITPLANES}
    assert len(BF16) / len(made.stored) > 1.25


def test_noise_is_raw() -> None:
    made = _encode(Encoder("auto", Effort.DEFAULT, True, 1), NOISE)
    assert (made.entry.codec, made.entry.filter, made.stored) == (CodecId.RAW, FilterId.NONE, NOISE.tobytes())


def test_repeated_noise_is_not_raw() -> None:
    block = np.tile(NOISE[:1000], 60)
    made = _encode(Encoder("auto", Effort.DEFAULT, True, 1), block)
    assert len(made.stored) < len(block) // 20


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("codec", ["auto", "lz4", "raw"])
@pytest.mark.parametrize("value", [0, 255])
def test_a_constant_block_stores_nothing(codec: str, value: int) -> None:
    made = _encode(Encoder(codec, Effort.DEFAULT, True, 1), np.full(5000, value, np.uint8))
    assert made.stored == b""
    assert made.entry == IndexEntry(value, 0, 0, FilterId.NONE, CodecId.CONSTANT)


@pytest.mark.parametrize("block", [FP32, BF16, FP64, INT64, TEXT, NOISE], ids=lambda b: str(len(b)))
def test_more_effort_is_never_larger(block: Bytes) -> None:
    sizes = [len(_encode(Encoder("auto", effort, True, 1), block[:16384]).stored) for effort in Effort]
    assert sizes[0] >= sizes[1] >= sizes[2]


MIXED = (FP32, BF16, FP64, INT64, TEXT, NOISE, np.zeros(65536, np.uint8), np.tile(NOISE[:100], 656))
SIZES = (1, 2, 3, 7, 8, 9, 1001, 4096, 4103, 4159, 16384)


@pytest.mark.unmeasured
@pytest.mark.parametrize("codec", ["auto", "lz4", "raw"])
@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize("use_filters", [True, False])
def test_many_blocks_are_encoded_as_one_by_one(codec: str, effort: Effort, use_filters: bool) -> None:
    encoder = Encoder(codec, effort, use_filters, 64)
    for size in SIZES:
        several = np.stack([data[start : start + size] for data in MIXED for start in (0, 5, 4096, 5461)])
        many = encoder.encode_many(several)
        assert many == [_encode(encoder, block) for block in several]
        assert many[::-1] == encoder.encode_many(np.ascontiguousarray(several[::-1]))
        out = np.empty_like(several)
        stored, entries = [made.stored for made in many], [made.entry for made in many]
        blocks.decode_many(stored, entries, [row.data for row in out], 0, 64)
        assert np.array_equal(out, several)


@pytest.mark.usefixtures("both_kernels")
def test_no_blocks_are_no_work() -> None:
    assert Encoder("auto", Effort.DEFAULT, True, 1).encode_many(np.empty((0, 4096), np.uint8)) == []


def test_scratch_is_what_the_specification_says() -> None:
    assert blocks.scratch_size(FilterId.NONE, [CodecId.ZSTD], 1001) == 0
    assert blocks.scratch_size(FilterId.NONE, [CodecId.LZ4_BITPLANES], 1001) == 1008
    assert blocks.scratch_size(FilterId.PLANES_2, [CodecId.RAW, CodecId.ZSTD], 1001) == 500
    four = [CodecId.CONSTANT, CodecId.LZ4, CodecId.LZ4_BITPLANES, CodecId.RAW]
    assert blocks.scratch_size(FilterId.PLANES_4_ROTATED, four, 1001) == 2 * 250 + 256


@pytest.mark.parametrize("alignment", [1, 64])
def test_the_size_of_a_joined_block_is_known_before(alignment: int) -> None:
    streams = [blocks.Stream(0, b"abc"), blocks.Stream(1, b"", 7), blocks.Stream(2, b"x" * 100), blocks.Stream(0, b"y")]
    for tail in (b"", b"tail"):
        assert blocks.joined_size(streams, len(tail), alignment) == len(blocks.join_planes(streams, tail, alignment))


def test_the_probe_counts_in_integers() -> None:
    costs = _count_costs()
    counts = np.arange(1, len(costs))
    assert np.abs(costs[1:] / 4096 - counts * np.log2(counts)).max() < 1
    assert costs.dtype == np.int64


def test_the_probe_finds_the_entropies() -> None:
    probes = Probes(BF16[np.newaxis])
    low, high = probes.planes(0, FilterId.PLANES_2_ROTATED)
    assert low > 7.8 * ONE_BIT
    assert 2.2 * ONE_BIT < high < 3.0 * ONE_BIT


@pytest.mark.parametrize("data", [FP32, BF16, FP64, INT64, TEXT, NOISE], ids=lambda data: str(len(data)))
@pytest.mark.parametrize("size", [0, 5, 8, 1000, 4096, 4159, 65536])
def test_the_probe_agrees_with_floating_point(data: Bytes, size: int) -> None:
    block = data[np.newaxis, :size]
    (sampled,) = sample(block)
    assert len(sampled) <= 4096
    probes = Probes(block, thorough=True)
    for kind in FilterId:
        sample_of_one = sampled[np.newaxis]
        planes = filters.split(sample_of_one, kind.width, kind.rotated) if kind.width > 1 else [sample_of_one]
        for plane, entropy in zip([rows[0] for rows in planes], probes.planes(0, kind), strict=True):
            if len(plane):
                counts = np.unique(plane, return_counts=True)[1]
                bits = -(counts * np.log2(counts / len(plane))).sum() + (len(counts) - 1) * 0.72135
                assert entropy / ONE_BIT == pytest.approx(min(bits / len(plane), 8), abs=0.08)


ENTRY = _encode(Encoder("auto", Effort.DEFAULT, True, 1), FP32)


def _changed(entry: IndexEntry, **fields: int) -> IndexEntry:
    return entry._replace(**fields)


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (_changed(ENTRY.entry, filter=7), "block-filter"),
        (_changed(ENTRY.entry, filter=0), "block-codec"),
        (_changed(ENTRY.entry, codec=2), "block-codec"),
        (_changed(ENTRY.entry, stored_size=65536), "block-size"),
        (_changed(ENTRY.entry, stored_size=0), "block-size"),
        (_changed(ENTRY.entry, filter=0, codec=0), "block-size"),
        (_changed(ENTRY.entry, filter=0, codec=1, crc=0), "block-size"),
        (_changed(ENTRY.entry, filter=0, codec=1, crc=0, stored_size=0, stored_offset=256), "block-size"),
        (_changed(ENTRY.entry, crc=1), "block-crc"),
    ],
)
def test_a_bad_index_row_is_refused(entry: IndexEntry, rule: str) -> None:
    with pytest.raises((CorruptError, UnsupportedError), match=rule):
        blocks.decode_many([ENTRY.stored], [entry], [memoryview(bytearray(65536))], 0, 1)


@pytest.mark.usefixtures("both_kernels")
def test_after_an_error_nothing_was_written() -> None:
    from google_crc32c import value

    kind = FilterId(ENTRY.entry.filter)
    streams, _ = blocks.parse_planes(memoryview(ENTRY.stored), kind.width, 65536, 0, 1, 0)
    frame = next(bytes(stream.data) for stream in streams if stream.codec == CodecId.ZSTD)
    garbled = ENTRY.stored.replace(frame, bytes(len(frame)))
    for stored, crc, rule in ((ENTRY.stored, 1, "block-crc"), (garbled, value(garbled), "block-stream")):
        outs = [bytearray(b"?" * 65536) for _ in range(2)]
        entries = [ENTRY.entry, _changed(ENTRY.entry, crc=crc)]
        with pytest.raises(CorruptError, match=rf"block 1.*{rule}"):
            blocks.decode_many([ENTRY.stored, stored], entries, [memoryview(out) for out in outs], 0, 1)
        assert all(out == b"?" * 65536 for out in outs)


def _decode_changed(stored: bytes, alignment: int, size: int = 65536) -> None:
    from google_crc32c import value

    entry = _changed(ENTRY.entry, crc=value(stored), stored_size=len(stored))
    blocks.decode_many([stored], [entry], [memoryview(bytearray(size))], 0, alignment)


@pytest.mark.parametrize("position", range(16))
def test_any_change_of_a_directory_is_refused(position: int) -> None:
    for bit in range(8):
        stored = bytearray(ENTRY.stored)
        stored[position] ^= 1 << bit
        with pytest.raises((CorruptError, UnsupportedError)):
            _decode_changed(bytes(stored), 1)


def test_padding_between_streams_is_checked() -> None:
    made = _encode(Encoder("auto", Effort.DEFAULT, True, 512), FP32)
    assert _decode(made, 65536, 512) == FP32.tobytes()
    stored = bytearray(made.stored)
    stored[300] = 1
    with pytest.raises(CorruptError, match="block-padding"):
        _decode_changed(bytes(stored), 512)


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + b"x", lambda s: s[:10]])
def test_streams_must_fill_the_block(change: object) -> None:
    assert callable(change)
    with pytest.raises(CorruptError, match=r"block-(directory|stream)"):
        _decode_changed(change(ENTRY.stored), 1)


def test_a_block_smaller_than_an_element_has_no_planes() -> None:
    with pytest.raises(CorruptError, match=r"block-(directory|size)"):
        _decode_changed(b"ab", 1, size=3)


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize("data", MIXED)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("thorough", [False, True])
def test_the_probe_is_the_same_in_c_and_in_numpy(
    data: Bytes, size: int, thorough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = data[: 65536 // size * size].reshape(-1, size)[:40]
    in_c = Probes(several, thorough)
    monkeypatch.setattr(kernels, "native", None)
    in_numpy = Probes(several, thorough)
    assert in_c.best == in_numpy.best
    for number in range(len(several)):
        assert [in_c.planes(number, kind) for kind in FilterId] == [in_numpy.planes(number, kind) for kind in FilterId]
