"""Stream codecs: zstd, LZ4, LZ4 over bit planes, and codecs that others register; no offsets in here.

A codec turns bytes into one stream and back. Raw and constant need no codec; `etpack.blocks` handles them.
This is the only module that sees a codec library, and the only one that catches its exceptions.

Others add a codec by an entry point in the group `etpack.codecs` that names a `Codec` object, or by calling
`register`. Its id lies in the private range, 128 to 254.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from enum import Enum
from itertools import groupby
from typing import Any, Protocol, TypeAlias, runtime_checkable

from etpack.errors import CodecMissingError, EtpackError, UnsupportedError
from etpack.layout import CodecId, bitplanes_size, is_private

BytesLike: TypeAlias = "bytes | bytearray | memoryview"

ENTRY_POINT_GROUP = "etpack.codecs"
# What a user may choose besides the codecs of others.
BUILT_IN_NAMES = ("auto", "zstd", "lz4", "raw")


class Effort(Enum):
    """How hard to look for a smaller stream."""

    FAST = "fast"
    DEFAULT = "default"
    MAX = "max"


_ZSTD_LEVELS = {Effort.FAST: 0, Effort.DEFAULT: 3, Effort.MAX: 19}
_LZ4_LEVELS = {Effort.FAST: 0, Effort.DEFAULT: 0, Effort.MAX: 12}
# A level of ours, above zstd's.
SLOW_ENTROPY = 23
# Below this many streams the context that a batch makes for itself costs more than it saves.
_WORTH_A_BATCH = 4


class StreamError(Exception):
    """A stream does not decode to the size it must have; `etpack.blocks` says which block it is."""


@runtime_checkable
class Codec(Protocol):
    """A reversible step from bytes to one stream. Methods are called from many threads at once.

    Attributes:
        id: What the file records, 0 to 254; ids from 128 are for codecs outside etpack.
        name: What `--codec` calls it.
    """

    id: int
    name: str

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        """Return the stream for `data` (at least one byte); the same for the same input, always."""

    def decode(self, stream: BytesLike, size: int) -> BytesLike:
        """Return the `size` bytes that `stream` stands for; never allocate more than that.

        Raises:
            StreamError: The stream is broken, has another size, or has bytes after its end.
        """


class _Zstd:
    """One ordinary zstd frame: single segment, content size, no checksum, no dictionary.

    Level 0 is ours: zstd as an entropy coder, with match finding all but off, which on trained weights is
    both much faster and smaller than zstd's levels up to 18. So is SLOW_ENTROPY: the same with zstd's slowest
    search for the best code, which gains another 0.1 % or so.
    """

    id: int = CodecId.ZSTD
    name = "zstd"

    _MAGIC = b"\x28\xb5\x2f\xfd"
    _MIN_WINDOW_LOG = 10

    def __init__(self) -> None:
        self._local = threading.local()

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        return self.encode_at_level(data, _ZSTD_LEVELS[effort])

    def encode_at_level(self, data: BytesLike, level: int) -> bytes:
        """Return a frame made at zstd's `level`, or with match finding all but off for level 0."""
        stream: bytes = self._compressor(level, self._window_log(len(data))).compress(data)
        return stream

    def encode_many(self, parts: Sequence[BytesLike]) -> list[BytesLike]:
        """Return for each part what `encode_at_level` gives at level 0, holding the GIL once for all of them."""
        if len(parts) < _WORTH_A_BATCH:
            return [self.encode_at_level(part, 0) for part in parts]
        streams: list[BytesLike] = []
        # One compressor takes parts of one window; nearly always all parts have the same size.
        for window_log, group in groupby(parts, lambda part: self._window_log(len(part))):
            streams += self._compressor(0, window_log).multi_compress_to_buffer(list(group))
        return streams

    def _window_log(self, size: int) -> int:
        return max(self._MIN_WINDOW_LOG, (size - 1).bit_length())

    def _compressor(self, level: int, window_log: int) -> Any:
        """Return this thread's compressor for data of up to 2 ** window_log bytes."""
        compressors: dict[tuple[int, int], Any] = self._local.__dict__.setdefault("compressors", {})
        compressor = compressors.get((level, window_log))
        if compressor is None:
            compressor = compressors[level, window_log] = self._make_compressor(level, window_log)
        return compressor

    @staticmethod
    def _make_compressor(level: int, window_log: int) -> Any:
        """Make a compressor for data of up to 2 ** window_log bytes: a window that large makes one segment of it."""
        import zstandard

        options = {"window_log": window_log}
        few_matches = {"min_match": 7, "hash_log": 6}
        if level == 0:
            options |= {"compression_level": 1, "strategy": zstandard.STRATEGY_FAST, "target_length": 0, **few_matches}
            parameters = zstandard.ZstdCompressionParameters(**options)
        elif level == SLOW_ENTROPY:
            options |= {"compression_level": 19, "chain_log": 6, "search_log": 1, **few_matches}
            parameters = zstandard.ZstdCompressionParameters(**options)
        else:
            parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=1 << window_log, **options)
        return zstandard.ZstdCompressor(compression_params=parameters)

    def decode(self, stream: BytesLike, size: int) -> bytes:
        self._check_frame(stream, size)
        decompressor = self._decompressor()
        try:
            data: bytes = decompressor.decompress(stream, max_output_size=size, allow_extra_data=False)
        except self._local.error as exc:
            raise StreamError(f"zstd frame: {exc}") from exc
        if len(data) != size:
            raise StreamError(f"zstd frame holds {len(data)} bytes and not {size}")
        return data

    def decode_many(self, streams: Sequence[BytesLike], sizes: Sequence[int]) -> list[BytesLike]:
        """Return for each stream what `decode` gives, holding the GIL once for all of them.

        Raises:
            StreamError: One of the streams, it is not said which, is broken.
        """
        if len(streams) < _WORTH_A_BATCH:
            return [self.decode(stream, size) for stream, size in zip(streams, sizes, strict=True)]
        for stream, size in zip(streams, sizes, strict=True):
            self._check_frame(stream, size)
        decompressor = self._decompressor()
        try:
            done = decompressor.multi_decompress_to_buffer(streams, struct.pack(f"={len(sizes)}Q", *sizes))
        except self._local.error as exc:
            raise StreamError(f"zstd frame: {exc}") from exc
        return list(done)

    def _decompressor(self) -> Any:
        """Return this thread's decompressor."""
        decompressor = getattr(self._local, "decompressor", None)
        if decompressor is None:
            import zstandard

            decompressor = self._local.decompressor = zstandard.ZstdDecompressor()
            self._local.error = zstandard.ZstdError
        return decompressor

    def _check_frame(self, stream: BytesLike, size: int) -> None:
        """Check the frame's header, and that it ends where the stream does, before anything is decoded."""
        data = memoryview(stream)
        head = bytes(data[:13])
        if len(head) < 6 or not head.startswith(self._MAGIC):
            raise StreamError("no zstd frame")
        descriptor = head[4]
        if descriptor & 0b0010_1011 != 0b0010_0000:
            raise StreamError("zstd frame is not a single segment without dictionary")
        field_size = (1, 2, 4, 8)[descriptor >> 6]
        content_size = int.from_bytes(head[5 : 5 + field_size], "little") + (256 if field_size == 2 else 0)
        if content_size != size:
            raise StreamError(f"zstd frame declares {content_size} bytes and not {size}")
        position = 5 + field_size
        last = 0
        while not last:
            block = int.from_bytes(data[position : position + 3], "little")
            last = block & 1
            # A block of type 1 is one byte, repeated.
            position += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
            if position > len(data):
                raise StreamError("zstd frame ends early")
        has_checksum = descriptor >> 2 & 1
        if position + 4 * has_checksum != len(data):
            raise StreamError("zstd frame does not end where its stream does")


