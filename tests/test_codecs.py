"""`etpack.codecs`: streams are standard, sizes are checked before anything is decoded, plugins work."""

from __future__ import annotations

import contextlib

import lz4.block
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from etpack import codecs
from etpack.codecs import LZ4, LZ4_BITPLANES, ZSTD, BytesLike, Codec, Effort, StreamError
from etpack.errors import CodecMissingError, EtpackError, UnsupportedError

BUILT_IN: tuple[Codec, ...] = (ZSTD, LZ4, LZ4_BITPLANES)


@pytest.mark.parametrize("codec", BUILT_IN, ids=lambda codec: codec.name)
@given(data=st.binary(min_size=1, max_size=500), effort=st.sampled_from(Effort))
def test_streams_come_back(codec: Codec, data: bytes, effort: Effort) -> None:
    stream = codec.encode(data, effort)
    assert stream == codec.encode(data, effort)
    assert bytes(codec.decode(stream, len(data))) == data


@pytest.mark.parametrize("codec", BUILT_IN, ids=lambda codec: codec.name)
@pytest.mark.parametrize("wrong", [-1, 1, 1000])
def test_a_stream_of_another_size_is_refused(codec: Codec, wrong: int) -> None:
    stream = codec.encode(b"abc" * 100, Effort.DEFAULT)
    with pytest.raises(StreamError):
        codec.decode(stream, 300 + (8 * wrong if codec is LZ4_BITPLANES else wrong))


@pytest.mark.parametrize("codec", BUILT_IN, ids=lambda codec: codec.name)
@given(stream=st.binary(max_size=200))
def test_any_bytes_give_a_stream_error_or_the_right_size(codec: Codec, stream: bytes) -> None:
    with contextlib.suppress(StreamError):
        assert len(codec.decode(stream, 64)) == 64


@pytest.mark.parametrize("level", [0, 3, 17, 19])
@pytest.mark.parametrize("size", [1, 300, 16 << 10, 64 << 10, 1 << 20, 4 << 20])
def test_zstd_frames_are_single_segments_that_any_zstd_decodes(level: int, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    stream = ZSTD.encode_at_level(data[:size], level)
    frame = zstandard.get_frame_parameters(stream)
    assert stream[4] & 0b0010_0000, "not a single segment"
    assert (frame.content_size, frame.dict_id, frame.has_checksum) == (size, 0, False)
    assert zstandard.ZstdDecompressor().decompress(stream) == data[:size]


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\x28\xb5\x2f\xfd",
        b"\x50\x2a\x4d\x18\x00\x00\x00\x00",
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64)),
        ZSTD.encode(bytes(64), Effort.FAST) + b"x",
        ZSTD.encode(bytes(64), Effort.FAST) + ZSTD.encode(bytes(64), Effort.FAST),
        ZSTD.encode(bytes(64), Effort.FAST)[:-1],
    ],
    ids=["empty", "magic", "skippable", "no-size", "trailing-byte", "two-frames", "cut"],
)
def test_other_zstd_data_is_refused(stream: bytes) -> None:
    with pytest.raises(StreamError):
        ZSTD.decode(stream, 64)


def test_a_frame_with_a_checksum_is_read_and_checked() -> None:
    stream = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(64))
    assert ZSTD.decode(stream, 64) == bytes(64)
    with pytest.raises(StreamError):
        ZSTD.decode(stream[:-1] + bytes([stream[-1] ^ 1]), 64)


def test_lz4_streams_are_bare_blocks() -> None:
    data = b"exponents " * 50
    assert lz4.block.decompress(LZ4.encode(data, Effort.DEFAULT), uncompressed_size=len(data)) == data


class Reverse:
    """A codec of a vendor's."""

    id = 254
    name = "reverse"

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        return bytes(data)[::-1]

    def decode(self, stream: BytesLike, size: int) -> bytes:
        return bytes(stream)[::-1]


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_by_id", dict(codecs._by_id))


@pytest.mark.usefixtures("clean_registry")
def test_a_registered_codec_is_found_by_id_and_name() -> None:
    codec = Reverse()
    codecs.register(codec)
    codecs.register(codec)
    for found in (codecs.by_id(254), codecs.by_name("reverse")):
        assert (found.id, found.name) == (254, "reverse")
        assert bytes(found.decode(found.encode(b"abc", Effort.FAST), 3)) == b"abc"


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize("answer", [None, "text", 7])
def test_a_codec_that_answers_nonsense_is_named(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Reverse()
    monkeypatch.setattr(codec, "encode", lambda data, effort: answer)
    monkeypatch.setattr(codec, "decode", lambda stream, size: answer)
    codecs.register(codec)
    with pytest.raises(EtpackError, match="reverse"):
        codecs.by_id(254).encode(b"abc", Effort.FAST)
    with pytest.raises(StreamError, match="reverse"):
        codecs.by_id(254).decode(b"abc", 3)


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(("codec_id", "name"), [(127, "x"), (255, "x"), (254, "y"), (200, "reverse"), (200, "zstd")])
def test_a_codec_that_clashes_is_refused(codec_id: int, name: str) -> None:
    codecs.register(Reverse())
    other = Reverse()
    other.id, other.name = codec_id, name
    with pytest.raises(ValueError, match="codec"):
        codecs.register(other)


def test_unknown_codecs_are_named() -> None:
    with pytest.raises(UnsupportedError, match="codec 77"):
        codecs.by_id(77)
    with pytest.raises(CodecMissingError, match="private codec 199"):
        codecs.by_id(199)
    with pytest.raises(CodecMissingError, match="brotli") as caught:
        codecs.by_name("brotli")
    assert "zstd" in (caught.value.hint or "")


@pytest.mark.usefixtures("clean_registry")
def test_a_name_is_looked_for_among_all_private_codecs() -> None:
    codecs.register(Reverse())
    with pytest.raises(CodecMissingError, match="brotli") as caught:
        codecs.by_name("brotli")
    assert "reverse" in (caught.value.hint or "")
