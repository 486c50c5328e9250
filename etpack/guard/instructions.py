"""One instruction of a method: whether what it calls, its arguments, and the place it jumps to are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from etpack._flatbuffers import program as slots
from etpack._flatbuffers.program import InstructionArguments
from etpack.flatbuffer import Table
from etpack.guard.faults import Faults

# What an instruction costs, beside reading it.
_STEPS = 6


class Numbers(NamedTuple):
    """How many of each a method has."""

    values: int
    operators: int
    delegates: int


def outside(numbers: Sequence[int], count: int) -> int | None:
    """Return one of `numbers` that is not in range(count), or None if all are."""
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    return low if low < 0 else high if high >= count else None


def check_instruction(instruction: Table, who: str, numbers: Numbers, length: int, faults: Faults) -> None:
    """Check one instruction of a chain of `length` instructions."""
    instruction.spend(_STEPS)
    kind, table = instruction.union(slots.Instruction.INSTR_ARGS_TYPE)
    if table is None or kind not in _ARGUMENTS:
        told = f"is of an unknown type {kind}" if kind not in _ARGUMENTS else "has nothing in it"
        faults.add("instruction-type", f"{who} {told}", instruction.offset)
        return
    arguments = _ARGUMENTS[InstructionArguments(kind)](table)
    if arguments is None:
        faults.add("instruction-type", f"{who} has no arguments", table.offset)
        return
    bad = outside(arguments, numbers.values)
    if bad is not None:
        faults.add("argument-index", f"{who} has value {bad:,} of {numbers.values:,}", table.offset)
    if kind == InstructionArguments.KERNEL_CALL:
        _check_number(table.i32(slots.KernelCall.OP_INDEX), numbers.operators, "operator", who, table, faults)
    elif kind == InstructionArguments.DELEGATE_CALL:
        _check_number(table.i32(slots.DelegateCall.DELEGATE_INDEX), numbers.delegates, "delegate", who, table, faults)
    elif kind == InstructionArguments.JUMP_FALSE_CALL:
        target = table.i32(slots.JumpFalseCall.DESTINATION_INSTRUCTION)
        if not 0 <= target <= length:  # the end of the chain is a fair place to go
            faults.add("jump-target", f"{who} jumps to instruction {target:,} of {length:,}", table.offset)


def _check_number(number: int, count: int, what: str, who: str, table: Table, faults: Faults) -> None:
    if not 0 <= number < count:
        rule = "operator-index" if what == "operator" else "delegate-call-index"
        faults.add(rule, f"{who} calls {what} {number:,} of {count:,}", table.offset)


def _kernel_arguments(table: Table) -> Sequence[int] | None:
    return table.scalars(slots.KernelCall.ARGS, "i") if table.has(slots.KernelCall.ARGS) else None


def _move_arguments(table: Table) -> Sequence[int]:
    return table.i32(slots.MoveCall.MOVE_FROM), table.i32(slots.MoveCall.MOVE_TO)


def _one_argument(table: Table) -> Sequence[int]:
    return (table.i32(slots.FreeCall.VALUE_INDEX),)


# The positions of the values that an instruction uses, by its type; some types have their fields in the same slots.
_ARGUMENTS = {
    InstructionArguments.KERNEL_CALL: _kernel_arguments,
    InstructionArguments.DELEGATE_CALL: _kernel_arguments,
    InstructionArguments.MOVE_CALL: _move_arguments,
    InstructionArguments.JUMP_FALSE_CALL: _one_argument,
    InstructionArguments.FREE_CALL: _one_argument,
}
