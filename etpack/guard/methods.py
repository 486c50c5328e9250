"""Methods: their values and lists, what they call with which arguments, and where they jump."""

from __future__ import annotations

from collections.abc import Sequence

from etpack._flatbuffers import program as slots
from etpack._flatbuffers.program import KernelTypes
from etpack.flatbuffer import Table
from etpack.guard.faults import Faults
from etpack.guard.instructions import Numbers, check_instruction, outside
from etpack.guard.tensors import check_tensor
from etpack.pte import ModelFile
from etpack.pte.rules import shown

_PLAN = slots.ExecutionPlan

# What a value and a delegate cost, beside reading them.
_VALUE_STEPS = 3
_DELEGATE_STEPS = 5

_REQUIRED = {
    "values": _PLAN.VALUES,
    "inputs": _PLAN.INPUTS,
    "outputs": _PLAN.OUTPUTS,
    "chains": _PLAN.CHAINS,
    "delegates": _PLAN.DELEGATES,
    "planned sizes": _PLAN.NON_CONST_BUFFER_SIZES,
}

# A runtime puts the name and the overload of an operator into so many bytes, a point between and a zero behind.
_MAX_OPERATOR_NAME = 99

# What the elements of a list may be, and the code of their positions.
_LISTS = {
    KernelTypes.INT_LIST: ("q", {KernelTypes.INT}),
    KernelTypes.TENSOR_LIST: ("i", {KernelTypes.TENSOR}),
    KernelTypes.OPTIONAL_TENSOR_LIST: ("i", {KernelTypes.TENSOR, KernelTypes.NULL}),
}
_KINDS = {int(kind) for kind in KernelTypes} - {KernelTypes.NONE}
# Types whose table has a field that must be there, in slot 0 with all of them.
_FILLED = {
    KernelTypes.STRING,
    KernelTypes.INT_LIST,
    KernelTypes.DOUBLE_LIST,
    KernelTypes.BOOL_LIST,
    KernelTypes.TENSOR_LIST,
    KernelTypes.OPTIONAL_TENSOR_LIST,
}


def check_methods(root: Table, model: ModelFile, faults: Faults) -> None:
    """Check all methods of a program."""
    names: set[str] = set()
    walk = _Walk(model.program.offset, faults)
    walk.aligned(root)
    walk.aligned_numbers(root.table(slots.Program.CONSTANT_SEGMENT), slots.SubsegmentOffsets.OFFSETS)
    for entry in root.tables(slots.Program.MUTABLE_DATA_SEGMENTS):
        walk.aligned_numbers(entry, slots.SubsegmentOffsets.OFFSETS)
    for plan in root.tables(slots.Program.EXECUTION_PLAN):
        name = plan.string(_PLAN.NAME) or ""
        if name in names:
            faults.add("method-unique", f"there are two methods {shown(name)}", plan.offset)
        names.add(name)
        walk.method(plan, name)


