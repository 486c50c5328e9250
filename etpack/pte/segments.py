"""The segment list: where each segment lies, and who uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from etpack._flatbuffers import program as slots
from etpack.flatbuffer import Table
from etpack.pte.header import Header
from etpack.pte.model import Range, Role, Segment
from etpack.pte.rules import broken

# What a segment costs: a range, an extent, a use, blocks.
_SEGMENT_STEPS = 40

_ROLES = tuple(Role)


@dataclass
class Users:
    """What refers to one segment, gathered while the program is walked."""

    roles: set[Role] = field(default_factory=set)
    delegate_ids: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)


class SegmentTable:
    """The segments of one file. Ranges are absolute, and known to lie inside the model."""

    def __init__(self, entries: Sequence[Table], header: Header, nested: Range) -> None:
        """Check and keep the ranges of DataSegment tables (of a .pte or a .ptd; their fields are the same).

        Raises:
            PteError: A segment has bytes but no base, or ends after `nested`.
        """
        self.ranges = [_segment_range(number, entry, header, nested) for number, entry in enumerate(entries)]
        self._users: dict[int, Users] = {}

    def __len__(self) -> int:
        return len(self.ranges)

    def users(self, number: int) -> Users:
        """Return the gathered users of one segment, to be added to."""
        return self._users.get(number) or self._users.setdefault(number, Users())

    def segments(self) -> tuple[Segment, ...]:
        """Return the segments with what was gathered so far."""
        return tuple(_segment(number, extent, self._users.get(number)) for number, extent in enumerate(self.ranges))

    def end(self) -> int:
        """Return where the last segment ends, or 0 if there is none."""
        return max((extent.end for extent in self.ranges), default=0)


def _segment(number: int, extent: Range, users: Users | None) -> Segment:
    if users is None:
        return Segment(number, extent, (Role.UNUSED,))
    return Segment(
        number=number,
        range=extent,
        roles=tuple(role for role in _ROLES if role in users.roles) or (Role.UNUSED,),
        delegate_ids=tuple(sorted(users.delegate_ids)),
        keys=tuple(sorted(users.keys)),
        methods=tuple(sorted(users.methods)),
    )


def _segment_range(number: int, entry: Table, header: Header, nested: Range) -> Range:
    entry.spend(_SEGMENT_STEPS)
    offset, size = entry.u64(slots.DataSegment.OFFSET), entry.u64(slots.DataSegment.SIZE)
    if size and not header.has_segments:
        raise broken("segment-base", f"segment {number} has {size:,} bytes, but there is no segment base", entry.offset)
    base = nested.offset if header.segment_base is None else header.segment_base
    extent = Range(base + offset, size)
    if extent.end > nested.end:
        message = f"segment {number} ends at {extent.end:,}, after the end of the file"
        raise broken("segment-range", message, entry.offset, hint="was the file downloaded completely?")
    return extent


@dataclass(frozen=True)
class Subsegments:
    """A segment cut into tensors: the constants, or the first values of mutable buffers."""

    # Position of the segment.
    segment: int
    range: Range
    # Where each tensor starts, in bytes from the start of the segment. Entry 0 is a placeholder.
    offsets: tuple[int, ...]


def read_subsegments(table: Table, segments: SegmentTable, role: Role, rule: str) -> Subsegments | None:
    """Return a checked SubsegmentOffsets table and note its role, or None if it holds no tensors.

    Raises:
        PteError: Its segment is not there (`rule`), or a tensor starts after the end of it.
    """
    offsets = table.scalars(slots.SubsegmentOffsets.OFFSETS, "Q")
    number = table.u32(slots.SubsegmentOffsets.SEGMENT_INDEX)
    if number >= len(segments):
        if len(offsets) <= 1:  # nothing but the placeholder: a runtime does not look at the segment either
            return None
        raise broken(rule, f"{role.value} data lies in segment {number} of {len(segments)}", table.offset)
    if not offsets:
        return None
    segments.users(number).roles.add(role)
    extent = segments.ranges[number]
    for index, offset in enumerate(offsets):
        if offset > extent.size:
            message = f"{role.value} tensor {index} starts {offset:,} bytes into a segment of {extent.size:,}"
            raise broken("subsegment-offset", message, table.offset)
    return Subsegments(number, extent, offsets)
