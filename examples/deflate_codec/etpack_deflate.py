"""A codec that is not etpack's own: raw deflate, as a hardware decompressor might offer it."""

from __future__ import annotations

import zlib

from etpack.codecs import BytesLike, Effort, StreamError

_LEVELS = {Effort.FAST: 1, Effort.DEFAULT: 6, Effort.MAX: 9}


class Deflate:
    """Raw deflate (RFC 1951), without zlib's header and checksum: etpack has a checksum of its own."""

    # Any number from 128 to 254; whoever reads the files must use the same.
    id = 160
    name = "deflate"

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        """Return the deflate stream for `data`."""
        compressor = zlib.compressobj(_LEVELS[effort], zlib.DEFLATED, -zlib.MAX_WBITS)
        return compressor.compress(data) + compressor.flush()

    def decode(self, stream: BytesLike, size: int) -> bytes:
        """Return the `size` bytes that `stream` stands for; never allocate more than one byte beyond that."""
        decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = decompressor.decompress(stream, size + 1)
        except zlib.error as exc:
            raise StreamError(f"deflate stream: {exc}") from exc
        if len(data) != size or not decompressor.eof or decompressor.unused_data:
            raise StreamError(f"deflate stream does not hold exactly {size} bytes")
        return data


deflate = Deflate()