class _Walk:
    """One pass over all methods."""

    def __init__(self, start: int, faults: Faults) -> None:
        self._start = start
        self._faults = faults
        self._misaligned = False

    def aligned(self, table: Table | None) -> None:
        """Note the first table that is not aligned to 4 bytes."""
        if table is not None and (table.offset - self._start) % 4:
            self._note_misaligned("a table", table.offset, 4)

    def aligned_numbers(self, table: Table | None, slot: int) -> None:
        """Note the first vector of 64-bit numbers that is not aligned to 8 bytes."""
        place = table.blob(slot) if table is not None else None
        if place and place[1] and (place[0] - self._start) % 8:
            self._note_misaligned("a vector of 64-bit numbers", place[0], 8)

    def _note_misaligned(self, what: str, where: int, alignment: int) -> None:
        if not self._misaligned:
            self._misaligned = True  # as a rule it is all of them
            self._faults.add("flatbuffer-alignment", f"{what} starts at no multiple of {alignment} bytes", where)

    def method(self, plan: Table, name: str) -> None:
        """Check one method."""
        who = f"method {shown(name)}"
        self.aligned(plan)
        absent = [field for field, slot in _REQUIRED.items() if not plan.has(slot)]
        if absent or not plan.count(_PLAN.CHAINS):
            self._faults.add("method-field", f"{who} has no {', '.join(absent) or 'chain'}", plan.offset)
        self.aligned_numbers(plan, _PLAN.NON_CONST_BUFFER_SIZES)
        planned = plan.scalars(_PLAN.NON_CONST_BUFFER_SIZES, "q")
        for number, size in enumerate(planned[1:], 1):
            if size < 0:
                self._faults.add("planned-size", f"{who} plans {size:,} bytes for buffer {number}", plan.offset)
        delegates = plan.tables(_PLAN.DELEGATES)
        for number, delegate in enumerate(delegates):
            self._delegate(delegate, f"delegate {number} of {who}")
        operators = plan.tables(_PLAN.OPERATORS)
        for number, operator in enumerate(operators):
            self._operator(operator, f"operator {number} of {who}")
        kinds = self._values(plan, who, planned)
        self._ends(plan, _PLAN, "input-output-index", who, len(kinds))
        self._chains(plan, who, Numbers(len(kinds), len(operators), len(delegates)))

    def _delegate(self, delegate: Table, who: str) -> None:
        delegate.spend(_DELEGATE_STEPS)
        self.aligned(delegate)
        if not delegate.has(slots.BackendDelegate.COMPILE_SPECS):
            self._faults.add("delegate-specs", f"{who} has no list of compile specs", delegate.offset)
        for spec in delegate.tables(slots.BackendDelegate.COMPILE_SPECS):
            if not (spec.has(slots.CompileSpec.KEY) and spec.has(slots.CompileSpec.VALUE)):
                self._faults.add("delegate-specs", f"{who} has a compile spec without key or value", spec.offset)

    def _operator(self, operator: Table, who: str) -> None:
        name, overload = operator.string(slots.Operator.NAME), operator.string(slots.Operator.OVERLOAD)
        size = len(f"{name}.{overload}".encode()) if overload else len((name or "").encode())
        if name is None:
            self._faults.add("operator-name", f"{who} has no name", operator.offset)
        elif size > _MAX_OPERATOR_NAME:
            message = f"{who} has a name of {size:,} bytes, more than {_MAX_OPERATOR_NAME}"
            self._faults.add("operator-name", message, operator.offset)

    def _values(self, plan: Table, who: str, planned: Sequence[int]) -> list[int]:
        """Check the values of a method; return their types."""
        values = plan.tables(_PLAN.VALUES)
        kinds = [value.u8(slots.EValue.VAL_TYPE) for value in values]
        for number, (value, kind) in enumerate(zip(values, kinds, strict=True)):
            value.spend(_VALUE_STEPS)
            self.aligned(value)
            table = value.table(slots.EValue.VAL)
            if kind not in _KINDS:
                message = f"value {number} of {who} is of an unknown type {kind}"
                self._faults.add("value-type", message, value.offset)
            elif kind != KernelTypes.NULL and (table is None or (kind in _FILLED and not table.has(0))):
                self._faults.add("value-type", f"value {number} of {who} has nothing in it", value.offset)
            elif table is not None and kind == KernelTypes.TENSOR:
                self.aligned(table)
                check_tensor(table, f"value {number} of {who}", planned, self._faults)
            elif table is not None and kind in _LISTS:
                self._list(table, number, kinds, who)
        return kinds

    def _list(self, table: Table, number: int, kinds: Sequence[int], who: str) -> None:
        """Check the elements of a list, which is value `number`."""
        kind = kinds[number]
        code, fitting = _LISTS[KernelTypes(kind)]
        if code == "q":
            self.aligned_numbers(table, slots.IntList.ITEMS)
        name = f"a list, value {number} of {who},"
        for item in table.scalars(slots.IntList.ITEMS, code):
            if item == -1 and kind == KernelTypes.OPTIONAL_TENSOR_LIST:
                continue
            if not 0 <= item < len(kinds):
                message = f"{name} has value {item:,} of {len(kinds):,}"
                self._faults.add("list-index", message, table.offset)
            elif kinds[item] not in fitting:
                self._faults.add("list-type", f"{name} has value {item}, which is of another type", table.offset)
            elif item >= number and kind != KernelTypes.INT_LIST:
                self._faults.add("list-order", f"{name} has value {item}, which comes after it", table.offset)

    def _ends(self, table: Table, fields: type[slots.ExecutionPlan | slots.Chain], rule: str, who: str, n: int) -> None:
        for what, slot in (("input", fields.INPUTS), ("output", fields.OUTPUTS)):
            bad = outside(table.scalars(slot, "i"), n)
            if bad is not None:
                self._faults.add(rule, f"an {what} of {who} is value {bad:,} of {n:,}", table.offset)

    def _chains(self, plan: Table, who: str, numbers: Numbers) -> None:
        for number, chain in enumerate(plan.tables(_PLAN.CHAINS)):
            self.aligned(chain)
            chain_name = f"chain {number} of {who}"
            self._ends(chain, slots.Chain, "chain-index", chain_name, numbers.values)
            if not chain.has(slots.Chain.INSTRUCTIONS):
                self._faults.add("instruction-type", f"{chain_name} has no list of instructions", chain.offset)
            instructions = chain.tables(slots.Chain.INSTRUCTIONS)
            for position, instruction in enumerate(instructions):
                self.aligned(instruction)
                what = f"instruction {position} of {chain_name}"
                check_instruction(instruction, what, numbers, len(instructions), self._faults)
