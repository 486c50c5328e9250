"""Builds .pte, .ptd and .bpte files of every layout, and files that lie. The same spec gives the same bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flatbuffers import Builder

from etpack._flatbuffers import bundled_program, flat_tensor, program
from etpack.pte.dtypes import ITEM_SIZES

# Writes one field of the table that is open in the builder.
Field = Callable[[Builder], None]


def align_up(offset: int, alignment: int) -> int:
    """Return the first multiple of `alignment` that is not below `offset`."""
    return -(-offset // alignment) * alignment


def weights(count: int, dtype: str = "float32", seed: int = 0) -> bytes:
    """Return `count` elements that look like trained weights: normally distributed, with few exponents."""
    source = random.Random(seed)
    values = [source.gauss(0.0, 0.05) for _ in range(count)]
    if dtype == "float32":
        return struct.pack(f"<{count}f", *values)
    if dtype == "float16":
        return struct.pack(f"<{count}e", *values)
    if dtype == "bfloat16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    if dtype == "int8":
        return struct.pack(f"<{count}b", *(max(-128, min(127, round(value * 800))) for value in values))
    raise ValueError(f"no weights of dtype {dtype}")


@dataclass
class TensorSpec:
    """A tensor value of a method; tensors of equal kind and bytes share a buffer, over all methods."""

    data: bytes = b""
    dtype: str = "float32"
    # One dimension with all of `data` if None.
    sizes: Sequence[int] | None = None
    # constant, mutable, external or planned.
    kind: str = "constant"
    name: str | None = None
    # Says this data_buffer_idx instead of the true one.
    buffer_index: int | None = None
    # Says this scalar type instead of the one of `dtype`.
    scalar_type: int | None = None


@dataclass
class DelegateSpec:
    """A delegate; delegates of equal bytes share a segment, over all methods."""

    id: str | None = "XnnpackBackend"
    # No reference to data at all if None.
    data: bytes | None = b"delegate blob"
    inline: bool = False
    # Says this location and this index instead of the true ones.
    location: int | None = None
    index: int | None = None


@dataclass
class MethodSpec:
    """A method; it has `other_values` values that are no tensors, too."""

    name: str | None = "forward"
    tensors: Sequence[TensorSpec] = ()
    delegates: Sequence[DelegateSpec] = ()
    planned_buffers: Sequence[int] = (1024,)
    other_values: int = 2
    operators: int = 1


@dataclass
class NamedSpec:
    """A key and its bytes; keys of equal bytes share a segment."""

    key: str | None
    data: bytes = b""
    # Type and sizes for a .ptd; no tensor layout if None.
    dtype: str | None = None
    sizes: Sequence[int] | None = None
    # Says this segment instead of the true one.
    segment: int | None = None


@dataclass
class PteSpec:
    """A .pte. The fields after `patches` lie: each says something else than what is so, if it is not None."""

    methods: Sequence[MethodSpec] = field(default_factory=lambda: [MethodSpec()])
    named_data: Sequence[NamedSpec] = ()
    unused_segments: Sequence[bytes] = ()
    # Constants as buffers inside the flatbuffer, and no constant segment.
    inline_constants: bool = False
    # Length field of the extended header; 0 leaves the header out; None: 32 if a segment has bytes, else 0.
    header_length: int | None = None
    segment_alignment: int = 128
    tensor_alignment: int = 16
    trailing: bytes = b""
    # Replaces bytes at offsets of the finished file.
    patches: Mapping[int, bytes] = field(default_factory=dict)

    identifier: bytes = program.IDENTIFIER
    version: int = 0
    program_size: int | None = None
    segment_base: int | None = None
    segment_data_size: int | None = None
    # Offset and size of segments, by number.
    segment_entries: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    constant_segment: int | None = None
    mutable_segment: int | None = None
    # Offsets inside the constant segment, by buffer index.
    constant_offsets: Mapping[int, int] = field(default_factory=dict)


@dataclass
class PtdSpec:
    """A .ptd. The fields after `patches` lie, as in PteSpec."""

    named_data: Sequence[NamedSpec] = ()
    segment_alignment: int = 128
    trailing: bytes = b""
    patches: Mapping[int, bytes] = field(default_factory=dict)

    identifier: bytes = flat_tensor.IDENTIFIER
    magic: bytes = b"FH01"
    header_length: int = 40
    version: int = 0
    program_size: int | None = None
    segment_data_size: int | None = None
    segment_entries: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def build_pte(spec: PteSpec) -> bytes:
    """Return the bytes of a .pte."""
    return _PteBuilder(spec).build()


def build_ptd(spec: PtdSpec) -> bytes:
    """Return the bytes of a .ptd."""
    blobs = _unique(named.data for named in spec.named_data)
    offsets, data = _lay_out(blobs, spec.segment_alignment)
    builder = Builder(1024)
    entries = [_ptd_entry(builder, named, blobs) for named in spec.named_data]
    segments = _segment_entries(builder, blobs, offsets, spec.segment_entries)
    named_vector = _tables(builder, entries)
    root = _table(
        builder,
        _u32(flat_tensor.FlatTensor.VERSION, spec.version),
        _offset(flat_tensor.FlatTensor.SEGMENTS, _tables(builder, segments)),
        _offset(flat_tensor.FlatTensor.NAMED_DATA, named_vector),
    )
    builder.Finish(root, file_identifier=spec.identifier)
    flatbuffer = bytes(builder.Output())
    size = len(flatbuffer) if spec.program_size is None else spec.program_size
    base = align_up(48 + len(flatbuffer), spec.segment_alignment)
    data_size = len(data) if spec.segment_data_size is None else spec.segment_data_size
    header = spec.magic + struct.pack("<IQQQQ", spec.header_length, 48, size, base, data_size)
    return _patched(_insert(flatbuffer, header, 48).ljust(base, b"\0") + data + spec.trailing, spec.patches)


def build_bpte(nested: bytes | None, *, identifier: bytes = bundled_program.IDENTIFIER, version: int = 2) -> bytes:
    """Return the bytes of a .bpte around a .pte; without any program if None."""
    builder = Builder(1024)
    suites = _tables(builder, [_table(builder)])
    fields = [_u32(bundled_program.BundledProgram.VERSION, version)]
    fields.append(_offset(bundled_program.BundledProgram.METHOD_TEST_SUITES, suites))
    if nested is not None:
        fields.append(_offset(bundled_program.BundledProgram.PROGRAM, _blob(builder, nested, 32)))
    builder.Finish(_table(builder, *fields), file_identifier=identifier)
    return bytes(builder.Output())


class _PteBuilder:
    """Collects buffers and segments, then writes the flatbuffer around their numbers."""

    def __init__(self, spec: PteSpec) -> None:
        tensors = [tensor for method in spec.methods for tensor in method.tensors]
        delegates = [delegate for method in spec.methods for delegate in method.delegates if delegate.data is not None]
        self.spec = spec
        self.builder = Builder(1024)
        self.constants = _unique(tensor.data for tensor in tensors if tensor.kind == "constant")
        self.mutables = _unique(tensor.data for tensor in tensors if tensor.kind == "mutable")
        self.inline_blobs = _unique(delegate.data or b"" for delegate in delegates if delegate.inline)
        self.delegate_blobs = _unique(delegate.data or b"" for delegate in delegates if not delegate.inline)
        self.named_blobs = _unique(named.data for named in spec.named_data)
        constant_offsets, constant_bytes = _lay_out(self.constants, spec.tensor_alignment)
        self.constant_offsets = [0, *constant_offsets]
        mutable_offsets, mutable_bytes = _lay_out(self.mutables, 1)
        self.mutable_offsets = [0, *mutable_offsets]
        groups: list[list[bytes]] = [
            [] if spec.inline_constants else [constant_bytes],
            [mutable_bytes] if self.mutables else [],
            self.delegate_blobs,
            self.named_blobs,
            list(spec.unused_segments),
        ]
        starts = [sum(len(group) for group in groups[:number]) for number in range(len(groups))]
        _, self.first_mutable, self.first_delegate, self.first_named, _ = starts
        self.segments = [blob for group in groups for blob in group]
        self.offsets, self.data = _lay_out(self.segments, spec.segment_alignment)

    def build(self) -> bytes:
        spec = self.spec
        length = (32 if self.data else 0) if spec.header_length is None else spec.header_length
        flatbuffer = self._flatbuffer()
        room = align_up(length, 16)
        size = len(flatbuffer) + room
        base = align_up(size, spec.segment_alignment) if self.data else 0
        header = struct.pack(
            "<4sIQQQ",
            b"eh00",
            length,
            size if spec.program_size is None else spec.program_size,
            base if spec.segment_base is None else spec.segment_base,
            len(self.data) if spec.segment_data_size is None else spec.segment_data_size,
        )
        whole = _insert(flatbuffer, header[:length], room) if length else flatbuffer
        return _patched(whole.ljust(base, b"\0") + self.data + spec.trailing, spec.patches)

    def _flatbuffer(self) -> bytes:
        spec, builder, slots = self.spec, self.builder, program.Program
        fields = [_u32(slots.VERSION, spec.version)]
        fields.append(_offset(slots.EXECUTION_PLAN, _tables(builder, [self._method(each) for each in spec.methods])))
        if spec.inline_constants:
            buffers = [_table(builder), *(self._wrapped(data) for data in self.constants)]
            fields.append(_offset(slots.CONSTANT_BUFFER, _tables(builder, buffers)))
        else:
            cut = self._subsegments(spec.constant_segment or 0, self.constant_offsets, spec.constant_offsets)
            fields.append(_offset(slots.CONSTANT_SEGMENT, cut))
        if self.inline_blobs:
            inline = [self._wrapped(data) for data in self.inline_blobs]
            fields.append(_offset(slots.BACKEND_DELEGATE_DATA, _tables(builder, inline)))
        segments = _segment_entries(builder, self.segments, self.offsets, spec.segment_entries)
        fields.append(_offset(slots.SEGMENTS, _tables(builder, segments)))
        if self.mutables:
            number = self.first_mutable if spec.mutable_segment is None else spec.mutable_segment
            cut = self._subsegments(number, self.mutable_offsets, {})
            fields.append(_offset(slots.MUTABLE_DATA_SEGMENTS, _tables(builder, [cut])))
        if spec.named_data:
            named = [self._named(each) for each in spec.named_data]
            fields.append(_offset(slots.NAMED_DATA, _tables(builder, named)))
        builder.Finish(_table(builder, *fields), file_identifier=spec.identifier)
        return bytes(builder.Output())

    def _wrapped(self, data: bytes) -> int:
        """A Buffer or a BackendDelegateInlineData: both have their bytes in slot 0."""
        return _table(self.builder, _offset(program.Buffer.STORAGE, _blob(self.builder, data, 16)))

    def _subsegments(self, number: int, offsets: Sequence[int], lies: Mapping[int, int]) -> int:
        said = [lies.get(index, offset) for index, offset in enumerate(offsets)]
        vector = _scalars(self.builder, said, 8, self.builder.PrependUint64)
        return _table(
            self.builder,
            _u32(program.SubsegmentOffsets.SEGMENT_INDEX, number),
            _offset(program.SubsegmentOffsets.OFFSETS, vector),
        )

    def _named(self, named: NamedSpec) -> int:
        number = self.first_named + self.named_blobs.index(named.data) if named.segment is None else named.segment
        fields = [_u32(program.NamedData.SEGMENT_INDEX, number)]
        if named.key is not None:
            fields.append(_offset(program.NamedData.KEY, self.builder.CreateString(named.key)))
        return _table(self.builder, *fields)

    def _method(self, method: MethodSpec) -> int:
        builder, slots = self.builder, program.ExecutionPlan
        values = [self._value(program.KernelTypes.TENSOR, self._tensor(tensor)) for tensor in method.tensors]
        values += [self._value(program.KernelTypes.INT, _table(builder)) for _ in range(method.other_values)]
        count = len(values)
        fields = [_offset(slots.VALUES, _tables(builder, values))]
        fields.append(_offset(slots.INPUTS, _scalars(builder, range(min(count, 1)), 4, builder.PrependInt32)))
        fields.append(_offset(slots.OUTPUTS, _scalars(builder, range(min(count, 1)), 4, builder.PrependInt32)))
        operators = [_table(builder) for _ in range(method.operators)]
        fields.append(_offset(slots.OPERATORS, _tables(builder, operators)))
        fields.append(_offset(slots.DELEGATES, _tables(builder, [self._delegate(each) for each in method.delegates])))
        sizes = _scalars(builder, [0, *method.planned_buffers], 8, builder.PrependInt64)
        fields.append(_offset(slots.NON_CONST_BUFFER_SIZES, sizes))
        if method.name is not None:
            fields.append(_offset(slots.NAME, builder.CreateString(method.name)))
        return _table(builder, *fields)

    def _value(self, kind: int, table: int) -> int:
        return _table(self.builder, _u8(program.EValue.VAL_TYPE, kind), _offset(program.EValue.VAL, table))

    def _tensor(self, tensor: TensorSpec) -> int:
        builder, slots = self.builder, program.Tensor
        index = self._buffer_index(tensor) if tensor.buffer_index is None else tensor.buffer_index
        fields = [_i8(slots.SCALAR_TYPE, _scalar_type(tensor.dtype, tensor.scalar_type))]
        fields.append(_offset(slots.SIZES, _sizes(builder, tensor.sizes, tensor.data, tensor.dtype)))
        fields.append(_u32(slots.DATA_BUFFER_IDX, index))
        if tensor.kind in ("mutable", "planned"):
            place = _table(builder, _u32(program.AllocationDetails.MEMORY_ID, 1))
            fields.append(_offset(slots.ALLOCATION_INFO, place))
        extra = []
        if tensor.name is not None:
            name = builder.CreateString(tensor.name)
            extra.append(_offset(program.ExtraTensorInfo.FULLY_QUALIFIED_NAME, name))
        if tensor.kind == "external":
            extra.append(_i8(program.ExtraTensorInfo.LOCATION, program.TensorDataLocation.EXTERNAL))
        if extra:
            fields.append(_offset(slots.EXTRA_TENSOR_INFO, _table(builder, *extra)))
        return _table(builder, *fields)

    def _buffer_index(self, tensor: TensorSpec) -> int:
        tables = {"constant": self.constants, "mutable": self.mutables}
        return 1 + tables[tensor.kind].index(tensor.data) if tensor.kind in tables else 0

    def _delegate(self, delegate: DelegateSpec) -> int:
        builder, fields = self.builder, []
        if delegate.id is not None:
            fields.append(_offset(program.BackendDelegate.ID, builder.CreateString(delegate.id)))
        if delegate.data is not None:
            fields.append(_offset(program.BackendDelegate.PROCESSED, self._reference(delegate, delegate.data)))
        return _table(builder, *fields)

    def _reference(self, delegate: DelegateSpec, data: bytes) -> int:
        if delegate.inline:
            location, index = program.DataLocation.INLINE, self.inline_blobs.index(data)
        else:
            location, index = program.DataLocation.SEGMENT, self.first_delegate + self.delegate_blobs.index(data)
        return _table(
            self.builder,
            _i8(
                program.BackendDelegateDataReference.LOCATION,
                location if delegate.location is None else delegate.location,
            ),
            _u32(program.BackendDelegateDataReference.INDEX, index if delegate.index is None else delegate.index),
        )


def _unique(blobs: Iterable[bytes]) -> list[bytes]:
    return list(dict.fromkeys(blobs))


def _lay_out(blobs: Sequence[bytes], alignment: int) -> tuple[list[int], bytes]:
    """Return where each blob starts, and all of them with zeros between; none after the last."""
    offsets, data = [], bytearray()
    for blob in blobs:
        if blob:
            data += bytes(align_up(len(data), alignment) - len(data))
        offsets.append(align_up(len(data), alignment))
        data += blob
    return [min(offset, len(data)) for offset in offsets], bytes(data)


def _insert(flatbuffer: bytes, header: bytes, room: int) -> bytes:
    """Return the flatbuffer with a header after its identifier; `room` is a multiple of 16, which keeps alignments."""
    (root,) = struct.unpack_from("<I", flatbuffer)
    return struct.pack("<I", root + room) + flatbuffer[4:8] + header.ljust(room, b"\0")[:room] + flatbuffer[8:]


def _patched(data: bytes, patches: Mapping[int, bytes]) -> bytes:
    patched = bytearray(data)
    for offset, new in patches.items():
        patched[offset : offset + len(new)] = new
    return bytes(patched)


def _scalar_type(dtype: str, lie: int | None) -> int:
    return int(program.ScalarType[dtype.upper()]) if lie is None else lie


def _sizes(builder: Builder, sizes: Sequence[int] | None, data: bytes, dtype: str) -> int:
    said = [len(data) // ITEM_SIZES[dtype]] if sizes is None else sizes
    return _scalars(builder, said, 4, builder.PrependInt32)


def _ptd_entry(builder: Builder, named: NamedSpec, blobs: Sequence[bytes]) -> int:
    slots = flat_tensor.NamedData
    fields = [_u32(slots.SEGMENT_INDEX, blobs.index(named.data) if named.segment is None else named.segment)]
    if named.key is not None:
        fields.append(_offset(slots.KEY, builder.CreateString(named.key)))
    if named.dtype is not None:
        sizes = _sizes(builder, named.sizes, named.data, named.dtype)
        kind = _i8(flat_tensor.TensorLayout.SCALAR_TYPE, _scalar_type(named.dtype, None))
        layout = _table(builder, kind, _offset(flat_tensor.TensorLayout.SIZES, sizes))
        fields.append(_offset(slots.TENSOR_LAYOUT, layout))
    return _table(builder, *fields)


def _segment_entries(
    builder: Builder, blobs: Sequence[bytes], offsets: Sequence[int], lies: Mapping[int, tuple[int, int]]
) -> list[int]:
    entries = []
    for number, (blob, true_offset) in enumerate(zip(blobs, offsets, strict=True)):
        offset, size = lies.get(number, (true_offset, len(blob)))
        fields = _u64(program.DataSegment.OFFSET, offset), _u64(program.DataSegment.SIZE, size)
        entries.append(_table(builder, *fields))
    return entries


# The builder writes from the back, so whatever a table refers to must be finished before the table is begun. These
# say what to write into a table that is open; values equal to a default of zero are left out, as flatbuffers do.


def _u8(slot: int, value: int) -> Field:
    return lambda builder: builder.PrependUint8Slot(slot, value, 0)


def _i8(slot: int, value: int) -> Field:
    return lambda builder: builder.PrependInt8Slot(slot, value, 0)


def _u32(slot: int, value: int) -> Field:
    return lambda builder: builder.PrependUint32Slot(slot, value, 0)


def _u64(slot: int, value: int) -> Field:
    return lambda builder: builder.PrependUint64Slot(slot, value, 0)


def _offset(slot: int, target: int) -> Field:
    return lambda builder: builder.PrependUOffsetTRelativeSlot(slot, target, 0)


def _table(builder: Builder, *fields: Field) -> int:
    builder.StartObject(10)  # no table has more fields
    for write in fields:
        write(builder)
    return int(builder.EndObject())


def _tables(builder: Builder, targets: Sequence[int]) -> int:
    return _scalars(builder, targets, 4, builder.PrependUOffsetTRelative)


def _scalars(builder: Builder, values: Sequence[int], width: int, prepend: Callable[[int], Any]) -> int:
    builder.StartVector(width, len(values), width)
    for value in reversed(values):
        prepend(value)
    return int(builder.EndVector())


def _blob(builder: Builder, data: bytes, alignment: int) -> int:
    builder.StartVector(1, len(data), alignment)
    builder.head = builder.head - len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    return int(builder.EndVector())
