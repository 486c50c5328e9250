"""Blocks: their stored bytes -> content, and planes -> stored bytes; knows nothing of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from google_crc32c import value as crc32c

from etpack import codecs, filters
from etpack.codecs import BytesLike
from etpack.errors import CorruptError, UnsupportedError
from etpack.layout import (
    CodecId,
    FilterId,
    IndexEntry,
    align_up,
    bitplanes_size,
    needs_decoder,
    pack_directory,
    unpack_directory,
)

DIRECTORY_ENTRY_SIZE = 4
_FILTERS: dict[int, FilterId] = {int(kind): kind for kind in FilterId}
# Python 3.11 takes as long to look up an enum's member as for five of its own.
_NONE = FilterId.NONE
_RAW, _CONSTANT, _ZSTD, _DIRECTORY = CodecId.RAW, CodecId.CONSTANT, CodecId.ZSTD, CodecId.DIRECTORY


class Stream(NamedTuple):
    """How one plane, or a whole block of one plane, is stored."""

    codec: int
    # The stream's bytes; empty for a constant plane.
    data: BytesLike
    # The value of every byte of a constant plane, else 0.
    value: int = 0


# A zstd frame: its place among the streams, its content size, and whose it is: the block's number and entry.
_Frame: TypeAlias = "tuple[int, int, int, IndexEntry]"


def check_entry(entry: IndexEntry, size: int, number: int) -> FilterId:
    """Check what the index says of block `number`, which has `size` bytes of content; return its filter.

    Raises:
        UnsupportedError: The filter is not one of this format version.
        CorruptError: Codec or stored size cannot be.
    """
    kind = _FILTERS.get(entry.filter)
    if kind is None:
        raise UnsupportedError(
            f"block {number} uses filter {entry.filter}, which is not known here",
            rule="block-filter",
            hint="use a newer etpack",
        )
    if (entry.codec == _DIRECTORY) != (kind is not _NONE):
        raise CorruptError(f"block {number}: filter {kind} with codec {entry.codec}", rule="block-codec")
    if entry.codec == _RAW:
        good = entry.stored_size == size
    elif entry.codec == _CONSTANT:
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
    # What the library takes must be read-only, and no memoryview.
    if crc32c(stored if isinstance(stored, bytes) else np.frombuffer(stored, np.uint8)) != entry.crc:
        raise CorruptError(f"block {number}: its checksum does not match", rule="block-crc", where=entry.stored_offset)


def decode_many(
    stored: Sequence[bytes | memoryview],
    entries: Sequence[IndexEntry],
    outs: Sequence[memoryview],
    first: int,
    alignment: int,
) -> None:
    """Decode blocks that have consecutive numbers from `first` on.

    Args:
        stored: What lies at each entry's stored offset; its checksum is looked at before anything else.
        entries: Index entries of the blocks.
        outs: Where the content of each goes, writable bytes and as many as it has. After an error they are as before.
        first: Number of the first block, for messages.
        alignment: What the file aligns streams to.

    Raises:
        CorruptError: The stored bytes are not what was written, or break a rule of the format.
        UnsupportedError: A filter or codec is not known here.
    """
    kinds = []
    # Every stream of all blocks; those of zstd are decoded in one call, at last.
    parts: list[BytesLike] = []
    frames: list[_Frame] = []
    tails: list[tuple[memoryview, memoryview]] = []
    for number, (data, entry, out) in enumerate(zip(stored, entries, outs, strict=True), first):
        size = len(out)
        kind = check_entry(entry, size, number)
        check_crc(data, entry, number)
        kinds.append(kind)
        if kind is _NONE:
            streams = [Stream(entry.codec, data, entry.stored_offset if entry.codec == _CONSTANT else 0)]
        else:
            width = kind.width
            streams, tail = parse_planes(memoryview(data), width, size, number, alignment, entry.stored_offset)
            size //= width
            if tail:
                tails.append((out[-len(tail) :], tail))
        for stream in streams:
            if stream.codec == _ZSTD:
                frames.append((len(parts), size, number, entry))
                parts.append(stream.data)
            else:
                parts.append(decode_stream(stream, size, number, entry))
    if frames:
        _decode_frames(frames, parts)
    _merge_all(kinds, parts, outs)
    for end, tail in tails:
        end[:] = tail


def _decode_frames(frames: Sequence[_Frame], parts: list[BytesLike]) -> None:
    """Put its content in place of each frame."""
    places = [frame[0] for frame in frames]
    try:
        decoded = codecs.ZSTD.decode_many([parts[place] for place in places], [frame[1] for frame in frames])
    except codecs.StreamError:
        # One by one, which says whose stream it is.
        for place, size, number, entry in frames:
            parts[place] = decode_stream(Stream(_ZSTD, parts[place]), size, number, entry)
    else:
        for place, content in zip(places, decoded, strict=True):
            parts[place] = content


def _merge_all(kinds: Sequence[FilterId], parts: Sequence[BytesLike], outs: Sequence[memoryview]) -> None:
    """Put blocks together from their planes, those of one filter in a row at once."""
    position = start = 0
    while start < len(kinds):
        kind = kinds[start]
        width = kind.width
        end = start + 1
        while end < len(kinds) and kinds[end] is kind:
            end += 1
        planes = parts[position : position + width * (end - start)]
        if kind is _NONE:
            for out, content in zip(outs[start:end], planes, strict=True):
                out[:] = content
        else:
            filters.merge(planes, width, kind.rotated, outs[start:end])
        position += len(planes)
        start = end


def decode_stream(stream: Stream, size: int, number: int, entry: IndexEntry) -> BytesLike:
    """Return the `size` bytes of one stream of block `number`; errors as `decode_many`."""
    if stream.codec == _RAW:
        return stream.data
    if stream.codec == _CONSTANT:
        return bytes([stream.value]) * size
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
    return data


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
    for codec, plane_stored in unpack_directory(stored, width):
        if codec == _RAW:
            good = plane_stored == plane_size
        elif codec == _CONSTANT:
            good = plane_stored <= 255
        else:
            good = codec != _DIRECTORY and 0 < plane_stored < plane_size
        if not good:
            raise CorruptError(
                f"block {number}: a plane of {plane_size} bytes has size {plane_stored} with codec {codec}",
                rule="block-directory",
                where=where,
            )
        if codec == _CONSTANT:
            streams.append(Stream(codec, b"", plane_stored))
            continue
        start = position if alignment == 1 else align_up(position, alignment)
        if start > position and np.frombuffer(stored[position:start], np.uint8).any():
            raise CorruptError(f"block {number}: padding is not zero", rule="block-padding", where=where + position)
        position = start + plane_stored
        streams.append(Stream(codec, stored[start:position]))
    tail = stored[position:]
    if position > len(stored) or len(tail) != size - plane_size * width:
        raise CorruptError(f"block {number}: its planes do not fill it", rule="block-directory", where=where)
    return streams, tail


def join_planes(streams: Sequence[Stream], tail: bytes, alignment: int) -> bytes:
    """Return the stored bytes of a block: directory, streams at multiples of `alignment`, tail."""
    sizes = [value if codec == CodecId.CONSTANT else len(data) for codec, data, value in streams]
    directory = pack_directory([stream.codec for stream in streams], sizes)
    if alignment == 1:
        return b"".join([directory, *[stream.data for stream in streams], tail])
    parts: list[BytesLike] = [directory]
    position = len(directory)
    for _, data, _ in streams:
        if len(data):
            start = align_up(position, alignment)
            parts += [bytes(start - position), data]
            position = start + len(data)
    return b"".join([*parts, tail])


def joined_size(streams: Sequence[Stream], tail_size: int, alignment: int) -> int:
    """Return the size in bytes of what `join_planes` makes."""
    position = len(streams) * DIRECTORY_ENTRY_SIZE
    if alignment == 1:
        return position + sum([len(data) for _, data, _ in streams]) + tail_size
    for _, data, _ in streams:
        if len(data):
            position = align_up(position, alignment) + len(data)
    return position + tail_size


def scratch_size(kind: FilterId, plane_codecs: Sequence[int], size: int) -> int:
    """Return the bytes that decoding a block of `size` bytes needs beside its stored bytes and its destination.

    Planes that must be decoded are held until they are merged, and a bit-transposed plane once more.
    """
    plane_size = size // kind.width
    decoded = 0 if kind is FilterId.NONE else plane_size * sum(map(needs_decoder, plane_codecs))
    transposed = bitplanes_size(plane_size) if CodecId.LZ4_BITPLANES in plane_codecs else 0
    return decoded + transposed
