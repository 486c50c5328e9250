"""Blocks: their stored bytes -> content, and planes -> stored bytes; knows nothing of files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from google_crc32c import value as crc32c

from etpack import codecs, filters
from etpack.codecs import BytesLike
from etpack.errors import CorruptError, UnsupportedError
from etpack.filters import Bytes
from etpack.layout import (
    CodecId,
    FilterId,
    IndexEntry,
    PlaneEntry,
    align_up,
    bitplanes_size,
    needs_decoder,
    unpack_directory,
)

DIRECTORY_ENTRY_SIZE = 4


class Stream(NamedTuple):
    """How one plane, or a whole block of one plane, is stored."""

    codec: int
    # The stream's bytes; empty for a constant plane.
    data: BytesLike
    # The value of every byte of a constant plane, else 0.
    value: int = 0


def check_entry(entry: IndexEntry, size: int, number: int) -> FilterId:
    """Check what the index says of block `number`, which has `size` bytes of content; return its filter.

    Raises:
        UnsupportedError: The filter is not one of this format version.
        CorruptError: Codec or stored size cannot be.
    """
    try:
        kind = FilterId(entry.filter)
    except ValueError:
        raise UnsupportedError(
            f"block {number} uses filter {entry.filter}, which is not known here",
            rule="block-filter",
            hint="use a newer etpack",
        ) from None
    if (entry.codec == CodecId.DIRECTORY) != (kind is not FilterId.NONE):
        raise CorruptError(f"block {number}: filter {kind} with codec {entry.codec}", rule="block-codec")
    if entry.codec == CodecId.RAW:
        good = entry.stored_size == size
    elif entry.codec == CodecId.CONSTANT:
        if entry.crc:
            raise CorruptError(f"block {number} has a checksum, but no stored bytes", rule="constant-crc")
        good = entry.stored_size == 0 and entry.stored_offset <= 255
    else:
        good = 0 < entry.stored_size < size
    if not good:
        raise CorruptError(
            f"block {number}: {entry.stored_size} stored bytes for {size} with codec {entry.codec}", rule="block-size"
        )
    return kind


def check_crc(stored: bytes | memoryview, entry: IndexEntry, number: int) -> None:
    """Raise CorruptError unless the stored bytes match the index entry's CRC-32C."""
    if crc32c(np.frombuffer(stored, np.uint8)) != entry.crc:
        raise CorruptError(
            f"block {number}: its checksum does not match", rule="block-crc", where=entry.stored_offset,
        )  # fmt: skip


def decode(stored: bytes | memoryview, entry: IndexEntry, out: Bytes, number: int, alignment: int) -> None:
    """Decode block `number` into `out`, uint8 of shape (content size of the block,); otherwise as `decode_many`."""
    decode_many([stored], [entry], out[np.newaxis], number, alignment)


