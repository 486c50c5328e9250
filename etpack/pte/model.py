"""What etpack knows of a model file: frozen values, all offsets counted from the first byte of the file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FileKind(Enum):
    """What the content is."""

    OPAQUE = "opaque"
    PTE = "pte"
    PTD = "ptd"
    BPTE = "bpte"


class Role(Enum):
    """What a part of the content is for."""

    PROGRAM = "program"
    CONSTANT = "constant"
    MUTABLE = "mutable"
    DELEGATE = "delegate"
    NAMED_DATA = "named data"
    METADATA = "metadata"  # the flatbuffer of a .ptd, and what wraps the program in a .bpte
    UNUSED = "unused"  # a segment that nothing in the program refers to
    PADDING = "padding"
    TRAILING = "trailing"
    OPAQUE = "opaque"


@dataclass(frozen=True)
class Range:
    """A part of the file: `size` bytes from content offset `offset`."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Delegate:
    """One entry of a method's delegate list: one blob that one backend gets at load."""

    # Backend id as the program spells it, for instance "XnnpackBackend".
    id: str
    # Position in the method's delegate list.
    number: int
    # Where the blob lies; inside the program region if inline.
    blob: Range
    # Position in Program.segments, or None when the blob is inline in the flatbuffer.
    segment: int | None
    # Position in Program.backend_delegate_data, or None when the blob is a segment.
    inline_index: int | None


@dataclass(frozen=True)
class TensorLoad:
    """What the runtime asks for to set up one tensor value of a method."""

    # "mutable" (a first value, in the file), "external" (a constant in a .ptd) or "external mutable" (a first value).
    kind: str
    # Key in the .ptd; None for "mutable".
    name: str | None
    # Where the bytes lie in the file; None if they are in a .ptd.
    data: Range | None
    # Bytes; by type and sizes for what is in a .ptd, and not to be trusted.
    size: int


@dataclass(frozen=True)
class Method:
    """One execution plan."""

    name: str
    delegates: tuple[Delegate, ...]
    # Planned activation buffers in bytes, without the reserved first entry of non_const_buffer_sizes.
    planned_buffers: tuple[int, ...]
    # Counts only: the values, operators and instructions themselves are not read.
    value_count: int
    operator_count: int
    input_count: int
    output_count: int
    # In the order of its values.
    tensor_loads: tuple[TensorLoad, ...] = ()


@dataclass(frozen=True)
class Segment:
    """One entry of Program.segments (or of a .ptd's segments), with all that refers to it."""

    # Position in the segment list.
    number: int
    range: Range
    # Every role that the program gives it; more than one only in files that share a segment across roles.
    roles: tuple[Role, ...]
    # Delegate ids, named-data keys and methods that use it, each sorted and without repeats.
    delegate_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedData:
    """A key and the segment it stands for; several keys may share one."""

    key: str
    segment: int


@dataclass(frozen=True)
class Tensor:
    """A tensor that has bytes in the file, or, if external, in a .ptd."""

    # Fully qualified name if the program records one, else the named-data key of a .ptd entry, else None.
    name: str | None
    # "constant", "mutable" (initial state), or "external" (bytes in a .ptd; data is None).
    kind: str
    # Field's name of the ScalarType ("float32", "bfloat16", ...), or "scalar_type_N" where N is unknown here.
    dtype: str
    sizes: tuple[int, ...]
    # Where its bytes lie; None if external. The size is the exact one, without padding.
    data: Range | None
    # Position of the segment that holds it; None when inline in the flatbuffer or external.
    segment: int | None
    # Position in the constant or mutable table (Tensor.data_buffer_idx), or None where there is none.
    buffer_index: int | None
    # Methods whose values include it, sorted.
    methods: tuple[str, ...]


@dataclass(frozen=True)
class ModelFile:
    """A parsed model file. Parsing has checked that every range below lies inside the file."""

    kind: FileKind
    # Size of the whole file in bytes.
    size: int
    # The flatbuffer with its headers: of the nested program for a .bpte, of the FlatTensor for a .ptd.
    program: Range
    # Extended header's length field (24, 32, 40, ...), or 0 when there is no extended header.
    header_length: int
    # What the extended header says, as offsets in the file; None without a header.
    # segment_data_size is None also where the header is too short to have it.
    segment_base: int | None
    segment_data_size: int | None
    segments: tuple[Segment, ...]
    methods: tuple[Method, ...]
    named_data: tuple[NamedData, ...]
    # Tensors with bytes in the file, by offset; external ones last.
    tensors: tuple[Tensor, ...]
    # The model proper: all of the file for .pte and .ptd, the nested program vector for a .bpte.
    nested: Range
    # After the last byte that the model declares, up to the end of `nested`.
    trailing: Range
    # Position of the segment of constants, which the runtime loads whole; None where it loads none.
    constant_segment: int | None = None
