"""Looks into one file: what it holds, and how it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from etpack.errors import PteError, UnsupportedError, naming
from etpack.layout import DEFAULT_BLOCK_SIZE
from etpack.limits import Limits
from etpack.plan import Extent, cut_model
from etpack.pte import FileKind, Method, ModelFile, Range, Role, Tensor, read_model
from etpack.reader import EtzFile, is_etz
from etpack.report.loading import Loading, LoadSetup, describe_loading
from etpack.report.packed import describe_blocks, describe_storage
from etpack.report.storage import packed_storage, plain_storage
from etpack.report.tree import method_tree
from etpack.report.values import (
    DelegateReport,
    ExtentReport,
    MemoryReport,
    MethodReport,
    ProgramReport,
    Report,
    RoleTotal,
    StoredExtent,
    Total,
)
from etpack.sources import Source, SourceLike, open_source


def inspect_file(
    source: SourceLike,
    *,
    blocks: bool = False,
    planes: bool = True,
    tensors: bool = False,
    memory: bool = False,
    tree: bool = False,
    setup: LoadSetup | None = None,
    limits: Limits | None = None,
) -> Report:
    """Return what a `.pte`, `.ptd`, `.bpte` or `.etz` holds.

    Of an `.etz`, footer, index and manifest are read, and the blocks of its flatbuffer decoded; the report comes
    without the program's part, and says why, if that cannot be decoded here. Of a model for XNNPACK, the delegates'
    blobs are read too: they say which named data they ask for.

    Args:
        source: A path, a URL, a buffer, a seekable binary file object or a `Source`.
        blocks: List the blocks of an `.etz`.
        planes: With `blocks`, say how each plane is stored, which reads a few bytes of each block.
        tensors: List the tensors.
        memory: List every load and free, and what is in memory at each step.
        tree: Give the content by method and delegate, down to the tensors.
        setup: What the model is loaded with.
        limits: What an `.etz` may ask for.

    Raises:
        FormatError: The `.etz` is damaged.
        UnsupportedError: The `.etz` needs a newer etpack.
        PteError: The file is no model.
        OSError: It cannot be read.
    """
    opened = open_source(source, limits=limits)
    try:
        with naming(opened.name):
            loading = Loading(setup or LoadSetup(), memory)
            packed = is_etz(opened)
            report = _packed(opened, loading, limits, blocks, planes) if packed else _plain(opened, loading)
    finally:
        if opened is not source:
            opened.close()
    if tree:
        report = replace(report, tree=method_tree(report))
    return report if tensors else replace(report, tensors=None)


def _plain(source: Source, loading: Loading) -> Report:
    model = read_model(source)
    cut = cut_model(model, DEFAULT_BLOCK_SIZE)
    storage = plain_storage(cut.extents, model.size, DEFAULT_BLOCK_SIZE)
    return _report(source.name, model.kind, cut.extents, model, describe_loading(source, model, storage, loading))


def _packed(source: Source, loading: Loading, limits: Limits | None, blocks: bool, planes: bool) -> Report:
    with EtzFile(source, limits=limits) as file:
        report = _packed_report(file, source, loading)
        return replace(report, blocks=tuple(describe_blocks(file, source, planes=planes))) if blocks else report


def _packed_report(file: EtzFile, source: Source, loading: Loading) -> Report:
    model, missing = _model(file)
    packing, stored = describe_storage(file, source)
    extents = file.described_extents
    memory = describe_loading(file, model, packed_storage(file), loading) if model else None
    report = _report(file.name, file.manifest.kind, extents, model, memory, stored)
    return replace(report, content_size=file.size, gaps=_gaps(extents, file.size), packing=packing, missing=missing)


def _model(file: EtzFile) -> tuple[ModelFile | None, str | None]:
    """Return the packed model, or why there is none to be had."""
    if file.manifest.kind is FileKind.OPAQUE:
        return None, "the content was packed without looking into it (--opaque)"
    try:
        return file.model, None
    except (PteError, UnsupportedError) as exc:
        return None, f"the program cannot be read: {exc}"


def _report(
    name: str,
    kind: FileKind,
    extents: Sequence[Extent],
    model: ModelFile | None,
    memory: MemoryReport | None,
    stored: Sequence[StoredExtent] | None = None,
) -> Report:
    size = model.size if model else 0
    described = _extents(extents, model, stored)
    return Report(
        file=name,
        kind=kind,
        content_size=size,
        packing=None,
        extents=described,
        gaps=_gaps(extents, size),
        roles=_roles(described),
        missing=None,
        program=_program(model) if model else None,
        methods=_methods(model.methods, memory) if model and memory else None,
        memory=memory,
        tree=None,
        tensors=model.tensors if model else None,
        blocks=None,
    )


def _extents(
    extents: Sequence[Extent], model: ModelFile | None, stored: Sequence[StoredExtent] | None
) -> tuple[ExtentReport, ...]:
    tensors: dict[int, Tensor] = {}
    for tensor in model.tensors if model else ():
        if tensor.data and tensor.data.size:
            tensors.setdefault(tensor.data.offset, tensor)
    return tuple(
        ExtentReport(
            number=number,
            offset=extent.range.offset,
            size=extent.range.size,
            role=extent.role,
            segments=extent.segments,
            delegate_ids=extent.delegate_ids,
            keys=extent.keys,
            methods=extent.methods,
            tensor=_tensor(extent.range, tensors),
            stored=stored[number] if stored else None,
        )
        for number, extent in enumerate(extents)
    )


def _tensor(extent: Range, tensors: dict[int, Tensor]) -> Tensor | None:
    """Return the tensor that an extent is: they start together, and what follows it is alignment at most."""
    tensor = tensors.get(extent.offset)
    return tensor if tensor and tensor.data and 0 <= extent.size - tensor.data.size < 64 else None


def _gaps(extents: Sequence[Extent], size: int) -> Total:
    count = position = 0
    for extent in extents:
        count += extent.range.offset > position
        position = extent.range.end
    count += size > position
    return Total(count, size - sum(extent.range.size for extent in extents))


def _roles(extents: Sequence[ExtentReport]) -> tuple[RoleTotal, ...]:
    totals = []
    for role in Role:
        members = [extent for extent in extents if extent.role is role]
        if members:
            stored = [extent.stored.stored_size for extent in members if extent.stored]
            size = sum(extent.size for extent in members)
            totals.append(RoleTotal(role, len(members), size, sum(stored) if stored else None))
    return tuple(totals)


def _program(model: ModelFile) -> ProgramReport:
    return ProgramReport(
        offset=model.program.offset,
        size=model.program.size,
        header_length=model.header_length,
        segment_base=model.segment_base,
        segment_data_size=model.segment_data_size,
        segment_count=len(model.segments),
        named_data_count=len(model.named_data),
    )


def _methods(methods: Sequence[Method], memory: MemoryReport) -> tuple[MethodReport, ...]:
    frees = {method.name: 0 for method in methods}
    for group in memory.groups:
        if group.method_frees:
            for name in group.methods:
                frees[name] += group.method_frees
    return tuple(_method(method, frees[method.name]) for method in methods)


def _method(method: Method, frees_at_most: int) -> MethodReport:
    by_id: dict[str, DelegateReport] = {}
    for delegate in method.delegates:
        old = by_id.get(delegate.id, DelegateReport(delegate.id, 0, 0, 0))
        inline = old.inline_count + (delegate.segment is None)
        by_id[delegate.id] = DelegateReport(delegate.id, old.count + 1, inline, old.size + delegate.blob.size)
    return MethodReport(
        name=method.name,
        input_count=method.input_count,
        output_count=method.output_count,
        operator_count=method.operator_count,
        value_count=method.value_count,
        planned_buffers=method.planned_buffers,
        delegates=tuple(by_id.values()),
        frees_at_most=frees_at_most,
    )
