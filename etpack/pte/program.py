"""A program (.pte): the flatbuffer's methods, delegates, tensors and named data, and the segments they use."""

from __future__ import annotations

from etpack._flatbuffers import program as slots
from etpack.flatbuffer import Flatbuffer, Table, name_steps
from etpack.pte.header import Header, check_identifier, read_head, read_pte_header
from etpack.pte.model import Delegate, FileKind, Method, ModelFile, NamedData, Range, Role, TensorLoad
from etpack.pte.rules import broken, check_version, out_of_bounds, required, shown
from etpack.pte.segments import SegmentTable, Subsegments, read_subsegments
from etpack.pte.tensors import BufferTable, TensorCollector
from etpack.sources import Source

# What a method, a delegate and a key cost, beside reading them: uses, extents, lines of a report.
_METHOD_STEPS = 60
_DELEGATE_STEPS = 40
_KEY_STEPS = 15


def read_program(source: Source, nested: Range, kind: FileKind) -> ModelFile:
    """Return the model in `nested`, a part of `source` (all of it, unless the program is bundled).

    Raises:
        PteError: A rule of `etpack.pte.rules` is broken.
        OSError: The source cannot be read.
    """
    head = read_head(source, nested)
    if check_identifier(head, nested.offset) is not FileKind.PTE:
        raise broken("identifier", f"identifier {head[4:8]!r} is not that of a .pte", nested.offset + 4)
    header = read_pte_header(head, nested)
    buffer = Flatbuffer(source, out_of_bounds, offset=header.program.offset, size=header.program.size)
    walk = _Walk(buffer.root(), header, nested)
    methods = tuple(walk.method(plan) for plan in walk.root.tables(slots.Program.EXECUTION_PLAN))
    named_data = walk.named_data()
    end = max(header.program.end, walk.segments.end(), header.data_end)
    return ModelFile(
        kind=kind,
        size=source.size,
        program=header.program,
        header_length=header.length,
        segment_base=header.segment_base,
        segment_data_size=header.segment_data_size,
        segments=walk.segments.segments(),
        methods=methods,
        named_data=named_data,
        tensors=walk.tensors.tensors(),
        nested=nested,
        trailing=Range(end, nested.end - end),
        constant_segment=walk.constant_segment,
    )


