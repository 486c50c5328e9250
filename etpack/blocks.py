"""One block: its stored bytes -> content, and planes -> stored bytes; knows nothing of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from google_crc32c import value as crc32c

from etpack import codecs, filters
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


@dataclass(frozen=True)
class Stream:
    """How one plane, or a whole block of one plane, is stored."""

    codec: int
    # The stream's bytes; empty for a constant plane.
    data: bytes | memoryview
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
    if crc32c(bytes(stored)) != entry.crc:
        raise CorruptError(
            f"block {number}: its checksum does not match", rule="block-crc", where=entry.stored_offset,
        )  # fmt: skip


def decode(stored: bytes | memoryview, entry: IndexEntry, out: Bytes, number: int, alignment: int) -> None:
    """Decode block `number` into `out`, uint8 of shape (content size of the block,).

    `stored` is what lies at the entry's stored offset; its checksum is looked at before anything else.

    Raises:
        CorruptError: The stored bytes are not what was written, or break a rule of the format.
        UnsupportedError: A filter or codec is not known here.
    """
    kind = check_entry(entry, len(out), number)
    check_crc(stored, entry, number)
    if kind is FilterId.NONE:
        value = entry.stored_offset if entry.codec == CodecId.CONSTANT else 0
        decode_stream(Stream(entry.codec, stored, value), out, number, entry)
    else:
        _decode_planes(memoryview(stored), kind, entry, out, number, alignment)


def decode_stream(stream: Stream, out: Bytes, number: int, entry: IndexEntry) -> None:
    """Decode one stream of block `number` into `out`, uint8 of the plane's size; errors as `decode`."""
    if stream.codec == CodecId.CONSTANT:
        out[:] = stream.value
        return
    if stream.codec == CodecId.RAW:
        out[:] = np.frombuffer(stream.data, np.uint8)
        return
    try:
        data = codecs.by_id(stream.codec).decode(stream.data, len(out))
    except codecs.StreamError as exc:
        raise CorruptError(f"block {number}: {exc}", rule="block-stream", where=entry.stored_offset) from exc
    if len(data) != len(out):
        raise CorruptError(
            f"block {number}: codec {stream.codec} gave {len(data)} bytes and not {len(out)}",
            rule="block-stream",
            where=entry.stored_offset,
        )
    out[:] = np.frombuffer(data, np.uint8)


def _decode_planes(
    stored: memoryview, kind: FilterId, entry: IndexEntry, out: Bytes, number: int, alignment: int
) -> None:
    plane_size = len(out) // kind.width
    streams, tail = parse_planes(stored, kind.width, len(out), number, alignment, entry.stored_offset)
    planes = []
    for stream in streams:
        if stream.codec == CodecId.RAW:
            planes.append(np.frombuffer(stream.data, np.uint8))
            continue
        plane = np.empty(plane_size, np.uint8)
        decode_stream(stream, plane, number, entry)
        planes.append(plane)
    filters.merge(planes, kind.rotated, out)
    out[plane_size * kind.width :] = np.frombuffer(tail, np.uint8)


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
        if np.frombuffer(stored[position:start], np.uint8).any():
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
    entries = [PlaneEntry(s.codec, s.value if s.codec == CodecId.CONSTANT else len(s.data)) for s in streams]
    parts: list[bytes | memoryview] = [entry.to_bytes() for entry in entries]
    position = DIRECTORY_ENTRY_SIZE * len(entries)
    for stream in streams:
        if stream.data:
            start = align_up(position, alignment)
            parts += [bytes(start - position), stream.data]
            position = start + len(stream.data)
    return b"".join([*parts, tail])


def scratch_size(kind: FilterId, plane_codecs: Sequence[int], size: int) -> int:
    """Return the bytes that decoding a block of `size` bytes needs beside its stored bytes and its destination.

    Planes that must be decoded are held until they are merged, and a bit-transposed plane once more.
    """
    plane_size = size // kind.width
    decoded = 0 if kind is FilterId.NONE else plane_size * sum(map(needs_decoder, plane_codecs))
    transposed = bitplanes_size(plane_size) if CodecId.LZ4_BITPLANES in plane_codecs else 0
    return decoded + transposed
