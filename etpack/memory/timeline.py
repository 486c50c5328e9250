"""What is in memory while a model is loaded with one loader: every change, the peak, and what makes it up; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from etpack.memory.events import Action, Event, Holder, Load, Replay, Stage, Step
from etpack.memory.loaders import Loader, held_by


@dataclass(frozen=True)
class Footprint:
    """Memory in use, in bytes."""

    # The system cannot take it back: loaded buffers, a loader's scratch.
    dirty: int = 0
    # Pages of the file that the system may drop and read again; at most, for what nobody touches is never read.
    clean: int = 0
    # Pages of the file that are locked in memory.
    pinned: int = 0
    # Planned buffers of the methods, for activations; the caller's.
    planned: int = 0
    # Copies that backends make of their own, about; what is known of them. See `Unknown`.
    backends: int = 0

    @property
    def total(self) -> int:
        return self.dirty + self.clean + self.pinned + self.planned + self.backends


@dataclass(frozen=True)
class Part:
    """What some of the memory is for."""

    # A kind of use ("program", "constant", "delegate", "named data", "external", ...), or "whole file", "scratch",
    # "planned buffers", "backend's copies".
    what: str
    # Who can free it: "init" (it is freed while the delegate is initialised), "method", "program", "data file",
    # "loader", or "caller".
    freed_by: str
    # The method it belongs to, and the backend it went to, or None.
    method: str | None
    backend: str | None
    footprint: Footprint


@dataclass(frozen=True)
class Moment:
    """A point in time, and what is in memory then."""

    footprint: Footprint
    # The least that it can be, where backends may or may not free; else the total.
    at_least: int
    # Position in `Simulation.steps`.
    step: int
    # The largest first. They add up to the footprint.
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class StepMemory:
    """Memory during one step, and after it."""

    peak: Footprint
    after: Footprint


class Key(NamedTuple):
    """What tells one part from another; see `Part`."""

    what: str
    freed_by: str
    method: str | None = None
    backend: str | None = None


class Change(NamedTuple):
    """Bytes that come, or go (they are negative then)."""

    step: int
    key: Key
    # Position in the fields of `Footprint`.
    field: int
    size: int


_DIRTY, _CLEAN, _PINNED, _PLANNED, _BACKENDS = range(5)


def fixed_change(loader: Loader, whole_files: int, scratch: int) -> Change:
    """Return what a loader takes as long as it lives, whatever it loads."""
    if loader is Loader.BUFFER:
        return Change(0, Key("whole file", "caller"), _DIRTY, whole_files)
    return Change(0, Key("scratch", "loader"), _DIRTY, scratch if loader is Loader.ETZ else 0)


def changes(loader: Loader, run: Replay, planned: Sequence[int]) -> Iterator[Change]:
    """Yield what comes and goes, in order; `planned` has the bytes of each method's planned buffers."""
    owned: list[list[Change]] = []  # by method, what it has beside loaded buffers
    destroyed = 0
    loaded: dict[int, Change] = {}
    for number, step, events in by_step(run):
        if step.stage is Stage.TENSORS:
            size = planned[len(owned)] if len(owned) < len(planned) else 0  # a .ptd alone has no methods
            owned.append([Change(number, Key("planned buffers", "method", step.method), _PLANNED, size)])
            yield owned[-1][0]
        copies: list[Change] = []
        if number in run.packed_sizes:
            key = Key("backend's copies", "method", step.method, step.backend)
            copies = [Change(number, key, _BACKENDS, run.packed_sizes[number])]
            owned[-1] += copies
        for event in events:
            if event.action is Action.FREE:  # a backend frees what it has copied
                yield from copies
                copies = []
            if event.load and event.action is Action.LOAD:
                loaded[event.load.number] = _of_load(loader, number, event.load)
                yield loaded[event.load.number]
            elif event.load and event.action is Action.FREE:
                yield _gone(loaded.pop(event.load.number), number)
        yield from copies
        if step.stage is Stage.DESTROY_METHOD:
            yield from (_gone(change, number) for change in owned[destroyed])
            destroyed += 1


