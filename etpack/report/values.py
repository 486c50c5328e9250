"""The values of a report. Offsets are content offsets and sizes are bytes, unless a name says stored."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, ClassVar

from etpack.manifest import PackOptions
from etpack.memory import Action, Event, Footprint, Simulation, UseGroup, Verdict
from etpack.pte import FileKind, Role, Tensor


def _ratio(size: int, stored_size: int) -> float | None:
    """Return the compression ratio, or None where nothing is stored."""
    return round(size / stored_size, 6) if stored_size else None


@dataclass(frozen=True)
class Encoding:
    """One way in which blocks are stored, and how many are."""

    # "none", or "planes-2" to "planes-8-rotated".
    filter: str
    # "raw", "constant", "zstd", ...; "per-plane" where each plane has a codec of its own.
    codec: str
    # Codecs of the planes of the first such block of each extent; empty unless `codec` is "per-plane".
    plane_codecs: tuple[str, ...]
    block_count: int
    stored_size: int


@dataclass(frozen=True)
class StoredExtent:
    """How an extent is stored."""

    _derived: ClassVar = ("ratio",)

    # Bytes of content.
    size: int
    # Blocks whose stored bytes an earlier block has too count nothing here.
    stored_size: int
    first_block: int
    block_count: int
    shared_count: int
    encodings: tuple[Encoding, ...]

    @property
    def ratio(self) -> float | None:
        return _ratio(self.size, self.stored_size)


@dataclass(frozen=True)
class ExtentReport:
    """A part of the content."""

    number: int
    offset: int
    size: int
    role: Role
    segments: tuple[int, ...]
    delegate_ids: tuple[str, ...]
    keys: tuple[str, ...]
    methods: tuple[str, ...]
    # The tensor that starts with the extent and ends in it; None where there is none, or the program was not read.
    tensor: Tensor | None
    # None for a file that is not packed.
    stored: StoredExtent | None


@dataclass(frozen=True)
class Total:
    """Some things and their bytes."""

    count: int
    size: int


@dataclass(frozen=True)
class RoleTotal:
    """All extents of one role."""

    _derived: ClassVar = ("ratio",)

    role: Role
    count: int
    size: int
    # None for a file that is not packed.
    stored_size: int | None

    @property
    def ratio(self) -> float | None:
        return None if self.stored_size is None else _ratio(self.size, self.stored_size)


@dataclass(frozen=True)
class SectionReport:
    """A section of an `.etz`."""

    type: str
    required: bool
    stored_offset: int
    size: int


@dataclass(frozen=True)
class Packing:
    """The `.etz` itself. Header, blocks, padding, sections, section table and footer add up to the stored size."""

    _derived: ClassVar = ("ratio",)

    content_size: int
    stored_size: int
    header_size: int
    # Stored bytes of all blocks, each counted once however many blocks share it.
    blocks_size: int
    padding_size: int
    sections: tuple[SectionReport, ...]
    section_table_size: int
    footer_size: int
    block_size: int
    block_count: int
    shared_count: int
    encodings: tuple[Encoding, ...]
    alignment: int
    # What a device must have room for.
    max_stored_block: int
    max_plane_scratch: int
    # Codecs that a decoder of all blocks must have, beside raw and constant.
    codecs: tuple[str, ...]
    content_sha256: str
    tool: str
    options: PackOptions

    @property
    def ratio(self) -> float | None:
        return _ratio(self.content_size, self.stored_size)

    @property
    def overhead(self) -> int:
        """Bytes that are neither blocks nor padding."""
        sections = sum(section.size for section in self.sections)
        return self.header_size + sections + self.section_table_size + self.footer_size


@dataclass(frozen=True)
class ProgramReport:
    """What the head of the model says."""

    offset: int
    size: int
    # 0 without an extended header; then the next two are None.
    header_length: int
    segment_base: int | None
    segment_data_size: int | None
    segment_count: int
    named_data_count: int


@dataclass(frozen=True)
class DelegateReport:
    """The delegates of one method that have the same id."""

    id: str
    count: int
    inline_count: int
    # Bytes of their blobs, one that several share counted for each.
    size: int


@dataclass(frozen=True)
class MethodReport:
    """A method, and what it needs."""

    _derived: ClassVar = ("planned_size",)

    name: str
    input_count: int
    output_count: int
    operator_count: int
    value_count: int
    planned_buffers: tuple[int, ...]
    delegates: tuple[DelegateReport, ...]
    # The most bytes that destroying the Method gives back, planned buffers apart.
    frees_at_most: int

    @property
    def planned_size(self) -> int:
        """Bytes of all planned buffers."""
        return sum(self.planned_buffers)


@dataclass(frozen=True)
class VerdictTotal:
    """All uses of one verdict; what lies inside the flatbuffer counts with the flatbuffer only."""

    verdict: Verdict
    count: int
    size: int


@dataclass(frozen=True)
class MemoryReport:
    """What of the content comes back after it is loaded."""

    # Versions of ExecuTorch in which the backends were read.
    executorch: tuple[str, ...]
    totals: tuple[VerdictTotal, ...]
    groups: tuple[UseGroup, ...]
    # Loading the model with each loader; None, and why, if that takes too many loads to follow.
    simulation: Simulation | None
    unsimulated: str | None


@dataclass(frozen=True)
class PlaneReport:
    """One plane of a block."""

    codec: str
    stored_size: int


@dataclass(frozen=True)
class BlockReport:
    """One block."""

    number: int
    extent: int
    offset: int
    size: int
    # None for a constant block, which stores nothing.
    stored_offset: int | None
    stored_size: int
    filter: str
    codec: str
    # By the directory in the block, whose checksum was not looked at; empty for a block of one plane.
    planes: tuple[PlaneReport, ...]
    # An earlier block has the same stored bytes.
    shared: bool


@dataclass(frozen=True)
class Report:
    """What `inspect` finds in one file. Extents and gaps add up to the content size."""

    file: str
    kind: FileKind
    content_size: int
    # None for a file that is not packed.
    packing: Packing | None
    extents: tuple[ExtentReport, ...]
    # What lies between extents; zeros in a packed file.
    gaps: Total
    roles: tuple[RoleTotal, ...]
    # Why the next three are None, or None.
    missing: str | None
    program: ProgramReport | None
    methods: tuple[MethodReport, ...] | None
    memory: MemoryReport | None
    # None unless asked for.
    tensors: tuple[Tensor, ...] | None
    blocks: tuple[BlockReport, ...] | None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, by `schemas/inspect.schema.json`."""
        value: dict[str, Any] = _plain(self)
        return value


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    """Return what of a dataclass goes into JSON: its fields, then its derived properties."""
    return (*(field.name for field in fields(kind)), *getattr(kind, "_derived", ()))


