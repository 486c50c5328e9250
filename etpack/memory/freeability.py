"""What of a model comes back after it is loaded, for each use of each part of the file; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from etpack.memory import fates
from etpack.memory.backends import Backends, load_backends
from etpack.memory.fates import Fate
from etpack.pte import Blobs, FileKind, ModelFile, Range, Role, Segment
from etpack.pte.tensors import nominal_size


class UseKind(Enum):
    """What a part of the file is used as."""

    PROGRAM = "program"
    CONSTANT = "constant"
    MUTABLE = "mutable"
    DELEGATE = "delegate"
    NAMED_DATA = "named data"
    EXTERNAL = "external"
    METADATA = "metadata"
    UNUSED = "unused"
    PADDING = "padding"
    TRAILING = "trailing"


class Place(Enum):
    """Where the bytes of a use lie, which decides before any backend does."""

    FLATBUFFER = "flatbuffer"
    SEGMENT = "segment"
    # Around the flatbuffer and the segments.
    OUTSIDE = "outside"
    # In another file, a .ptd.
    OTHER_FILE = "other file"


@dataclass(frozen=True)
class Use:
    """One use of a part of the file. The same bytes may have several, and each is loaded for itself."""

    kind: UseKind
    # The key, the delegate's number, or whatever else tells it from others of its kind.
    what: str
    # Where the bytes lie in the content, or None if they are in another file.
    range: Range | None
    # Bytes.
    size: int
    place: Place
    # Position of the segment, or None where there is none.
    segment: int | None
    methods: tuple[str, ...]
    # Ids of the backends that the bytes go to; for named data, of those that may ask for it.
    backends: tuple[str, ...]
    fate: Fate

    @property
    def inside_program(self) -> bool:
        """Whether the bytes are part of the flatbuffer, which is a use of its own."""
        return self.place is Place.FLATBUFFER and self.kind is UseKind.DELEGATE

    @property
    def method_frees(self) -> int:
        """The most bytes that destroying the Method gives back."""
        return self.size if self.fate.method_frees else 0


@dataclass(frozen=True)
class UseGroup:
    """Uses that differ in nothing but what they are and where they lie."""

    kind: UseKind
    place: Place
    methods: tuple[str, ...]
    backends: tuple[str, ...]
    fate: Fate
    uses: tuple[Use, ...]

    @property
    def size(self) -> int:
        """Bytes of all uses."""
        return sum(use.size for use in self.uses)

    @property
    def method_frees(self) -> int:
        """The most bytes that destroying the Methods gives back."""
        return sum(use.method_frees for use in self.uses)


def find_uses(model: ModelFile, backends: Backends | None = None, blobs: Blobs | None = None) -> tuple[Use, ...]:
    """Return every use of every part of a model, and of what it wants from a .ptd.

    Args:
        model: The parsed file.
        backends: What is known of backends; the table that ships with etpack by default.
        blobs: What the delegates' blobs ask for (`etpack.pte.read_blobs`); nothing is known of it by default.
    """
    backends = backends or load_backends()
    blobs = blobs or Blobs()
    if model.kind is FileKind.PTD:
        found = [*_data_file_uses(model), *_unloaded(model)]
    else:
        found = [
            *_program_uses(model),
            *_delegates(model, backends),
            *_named_data(model, backends, blobs),
            *_unloaded(model),
        ]
    if model.kind is FileKind.BPTE:
        found = [use if use.range is None else replace(use, fate=fates.BUNDLED) for use in found]
    return tuple(found)


def group_uses(uses: tuple[Use, ...]) -> tuple[UseGroup, ...]:
    """Return the uses in groups, in the order of the first of each."""
    groups: dict[tuple[UseKind, Place, tuple[str, ...], tuple[str, ...], Fate], list[Use]] = {}
    last: Use | None = None
    members: list[Use] = []
    for use in uses:
        # Neighbours mostly share these very objects, which may be long and slow to hash.
        if last is None or not _alike(use, last):
            members = groups.setdefault((use.kind, use.place, use.methods, use.backends, use.fate), [])
        members.append(use)
        last = use
    return tuple(UseGroup(*key, tuple(members)) for key, members in groups.items())


def _alike(one: Use, other: Use) -> bool:
    same = one.methods is other.methods and one.backends is other.backends and one.fate is other.fate
    return same and one.kind is other.kind and one.place is other.place


def _program_uses(model: ModelFile) -> Iterator[Use]:
    methods = tuple(sorted(method.name for method in model.methods))
    yield Use(
        UseKind.PROGRAM, "flatbuffer", model.program, model.program.size, Place.FLATBUFFER, None, methods, (),
        fates.PROGRAM,
    )  # fmt: skip
    for segment in model.segments:
        if not segment.range.size:
            continue
        if Role.CONSTANT in segment.roles:
            yield _of_segment(UseKind.CONSTANT, segment, fates.CONSTANT)
        if Role.MUTABLE in segment.roles:
            yield _of_segment(UseKind.MUTABLE, segment, fates.MUTABLE)
        if Role.UNUSED in segment.roles:
            yield _of_segment(UseKind.UNUSED, segment, fates.UNUSED)
    for tensor in model.tensors:
        if tensor.kind == "external":
            what, size = tensor.name or "without a name", nominal_size(tensor.dtype, tensor.sizes)
            yield Use(UseKind.EXTERNAL, what, None, size, Place.OTHER_FILE, None, tensor.methods, (), fates.EXTERNAL)


def _of_segment(kind: UseKind, segment: Segment, fate: Fate) -> Use:
    what = f"segment {segment.number}"
    return Use(kind, what, segment.range, segment.range.size, Place.SEGMENT, segment.number, segment.methods, (), fate)


def _delegates(model: ModelFile, backends: Backends) -> Iterator[Use]:
    by_id: dict[str, Fate] = {}
    for method in model.methods:
        for delegate in method.delegates:
            place = Place.FLATBUFFER
            fate = fates.INLINE
            if delegate.segment is not None:
                place = Place.SEGMENT
                fate = by_id.get(delegate.id) or by_id.setdefault(delegate.id, fates.of_blob(delegate.id, backends))
            yield Use(
                UseKind.DELEGATE, f"delegate {delegate.number}", delegate.blob, delegate.blob.size, place,
                delegate.segment, (method.name,), (delegate.id,), fate,
            )  # fmt: skip


def _named_data(model: ModelFile, backends: Backends, blobs: Blobs) -> Iterator[Use]:
    """Yield a use for each key. Where no blob says who asks for it, it goes to all backends that may."""
    external = {tensor.name: tensor.methods for tensor in model.tensors if tensor.kind == "external"}
    claims = _claims(model, backends, blobs)
    askers = _unknown_askers(model, backends, blobs)
    ids = tuple(sorted(askers))
    methods = tuple(sorted(set().union(*askers.values())))
    asked = fates.of_named_data([(name, None) for name in ids], backends) if ids else fates.UNCLAIMED
    # Uses of one kind share these values: a group is found by comparing them.
    known: dict[frozenset[_Claim], tuple[tuple[str, ...], tuple[str, ...], Fate]] = {}
    for named in model.named_data:
        place = model.segments[named.segment].range
        use = Use(UseKind.NAMED_DATA, named.key, place, place.size, Place.SEGMENT, named.segment, methods, ids, asked)
        if named.key in external:
            use = replace(use, methods=external[named.key], backends=(), fate=fates.EXTERNAL_HERE)
        elif named.key in claims:
            key = frozenset(claims[named.key])
            if key not in known:
                known[key] = _claimed(key, backends, inferred=bool(ids))
            claimants, asking, fate = known[key]
            use = replace(use, methods=asking, backends=claimants, fate=fate)
        yield use


# Id of a backend, name of a method, and whether the backend packs it.
_Claim = tuple[str, str, bool]


def _claims(model: ModelFile, backends: Backends, blobs: Blobs) -> dict[str, set[_Claim]]:
    """Return, for each key, whose blobs ask for it."""
    found: dict[str, set[_Claim]] = {}
    for method in model.methods:
        for backend_id, blob in {(delegate.id, delegate.blob) for delegate in method.delegates}:
            if _asks(backend_id, backends):
                for constant in blobs.constants.get(blob, ()):
                    if constant.key is not None:
                        found.setdefault(constant.key, set()).add((backend_id, method.name, constant.packed))
    return found


def _claimed(
    claims: frozenset[_Claim], backends: Backends, *, inferred: bool
) -> tuple[tuple[str, ...], tuple[str, ...], Fate]:
    askers = sorted({(backend_id, packed) for backend_id, _, packed in claims})
    return (
        tuple(sorted({backend_id for backend_id, _, _ in claims})),
        tuple(sorted({method for _, method, _ in claims})),
        fates.of_named_data(askers, backends, inferred=inferred),
    )


def _asks(backend_id: str, backends: Backends) -> bool:
    return any(runtime.named_data for runtime in backends.find(backend_id))


def _unknown_askers(model: ModelFile, backends: Backends, blobs: Blobs) -> dict[str, set[str]]:
    """Return the ids of the backends that ask for named data, or may, and do not say for what, with their methods."""
    found: dict[str, set[str]] = {}
    for method in model.methods:
        for backend_id in {delegate.id for delegate in method.delegates if blobs.of(delegate) is None}:
            if _asks(backend_id, backends):
                found.setdefault(backend_id, set()).add(method.name)
    return found


def _data_file_uses(model: ModelFile) -> Iterator[Use]:
    yield Use(
        UseKind.METADATA, "flatbuffer", model.program, model.program.size, Place.FLATBUFFER, None, (), (),
        fates.DATA_MAP,
    )  # fmt: skip
    for named in model.named_data:
        place = model.segments[named.segment].range
        yield Use(
            UseKind.NAMED_DATA, named.key, place, place.size, Place.SEGMENT, named.segment, (), (), fates.DATA_FILE
        )
    for segment in model.segments:
        if Role.UNUSED in segment.roles and segment.range.size:
            yield _of_segment(UseKind.UNUSED, segment, fates.UNUSED)


def _unloaded(model: ModelFile) -> Iterator[Use]:
    """Yield what lies around the flatbuffer and the segments."""
    outer = (Range(0, model.nested.offset), Range(model.nested.end, model.size - model.nested.end))
    for part in outer:
        if part.size:
            yield Use(UseKind.METADATA, "bundle", part, part.size, Place.OUTSIDE, None, (), (), fates.BUNDLED)
    for gap in _gaps(model):
        yield Use(UseKind.PADDING, "between", gap, gap.size, Place.OUTSIDE, None, (), (), fates.PADDING)
    if model.trailing.size:
        yield Use(
            UseKind.TRAILING, "at the end", model.trailing, model.trailing.size, Place.OUTSIDE, None, (), (),
            fates.TRAILING,
        )  # fmt: skip


def _gaps(model: ModelFile) -> Iterator[Range]:
    """Yield what neither the flatbuffer nor a segment covers, up to the trailing bytes."""
    position = model.nested.offset
    parts = [model.program, *(segment.range for segment in model.segments if segment.range.size)]
    for part in sorted(parts, key=lambda part: part.offset):
        if part.offset > position:
            yield Range(position, part.offset - position)
        position = max(position, part.end)
    if model.trailing.offset > position:
        yield Range(position, model.trailing.offset - position)
