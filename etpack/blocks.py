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
    align_up,
    bitplanes_size,
    needs_decoder,
    pack_directory,
    unpack_directory,
)

DIRECTORY_ENTRY_SIZE = 4
_FILTERS: dict[int, FilterId] = {int(kind): kind for kind in FilterId}


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
    kind = _FILTERS.get(entry.filter)
    if kind is None:
        raise UnsupportedError(
            f"block {number} uses filter {entry.filter}, which is not known here",
            rule="block-filter",
            hint="use a newer etpack",
        )
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
    # Every stream of all blocks; those of zstd are decoded in one call, at last.
    parts: list[BytesLike] = []
    frames: list[_Frame] = []
    tails: list[tuple[int, memoryview]] = []
    for row, (data, entry) in enumerate(zip(stored, entries, strict=True)):
        number = first + row
        kind = check_entry(entry, size, number)
        check_crc(data, entry, number)
        kinds.append(kind)
        if kind is FilterId.NONE:
            streams = [Stream(entry.codec, data, entry.stored_offset if entry.codec == CodecId.CONSTANT else 0)]
        else:
            view = memoryview(data)
            streams, tail = parse_planes(view, kind.width, size, number, alignment, entry.stored_offset)
            tails.append((row, tail))
        for stream in streams:
            if stream.codec == CodecId.ZSTD:
                frames.append(_Frame(len(parts), size // len(streams), number, entry))
                parts.append(stream.data)
            else:
                parts.append(decode_stream(stream, size // len(streams), number, entry))
    _decode_frames(frames, parts)
    _merge_all(kinds, parts, out)
    for row, tail in tails:
        if tail:
            out[row, size - len(tail) :] = tail


class _Frame(NamedTuple):
    """A zstd frame: its place among the streams, its content size, and whose it is."""

    place: int
    size: int
    number: int
    entry: IndexEntry


def _decode_frames(frames: Sequence[_Frame], parts: list[BytesLike]) -> None:
    """Put its content in place of each frame."""
    try:
        decoded = codecs.ZSTD.decode_many([parts[frame.place] for frame in frames], [frame.size for frame in frames])
    except codecs.StreamError:
        # One by one, which says whose stream it is.
        for place, size, number, entry in frames:
            parts[place] = decode_stream(Stream(CodecId.ZSTD, parts[place]), size, number, entry)
    else:
        for frame, content in zip(frames, decoded, strict=True):
            parts[frame.place] = content


def _merge_all(kinds: Sequence[FilterId], parts: Sequence[BytesLike], out: Bytes) -> None:
    """Put blocks together from their planes, those of one filter in a row at once."""
    position = start = 0
    for kind, group in groupby(kinds):
        width = kind.width
        end = start + len(list(group))
        planes = parts[position : position + width * (end - start)]
        if kind is FilterId.NONE:
            for row, content in enumerate(planes, start):
                out[row] = np.frombuffer(content, np.uint8)
        else:
            filters.merge(planes, width, kind.rotated, out[start:end])
        position += len(planes)
        start = end


def decode_stream(stream: Stream, size: int, number: int, entry: IndexEntry) -> BytesLike:
    """Return the `size` bytes of one stream of block `number`; errors as `decode_many`."""
    if stream.codec == CodecId.RAW:
        return stream.data
    if stream.codec == CodecId.CONSTANT:
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
        if codec == CodecId.RAW:
            good = plane_stored == plane_size
        elif codec == CodecId.CONSTANT:
            good = plane_stored <= 255
        else:
            good = codec != CodecId.DIRECTORY and 0 < plane_stored < plane_size
        if not good:
            raise CorruptError(
                f"block {number}: a plane of {plane_size} bytes has size {plane_stored} with codec {codec}",
                rule="block-directory",
                where=where,
            )
        if codec == CodecId.CONSTANT:
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