def decode_many(
    stored: Sequence[bytes | memoryview], entries: Sequence[IndexEntry], out: Bytes, first: int, alignment: int
) -> None:
    """Decode blocks of one content size, which have consecutive numbers from `first` on.

    Args:
        stored: What lies at each entry's stored offset; its checksum is looked at before anything else.
        entries: Index entries of the blocks.
        out: uint8 of shape (blocks, content size of each), C-contiguous. After an error no byte of the block at
            fault, or of one behind it, is in here.
        first: Number of the first block, for messages.
        alignment: What the file aligns streams to.

    Raises:
        CorruptError: The stored bytes are not what was written, or break a rule of the format.
        UnsupportedError: A filter or codec is not known here.
    """
    size = out.shape[1]
    kinds = []
    streams: list[Stream] = []
    for row, (data, entry) in enumerate(zip(stored, entries, strict=True)):
        kind = check_entry(entry, size, first + row)
        check_crc(data, entry, first + row)
        kinds.append(kind)
        if kind is FilterId.NONE:
            streams.append(Stream(entry.codec, data, entry.stored_offset if entry.codec == CodecId.CONSTANT else 0))
        else:
            view = memoryview(data)
            planes, tail = parse_planes(view, kind.width, size, first + row, alignment, entry.stored_offset)
            streams += planes
            if tail:
                out[row, size - len(tail) :] = np.frombuffer(tail, np.uint8)
    owners = [row for row, kind in enumerate(kinds) for _ in range(kind.width)]
    parts = iter(_decode_streams(streams, owners, [size // kind.width for kind in kinds], entries, first))
    start = 0
    for kind, group in groupby(kinds):
        end = start + len(list(group))
        planes_of = [[next(parts) for _ in range(kind.width)] for _ in range(start, end)]
        if kind is FilterId.NONE:
            for row, (content,) in enumerate(planes_of, start):
                out[row] = content
        else:
            filters.merge(planes_of, kind.rotated, out[start:end])
        start = end


def _decode_streams(
    streams: Sequence[Stream], owners: Sequence[int], sizes: Sequence[int], entries: Sequence[IndexEntry], first: int
) -> list[Bytes]:
    """Return the decoded bytes of each stream, with as few calls as may be.

    Args:
        streams: Streams of several blocks.
        owners: For each stream the row of its block in `sizes` and `entries`.
        sizes: Bytes of a decoded stream of each block.
        entries: The index entry of each block.
        first: Number of the first block.
    """
    by_zstd = [place for place, stream in enumerate(streams) if stream.codec == CodecId.ZSTD]
    frames = [streams[place].data for place in by_zstd]
    try:
        decoded = codecs.ZSTD.decode_many(frames, [sizes[owners[place]] for place in by_zstd])
    except codecs.StreamError:
        # One by one, which says whose stream it is.
        by_zstd, decoded = [], []
    done = dict(zip(by_zstd, decoded, strict=True))
    parts = []
    for place, (stream, row) in enumerate(zip(streams, owners, strict=True)):
        if place in done:
            parts.append(np.frombuffer(done[place], np.uint8))
        else:
            parts.append(decode_stream(stream, sizes[row], first + row, entries[row]))
    return parts


def decode_stream(stream: Stream, size: int, number: int, entry: IndexEntry) -> Bytes:
    """Return the `size` bytes of one stream of block `number`; errors as `decode_many`."""
    if stream.codec == CodecId.CONSTANT:
        return np.full(size, stream.value, np.uint8)
    if stream.codec == CodecId.RAW:
        return np.frombuffer(stream.data, np.uint8)
    try:
        data = codecs.by_id(stream.codec).decode(stream.data, size)
    except codecs.StreamError as exc:
        raise CorruptError(f"block {number}: {exc}", rule="block-stream", where=entry.stored_offset) from exc
    if len(data) != size:
        raise CorruptError(
            f"block {number}: codec {stream.codec} gave {len(data)} bytes and not {size}",
            rule="block-stream",
            where=entry.stored_offset,
        )
    return np.frombuffer(data, np.uint8)


def parse_planes(
    stored: memoryview, width: int, size: int, number: int, alignment: int, where: int
) -> tuple[list[Stream], memoryview]:
    """Cut the stored bytes of a block of `width` planes and `size` bytes of content into streams and tail.

    Raises:
        CorruptError: The directory's sizes do not fit, or padding between streams is not zero.
    """
    plane_size = size // width
    position = width * DIRECTORY_ENTRY_SIZE
    if plane_size == 0 or len(stored) < position:
        raise CorruptError(f"block {number} is too small for its planes", rule="block-directory", where=where)
    streams = []
    for plane in unpack_directory(stored, width):
        _check_plane(plane, plane_size, number, where)
        if plane.codec == CodecId.CONSTANT:
            streams.append(Stream(plane.codec, b"", plane.size))
            continue
        start = align_up(position, alignment)
        if start > position and np.frombuffer(stored[position:start], np.uint8).any():
            raise CorruptError(f"block {number}: padding is not zero", rule="block-padding", where=where + position)
        position = start + plane.stream_size
        streams.append(Stream(plane.codec, stored[start:position]))
    tail = stored[position:]
    if position > len(stored) or len(tail) != size - plane_size * width:
        raise CorruptError(f"block {number}: its planes do not fill it", rule="block-directory", where=where)
    return streams, tail


def _check_plane(plane: PlaneEntry, plane_size: int, number: int, where: int) -> None:
    if plane.codec == CodecId.RAW:
        good = plane.size == plane_size
    elif plane.codec == CodecId.CONSTANT:
        good = plane.size <= 255
    else:
        good = plane.codec != CodecId.DIRECTORY and 0 < plane.size < plane_size
    if not good:
        raise CorruptError(
            f"block {number}: a plane of {plane_size} bytes has size {plane.size} with codec {plane.codec}",
            rule="block-directory",
            where=where,
        )


def join_planes(streams: Sequence[Stream], tail: bytes, alignment: int) -> bytes:
    """Return the stored bytes of a block: directory, streams at multiples of `alignment`, tail."""
    parts: list[BytesLike] = [
        PlaneEntry(codec, value if codec == CodecId.CONSTANT else len(data)).to_bytes()
        for codec, data, value in streams
    ]
    position = DIRECTORY_ENTRY_SIZE * len(streams)
    for _, data, _ in streams:
        if len(data):
            start = align_up(position, alignment)
            parts += [bytes(start - position), data]
            position = start + len(data)
    return b"".join([*parts, tail])


def scratch_size(kind: FilterId, plane_codecs: Sequence[int], size: int) -> int:
    """Return the bytes that decoding a block of `size` bytes needs beside its stored bytes and its destination.

    Planes that must be decoded are held until they are merged, and a bit-transposed plane once more.
    """
    plane_size = size // kind.width
    decoded = 0 if kind is FilterId.NONE else plane_size * sum(map(needs_decoder, plane_codecs))
    transposed = bitplanes_size(plane_size) if CodecId.LZ4_BITPLANES in plane_codecs else 0
    return decoded + transposed
