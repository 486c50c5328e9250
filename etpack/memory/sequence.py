"""The calls that ExecuTorch makes of its data loaders to load a model, and when it frees what it got; pure.

After ExecuTorch 1.5: runtime/executor/program.cpp and method.cpp, extension/flat_tensor/flat_tensor_data_map.cpp, and
what `backends.json` says of backends. The .ptd files come first, then the program, then each method: its external
constants, the first values of its tensors, and its delegates, each with its blob and the named data that it asks for.
Then everything is destroyed, in the order in which a `Module` does it.

A program does not record which delegate asks for which named data. Where the blob tells, the order is exact; else the
keys are put behind the last delegate of a method that may ask for them, and marked as inferred.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from etpack.errors import LimitError
from etpack.loader import SegmentInfo, SegmentType
from etpack.memory.backends import Backends, Verdict, load_backends, weakest
from etpack.memory.events import Action, Event, Holder, Load, Replay, Stage, Step
from etpack.memory.freeability import UseKind
from etpack.pte import Blobs, Delegate, FileKind, Method, ModelFile, NamedData, Range, Role

# Program::load looks at so many bytes before it knows how long the program is.
HEAD_SIZE = 64
# A hostile file may have thousands of methods load thousands of keys each.
MAX_LOADS = 20_000

_FREED_IN_INIT = (Verdict.ALWAYS, Verdict.ON_SUCCESS)


def load_sequence(model: ModelFile, blobs: Blobs | None = None) -> Iterator[Load]:
    """Yield the requests to the loader of the model's own file, in order; the methods' in the order of the program."""
    for event in replay(model, blobs=blobs).events:
        if event.load and event.action is not Action.FREE and event.load.file == 0:
            yield event.load


def replay(
    model: ModelFile,
    *,
    blobs: Blobs | None = None,
    backends: Backends | None = None,
    data_files: Sequence[ModelFile] = (),
    methods: Collection[str] | None = None,
    keep_uncertain: bool = True,
) -> Replay:
    """Return what the runtime does to load a model with all its methods, and to destroy it.

    A .ptd alone is replayed as if a method asked for all of it.

    Args:
        model: The parsed file.
        blobs: What the delegates' blobs ask for (`etpack.pte.read_blobs`); nothing is known of it by default.
        backends: What is known of backends; the table that ships with etpack by default.
        data_files: The .ptd files that are loaded with it, in order.
        methods: Names of the methods to load, in the order of the program; all by default.
        keep_uncertain: Where it is not known whether a backend frees, suppose it keeps the buffer.

    Raises:
        LimitError: It would load more than `MAX_LOADS` times.
    """
    model = with_methods(model, methods)
    run = _Replay(model, blobs or Blobs(), backends or load_backends(), data_files, keep_uncertain)
    if model.kind is FileKind.PTD:
        run.data_file_alone()
    else:
        run.program()
    return Replay(tuple(run.steps), tuple(run.events), run.packed_sizes, run.absent)


def with_methods(model: ModelFile, names: Collection[str] | None) -> ModelFile:
    """Return a model with those of its methods that have these names; with all if None."""
    if names is None:
        return model
    return replace(model, methods=tuple(method for method in model.methods if method.name in names))


class _Replay:
    """The state of the runtime: what is live, and who holds it."""

    def __init__(
        self,
        model: ModelFile,
        blobs: Blobs,
        backends: Backends,
        data_files: Sequence[ModelFile],
        keep_uncertain: bool,
    ) -> None:
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self.packed_sizes: dict[int, int] = {}
        self.absent: dict[str, int] = {}
        self._model = model
        self._blobs = blobs
        self._backends = backends
        self._data_files = data_files
        self._keep_uncertain = keep_uncertain
        self._live = 0
        self._loads = 0
        self._keys = _find_keys(model, data_files)
        self._mutables = [segment for segment in model.segments if Role.MUTABLE in segment.roles]

    def program(self) -> None:
        """Load data files, program and methods, and destroy them."""
        maps = [self._open_data_file(number, file) for number, file in enumerate(self._data_files, 1)]
        held = self._open_program()
        methods = [(method.name, self._open_method(method)) for method in self._model.methods]
        for name, kept in methods:
            self._begin(Step(Stage.DESTROY_METHOD, name))
            self._free(kept)
        for number, kept in enumerate(maps, 1):
            self._begin(Step(Stage.DESTROY_DATA_FILE, data_file=number))
            self._free(kept)
        self._begin(Step(Stage.DESTROY_PROGRAM))
        self._free(reversed(held))

    def data_file_alone(self) -> None:
        """Load a .ptd and all that it has."""
        held = self._open_data_file(0, self._model)
        self._begin(Step(Stage.TENSORS))
        kept = [self._ask(named.key, 0, Holder.METHOD, known=False, inferred=True) for named in self._model.named_data]
        self._begin(Step(Stage.DESTROY_METHOD))
        self._free(kept)
        self._begin(Step(Stage.DESTROY_DATA_FILE, data_file=0))
        self._free(held)

    def _open_data_file(self, number: int, file: ModelFile) -> list[Load]:
        self._begin(Step(Stage.DATA_FILE, data_file=number))
        head = self._load(UseKind.METADATA, "head", Range(0, HEAD_SIZE), number, holder=Holder.NOBODY)
        self._ask_size()
        flatbuffer = Range(0, file.program.end)
        held = [self._load(UseKind.METADATA, "flatbuffer", flatbuffer, number, holder=Holder.DATA_FILE)]
        self._free([head])
        return held

    def _open_program(self) -> list[Load]:
        model = self._model
        start = model.nested.offset
        self._begin(Step(Stage.PROGRAM))
        head = self._load(UseKind.PROGRAM, "head", Range(start, HEAD_SIZE), holder=Holder.NOBODY)
        if model.segment_data_size or not model.segment_base:
            self._ask_size()
        self._free([head])
        held = [self._load(UseKind.PROGRAM, "flatbuffer", Range(start, model.program.end - start))]
        if model.constant_segment is not None:
            number = model.constant_segment
            info = SegmentInfo(SegmentType.CONSTANT, number)
            held.append(self._load(UseKind.CONSTANT, f"segment {number}", model.segments[number].range, info=info))
        return held

    def _open_method(self, method: Method) -> list[Load]:
        """Load a method; return what it holds then, in the order in which it is freed."""
        self._begin(Step(Stage.TENSORS, method.name))
        externals = dict.fromkeys(load for load in method.tensor_loads if load.kind == "external")
        held = [
            self._ask(load.name or "", load.size, Holder.METHOD, kind=UseKind.EXTERNAL, method=method.name)
            for load in externals
        ]
        for load in method.tensor_loads:
            if load.data is not None:
                info = SegmentInfo(SegmentType.MUTABLE, self._mutable_segment(load.data))
                self._load(UseKind.MUTABLE, "first value", load.data, info=info, into=True, method=method.name)
            elif load.kind == "external mutable":
                self._ask(load.name or "", load.size, Holder.METHOD, UseKind.EXTERNAL, True, method=method.name)
        last_askers = self._last_askers(method)
        for delegate in method.delegates:
            held += self._init_delegate(method, delegate, guess=last_askers.get(delegate.number, ()))
        return held

    def _init_delegate(self, method: Method, delegate: Delegate, guess: Sequence[NamedData]) -> list[Load]:
        """Initialise a delegate; return what is held after that. `guess` is what it asks for, if its blob is silent."""
        self._begin(Step(Stage.DELEGATE, method.name, delegate.number, delegate.id))
        step = len(self.steps) - 1
        blob = self._load_blob(method, delegate)
        named: list[Load] = []
        constants = self._blobs.of(delegate)
        for constant in constants or ():
            if constant.packed:
                self.packed_sizes[step] = self.packed_sizes.get(step, 0) + constant.size
            if constant.key is not None:
                named.append(self._ask_for(constant.key, constant.size, method, delegate, constant.packed))
        for data in guess:
            named.append(self._ask_for(data.key, 0, method, delegate, None))
        self._free(load for load in named if not self._is_kept(load))
        self._free(load for load in blob if not self._is_kept(load))
        return [load for load in [*named, *blob] if self._is_kept(load)]

    def _load_blob(self, method: Method, delegate: Delegate) -> list[Load]:
        if delegate.segment is None:
            return []
        verdict = weakest(runtime.verdict for runtime in self._backends.find(delegate.id))
        holder, known = _holder(verdict)
        info = SegmentInfo(SegmentType.BACKEND, delegate.segment, delegate.id)
        what = f"delegate {delegate.number}"
        return [
            self._load(
                UseKind.DELEGATE, what, delegate.blob, 0, info=info, method=method.name, delegate=delegate,
                holder=holder, known=known,
            )
        ]  # fmt: skip

    def _ask_for(self, key: str, size: int, method: Method, delegate: Delegate, packed: bool | None) -> Load:
        """Load named data for a delegate; `packed` is None where it is not known to ask for it."""
        handlings = [runtime.named_data for runtime in self._backends.find(delegate.id) if runtime.named_data]
        verdicts = [(each if packed is None else each.of(packed)).verdict for each in handlings]
        holder, known = _holder(weakest(verdicts) if verdicts else Verdict.UNKNOWN)
        return self._ask(key, size, holder, known=known, method=method.name, delegate=delegate, inferred=packed is None)

    def _last_askers(self, method: Method) -> dict[int, Sequence[NamedData]]:
        """Return the last delegate with a silent blob that may ask for named data, with all keys that nobody claims."""
        silent = [
            delegate
            for delegate in method.delegates
            if self._blobs.of(delegate) is None
            and any(runtime.named_data for runtime in self._backends.find(delegate.id))
        ]
        if not silent:
            return {}
        claimed = {
            constant.key
            for delegate in method.delegates
            for constant in self._blobs.of(delegate) or ()
        }  # fmt: skip
        claimed |= {load.name for load in method.tensor_loads}
        return {silent[-1].number: [named for named in self._model.named_data if named.key not in claimed]}

    def _is_kept(self, load: Load) -> bool:
        if load.into:
            return False
        return load.holder is Holder.METHOD if load.holder_known else self._keep_uncertain

    def _mutable_segment(self, data: Range) -> int:
        holding = (s for s in self._mutables if s.range.offset <= data.offset and data.end <= s.range.end)
        return next((segment.number for segment in holding), 0)

    def _ask(
        self,
        key: str,
        size: int,
        holder: Holder,
        kind: UseKind = UseKind.NAMED_DATA,
        into: bool = False,
        *,
        known: bool = True,
        method: str | None = None,
        delegate: Delegate | None = None,
        inferred: bool = False,
    ) -> Load:
        """Load what a key stands for; `size` is what there is to know if no given file has the key."""
        # The runtime gives index 0 here, whatever the segment.
        info = SegmentInfo(SegmentType.MUTABLE if into else SegmentType.CONSTANT)
        file, place = self._keys.get(key, (None, Range(0, size)))
        if file is None:
            self.absent[key] = size
        if into:
            place = Range(place.offset, min(size, place.size))
        return self._load(
            kind, key, place, file, info=info, into=into, method=method, delegate=delegate, holder=holder,
            known=known, inferred=inferred,
        )  # fmt: skip

    def _load(
        self,
        kind: UseKind,
        what: str,
        place: Range,
        file: int | None = 0,
        *,
        info: SegmentInfo | None = None,
        into: bool = False,
        method: str | None = None,
        delegate: Delegate | None = None,
        holder: Holder = Holder.PROGRAM,
        known: bool = True,
        inferred: bool = False,
    ) -> Load:
        if self._loads >= MAX_LOADS:
            raise LimitError(f"loading the model takes more than {MAX_LOADS:,} loads, too many to follow")
        load = Load(
            number=self._loads,
            kind=kind,
            what=what,
            range=place,
            file=file,
            info=info or SegmentInfo(SegmentType.PROGRAM),
            into=into,
            method=method,
            delegate=None if delegate is None else delegate.number,
            backend=None if delegate is None else delegate.id,
            holder=Holder.NOBODY if into else holder,
            holder_known=known,
            inferred=inferred,
        )
        self._loads += 1
        self._live += 0 if into else load.size
        self._note(Action.LOAD_INTO if into else Action.LOAD, load)
        return load

    def _free(self, loads: Iterable[Load]) -> None:
        for load in loads:
            if load.size:  # a loader answers a request for nothing with nothing, and hears no more of it
                self._live -= load.size
                self._note(Action.FREE, load)

    def _ask_size(self) -> None:
        self._note(Action.SIZE, None)

    def _note(self, action: Action, load: Load | None) -> None:
        self.events.append(Event(action, len(self.steps) - 1, load, self._live))

    def _begin(self, step: Step) -> None:
        self.steps.append(step)


def _holder(verdict: Verdict) -> tuple[Holder, bool]:
    """Return who holds what a backend loads after its init, and whether that is known."""
    if verdict in _FREED_IN_INIT:
        return Holder.INIT, True
    return Holder.METHOD, verdict is Verdict.NEVER


def _find_keys(model: ModelFile, data_files: Sequence[ModelFile]) -> dict[str, tuple[int, Range]]:
    """Return file and place of each key; data files come first, and the first that has a key counts."""
    found: dict[str, tuple[int, Range]] = {}
    for number, file in [*enumerate(data_files, 1), (0, model)]:
        for named in file.named_data:
            found.setdefault(named.key, (number, file.segments[named.segment].range))
    return found
