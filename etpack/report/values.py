"""The values of a report. Offsets are content offsets and sizes are bytes, unless a name says stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from etpack.manifest import PackOptions
from etpack.memory import Simulation, UseGroup, Verdict
from etpack.pte import FileKind, Role, Tensor
from etpack.report.plain import plain


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
    # By its directory, whose checksum was not looked at; empty for a block of one plane, or if nobody asked for them.
    planes: tuple[PlaneReport, ...]
    # An earlier block has the same stored bytes.
    shared: bool


@dataclass(frozen=True)
class Node:
    """A part of the content, or several."""

    # "file", "method" (of one, several, or none), "backend", "role", "extent", "tensor", "gap", or "rest".
    kind: str
    name: str
    # Bytes of content; the children add up to it, if there are any.
    size: int
    # Where it begins, in the content; None for what is several parts.
    offset: int | None = None
    # Of a tensor, or of an extent that is one; else None.
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    # The largest first.
    children: tuple[Node, ...] = ()


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
    tree: Node | None
    tensors: tuple[Tensor, ...] | None
    blocks: tuple[BlockReport, ...] | None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, by `schemas/inspect.schema.json`."""
        value: dict[str, Any] = plain(self)
        return value