def _plain(value: Any) -> Any:
    """Return frozen values as JSON values: dataclasses by field, enums by value, derived properties included."""
    if isinstance(value, UseGroup):
        return _plain_group(value)
    if isinstance(value, Event):
        return _plain_event(value)
    if isinstance(value, Footprint):
        return {name: getattr(value, name) for name in (*_names(Footprint), "total")}
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in _names(value.__class__)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _plain_group(group: UseGroup) -> dict[str, Any]:
    """Return a group with its words once, and what differs between its uses in a list."""
    return {
        "kind": group.kind.value,
        "place": group.place.value,
        **_plain(group.fate),
        "methods": list(group.methods),
        "backends": list(group.backends),
        "size": group.size,
        "after_method_destroyed_size": group.method_frees,
        "uses": [
            {
                "what": use.what,
                "offset": None if use.range is None else use.range.offset,
                "size": use.size,
                "segment": use.segment,
            }
            for use in group.uses
        ],
    }


def _plain_event(event: Event) -> dict[str, Any]:
    """Return an event; a free has the number of the load that it ends, and nothing more of it."""
    load = event.load
    value: dict[str, Any] = {"action": event.action.value, "step": event.step, "live_size": event.live_size}
    if load is None:
        return value
    value["load"] = load.number
    if event.action is Action.FREE:
        return value
    return {
        **value,
        "kind": load.kind.value,
        "what": load.what,
        "file": load.file,
        "offset": None if load.file is None else load.range.offset,
        "size": load.size,
        "segment_type": load.info.type.value,
        "segment_index": load.info.index,
        "holder": load.holder.value,
        "holder_known": load.holder_known,
        "inferred": load.inferred,
    }