class _Lz4:
    """A bare LZ4 block: no frame, no size."""

    id: int = CodecId.LZ4
    name = "lz4"

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        return self.encode_at_level(data, _LZ4_LEVELS[effort])

    def encode_at_level(self, data: BytesLike, level: int) -> bytes:
        """Return a block made at LZ4 HC's `level`, or by the fast compressor for level 0."""
        import lz4.block

        if level == 0:
            stream: bytes = lz4.block.compress(data, store_size=False)
        else:
            stream = lz4.block.compress(data, mode="high_compression", compression=level, store_size=False)
        return stream

    def decode(self, stream: BytesLike, size: int) -> bytes:
        import lz4.block

        try:
            data: bytes = lz4.block.decompress(stream, uncompressed_size=size)
        except lz4.block.LZ4BlockError as exc:
            raise StreamError(f"LZ4 block: {exc}") from exc
        if len(data) != size:
            raise StreamError(f"LZ4 block holds {len(data)} bytes and not {size}")
        return data


class _Lz4Bitplanes:
    """A bare LZ4 block over the bit-transposed data: what makes LZ4 gain on a float's exponents."""

    id: int = CodecId.LZ4_BITPLANES
    name = "lz4-bitplanes"

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        return self.encode_at_level(data, _LZ4_LEVELS[effort])

    def encode_at_level(self, data: BytesLike, level: int) -> bytes:
        """Return a block made at LZ4 HC's `level`, or by the fast compressor for level 0."""
        import numpy as np

        from etpack import filters

        return LZ4.encode_at_level(filters.to_bitplanes(np.frombuffer(data, np.uint8)).data, level)

    def decode(self, stream: BytesLike, size: int) -> BytesLike:
        import numpy as np

        from etpack import filters

        rows = np.frombuffer(LZ4.decode(stream, bitplanes_size(size)), np.uint8)
        return filters.from_bitplanes(rows, size).data


