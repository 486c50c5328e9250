"""What of a model is compared with its like in another: a list of parts, each with all that it can be told by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from etpack.compare.values import PartKind
from etpack.plan import Extent
from etpack.pte import Constant, FileKind, ModelFile, Range, Role, Tensor, read_blobs
from etpack.sources import Source

_TENSOR_KINDS = {"constant": PartKind.CONSTANT, "mutable": PartKind.MUTABLE, "external": PartKind.EXTERNAL}
_SEGMENT_KINDS = {
    Role.CONSTANT: PartKind.CONSTANT_SEGMENT,
    Role.MUTABLE: PartKind.MUTABLE_SEGMENT,
    Role.UNUSED: PartKind.UNUSED,
}


# What each different blob wants, with the first delegate that has it ("forward:3").
_Wanted = dict[Range, tuple[str, tuple[Constant, ...]]]


@dataclass(frozen=True)
class Part:
    """A part of one file."""

    kind: PartKind
    # Where it lies, or None if that is in another file.
    range: Range | None
    name: str | None = None
    # Of a tensor: its position among all.
    number: int | None = None
    segment: int | None = None
    dtype: str | None = None
    sizes: tuple[int, ...] | None = None
    users: tuple[str, ...] = ()
    # Id of the backend, of a delegate.
    backend: str | None = None
    # Of a delegate: the keys of named data that it wants, in the order of its own list.
    keys: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return self.range.size if self.range else 0


def opaque_part(size: int) -> list[Part]:
    """Return the one part of a content that is no model."""
    return [Part(PartKind.OPAQUE, Range(0, size))]


def list_parts(model: ModelFile, content: Source, extents: Iterable[Extent]) -> list[Part]:
    """Return the parts of a model; reads the blobs of XNNPACK's delegates, for the constants that they want.

    Args:
        model: The parsed content.
        content: Where the model lies.
        extents: How it is cut; only padding is taken from there.
    """
    wanted = _wanted(model, content)
    return [
        Part(PartKind.PROGRAM, model.program),
        *_delegates(model, wanted),
        *_segments(model),
        *_tensors(model),
        *_named_data(model, wanted),
        *_around(model),
        *(Part(PartKind.PADDING, extent.range) for extent in extents if extent.role is Role.PADDING),
    ]


def _wanted(model: ModelFile, content: Source) -> _Wanted:
    blobs = read_blobs(content, model)
    found: _Wanted = {}
    for method in model.methods:
        for delegate in method.delegates:
            if delegate.blob not in found and (constants := blobs.of(delegate)):
                found[delegate.blob] = f"{method.name}:{delegate.number}", constants
    return found


def _delegates(model: ModelFile, wanted: _Wanted) -> Iterator[Part]:
    keys = {
        blob: tuple(constant.key for constant in constants if constant.key) for blob, (_, constants) in wanted.items()
    }
    for method in model.methods:
        for delegate in method.delegates:
            yield Part(
                PartKind.DELEGATE,
                delegate.blob,
                name=f"{method.name}:{delegate.number}",
                segment=delegate.segment,
                users=(method.name,),
                backend=delegate.id,
                keys=keys.get(delegate.blob, ()),
            )


def _segments(model: ModelFile) -> Iterator[Part]:
    """Yield the segments that are more than the data of a delegate or a key."""
    for segment in model.segments:
        for role in segment.roles:
            if role in _SEGMENT_KINDS:
                yield Part(_SEGMENT_KINDS[role], segment.range, segment=segment.number, users=segment.methods)


def _tensors(model: ModelFile) -> Iterator[Part]:
    if model.kind is FileKind.PTD:  # each is the data of a key
        return
    for number, tensor in enumerate(model.tensors):
        kind, methods = _TENSOR_KINDS[tensor.kind], tensor.methods
        yield Part(kind, tensor.data, tensor.name, number, tensor.segment, tensor.dtype, tensor.sizes, methods)


def _named_data(model: ModelFile, wanted: _Wanted) -> Iterator[Part]:
    layouts: dict[str, Constant | Tensor] = {}
    users: dict[str, list[str]] = {}
    for delegate, constants in wanted.values():
        for constant in constants:
            if constant.key:
                layouts.setdefault(constant.key, constant)
                users.setdefault(constant.key, []).append(delegate)
    if model.kind is FileKind.PTD:
        layouts |= {tensor.name: tensor for tensor in model.tensors if tensor.name is not None}
    for named in model.named_data:
        layout = layouts.get(named.key)
        yield Part(
            PartKind.NAMED_DATA,
            model.segments[named.segment].range,
            name=named.key,
            segment=named.segment,
            dtype=layout.dtype if layout else None,
            sizes=layout.sizes if layout else None,
            users=tuple(dict.fromkeys(users.get(named.key, ()))),
        )


def _around(model: ModelFile) -> Iterator[Part]:
    """Yield what lies before and after the model proper."""
    nested = model.nested
    if model.kind is FileKind.BPTE:
        yield Part(PartKind.METADATA, Range(0, nested.offset), name="before the program")
        yield Part(PartKind.METADATA, Range(nested.end, model.size - nested.end), name="after the program")
    if model.trailing.size:
        yield Part(PartKind.TRAILING, model.trailing)