def by_step(run: Replay) -> Iterator[tuple[int, Step, list[Event]]]:
    """Yield each step with its position and its events."""
    found: list[list[Event]] = [[] for _ in run.steps]
    for event in run.events:
        found[event.step].append(event)
    for number, step in enumerate(run.steps):
        yield number, step, found[number]


_FREED_BY = {
    Holder.NOBODY: "init",
    Holder.INIT: "init",
    Holder.METHOD: "method",
    Holder.PROGRAM: "program",
    Holder.DATA_FILE: "data file",
}


def _of_load(loader: Loader, step: int, load: Load) -> Change:
    held = held_by(loader, load)
    freed_by = _FREED_BY[load.holder] if load.holder_known else "init or method"
    field = _CLEAN if held.clean else _PINNED if held.pinned else _DIRTY
    size = held.dirty + held.clean + held.pinned
    return Change(step, Key(load.kind.value, freed_by, load.method, load.backend), field, size)


def _gone(change: Change, step: int) -> Change:
    return Change(step, change.key, change.field, -change.size)


class Timeline:
    """All changes with one loader, and the sum of them.

    Attributes:
        highest: Position of the change after which the total is highest.
        loaded: Position of the last change before anything is destroyed.
    """

    def __init__(self, run: Replay, changes: Sequence[Change]) -> None:
        self._steps = run.steps
        self._changes = changes
        self._totals: list[int] = []
        total = 0
        for change in changes:
            total += change.size
            self._totals.append(total)
        self.highest = max(range(len(self._totals)), key=self._totals.__getitem__)
        self.loaded = max(number for number, change in enumerate(changes) if run.steps[change.step].is_loading)

    def total(self, number: int) -> int:
        """Return the bytes in memory after a change."""
        return self._totals[number]

    def moment(self, number: int, at_least: int) -> Moment:
        """Return what is in memory after a change."""
        sums: dict[tuple[Key, int], int] = {}
        for change in self._changes[: number + 1]:
            place = change.key, change.field
            sums[place] = sums.get(place, 0) + change.size
        parts = [
            Part(key.what, key.freed_by, key.method, key.backend, _footprint({field: size}))
            for (key, field), size in sums.items()
            if size
        ]
        parts.sort(key=lambda part: -part.footprint.total)
        fields: dict[int, int] = {}
        for (_, field), size in sums.items():
            fields[field] = fields.get(field, 0) + size
        return Moment(_footprint(fields), at_least, self._changes[number].step, tuple(parts))

    def steps(self) -> tuple[StepMemory, ...]:
        """Return peak and end of each step; one in which nothing changes has what was before it."""
        found: list[StepMemory] = []
        now: dict[int, int] = {}
        position = 0
        for number in range(len(self._steps)):
            peak, highest = dict(now), sum(now.values())
            while position < len(self._changes) and self._changes[position].step == number:
                change = self._changes[position]
                now[change.field] = now.get(change.field, 0) + change.size
                if self._totals[position] > highest:
                    peak, highest = dict(now), self._totals[position]
                position += 1
            found.append(StepMemory(_footprint(peak), _footprint(now)))
        return tuple(found)

    def given_back(self) -> Iterator[Footprint]:
        """Yield what destroying each Method gives back."""
        sums: dict[int, dict[int, int]] = {
            number: {} for number, step in enumerate(self._steps) if step.stage is Stage.DESTROY_METHOD
        }
        for change in self._changes:
            fields = sums.get(change.step)
            if fields is not None:
                fields[change.field] = fields.get(change.field, 0) - change.size
        return map(_footprint, sums.values())


def _footprint(fields: dict[int, int]) -> Footprint:
    return Footprint(*(fields.get(number, 0) for number in range(5)))