class _Walk:
    """One pass over a program."""

    def __init__(self, root: Table, header: Header, nested: Range) -> None:
        check_version(root.u32(slots.Program.VERSION), root.offset)
        self.root = root
        self.segments = SegmentTable(root.tables(slots.Program.SEGMENTS), header, nested)
        self.tensors = TensorCollector(self._constants(), self._mutables(), self.segments)
        self._inline_blobs: list[Table] | None = None

    @property
    def constant_segment(self) -> int | None:
        """Position of the segment of constants; None where there are none but the placeholder, or they are inline."""
        table = self.root.table(slots.Program.CONSTANT_SEGMENT)
        if table is None or table.count(slots.SubsegmentOffsets.OFFSETS, 8) < 2:
            return None
        return table.u32(slots.SubsegmentOffsets.SEGMENT_INDEX)

    def method(self, plan: Table) -> Method:
        """Return one method, and note which segments and tensors it uses."""
        name = required(plan.string(slots.ExecutionPlan.NAME), "a method has no name", plan.offset)
        plan.spend(_METHOD_STEPS + 2 * name_steps(name))
        delegates = plan.tables(slots.ExecutionPlan.DELEGATES)
        values = plan.tables(slots.ExecutionPlan.VALUES)
        loads: list[TensorLoad] = []
        for value in values:
            if value.u8(slots.EValue.VAL_TYPE) == slots.KernelTypes.TENSOR:
                tensor = value.table(slots.EValue.VAL)
                load = tensor and self.tensors.add(tensor, name)
                if load:
                    loads.append(load)
        return Method(
            name=name,
            delegates=tuple(self._delegate(number, entry, name) for number, entry in enumerate(delegates)),
            planned_buffers=plan.scalars(slots.ExecutionPlan.NON_CONST_BUFFER_SIZES, "q")[1:],
            value_count=len(values),
            operator_count=plan.count(slots.ExecutionPlan.OPERATORS),
            input_count=plan.count(slots.ExecutionPlan.INPUTS),
            output_count=plan.count(slots.ExecutionPlan.OUTPUTS),
            tensor_loads=tuple(loads),
        )

    def named_data(self) -> tuple[NamedData, ...]:
        """Return the keys in the program's order, and note the segments they stand for."""
        return tuple(self._named(entry) for entry in self.root.tables(slots.Program.NAMED_DATA))

    def _named(self, entry: Table) -> NamedData:
        key = required(entry.string(slots.NamedData.KEY), "named data has no key", entry.offset)
        return name_segment(key, entry.u32(slots.NamedData.SEGMENT_INDEX), self.segments, entry)

    def _constants(self) -> BufferTable:
        parts = self._subsegments(self.root.table(slots.Program.CONSTANT_SEGMENT), Role.CONSTANT, "constant-segment")
        if parts is not None:
            return BufferTable(parts=parts)
        buffers = self.root.tables(slots.Program.CONSTANT_BUFFER)
        return BufferTable(inline=[_blob(buffer, slots.Buffer.STORAGE) for buffer in buffers])

    def _mutables(self) -> BufferTable:
        entries = self.root.tables(slots.Program.MUTABLE_DATA_SEGMENTS)
        parts = [self._subsegments(entry, Role.MUTABLE, "mutable-segment") for entry in entries]
        return BufferTable(parts=parts[0] if parts else None)  # a runtime looks at the first only

    def _subsegments(self, table: Table | None, role: Role, rule: str) -> Subsegments | None:
        return None if table is None else read_subsegments(table, self.segments, role, rule)

    def _delegate(self, number: int, entry: Table, method: str) -> Delegate:
        who = f"delegate {number} of {shown(method)}"
        name = required(entry.string(slots.BackendDelegate.ID), f"{who} has no id", entry.offset)
        entry.spend(_DELEGATE_STEPS + name_steps(method, name))
        place = required(entry.table(slots.BackendDelegate.PROCESSED), f"{who} has no data", entry.offset)
        location = place.i8(slots.BackendDelegateDataReference.LOCATION)
        index = place.u32(slots.BackendDelegateDataReference.INDEX)
        if location == slots.DataLocation.INLINE:
            return Delegate(name, number, self._inline(index, place), segment=None, inline_index=index)
        if location != slots.DataLocation.SEGMENT:
            raise broken("delegate-location", f"{who} has its data in a place of unknown kind {location}", place.offset)
        if index >= len(self.segments):
            raise broken("delegate-index", f"there is no segment {index} of {len(self.segments)}", place.offset)
        users = self.segments.users(index)
        users.roles.add(Role.DELEGATE)
        users.delegate_ids.add(name)
        users.methods.add(method)
        return Delegate(name, number, self.segments.ranges[index], segment=index, inline_index=None)

    def _inline(self, index: int, place: Table) -> Range:
        if self._inline_blobs is None:
            self._inline_blobs = self.root.tables(slots.Program.BACKEND_DELEGATE_DATA)
        if index >= len(self._inline_blobs):
            count = len(self._inline_blobs)
            raise broken("delegate-index", f"there is no inline delegate data {index} of {count}", place.offset)
        return _blob(self._inline_blobs[index], slots.BackendDelegateInlineData.DATA)


def name_segment(key: str, number: int, segments: SegmentTable, entry: Table) -> NamedData:
    """Return the entry of a key (of a .pte or a .ptd), and note it with its segment, which must be there."""
    if number >= len(segments):
        message = f"named data {shown(key)} lies in segment {number} of {len(segments)}"
        raise broken("named-data-index", message, entry.offset)
    entry.spend(_KEY_STEPS)
    users = segments.users(number)
    users.roles.add(Role.NAMED_DATA)
    users.keys.add(key)
    return NamedData(key, number)


def _blob(table: Table, slot: int) -> Range:
    """Return the bytes that a table wraps; empty, at the table, when there are none."""
    place = table.blob(slot)
    return Range(table.offset, 0) if place is None else Range(*place)
