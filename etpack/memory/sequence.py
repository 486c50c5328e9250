"""The sequence of reads that ExecuTorch makes of a data loader to load a model; pure.

After runtime/executor/program.cpp and method.cpp of ExecuTorch 1.5: the head, the program, the constants, then for
each method its mutable tensors, its delegates and their named data. The file does not say which delegate asks for
which named data; they are all put behind the method's delegates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from etpack.loader import SegmentInfo, SegmentType
from etpack.pte import FileKind, Method, ModelFile, Range, Role

# Program::load looks at so many bytes before it knows how long the program is.
HEAD_SIZE = 64


@dataclass(frozen=True)
class Load:
    """One request to the data loader."""

    # Content range, in bytes from the start of the file.
    range: Range
    info: SegmentInfo
    # Copied into a buffer of the runtime's (load_into) and not kept in one of the loader's (load).
    into: bool
    # The method that is being loaded, or None while the program is.
    method: str | None


def load_sequence(model: ModelFile) -> Iterator[Load]:
    """Yield the requests in order: the program's, then those of every method, in the order of the program."""
    program = SegmentInfo(SegmentType.PROGRAM)
    yield Load(Range(model.nested.offset, min(HEAD_SIZE, model.nested.size)), program, False, None)
    yield Load(Range(model.nested.offset, model.program.end - model.nested.offset), program, False, None)
    for segment in model.segments:
        if Role.CONSTANT in segment.roles and segment.range.size:
            yield Load(segment.range, SegmentInfo(SegmentType.CONSTANT, segment.number), False, None)
    if model.kind is FileKind.PTD:
        yield from _named_data(model, None)
    for method in model.methods:
        yield from _method_loads(model, method)


def _method_loads(model: ModelFile, method: Method) -> Iterator[Load]:
    for tensor in model.tensors:
        if tensor.kind == "mutable" and tensor.data and method.name in tensor.methods:
            info = SegmentInfo(SegmentType.MUTABLE, tensor.segment or 0)
            yield Load(tensor.data, info, True, method.name)
    for delegate in method.delegates:
        if delegate.segment is not None:
            info = SegmentInfo(SegmentType.BACKEND, delegate.segment, delegate.id)
            yield Load(delegate.blob, info, False, method.name)
    if method.delegates:
        yield from _named_data(model, method.name)


def _named_data(model: ModelFile, method: str | None) -> Iterator[Load]:
    # The runtime gives index 0 here, whatever the segment.
    info = SegmentInfo(SegmentType.CONSTANT)
    for entry in model.named_data:
        yield Load(model.segments[entry.segment].range, info, False, method)
