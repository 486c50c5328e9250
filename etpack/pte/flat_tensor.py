"""A tensor file (.ptd): named data only, each in a segment, most with the type and sizes of a tensor."""

from __future__ import annotations

from etpack._flatbuffers import flat_tensor as slots
from etpack.flatbuffer import Flatbuffer, Table
from etpack.pte.dtypes import dtype_name
from etpack.pte.header import read_head, read_ptd_header
from etpack.pte.model import FileKind, ModelFile, NamedData, Range, Tensor
from etpack.pte.program import name_segment
from etpack.pte.rules import check_version, out_of_bounds, required
from etpack.pte.segments import SegmentTable
from etpack.pte.tensors import TENSOR_STEPS, in_file_order, tensor_data
from etpack.sources import Source


def read_flat_tensor(source: Source) -> ModelFile:
    """Return the model that the whole source is.

    Raises:
        PteError: A rule of `etpack.pte.rules` is broken.
        OSError: The source cannot be read.
    """
    nested = Range(0, source.size)
    header = read_ptd_header(read_head(source, nested), nested)
    root = Flatbuffer(source, out_of_bounds, size=header.program.size).root()
    check_version(root.u32(slots.FlatTensor.VERSION), root.offset)
    segments = SegmentTable(root.tables(slots.FlatTensor.SEGMENTS), header, nested)
    entries = root.tables(slots.FlatTensor.NAMED_DATA)
    named_data = tuple(_named(entry, segments) for entry in entries)
    tensors = (_tensor(entry, named, segments) for entry, named in zip(entries, named_data, strict=True))
    end = max(header.program.end, segments.end(), header.data_end)
    return ModelFile(
        kind=FileKind.PTD,
        size=source.size,
        program=header.program,
        header_length=header.length,
        segment_base=header.segment_base,
        segment_data_size=header.segment_data_size,
        segments=segments.segments(),
        methods=(),
        named_data=named_data,
        tensors=in_file_order(tensor for tensor in tensors if tensor is not None),
        nested=nested,
        trailing=Range(end, nested.end - end),
    )


def _named(entry: Table, segments: SegmentTable) -> NamedData:
    key = required(entry.string(slots.NamedData.KEY), "named data has no key", entry.offset)
    return name_segment(key, entry.u32(slots.NamedData.SEGMENT_INDEX), segments, entry)


def _tensor(entry: Table, named: NamedData, segments: SegmentTable) -> Tensor | None:
    layout = entry.table(slots.NamedData.TENSOR_LAYOUT)
    if layout is None:
        return None
    layout.spend(TENSOR_STEPS)
    room = segments.ranges[named.segment]
    dtype = dtype_name(layout.i8(slots.TensorLayout.SCALAR_TYPE))
    sizes = layout.scalars(slots.TensorLayout.SIZES, "i")
    return Tensor(
        name=named.key,
        kind="constant",
        dtype=dtype,
        sizes=sizes,
        data=tensor_data(dtype, sizes, room, room.size, layout.offset),
        segment=named.segment,
        buffer_index=None,
        methods=(),
    )
