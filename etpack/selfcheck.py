"""The packer's check of its own work: every block is decoded from the very bytes to be written, and compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from etpack import blocks, filters
from etpack.encode import EncodedBlock
from etpack.errors import EtpackError
from etpack.filters import Bytes
from etpack.layout import FilterId
from etpack.pte import Range


class SelfCheckError(EtpackError):
    """A block did not decode to what it was made from: a codec or the machine is at fault, not the file."""

    slug = "self-check"
    exit_code = 4
    default_hint = "nothing was written; try another --codec, and test this machine's memory"

    def __init__(self, place: Range) -> None:
        super().__init__(
            f"the block of content {place.offset:#x}+{place.size:#x} did not decode to what it was made from"
        )


class Made(NamedTuple):
    """A block, its place in the content, and how it will be stored."""

    place: Range
    data: Bytes
    block: EncodedBlock


def check_blocks(made: Sequence[Made], alignment: int) -> None:
    """Decode blocks from the bytes to be written and compare; the planes of one filter are merged all at once.

    Raises:
        SelfCheckError: A block does not decode to what it was made from.
    """
    by_filter: defaultdict[FilterId, list[Made]] = defaultdict(list)
    for one in made:
        by_filter[FilterId(one.block.entry.filter)].append(one)
    for one in by_filter.pop(FilterId.NONE, []):
        decoded = np.empty_like(one.data)
        try:
            blocks.decode(one.block.stored, one.block.entry, decoded, 0, alignment)
        except EtpackError as exc:
            raise SelfCheckError(one.place) from exc
        if not np.array_equal(decoded, one.data):
            raise SelfCheckError(one.place)
    for kind, those in by_filter.items():
        for batch in filters.batches([one.data for one in those]):
            _check_planes(kind, those[batch], alignment)


def _check_planes(kind: FilterId, made: Sequence[Made], alignment: int) -> None:
    width = kind.width
    wholes = [one.data[: len(one.data) // width * width] for one in made]
    planes = [np.empty(sum(map(len, wholes)) // width, np.uint8) for _ in range(width)]
    start = 0
    for one, whole in zip(made, wholes, strict=True):
        end = start + len(whole) // width
        try:
            tail = _decode_planes(one, [plane[start:end] for plane in planes], alignment)
        except EtpackError as exc:
            raise SelfCheckError(one.place) from exc
        if tail != one.data[len(whole) :].data:
            raise SelfCheckError(one.place)
        start = end
    content = wholes[0] if len(wholes) == 1 else np.concatenate(wholes)
    merged = np.empty_like(content)
    filters.merge(planes, kind.rotated, merged)
    if not np.array_equal(merged, content):
        ends = np.cumsum([len(whole) for whole in wholes])
        raise SelfCheckError(made[int(np.searchsorted(ends, np.argmax(merged != content), "right"))].place)


def _decode_planes(made: Made, planes: Sequence[Bytes], alignment: int) -> memoryview:
    """Decode a block's stored bytes, checksum first, into `planes`, each uint8 of shape (count,); return its tail."""
    entry, stored = made.block.entry, made.block.stored
    blocks.check_entry(entry, len(made.data), 0)
    blocks.check_crc(stored, entry, 0)
    streams, tail = blocks.parse_planes(memoryview(stored), len(planes), len(made.data), 0, alignment, 0)
    for stream, plane in zip(streams, planes, strict=True):
        blocks.decode_stream(stream, plane, 0, entry)
    return tail
