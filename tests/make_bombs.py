"""Models of a few megabytes that ask for as much work as they can: one table, referred to very many times."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from etpack._flatbuffers import flat_tensor, program
from tests.make_pte import align_up

# A field of a table: a number as bytes, a string, a vector of numbers or of tables that are all the same, or a table.
Fields = Mapping[int, "bytes | str | Zeros | Many | Fields"]


_SEGMENT_DATA = b"x" * 16


class Zeros:
    """A vector of `count` numbers of 4 bytes, all of them 0."""

    def __init__(self, count: int) -> None:
        self.count = count


class Many:
    """A vector of `count` references to one table."""

    def __init__(self, count: int, fields: Fields) -> None:
        self.count = count
        self.fields = fields


class _Writer:
    """Writes a flatbuffer from front to back: what is referred to comes behind what refers to it."""

    def __init__(self) -> None:
        self.data = bytearray(64)

    def table(self, fields: Fields) -> int:
        """Append a table and all below it; return its offset."""
        slots = 1 + max(fields, default=-1)
        offsets = [0] * slots
        body = bytearray(4)
        for slot, value in fields.items():
            body += bytes(-len(body) % 4)
            offsets[slot] = len(body)
            body += value if isinstance(value, bytes) else bytes(4)
        vtable = self._append(struct.pack(f"<HH{slots}H", 4 + 2 * slots, len(body), *offsets))
        at = self._append(bytes(body))
        struct.pack_into("<i", self.data, at, at - vtable)
        for slot, value in fields.items():
            if not isinstance(value, bytes):
                place = at + offsets[slot]
                struct.pack_into("<I", self.data, place, self._target(value) - place)
        return at

    def _target(self, value: str | Zeros | Many | Fields) -> int:
        if isinstance(value, Zeros):
            return self._append(struct.pack("<I", value.count) + bytes(4 * value.count))
        if isinstance(value, str):
            return self._append(struct.pack("<I", len(value)) + value.encode() + b"\0")
        if isinstance(value, Many):
            at = self._append(struct.pack("<I", value.count) + bytes(4 * value.count))
            elements = at + 4 + 4 * np.arange(value.count, dtype=np.int64)
            distances = (self.table(value.fields) - elements).astype("<u4").tobytes()
            self.data[at + 4 : at + 4 + len(distances)] = distances
            return at
        return self.table(value)

    def _append(self, data: bytes) -> int:
        self.data += bytes(-len(self.data) % 4)
        at = len(self.data)
        self.data += data
        return at


def pte(fields: Fields, room: int = 0) -> bytes:
    """Return a program with these fields of its root, and `room` bytes of its flatbuffer that nothing refers to."""
    writer = _Writer()
    root = writer.table(fields)
    writer.data += bytes(room)
    size = len(writer.data)
    base = align_up(size, 128)
    writer.data[:8] = struct.pack("<I", root) + program.IDENTIFIER
    writer.data[8:40] = struct.pack("<4sIQQQ", b"eh00", 32, size, base, len(_SEGMENT_DATA))
    return bytes(writer.data).ljust(base, b"\0") + _SEGMENT_DATA


def ptd(fields: Fields, room: int = 0) -> bytes:
    """Return a tensor file; as `pte`."""
    writer = _Writer()
    root = writer.table(fields)
    writer.data += bytes(room)
    size = len(writer.data)
    base = align_up(size, 128)
    writer.data[:8] = struct.pack("<I", root) + flat_tensor.IDENTIFIER
    writer.data[8:48] = struct.pack("<4sIQQQQ", b"FH01", 40, 0, size, base, len(_SEGMENT_DATA))
    return bytes(writer.data).ljust(base, b"\0") + _SEGMENT_DATA


_PLAN, _DELEGATE, _VALUE, _TENSOR = program.ExecutionPlan, program.BackendDelegate, program.EValue, program.Tensor
_SEGMENT: Fields = {program.DataSegment.OFFSET: bytes(8), program.DataSegment.SIZE: struct.pack("<Q", 10)}


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _delegate(name: str) -> Fields:
    place: Fields = {program.BackendDelegateDataReference.LOCATION: _u32(program.DataLocation.SEGMENT)}
    return {_DELEGATE.ID: name, _DELEGATE.PROCESSED: place}


def _external(name: str) -> Fields:
    where = _u32(program.TensorDataLocation.EXTERNAL)
    extra: Fields = {program.ExtraTensorInfo.LOCATION: where, program.ExtraTensorInfo.FULLY_QUALIFIED_NAME: name}
    tensor: Fields = {_TENSOR.EXTRA_TENSOR_INFO: extra}
    return {_VALUE.VAL_TYPE: _u32(program.KernelTypes.TENSOR), _VALUE.VAL: tensor}


def segments(count: int, *, room: int = 0) -> bytes:
    """Segments that all lie in the same place, and that nothing uses."""
    return pte({program.Program.SEGMENTS: Many(count, {})}, room)


def methods(
    count: int, *, delegates: int = 0, values: int = 0, externals: int = 0, name: str = "f", room: int = 0
) -> bytes:
    """Methods of one name, each with delegates in one segment, values that are nothing, and tensors in a .ptd."""
    plan: dict[int, bytes | str | Zeros | Many | Fields] = {_PLAN.NAME: name}
    if delegates:
        plan[_PLAN.DELEGATES] = Many(delegates, _delegate("XnnpackBackend"))
    if values:
        plan[_PLAN.VALUES] = Many(values, {})
    if externals:
        plan[_PLAN.VALUES] = Many(externals, _external("weight"))
    return pte({program.Program.EXECUTION_PLAN: Many(count, plan), program.Program.SEGMENTS: Many(1, _SEGMENT)}, room)


def runnable(
    count: int, *, values: Many | None = None, operators: Many | None = None, room: int = 0, **chain: int
) -> bytes:
    """Methods of one name that have all that a runtime asks for, each with a chain as `_chain` makes it."""
    plan: Fields = {
        _PLAN.NAME: "f",
        _PLAN.VALUES: values or Many(1, {_VALUE.VAL_TYPE: _u32(program.KernelTypes.NULL)}),
        _PLAN.INPUTS: Zeros(1),
        _PLAN.OUTPUTS: Zeros(1),
        _PLAN.CHAINS: _chain(**chain),
        _PLAN.OPERATORS: operators or Many(1, {program.Operator.NAME: "aten::add"}),
        _PLAN.DELEGATES: Many(0, {}),
        _PLAN.NON_CONST_BUFFER_SIZES: Zeros(0),
    }
    return pte({program.Program.EXECUTION_PLAN: Many(count, plan)}, room)


def _chain(chains: int = 1, instructions: int = 1, args: int = 1) -> Many:
    """Chains that are all the same, each of calls that are all the same."""
    call: Fields = {program.KernelCall.OP_INDEX: _u32(0), program.KernelCall.ARGS: Zeros(args)}
    kind = _u32(program.InstructionArguments.KERNEL_CALL)
    step: Fields = {program.Instruction.INSTR_ARGS_TYPE: kind, program.Instruction.INSTR_ARGS: call}
    return Many(chains, {program.Chain.INSTRUCTIONS: Many(instructions, step)})


def _list_of(count: int) -> Fields:
    items: Fields = {program.OptionalTensorList.ITEMS: Zeros(count)}
    return {_VALUE.VAL_TYPE: _u32(program.KernelTypes.OPTIONAL_TENSOR_LIST), _VALUE.VAL: items}


def _planned_tensor() -> Fields:
    tensor: Fields = {_TENSOR.SIZES: Zeros(1), _TENSOR.DIM_ORDER: Zeros(0)}
    return {_VALUE.VAL_TYPE: _u32(program.KernelTypes.TENSOR), _VALUE.VAL: tensor}


def named_data(count: int, key: str = "key", *, room: int = 0) -> bytes:
    """Keys that are all the same."""
    entry: Fields = {program.NamedData.KEY: key}
    return pte({program.Program.NAMED_DATA: Many(count, entry), program.Program.SEGMENTS: Many(1, _SEGMENT)}, room)


def named_tensors(count: int, key: str = "key", *, room: int = 0) -> bytes:
    """A .ptd of keys that are all the same, each with the layout of a tensor."""
    layout: Fields = {}
    entry: Fields = {flat_tensor.NamedData.KEY: key, flat_tensor.NamedData.TENSOR_LAYOUT: layout}
    fields = {flat_tensor.FlatTensor.NAMED_DATA: Many(count, entry), flat_tensor.FlatTensor.SEGMENTS: Many(1, _SEGMENT)}
    return ptd(fields, room)


# Name to model; each asks for a good second, or for minutes, of a reader that does not count.
BOMBS = {
    "segments": segments(200_000),
    "more segments": segments(1_900_000),
    "methods": methods(400_000),
    "methods with a delegate": methods(150_000, delegates=1),
    "methods times delegates": methods(1_000, delegates=1_000),
    "delegates": methods(1, delegates=400_000),
    "values": methods(1, values=1_000_000),
    "methods times values": methods(1_000, values=3_000),
    "tensors in a .ptd": methods(1, externals=300_000),
    "long names times delegates": methods(200, delegates=200, name="m" * 20_000),
    "keys": named_data(640_000),
    "a huge key": named_data(100, "k" * 1_000_000),
    "named tensors": named_tensors(640_000),
}
# What is read, and is a bomb for whoever looks at what the methods do.
GUARD_BOMBS = {
    "methods times instructions": runnable(1_000, instructions=1_000),
    "chains times instructions": runnable(1, chains=1_000, instructions=1_000),
    "arguments": runnable(1, instructions=2_000, args=2_000),
    "lists": runnable(1, values=Many(2_000, _list_of(2_000))),
    "operators": runnable(1, operators=Many(300_000, {program.Operator.NAME: "o" * 90})),
    "tensors": runnable(1, values=Many(90_000, _planned_tensor())),
}
# So many bytes may cost all the steps that a small file is allowed.
_ROOM = 300_000
# What is just let through takes the most time.
LARGEST = {
    "segments": segments(14_000, room=_ROOM),
    "methods": methods(9_000, room=_ROOM),
    "delegates": methods(1, delegates=12_000, room=_ROOM),
    "values": methods(1, values=130_000, room=_ROOM),
    "tensors in a .ptd": methods(1, externals=12_500, room=_ROOM),
    "keys": named_data(30_000, room=_ROOM),
    "named tensors": named_tensors(9_000, room=_ROOM),
    "instructions": runnable(1, instructions=55_000, room=_ROOM),
    "arguments": runnable(1, instructions=400, args=1_000, room=_ROOM),
    "lists": runnable(1, values=Many(700, _list_of(500)), room=_ROOM),
}
