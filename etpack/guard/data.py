"""Where the parts of a model lie: header, segments, named data, constants, and what starts at an odd address."""

from __future__ import annotations

from itertools import accumulate

from etpack._flatbuffers import flat_tensor
from etpack._flatbuffers import program as slots
from etpack.flatbuffer import Table
from etpack.guard.faults import Faults
from etpack.guard.tensors import check_shape
from etpack.pte import FileKind, ModelFile, NamedData, Role, Segment, Tensor
from etpack.pte.dtypes import item_size
from etpack.pte.rules import shown

# What ExecuTorch's runtime asks of a program's address, and its exporter gives to all else.
ALIGNMENT = 16

# Roles of segments that a runtime copies, or does not read at all.
_ANY_ADDRESS = {Role.MUTABLE, Role.UNUSED}


def check_data(root: Table, model: ModelFile, faults: Faults) -> None:
    """Check the segments and the keys of any model, of which `root` is the root table."""
    if model.nested.offset % ALIGNMENT:
        message = f"the program starts at {model.nested.offset:#x}, which is no multiple of {ALIGNMENT}"
        faults.add("program-alignment", message, model.nested.offset)
    _check_segments(model, faults)
    _check_overlaps(model, faults)
    _check_keys(root, model, faults)


def _check_segments(model: ModelFile, faults: Faults) -> None:
    filled = [segment for segment in model.segments if segment.range.size]
    base = model.segment_base or 0
    if filled and base < model.program.end:
        message = f"segments begin at {base:#x}, and the flatbuffer ends at {model.program.end:#x}"
        faults.add("segment-in-program", message, base)
    end = base + (model.segment_data_size or 0)
    for segment in filled:
        place = segment.range
        if model.segment_data_size and place.end > end:
            message = f"segment {segment.number} ends at {place.end:#x}, and the declared segment data at {end:#x}"
            faults.add("segment-beyond-data", message, place.offset)
        if place.offset % ALIGNMENT and not _ANY_ADDRESS.issuperset(segment.roles):
            message = f"segment {segment.number} starts at {place.offset:#x}, which is no multiple of {ALIGNMENT}"
            faults.add("segment-alignment", message, place.offset)


def _check_overlaps(model: ModelFile, faults: Faults) -> None:
    filled = sorted((segment for segment in model.segments if segment.range.size), key=lambda each: each.range.offset)
    for furthest, segment in zip(accumulate(filled, _later), filled[1:], strict=False):
        if segment.range.offset < furthest.range.end:
            message = f"segment {segment.number} begins inside segment {furthest.number}"
            faults.add("segment-overlap", message, segment.range.offset)


def _later(one: Segment, other: Segment) -> Segment:
    return one if one.range.end >= other.range.end else other


def _check_keys(root: Table, model: ModelFile, faults: Faults) -> None:
    slot = flat_tensor.FlatTensor.NAMED_DATA if model.kind is FileKind.PTD else slots.Program.NAMED_DATA
    entries: dict[str, NamedData] = {}
    for entry, table in zip(model.named_data, root.tables(slot), strict=True):
        first = entries.setdefault(entry.key, entry)
        if first is entry:
            continue
        if first.segment != entry.segment:
            message = f"key {shown(entry.key)} stands for segment {first.segment} and for segment {entry.segment}"
            faults.add("key-conflict", message, table.offset)
        else:
            message = f"key {shown(entry.key)} is there twice, for segment {entry.segment}"
            faults.add("key-repeated", message, table.offset)


def check_named_layouts(root: Table, faults: Faults) -> None:
    """Check the tensors of a .ptd."""
    for entry in root.tables(flat_tensor.FlatTensor.NAMED_DATA):
        layout = entry.table(flat_tensor.NamedData.TENSOR_LAYOUT)
        if layout is not None:
            fields = flat_tensor.TensorLayout
            who = f"tensor {shown(entry.string(flat_tensor.NamedData.KEY) or '')}"
            check_shape(layout, fields.SCALAR_TYPE, fields.SIZES, fields.DIM_ORDER, who, faults)


def check_program_data(root: Table, model: ModelFile, faults: Faults) -> None:
    """Check the lists of constants, of mutable data and of data inside the flatbuffer of a program."""
    constants = root.table(slots.Program.CONSTANT_SEGMENT)
    inline_count = root.count(slots.Program.CONSTANT_BUFFER)
    if constants is not None and constants.count(slots.SubsegmentOffsets.OFFSETS, 8) > 1 and inline_count:
        message = f"constants lie in a segment, and {inline_count:,} buffers in the flatbuffer"
        faults.add("constants-twice", message, constants.offset)
    seen: dict[int, int] = {}
    for number, entry in enumerate(root.tables(slots.Program.MUTABLE_DATA_SEGMENTS)):
        segment = entry.u32(slots.SubsegmentOffsets.SEGMENT_INDEX)
        first = seen.setdefault(segment, number)
        if first != number:
            message = f"lists {first} and {number} of mutable data cut the same segment {segment}"
            faults.add("mutable-shared", message, entry.offset)
    _check_inline(model, faults)
    for tensor in model.tensors:
        if tensor.kind == "constant":
            _check_constant(tensor, model, faults)


def _check_inline(model: ModelFile, faults: Faults) -> None:
    blobs = {
        each.inline_index: each.blob for method in model.methods for each in method.delegates if each.segment is None
    }
    for number, blob in blobs.items():
        if blob.size and (blob.offset - model.program.offset) % ALIGNMENT:
            message = f"inline delegate data {number} starts at {blob.offset:#x}"
            faults.add("inline-alignment", f"{message}, which is no multiple of {ALIGNMENT}", blob.offset)


def _check_constant(tensor: Tensor, model: ModelFile, faults: Faults) -> None:
    if tensor.data is None or not tensor.data.size:
        return
    inline = tensor.segment is None
    origin = model.program.offset if tensor.segment is None else model.segments[tensor.segment].range.offset
    start = tensor.data.offset - origin
    what = f"constant {tensor.buffer_index} starts {start:,} bytes into its {'flatbuffer' if inline else 'segment'}"
    width = min(item_size(tensor.dtype) or 1, 8)
    if start % width:
        message = f"{what}, which is no multiple of {width}, the size of a {tensor.dtype}"
        faults.add("tensor-alignment", message, tensor.data.offset)
    elif start % ALIGNMENT:
        rule = "inline-alignment" if inline else "constant-alignment"
        faults.add(rule, f"{what}, which is no multiple of {ALIGNMENT}", tensor.data.offset)
