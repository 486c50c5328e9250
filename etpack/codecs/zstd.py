"""zstd: ordinary frames, made and read by contexts that each thread keeps, their headers checked first."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from typing import Any

from etpack.codecs.contract import Effort, StreamError
from etpack.kernels import BytesLike
from etpack.layout import CodecId

_LEVELS = {Effort.FAST: 0, Effort.DEFAULT: 3, Effort.MAX: 19}
# A level of ours, above zstd's.
SLOW_ENTROPY = 23
# A slow search in more than this many bytes, as a power of two, has tables so large that they are not kept.
_MOST_KEPT = 18
# Below this many streams the context that a batch makes for itself costs more than it saves.
_WORTH_A_BATCH = 4
_WORTH_A_BATCH_DECODED = 8


class Zstd:
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
        return self.encode_at_level(data, _LEVELS[effort])

    def encode_at_level(self, data: BytesLike, level: int) -> bytes:
        """Return a frame made at zstd's `level`, or with match finding all but off for level 0."""
        stream: bytes = self._compressor(level, self._window_log(len(data))).compress(data)
        return stream

    def encode_many(self, parts: Sequence[BytesLike], level: int) -> list[BytesLike]:
        """Return for each part, all of one size, what `encode_at_level` gives, holding the GIL once for all of them."""
        if len(parts) < _WORTH_A_BATCH:
            return [self.encode_at_level(part, level) for part in parts]
        compressor = self._compressor(level, self._window_log(len(parts[0])))
        return list(compressor.multi_compress_to_buffer(parts))

    def _window_log(self, size: int) -> int:
        return max(self._MIN_WINDOW_LOG, (size - 1).bit_length())

    def _compressor(self, level: int, window_log: int) -> Any:
        """Return a compressor for data of up to 2 ** window_log bytes, which this thread keeps if it is small."""
        if level > _LEVELS[Effort.DEFAULT] and window_log > _MOST_KEPT:
            return self._make_compressor(level, window_log)
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
        if len(streams) < _WORTH_A_BATCH_DECODED:
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