ZSTD = _Zstd()
LZ4 = _Lz4()
LZ4_BITPLANES = _Lz4Bitplanes()

_by_id: dict[int, Codec] = {codec.id: codec for codec in (ZSTD, LZ4, LZ4_BITPLANES)}
_lock = threading.Lock()
_entry_points_loaded = False
# What is wrong with installed codecs that do not load.
_broken_plugins: list[str] = []


class _Guarded:
    """A codec of someone else's: whatever it raises, and whatever it returns, becomes an error that names it."""

    def __init__(self, codec: Codec) -> None:
        self.id = codec.id
        self.name = codec.name
        self.codec = codec

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        try:
            return bytes(memoryview(self.codec.encode(data, effort)))
        except Exception as exc:
            raise EtpackError(f"the codec {self.name!r} failed: {exc!r}", hint="ask its vendor") from exc

    def decode(self, stream: BytesLike, size: int) -> BytesLike:
        try:
            return memoryview(self.codec.decode(stream, size)).cast("B")
        except StreamError:
            raise
        except Exception as exc:
            raise StreamError(f"the codec {self.name!r} failed: {exc!r}") from exc


def register(codec: Codec) -> None:
    """Make a private codec known to this process.

    Raises:
        ValueError: Its id is not in 128 to 254, or its id or name is taken by another codec.
    """
    if not is_private(codec.id):
        raise ValueError(f"codec {codec.name!r} has id {codec.id}; codecs outside etpack take 128 to 254")
    with _lock:
        for other in _by_id.values():
            same = isinstance(other, _Guarded) and other.codec is codec
            if (other.id == codec.id or other.name == codec.name) and not same:
                raise ValueError(f"codec {codec.name!r} ({codec.id}) clashes with {other.name!r} ({other.id})")
        _by_id[codec.id] = _Guarded(codec)


def _load_entry_points() -> None:
    """Register the codecs of installed packages, once; one that does not load is noted and does not stop the others."""
    global _entry_points_loaded
    if _entry_points_loaded:
        return
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            register(entry_point.load())
        except Exception as exc:
            _broken_plugins.append(f"{entry_point.value} does not load: {exc}")
    _entry_points_loaded = True


def by_id(codec_id: int) -> Codec:
    """Return the codec with this id.

    Raises:
        CodecMissingError: The id is private and no installed package provides it.
        UnsupportedError: The id is reserved for later versions of the format.
    """
    codec = _by_id.get(codec_id)
    if codec is None and is_private(codec_id):
        _load_entry_points()
        codec = _by_id.get(codec_id)
        if codec is None:
            raise CodecMissingError(
                f"nothing installed here provides the private codec {codec_id}",
                rule="codec-known",
                hint="; ".join(["install its vendor's etpack plugin", *_broken_plugins]),
            )
    if codec is None:
        raise UnsupportedError(f"codec {codec_id} is not known here", rule="codec-known", hint="use a newer etpack")
    return codec


def by_name(name: str) -> Codec:
    """Return the private codec with this name.

    Raises:
        CodecMissingError: No installed package provides it.
    """
    _load_entry_points()
    private = [codec for codec in list(_by_id.values()) if is_private(codec.id)]
    for codec in private:
        if codec.name == name:
            return codec
    known = ", ".join([*BUILT_IN_NAMES, *sorted(codec.name for codec in private)])
    raise CodecMissingError(f"there is no codec {name!r}", hint="; ".join([f"choose from {known}", *_broken_plugins]))
