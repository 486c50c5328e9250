"""Tensors as a runtime makes them when it loads a method: type, sizes, order of dimensions, and where they are put."""

from __future__ import annotations

from collections.abc import Sequence

from etpack._flatbuffers import program as slots
from etpack.errors import PteError
from etpack.flatbuffer import Table
from etpack.guard.faults import Faults
from etpack.pte.dtypes import dtype_name, item_size
from etpack.pte.tensors import element_count

# What a runtime takes.
MAX_RANK = 16

# What a tensor costs, beside reading it.
_STEPS = 12

# Tensor.shape_dynamism of a tensor that may grow without bound.
_UNBOUNDED = 2

_FIELDS = slots.Tensor


def check_shape(table: Table, type_slot: int, sizes_slot: int, order_slot: int, who: str, faults: Faults) -> int | None:
    """Check the type and shape in a Tensor or a TensorLayout; return the size in bytes, or None if that is unknown."""
    table.spend(_STEPS)
    dtype = dtype_name(table.i8(type_slot))
    width = item_size(dtype)
    if width is None:
        faults.add("tensor-dtype", f"{who} has the element type {dtype}, which is unknown", table.offset)
    sizes = table.scalars(sizes_slot, "i")
    if len(sizes) > MAX_RANK:
        faults.add("tensor-rank", f"{who} has {len(sizes):,} dimensions, more than {MAX_RANK}", table.offset)
        return None
    order = table.scalars(order_slot, "B")
    if not (table.has(sizes_slot) and table.has(order_slot)):
        faults.add(
            "tensor-dim-order", f"{who} has no list of its sizes, or of the order of its dimensions", table.offset
        )
    elif sorted(order) != list(range(len(sizes))):
        told = str(list(order)) if len(order) <= MAX_RANK else f"of {len(order):,} entries"
        faults.add("tensor-dim-order", f"{who} has {len(sizes)} dimensions and the order {told}", table.offset)
    try:
        size = element_count(sizes, table.offset) * (width or 0)
    except PteError as exc:
        faults.add_error(exc, who)
        return None
    return None if width is None else size


def check_tensor(table: Table, who: str, planned: Sequence[int], faults: Faults) -> None:
    """Check a value that is a tensor; `planned` are the sizes of the method's planned buffers, the reserved one first.

    What lies in the file was checked when the model was read.
    """
    size = check_shape(table, _FIELDS.SCALAR_TYPE, _FIELDS.SIZES, _FIELDS.DIM_ORDER, who, faults)
    if table.i32(_FIELDS.STORAGE_OFFSET):
        faults.add("tensor-unsupported", f"{who} has an offset into its storage", table.offset)
    if table.i8(_FIELDS.SHAPE_DYNAMISM) == _UNBOUNDED:
        faults.add("tensor-unsupported", f"{who} has a shape without a bound", table.offset)
    place = table.table(_FIELDS.ALLOCATION_INFO)
    if place is not None:
        _check_place(place, who, size, planned, faults)
    extra = table.table(_FIELDS.EXTRA_TENSOR_INFO)
    if extra is not None:
        _check_extra(extra, table, who, faults)


def _check_place(place: Table, who: str, size: int | None, planned: Sequence[int], faults: Faults) -> None:
    details = slots.AllocationDetails
    number = place.u32(details.MEMORY_ID)
    offset = place.u32(details.MEMORY_OFFSET_LOW) | place.u32(details.MEMORY_OFFSET_HIGH) << 32
    if not 0 < number < len(planned):
        message = f"{who} is put in planned buffer {number}, of 1 to {max(len(planned) - 1, 0)}"
        faults.add("tensor-allocation", message, place.offset)
    elif size is not None and offset + size > planned[number] >= 0:
        message = f"{who} needs {size:,} bytes at {offset:,} of a planned buffer of {planned[number]:,}"
        faults.add("tensor-allocation", message, place.offset)


def _check_extra(extra: Table, table: Table, who: str, faults: Faults) -> None:
    info = slots.ExtraTensorInfo
    if extra.i8(info.LOCATION) == slots.TensorDataLocation.EXTERNAL:
        if not extra.has(info.FULLY_QUALIFIED_NAME):
            faults.add("tensor-name", f"{who} lies in a .ptd, and has no name to find it by", extra.offset)
        return
    number = extra.u64(info.MUTABLE_DATA_SEGMENTS_IDX)
    if number and table.has(_FIELDS.ALLOCATION_INFO) and table.u32(_FIELDS.DATA_BUFFER_IDX):
        message = f"{who} starts from list {number:,} of mutable data, and a runtime takes list 0"
        faults.add("mutable-index", message, extra.offset)
