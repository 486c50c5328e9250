"""Tensors that have bytes in the file, or in a .ptd: found among the values of the methods, one for each buffer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from etpack._flatbuffers import program as slots
from etpack.flatbuffer import Table, name_steps
from etpack.pte.dtypes import dtype_name, item_size
from etpack.pte.model import Range, Role, Tensor, TensorLoad
from etpack.pte.rules import broken
from etpack.pte.segments import SegmentTable, Subsegments

# What a tensor costs, beside reading it: a lookup, a use, a line of a report.
TENSOR_STEPS = 35

# A runtime counts elements and bytes in 64 bits, signed.
_MAX_BYTES = 2**63 - 1


class BufferTable:
    """Where Tensor.data_buffer_idx leads: to parts of a segment, or to buffers inside the flatbuffer."""

    def __init__(self, *, parts: Subsegments | None = None, inline: list[Range] | None = None) -> None:
        self._parts = parts
        self._inline = inline or []
        self._starts = sorted(set(parts.offsets)) if parts else []

    @property
    def segment(self) -> int | None:
        """Position of the segment, or None if the buffers are inline."""
        return self._parts.segment if self._parts else None

    def find(self, index: int) -> tuple[Range, int] | None:
        """Return the room of a buffer, and the size to take for a tensor of unknown type; None if there is no such.

        The room goes to the end of the segment, since a segment does not say where a tensor ends.
        """
        if self._parts is None:
            if index >= len(self._inline):
                return None
            return self._inline[index], self._inline[index].size
        if index >= len(self._parts.offsets):
            return None
        offset = self._parts.offsets[index]
        following = bisect_right(self._starts, offset)
        end = self._starts[following] if following < len(self._starts) else self._parts.range.size
        return Range(self._parts.range.offset + offset, self._parts.range.size - offset), end - offset


@dataclass
class _Found:
    tensor: Tensor
    methods: set[str]


class TensorCollector:
    """Gathers the tensors of all methods; the same buffer of several values or methods gives one tensor."""

    def __init__(self, constants: BufferTable, mutables: BufferTable, segments: SegmentTable) -> None:
        self._tables = {Role.CONSTANT: constants, Role.MUTABLE: mutables}
        self._segments = segments
        self._found: dict[tuple[str | Role, str | int | None], _Found] = {}

    def add(self, value: Table, method: str) -> TensorLoad | None:
        """Look at one Tensor table; a tensor whose bytes are made at run time is left out.

        Returns what the runtime loads for this value; None for what is resident, or made at run time.

        Raises:
            PteError: Its buffer is not there or too small.
        """
        value.spend(name_steps(method))
        extra = value.table(slots.Tensor.EXTRA_TENSOR_INFO)
        if extra is not None and extra.i8(slots.ExtraTensorInfo.LOCATION) == slots.TensorDataLocation.EXTERNAL:
            return self._add_external(value, extra.string(slots.ExtraTensorInfo.FULLY_QUALIFIED_NAME), method)
        index = value.u32(slots.Tensor.DATA_BUFFER_IDX)
        if index == 0:
            return None
        value.spend(TENSOR_STEPS)
        role = Role.MUTABLE if value.has(slots.Tensor.ALLOCATION_INFO) else Role.CONSTANT
        table = self._tables[role]
        dtype, sizes = _shape(value)
        data = _locate(dtype, sizes, index, role, table, value.offset)
        if table.segment is not None:
            self._segments.users(table.segment).methods.add(method)
        found = self._found.get((role, index))
        if found is None or _size(found.tensor.data) < data.size:  # a view of part of the buffer may have come first
            name = None if extra is None else extra.string(slots.ExtraTensorInfo.FULLY_QUALIFIED_NAME)
            tensor = Tensor(name, role.value, dtype, sizes, data, table.segment, index, methods=())
            found = self._found[role, index] = _Found(tensor, found.methods if found else set())
        found.methods.add(method)
        return TensorLoad("mutable", None, data, data.size) if role is Role.MUTABLE else None

    def _add_external(self, value: Table, name: str | None, method: str) -> TensorLoad:
        value.spend(TENSOR_STEPS)
        key = ("external", name)
        if key not in self._found:
            dtype, sizes = _shape(value)
            self._found[key] = _Found(Tensor(name, "external", dtype, sizes, None, None, None, methods=()), set())
        found = self._found[key]
        found.methods.add(method)
        kind = "external mutable" if value.has(slots.Tensor.ALLOCATION_INFO) else "external"
        return TensorLoad(kind, found.tensor.name, None, nominal_size(found.tensor.dtype, found.tensor.sizes))

    def tensors(self) -> tuple[Tensor, ...]:
        """Return what was found, by offset; external tensors last, by name."""
        found = (replace(each.tensor, methods=tuple(sorted(each.methods))) for each in self._found.values())
        return in_file_order(found)


def nominal_size(dtype: str, sizes: tuple[int, ...]) -> int:
    """Return the bytes of a tensor by its type and sizes, which no bytes of the file stand behind; 0 if unknown."""
    size = item_size(dtype) or 0
    for count in sizes:
        size = min(size * max(0, count), _MAX_BYTES)
    return size


def _shape(value: Table) -> tuple[str, tuple[int, ...]]:
    return dtype_name(value.i8(slots.Tensor.SCALAR_TYPE)), value.scalars(slots.Tensor.SIZES, "i")


def _size(data: Range | None) -> int:
    return data.size if data else 0


def _locate(dtype: str, sizes: tuple[int, ...], index: int, role: Role, table: BufferTable, where: int) -> Range:
    place = table.find(index)
    if place is None:
        raise broken("tensor-buffer-index", f"there is no {role.value} buffer {index}", where)
    room, span = place
    return tensor_data(dtype, sizes, room, span, where)


def tensor_data(dtype: str, sizes: tuple[int, ...], room: Range, span: int, where: int) -> Range:
    """Return the exact bytes of a tensor that starts where `room` does; `span` of them if its type is unknown.

    Raises:
        PteError: The sizes are impossible, or need more bytes than `room` has.
    """
    width = item_size(dtype)
    size = element_count(sizes, where) * (width or 0)
    if width is None:
        return Range(room.offset, span)
    if size > room.size:
        raise broken("tensor-range", f"a tensor of {size:,} bytes starts {room.size:,} bytes before the end", where)
    return Range(room.offset, size)


def element_count(sizes: tuple[int, ...], where: int) -> int:
    """Return the number of elements; raise PteError if a size is negative, or the number is beyond 64 bits."""
    count = 1
    for size in sizes:
        count *= size
        if size < 0 or count > _MAX_BYTES:
            raise broken("tensor-size", f"impossible tensor sizes {_shown(sizes)}", where)
    return count


def _shown(sizes: tuple[int, ...]) -> str:
    return str(list(sizes)) if len(sizes) <= 16 else f"[{sizes[0]}, {sizes[1]}, ... {len(sizes)} of them]"


def in_file_order(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Return tensors by offset; external ones last, by name."""
    return tuple(sorted(tensors, key=_order))


def _order(tensor: Tensor) -> tuple[Any, ...]:
    if tensor.data is None:
        return (1, 0, 0, tensor.kind, tensor.name or "")
    return (0, tensor.data.offset, tensor.data.size, tensor.kind, tensor.name or "")
