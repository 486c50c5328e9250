"""The blob of an XNNPACK delegate: which constants it asks for, in what order, and which of them XNNPACK packs.

The blob begins with a header (magic XH00) that says where the graph, a flatbuffer, and constants inside the blob lie;
older ones are the flatbuffer alone. A constant with a key is asked for by it, as named data. The order, and what is
packed, are as in backends/xnnpack/runtime/XNNCompiler.cpp of ExecuTorch 1.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from etpack._flatbuffers import xnnpack as slots
from etpack.flatbuffer import WORK_LIMIT, Flatbuffer, Table
from etpack.pte.model import Range
from etpack.sources import Source

# Magic, length of the header, offset and size of the graph, offset and size of the constants inside the blob.
_HEADER = Struct("<4x4sHIIIQ")
_MAGIC = b"XH00"
_IDENTIFIERS = (b"XN00", slots.IDENTIFIER)
# By the type of a node whose filter and bias are packed: where their ids are.
_OF_CONVOLUTION = (slots.XNNConv.FILTER_ID, slots.XNNConv.BIAS_ID)
_PACKING = {
    int(slots.PackingNode.FULLY_CONNECTED): (slots.XNNFullyConnected.FILTER_ID, slots.XNNFullyConnected.BIAS_ID),
    int(slots.PackingNode.CONV2D): _OF_CONVOLUTION,
    int(slots.PackingNode.DEPTHWISE_CONV2D): _OF_CONVOLUTION,
    int(slots.PackingNode.CONV_TRANSPOSE2D): _OF_CONVOLUTION,
}
_SCALES = {
    int(slots.XNNQuantParams.PER_CHANNEL_QUANT): slots.PerChannelQuant.SCALE_BUFFER_IDX,
    int(slots.XNNQuantParams.PER_CHANNEL_GROUP_QUANT): slots.PerChannelGroupQuant.SCALE_BUFFER_IDX,
}


# Element types by XNNPACK's number: as elsewhere in etpack where they are the same, XNNPACK's own if quantised.
_DTYPES = (
    None, "float32", "float16", "qint8", "quint8", "qint32", "qcint8", "qcint32", "qcint4", "qdint8", "qbint4",
    "qpint8", "int32", "pfp32", "bfloat16",
)  # fmt: skip


class UnreadableBlobError(ValueError):
    """The blob is not one that etpack can read; nothing is known of what it asks for.

    Attributes:
        steps: What it took to find out.
    """

    steps = 0


@dataclass(frozen=True)
class Constant:
    """One constant that a delegate asks for while it is initialised."""

    # Key of the named data; None if the bytes lie in the blob.
    key: str | None
    # Bytes, as the blob says.
    size: int
    # XNNPACK makes a copy of its own of it and needs the bytes no more: weights and biases of linear layers and
    # convolutions, and their scales.
    packed: bool
    # Of the value that it is; both None for scales, and where the type is unknown here.
    dtype: str | None = None
    sizes: tuple[int, ...] | None = None


def read_constants(source: Source, blob: Range, *, work_limit: int = WORK_LIMIT) -> tuple[tuple[Constant, ...], int]:
    """Return the constants of a blob in the order in which XNNPACK asks for them, and the steps it took.

    Args:
        source: Where the blob lies.
        blob: Its place in the source.
        work_limit: Steps after which reading is refused (`etpack.flatbuffer.WORK_LIMIT`).

    Raises:
        UnreadableBlobError: It is no such blob, it is damaged, or it would take too long.
        OSError: The source cannot be read.
    """
    place = _graph_place(source, blob)
    if source.read_at(place.offset + 4, 4) not in _IDENTIFIERS:
        raise UnreadableBlobError("the graph in the blob has no identifier of XNNPACK's")
    buffer = Flatbuffer(source, _unreadable, offset=place.offset, size=place.size, work_limit=work_limit)
    try:
        return tuple(_constants(buffer.root())), buffer.work_done
    except UnreadableBlobError as exc:
        exc.steps = buffer.work_done
        raise


def _unreadable(message: str, _where: int) -> UnreadableBlobError:
    return UnreadableBlobError(message)


def _graph_place(source: Source, blob: Range) -> Range:
    """Return where the graph lies; it fits in the blob, and has room for an identifier."""
    place = blob
    if blob.size >= _HEADER.size:
        magic, length, offset, size, _, _ = _HEADER.unpack(source.read_at(blob.offset, _HEADER.size))
        if magic == _MAGIC:
            if length < _HEADER.size or offset + size > blob.size:
                raise UnreadableBlobError("the header of the blob points out of it")
            place = Range(blob.offset + offset, size)
    if place.size < 8:
        raise UnreadableBlobError("the blob is too small for a graph")
    return place


def _constants(graph: Table) -> Iterator[Constant]:
    offered = _offered(graph)
    packed_values = set(_packed_values(graph))
    for value in graph.tables(slots.XNNGraph.XVALUES):
        kind, table = value.union(slots.XValue.XVALUE_UNION_TYPE)
        scale = 0
        tensor = table
        if table is not None and kind == slots.XValueUnion.XNNQUANTIZED_TENSOR_VALUE:
            tensor = table.table(slots.XNNQuantizedTensorValue.TENSOR_VALUE)
            quantization, parameters = table.union(slots.XNNQuantizedTensorValue.QUANT_PARAMS_TYPE)
            if parameters is not None and quantization in _SCALES:
                scale = parameters.u32(_SCALES[quantization])
        if tensor is None:
            raise UnreadableBlobError("a value of the graph has no tensor")
        packed = tensor.u32(slots.XNNTensorValue.ID_OUT) in packed_values
        for index in (tensor.u32(slots.XNNTensorValue.CONSTANT_BUFFER_IDX), scale):
            if index >= max(1, len(offered)):
                raise UnreadableBlobError(f"there is no constant {index} of {len(offered)}")
            if index:
                key, size = offered[index]
                dtype, sizes = (None, None) if index == scale else _layout(tensor)
                yield Constant(key, size, packed, dtype, sizes)


def _layout(tensor: Table) -> tuple[str | None, tuple[int, ...] | None]:
    number = tensor.u16(slots.XNNTensorValue.DATATYPE)
    dtype = _DTYPES[number] if number < len(_DTYPES) else None
    return dtype, None if dtype is None else tensor.scalars(slots.XNNTensorValue.DIMS, "I")


def _offered(graph: Table) -> list[tuple[str | None, int]]:
    """Return key and size of what values may refer to; the first is a placeholder."""
    constants = graph.tables(slots.XNNGraph.CONSTANT_DATA)
    if constants:
        return [
            (each.string(slots.ConstantDataOffset.NAMED_KEY) or None, each.u64(slots.ConstantDataOffset.SIZE))
            for each in constants
        ]
    inside = graph.tables(slots.XNNGraph.CONSTANT_BUFFER)
    return [(None, buffer.count(slots.Buffer.STORAGE, 1)) for buffer in inside]


def _packed_values(graph: Table) -> Iterator[int]:
    for node in graph.tables(slots.XNNGraph.XNODES):
        kind = node.u8(slots.XNode.XNODE_UNION_TYPE)
        fields = _PACKING.get(kind)
        if fields is None:  # most nodes: they are not looked into
            continue
        table = node.table(slots.XNode.XNODE_UNION)
        if table is None:
            raise UnreadableBlobError("a node of the graph has no table")
        yield from (table.u32(field) for field in fields)
