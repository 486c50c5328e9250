"""Builds .pte, .ptd and .bpte files of every layout, and files that lie. The same spec gives the same bytes."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flatbuffers import Builder

from etpack._flatbuffers import bundled_program, flat_tensor, program
from etpack.pte import read_model
from etpack.pte.dtypes import ITEM_SIZES
from etpack.sources import BufferSource

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


def tuned(data: bytes, segment: int) -> bytes:
    """Return a real model of which a weight was trained on: a segment of named data, and its key wherever it stands."""
    model = read_model(BufferSource(data))
    place = model.segments[segment].range
    (key,) = model.segments[segment].keys
    values = struct.unpack_from(f"<{place.size // 4}f", data, place.offset)
    new = struct.pack(f"<{len(values)}f", *(value + 1e-3 * (value > 0) for value in values))
    changed = data[: place.offset] + new + data[place.end :]
    return changed.replace(key.encode(), hashlib.sha256(new).hexdigest().encode())


@dataclass
class TensorSpec:
    """A tensor value of a method; tensors of equal kind and bytes share a buffer, over all methods."""

    data: bytes = b""
    dtype: str = "float32"
    # One dimension with all of `data` if None.
    sizes: Sequence[int] | None = None
    # constant, mutable, external, planned or input.
    kind: str = "constant"
    name: str | None = None
    # Says this data_buffer_idx instead of the true one.
    buffer_index: int | None = None
    # Says this scalar type instead of the one of `dtype`.
    scalar_type: int | None = None
    # As the sizes are, if None.
    dim_order: Sequence[int] | None = None
    storage_offset: int = 0
    shape_dynamism: int = 0
    # Where a planned or mutable tensor is put.
    memory_id: int = 1
    memory_offset: int = 0
    # Which list of mutable data it says it starts from.
    mutable_list: int = 0


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
    # Keys and values; no list at all if None.
    compile_specs: Sequence[tuple[str | None, bytes | None]] | None = ()


@dataclass
class ValueSpec:
    """A value of any type; `items` go into a vector of `width` bytes each, which is left out if None."""

    kind: int
    items: Sequence[int] | None = None
    width: int = 4
    # Whether it has a table at all.
    filled: bool = True


@dataclass
class InstructionSpec:
    """An instruction of any type; `numbers` are its fields that are numbers, from slot 0 on."""

    kind: int
    numbers: Sequence[int] = (0,)
    # Arguments in slot 1; left out if None.
    args: Sequence[int] | None = None
    filled: bool = True


@dataclass
class ChainSpec:
    """A chain; without a list of instructions if None."""

    instructions: Sequence[InstructionSpec] | None = ()
    inputs: Sequence[int] = ()
    outputs: Sequence[int] = ()


@dataclass
class MethodSpec:
    """A method; it has `other_values` values that are no tensors, too."""

    name: str | None = "forward"
    tensors: Sequence[TensorSpec] = ()
    delegates: Sequence[DelegateSpec] = ()
    planned_buffers: Sequence[int] = (1024,)
    other_values: int = 2
    operators: int = 1
    # Values after those; no constants, for which there would be no bytes.
    more_values: Sequence[ValueSpec | TensorSpec] = ()
    # The first value, if there is one, if None.
    inputs: Sequence[int] | None = None
    outputs: Sequence[int] | None = None
    chains: Sequence[ChainSpec] = (ChainSpec(),)
    # Name and overload of each operator.
    operator_name: tuple[str | None, str | None] = ("aten::add", None)
    # Slots that are left out.
    absent: Collection[int] = ()


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
    # Says this scalar type and this order of dimensions.
    scalar_type: int | None = None
    dim_order: Sequence[int] | None = None


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
    # Segments that further lists of mutable data cut.
    more_mutable_segments: Sequence[int] = ()
    # Buffers in the flatbuffer beside the constant segment.
    more_inline_constants: Sequence[bytes] = ()
    inline_alignment: int = 16
    # Bytes that the header takes.
    header_room: int | None = None


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


def build_bpte(
    nested: bytes | None, *, identifier: bytes = bundled_program.IDENTIFIER, version: int = 2, alignment: int = 32
) -> bytes:
    """Return the bytes of a .bpte around a .pte; without any program if None."""
    builder = Builder(1024)
    suites = _tables(builder, [_table(builder)])
    fields = [_u32(bundled_program.BundledProgram.VERSION, version)]
    fields.append(_offset(bundled_program.BundledProgram.METHOD_TEST_SUITES, suites))
    if nested is not None:
        fields.append(_offset(bundled_program.BundledProgram.PROGRAM, _blob(builder, nested, alignment)))
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
        room = align_up(length, 16) if spec.header_room is None else spec.header_room
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
            if spec.more_inline_constants:
                buffers = [self._wrapped(data) for data in spec.more_inline_constants]
                fields.append(_offset(slots.CONSTANT_BUFFER, _tables(builder, buffers)))
        if self.inline_blobs:
            inline = [self._wrapped(data) for data in self.inline_blobs]
            fields.append(_offset(slots.BACKEND_DELEGATE_DATA, _tables(builder, inline)))
        segments = _segment_entries(builder, self.segments, self.offsets, spec.segment_entries)
        fields.append(_offset(slots.SEGMENTS, _tables(builder, segments)))
        if self.mutables:
            number = self.first_mutable if spec.mutable_segment is None else spec.mutable_segment
            numbers = [number, *spec.more_mutable_segments]
            cuts = [self._subsegments(each, self.mutable_offsets, {}) for each in numbers]
            fields.append(_offset(slots.MUTABLE_DATA_SEGMENTS, _tables(builder, cuts)))
        if spec.named_data:
            named = [self._named(each) for each in spec.named_data]
            fields.append(_offset(slots.NAMED_DATA, _tables(builder, named)))
        builder.Finish(_table(builder, *fields), file_identifier=spec.identifier)
        return bytes(builder.Output())

    def _wrapped(self, data: bytes) -> int:
        """A Buffer or a BackendDelegateInlineData: both have their bytes in slot 0."""
        return _table(
            self.builder, _offset(program.Buffer.STORAGE, _blob(self.builder, data, self.spec.inline_alignment))
        )

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
        values += [self._any_value(value) for value in method.more_values]
        ends = range(min(len(values), 1))
        operators = [self._operator(*method.operator_name) for _ in range(method.operators)]
        parts = {
            slots.VALUES: _tables(builder, values),
            slots.INPUTS: _ints(builder, ends if method.inputs is None else method.inputs),
            slots.OUTPUTS: _ints(builder, ends if method.outputs is None else method.outputs),
            slots.CHAINS: _tables(builder, [self._chain(chain) for chain in method.chains]),
            slots.OPERATORS: _tables(builder, operators),
            slots.DELEGATES: _tables(builder, [self._delegate(each) for each in method.delegates]),
            slots.NON_CONST_BUFFER_SIZES: _scalars(builder, [0, *method.planned_buffers], 8, builder.PrependInt64),
        }
        if method.name is not None:
            parts[slots.NAME] = builder.CreateString(method.name)
        return _table(builder, *(_offset(slot, part) for slot, part in parts.items() if slot not in method.absent))

    def _any_value(self, value: ValueSpec | TensorSpec) -> int:
        if isinstance(value, TensorSpec):
            return self._value(program.KernelTypes.TENSOR, self._tensor(value))
        builder, fields = self.builder, []
        if value.kind == program.KernelTypes.STRING and value.items is not None:
            fields.append(_offset(0, builder.CreateString(bytes(value.items))))
        elif value.items is not None:
            prepend = {1: builder.PrependUint8, 4: builder.PrependInt32, 8: builder.PrependInt64}[value.width]
            fields.append(_offset(0, _scalars(builder, value.items, value.width, prepend)))
        if value.filled:
            return self._value(value.kind, _table(builder, *fields))
        return _table(builder, _u8(program.EValue.VAL_TYPE, value.kind))

    def _operator(self, name: str | None, overload: str | None) -> int:
        texts = {program.Operator.NAME: name, program.Operator.OVERLOAD: overload}
        made = {slot: self.builder.CreateString(text) for slot, text in texts.items() if text is not None}
        return _table(self.builder, *(_offset(slot, text) for slot, text in made.items()))

    def _chain(self, chain: ChainSpec) -> int:
        builder, slots = self.builder, program.Chain
        fields = [
            _offset(slots.INPUTS, _ints(builder, chain.inputs)),
            _offset(slots.OUTPUTS, _ints(builder, chain.outputs)),
        ]
        if chain.instructions is not None:
            made = [self._instruction(instruction) for instruction in chain.instructions]
            fields.append(_offset(slots.INSTRUCTIONS, _tables(builder, made)))
        return _table(builder, *fields)

    def _instruction(self, instruction: InstructionSpec) -> int:
        builder, slots = self.builder, program.Instruction
        fields = [_i32(slot, number) for slot, number in enumerate(instruction.numbers)]
        if instruction.args is not None:
            fields.append(_offset(program.KernelCall.ARGS, _ints(builder, instruction.args)))
        kind = _u8(slots.INSTR_ARGS_TYPE, instruction.kind)
        return _table(
            builder, kind, *([_offset(slots.INSTR_ARGS, _table(builder, *fields))] if instruction.filled else [])
        )

    def _value(self, kind: int, table: int) -> int:
        return _table(self.builder, _u8(program.EValue.VAL_TYPE, kind), _offset(program.EValue.VAL, table))

    def _tensor(self, tensor: TensorSpec) -> int:
        builder, slots = self.builder, program.Tensor
        index = self._buffer_index(tensor) if tensor.buffer_index is None else tensor.buffer_index
        fields = [_i8(slots.SCALAR_TYPE, _scalar_type(tensor.dtype, tensor.scalar_type))]
        sizes = _said_sizes(tensor.sizes, tensor.data, tensor.dtype)
        fields.append(_offset(slots.SIZES, _ints(builder, sizes)))
        fields.append(_offset(slots.DIM_ORDER, _dim_order(builder, tensor.dim_order, sizes)))
        fields.append(_i32(slots.STORAGE_OFFSET, tensor.storage_offset))
        fields.append(_i8(slots.SHAPE_DYNAMISM, tensor.shape_dynamism))
        fields.append(_u32(slots.DATA_BUFFER_IDX, index))
        if tensor.kind in ("mutable", "planned"):
            fields.append(_offset(slots.ALLOCATION_INFO, self._place(tensor.memory_id, tensor.memory_offset)))
        extra = (
            [_u64(program.ExtraTensorInfo.MUTABLE_DATA_SEGMENTS_IDX, tensor.mutable_list)]
            if tensor.mutable_list
            else []
        )
        if tensor.name is not None:
            name = builder.CreateString(tensor.name)
            extra.append(_offset(program.ExtraTensorInfo.FULLY_QUALIFIED_NAME, name))
        if tensor.kind == "external":
            extra.append(_i8(program.ExtraTensorInfo.LOCATION, program.TensorDataLocation.EXTERNAL))
        if extra:
            fields.append(_offset(slots.EXTRA_TENSOR_INFO, _table(builder, *extra)))
        return _table(builder, *fields)

    def _place(self, memory_id: int, offset: int) -> int:
        slots = program.AllocationDetails
        return _table(
            self.builder,
            _u32(slots.MEMORY_ID, memory_id),
            _u32(slots.MEMORY_OFFSET_LOW, offset & 0xFFFFFFFF),
            _u32(slots.MEMORY_OFFSET_HIGH, offset >> 32),
        )

    def _buffer_index(self, tensor: TensorSpec) -> int:
        tables = {"constant": self.constants, "mutable": self.mutables}
        return 1 + tables[tensor.kind].index(tensor.data) if tensor.kind in tables else 0

    def _delegate(self, delegate: DelegateSpec) -> int:
        builder, fields = self.builder, []
        if delegate.id is not None:
            fields.append(_offset(program.BackendDelegate.ID, builder.CreateString(delegate.id)))
        if delegate.data is not None:
            fields.append(_offset(program.BackendDelegate.PROCESSED, self._reference(delegate, delegate.data)))
        if delegate.compile_specs is not None:
            specs = [self._compile_spec(*spec) for spec in delegate.compile_specs]
            fields.append(_offset(program.BackendDelegate.COMPILE_SPECS, _tables(builder, specs)))
        return _table(builder, *fields)

    def _compile_spec(self, key: str | None, value: bytes | None) -> int:
        fields = []
        if key is not None:
            fields.append(_offset(program.CompileSpec.KEY, self.builder.CreateString(key)))
        if value is not None:
            fields.append(_offset(program.CompileSpec.VALUE, _blob(self.builder, value, 1)))
        return _table(self.builder, *fields)

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


def _said_sizes(sizes: Sequence[int] | None, data: bytes, dtype: str) -> Sequence[int]:
    return [len(data) // ITEM_SIZES[dtype]] if sizes is None else sizes


def _dim_order(builder: Builder, order: Sequence[int] | None, sizes: Sequence[int]) -> int:
    said = [dimension % 256 for dimension in range(len(sizes))] if order is None else order
    return _scalars(builder, said, 1, builder.PrependUint8)


def _ptd_entry(builder: Builder, named: NamedSpec, blobs: Sequence[bytes]) -> int:
    slots = flat_tensor.NamedData
    fields = [_u32(slots.SEGMENT_INDEX, blobs.index(named.data) if named.segment is None else named.segment)]
    if named.key is not None:
        fields.append(_offset(slots.KEY, builder.CreateString(named.key)))
    if named.dtype is not None:
        sizes = _said_sizes(named.sizes, named.data, named.dtype)
        parts = (
            _i8(flat_tensor.TensorLayout.SCALAR_TYPE, _scalar_type(named.dtype, named.scalar_type)),
            _offset(flat_tensor.TensorLayout.SIZES, _ints(builder, sizes)),
            _offset(flat_tensor.TensorLayout.DIM_ORDER, _dim_order(builder, named.dim_order, sizes)),
        )
        fields.append(_offset(slots.TENSOR_LAYOUT, _table(builder, *parts)))
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


def _i32(slot: int, value: int) -> Field:
    return lambda builder: builder.PrependInt32Slot(slot, value, 0)


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


def _ints(builder: Builder, values: Sequence[int]) -> int:
    return _scalars(builder, values, 4, builder.PrependInt32)


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
