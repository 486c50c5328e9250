"""Builds blobs of XNNPACK delegates, and ones that lie."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from flatbuffers import Builder

from etpack._flatbuffers import xnnpack as slots
from tests.make_pte import _blob, _offset, _table, _tables, _u8, _u32, _u64

NO_OFFSET = 2**64 - 1


@dataclass
class ValueSpec:
    """A value of the graph; its number in the graph is its id."""

    # Position among the constants, 0 for a value that is none.
    constant: int = 0
    # Position of its scales among the constants.
    scale: int = 0
    # The scales are for groups of a channel, and not for channels.
    groups: bool = False


@dataclass
class NodeSpec:
    """A node of the graph."""

    kind: int
    filter_id: int = 2**32 - 1
    bias_id: int = 2**32 - 1


def build_blob(
    constants: Sequence[tuple[str | None, int]],
    values: Sequence[ValueSpec],
    nodes: Sequence[NodeSpec] = (),
    *,
    header: bool = True,
    inside: bool = False,
) -> bytes:
    """Return the bytes of a blob.

    Args:
        constants: Key (None: in the blob) and size of each; they count from 1.
        values: The graph's values.
        nodes: Its nodes.
        header: Begin with a header, as all blobs but the oldest do.
        inside: Put the constants into the graph, as the oldest blobs have them.
    """
    builder = Builder(256)
    offered = [
        _table(builder, _offset(slots.Buffer.STORAGE, _blob(builder, bytes(size), 16)))
        if inside
        else _constant(builder, key, size)
        for key, size in [(None, 0), *constants]
    ]
    value_tables = [_value(builder, number, value) for number, value in enumerate(values)]
    node_tables = [_node(builder, node) for node in nodes]
    slot = slots.XNNGraph.CONSTANT_BUFFER if inside else slots.XNNGraph.CONSTANT_DATA
    fields = [
        _offset(slot, _tables(builder, offered)),
        _offset(slots.XNNGraph.XVALUES, _tables(builder, value_tables)),
        _offset(slots.XNNGraph.XNODES, _tables(builder, node_tables)),
    ]
    builder.Finish(_table(builder, *fields), file_identifier=slots.IDENTIFIER)
    graph = bytes(builder.Output())
    if not header:
        return graph
    return struct.pack("<4s4sHIIIQxx", bytes(4), b"XH00", 30, 32, len(graph), 32 + len(graph), 0) + graph


def _constant(builder: Builder, key: str | None, size: int) -> int:
    fields = [_u64(slots.ConstantDataOffset.SIZE, size)]
    if key is not None:
        fields.append(_offset(slots.ConstantDataOffset.NAMED_KEY, builder.CreateString(key)))
        fields.append(_u64(slots.ConstantDataOffset.OFFSET, NO_OFFSET))
    return _table(builder, *fields)


def _value(builder: Builder, number: int, value: ValueSpec) -> int:
    kind = slots.XValueUnion.XNNTENSOR_VALUE
    table = _table(
        builder,
        _u32(slots.XNNTensorValue.CONSTANT_BUFFER_IDX, value.constant),
        _u32(slots.XNNTensorValue.ID_OUT, number),
    )
    if value.scale:
        kind = slots.XValueUnion.XNNQUANTIZED_TENSOR_VALUE
        union = slots.XNNQuantParams
        group, channel = slots.PerChannelGroupQuant, slots.PerChannelQuant
        index = (group if value.groups else channel).SCALE_BUFFER_IDX
        parameters = _table(builder, _u32(index, value.scale))
        table = _table(
            builder,
            _offset(slots.XNNQuantizedTensorValue.TENSOR_VALUE, table),
            _u8(
                slots.XNNQuantizedTensorValue.QUANT_PARAMS_TYPE,
                union.PER_CHANNEL_GROUP_QUANT if value.groups else union.PER_CHANNEL_QUANT,
            ),
            _offset(slots.XNNQuantizedTensorValue.QUANT_PARAMS, parameters),
        )
    return _table(builder, _u8(slots.XValue.XVALUE_UNION_TYPE, kind), _offset(slots.XValue.XVALUE_UNION, table))


def _node(builder: Builder, node: NodeSpec) -> int:
    fully = node.kind == slots.PackingNode.FULLY_CONNECTED
    ids = slots.XNNFullyConnected if fully else slots.XNNConv
    builder.StartObject(20)
    _u32(ids.FILTER_ID, node.filter_id)(builder)
    _u32(ids.BIAS_ID, node.bias_id)(builder)
    table = int(builder.EndObject())
    return _table(builder, _u8(slots.XNode.XNODE_UNION_TYPE, node.kind), _offset(slots.XNode.XNODE_UNION, table))
