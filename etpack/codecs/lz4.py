"""LZ4: bare blocks, of the bytes as they are, or of their bits transposed."""

from __future__ import annotations

from etpack.codecs.contract import Effort, StreamError
from etpack.kernels import BytesLike
from etpack.layout import CodecId, bitplanes_size

_LEVELS = {Effort.FAST: 0, Effort.DEFAULT: 0, Effort.MAX: 12}


class Lz4:
    """A bare LZ4 block: no frame, no size."""

    id: int = CodecId.LZ4
    name = "lz4"

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        return self.encode_at_level(data, _LEVELS[effort])

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


_PLAIN = Lz4()


class Lz4Bitplanes:
    """A bare LZ4 block over the bit-transposed data: what makes LZ4 gain on a float's exponents."""

    id: int = CodecId.LZ4_BITPLANES
    name = "lz4-bitplanes"

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        return self.encode_at_level(data, _LEVELS[effort])

    def encode_at_level(self, data: BytesLike, level: int) -> bytes:
        """Return a block made at LZ4 HC's `level`, or by the fast compressor for level 0."""
        import numpy as np

        from etpack import filters

        return _PLAIN.encode_at_level(filters.to_bitplanes(np.frombuffer(data, np.uint8)).data, level)

    def decode(self, stream: BytesLike, size: int) -> BytesLike:
        import numpy as np

        from etpack import filters

        rows = np.frombuffer(_PLAIN.decode(stream, bitplanes_size(size)), np.uint8)
        return filters.from_bitplanes(rows, size).data
