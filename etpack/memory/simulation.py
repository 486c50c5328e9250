"""Loads a model in mind: for each loader the peak, what makes it up, what stays and who can free it, and what it costs
to load a Method again; pure.

Figures are bytes that the loader and the runtime ask for. What a file cannot tell is in `Simulation.unknowns`, each
with a bound where there is one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from etpack.memory.backends import Backends, load_backends
from etpack.memory.events import Action, Event, Load, Replay, Stage, Step
from etpack.memory.loaders import Cost, Loader, Speeds, Storage, cost_of
from etpack.memory.sequence import replay, with_methods
from etpack.memory.timeline import Footprint, Moment, StepMemory, Timeline, by_step, changes, fixed_change
from etpack.memory.unknowns import Unknown, find_unknowns
from etpack.pte import Blobs, FileKind, ModelFile


@dataclass(frozen=True)
class MethodMemory:
    """What destroying one Method, its backends' copies and planned buffers included, and loading it again means."""

    name: str
    gives_back: Footprint
    reload: Cost


@dataclass(frozen=True)
class LoaderMemory:
    """What loading the model with one loader takes."""

    loader: Loader
    peak: Moment
    # When the program and all methods are loaded.
    after_init: Moment
    # Of all loads.
    cost: Cost
    # In the order of the program.
    methods: tuple[MethodMemory, ...]
    # By position of the step; None unless asked for.
    steps: tuple[StepMemory, ...] | None


@dataclass(frozen=True)
class Simulation:
    """Loading a model and destroying it."""

    steps: tuple[Step, ...]
    # The same for all loaders, but that BufferDataLoader hears nothing of frees; None unless asked for.
    events: tuple[Event, ...] | None
    loaders: tuple[LoaderMemory, ...]
    # Bytes of planned buffers of all methods.
    planned_size: int
    unknowns: tuple[Unknown, ...]


def simulate(
    model: ModelFile,
    storage: Storage,
    *,
    blobs: Blobs | None = None,
    backends: Backends | None = None,
    data_files: Sequence[ModelFile] = (),
    methods: Collection[str] | None = None,
    speeds: Speeds | None = None,
    details: bool = True,
) -> Simulation:
    """Return what loading a model with its methods, one after another, takes with each loader.

    A bundled program can be run from one buffer only, so there is one loader for it.

    Args:
        model: The parsed file.
        storage: How its content is stored, or would be.
        blobs: What the delegates' blobs ask for (`etpack.pte.read_blobs`); nothing is known of it by default.
        backends: What is known of backends; the table that ships with etpack by default.
        data_files: The .ptd files that are loaded with it, in order; each by a loader of the same kind, unpacked.
        methods: Names of the methods to load, in the order of the program; all by default.
        speeds: How fast the device is, to say how long loads take.
        details: Give the events, and what is in memory at each step; else they are None.

    Raises:
        LimitError: It would load more often than can be followed.
    """
    blobs, backends, model = blobs or Blobs(), backends or load_backends(), with_methods(model, methods)
    most = replay(model, blobs=blobs, backends=backends, data_files=data_files)
    least = most
    if any(event.load and not event.load.holder_known for event in most.events):
        least = replay(model, blobs=blobs, backends=backends, data_files=data_files, keep_uncertain=False)
    # No size is below 0, whatever the file says.
    planned = [sum(max(0, size) for size in method.planned_buffers) for method in model.methods]
    loaders = (Loader.BUFFER,) if model.kind is FileKind.BPTE else tuple(Loader)
    whole_files = storage.content_size + sum(file.size for file in data_files) + sum(most.absent.values())
    outcomes = []
    shared, *by_method = _loads_by_method(most)
    every = [*shared, *(load for loads in by_method for load in loads)]
    for loader in loaders:
        fixed = fixed_change(loader, whole_files, storage.scratch)
        run = Timeline(most, [fixed, *changes(loader, most, planned)])
        low = run if least is most else Timeline(least, [fixed, *changes(loader, least, planned)])
        outcomes.append(_outcome(loader, run, low, model, every, by_method, storage, speeds, details))
    return Simulation(
        steps=most.steps,
        events=most.events if details else None,
        loaders=tuple(outcomes),
        planned_size=sum(planned),
        unknowns=find_unknowns(model, most, blobs, backends),
    )


def _outcome(
    loader: Loader,
    run: Timeline,
    low: Timeline,
    model: ModelFile,
    every: list[Load],
    by_method: list[list[Load]],
    storage: Storage,
    speeds: Speeds | None,
    details: bool,
) -> LoaderMemory:
    return LoaderMemory(
        loader=loader,
        peak=run.moment(run.highest, low.total(low.highest)),
        after_init=run.moment(run.loaded, low.total(low.loaded)),
        cost=cost_of(loader, every, storage, speeds),
        # A .ptd alone has no methods, and is destroyed as if it had one.
        methods=tuple(
            MethodMemory(method.name, back, cost_of(loader, loads, storage, speeds))
            for method, back, loads in zip(model.methods, run.given_back(), by_method, strict=False)
        ),
        steps=run.steps() if details else None,
    )


def _loads_by_method(run: Replay) -> list[list[Load]]:
    """Return what the program loads, and then what each method does."""
    found: list[list[Load]] = [[]]
    for _, step, events in by_step(run):
        if step.stage is Stage.TENSORS:
            found.append([])
        found[-1] += [event.load for event in events if event.load and event.action is not Action.FREE]
    return found
