"""What loading a model takes in memory, in words: a table of loaders, and, if asked for, parts, steps and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etpack.describe.tables import MOST_ROWS, WIDE, Rows
from etpack.describe.words import human, listed, plural, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from etpack.memory import Cost, Event, LoaderMemory, Moment, Simulation, Step, StepMemory, Unknown

_BAR = 24


def print_loading(simulation: Simulation, console: Console, *, everything: bool) -> None:
    """Print peak, resident memory and what comes back for each loader; events and steps if the report has them."""
    rows = Rows(console, "Memory while loading", "loader", ">peak", "~when", ">stays after init", "~and is freed by")
    for loader in simulation.loaders:
        peak, after = loader.peak, loader.after_init
        rows.add(
            loader.loader.value,
            _bounded(peak),
            step_name(simulation.steps[peak.step], backend=False),
            _bounded(after),
            freed_by(after),
        )
    rows.print()
    _print_costs(simulation.loaders, console, everything)
    for sentence in caveats(simulation):
        console.print(sentence, style="dim")
    if simulation.events is not None:
        _print_details(simulation, simulation.events, console, everything)


def caveats(simulation: Simulation) -> list[str]:
    """Return what has to be said beside the figures, in sentences."""
    uncounted = [unknown for unknown in simulation.unknowns if unknown.bound == "more"]
    return [
        f"Planned buffers, {human(simulation.planned_size)}, are counted. Not counted, since the file cannot tell: "
        f"{', '.join(_short(unknown) for unknown in uncounted)}.",
        *(_sentence(unknown) for unknown in simulation.unknowns if unknown.bound != "more"),
    ]


def _bounded(moment: Moment) -> str:
    """Return a total, with ~ where a backend's own copies are in it, and the least that it can be."""
    about = "~" if moment.footprint.backends else ""
    total = moment.footprint.total
    least = f"{human(moment.at_least)} to " if moment.at_least < total else ""
    return f"{about}{least}{human(total)}"


def step_name(step: Step, *, backend: bool = True) -> str:
    method = "" if step.method is None else safe(step.method, 40)
    if step.stage.value == "delegate":
        return f"{method}: delegate {step.delegate}" + (f", {safe(step.backend or '', 40)}" if backend else "")
    if step.stage.value == "tensors":
        return f"{method}: tensors" if method else "tensors"
    number = "" if not step.data_file else f" {step.data_file}"
    return step.stage.value + number + (f" {method}" if method else "")


def freed_by(moment: Moment) -> str:
    """Return who can free what stays, with sizes: forward 41.2 MiB, program 45.5 MiB."""
    sizes: dict[str, int] = {}
    for part in moment.parts:
        owner = part.freed_by
        if part.method is not None and part.freed_by == "method":
            owner = safe(part.method, 40)
        owner += " (clean)" if part.footprint.clean else " (locked)" if part.footprint.pinned else ""
        sizes[owner] = sizes.get(owner, 0) + part.footprint.total
    ordered = sorted(sizes.items(), key=lambda item: -item[1])
    return listed([f"{owner} {human(size)}" for owner, size in ordered], most=4, width=80)


def _print_costs(loaders: Sequence[LoaderMemory], console: Console, everything: bool) -> None:
    """Print what it takes to destroy and reload the methods, if it was asked how long."""
    for loader in loaders:
        for method in loader.methods if everything else loader.methods[:MOST_ROWS]:
            if method.reload.seconds is not None:
                text = f"{loader.loader.value}: destroying {safe(method.name, 40)} gives back "
                text += f"{human(method.gives_back.total)}; loading it again takes {_cost(method.reload)}"
                console.print(text)


def _cost(cost: Cost) -> str:
    read = "" if cost.read_size is None else f", {human(cost.read_size)} read"
    decoded = f", {human(cost.decoded_size)} decoded" if cost.decoded_size else ""
    seconds = "" if cost.seconds is None else f"{cost.seconds:.3f} s: "
    return f"{seconds}{plural(cost.requests, 'request')}{read}{decoded}"


def _short(unknown: Unknown) -> str:
    names = {
        "backend": f"what {safe(unknown.backend or '', 40)} allocates itself",
        "runtime": "the runtime's structures",
        "allocator": "what the allocator keeps",
        "decoder": "a decoder's workspace and tables",
    }
    return names.get(unknown.kind.value, unknown.kind.value)


def _sentence(unknown: Unknown) -> str:
    size = "" if unknown.size is None else f"{unknown.bound} {human(unknown.size)}: "
    who = f"{safe(unknown.backend, 40)}, " if unknown.backend else ""
    return f"{who}{size}{safe(unknown.why, 500)}"


def _print_details(simulation: Simulation, events: Sequence[Event], console: Console, everything: bool) -> None:
    for loader in simulation.loaders:
        _print_parts(loader, simulation, console)
    for loader in simulation.loaders:
        _print_steps(loader, simulation, console, everything)
    _print_events(events, simulation, console, everything)
    console.print("\nWhat the file cannot tell", style="bold")
    for unknown in simulation.unknowns:
        console.print(_sentence(unknown))


def _print_parts(loader: LoaderMemory, simulation: Simulation, console: Console) -> None:
    when = step_name(simulation.steps[loader.peak.step])
    title = f"At the peak with {loader.loader.value}: {human(loader.peak.footprint.total)} in {when}"
    rows = Rows(console, title, ">size", "what", "method", "backend", "freed by")
    for part in loader.peak.parts[:MOST_ROWS]:
        rows.add(
            human(part.footprint.total), part.what, safe(part.method or "", 30), safe(part.backend or "", 30),
            part.freed_by,
        )  # fmt: skip
    rows.print()


def _print_steps(loader: LoaderMemory, simulation: Simulation, console: Console, everything: bool) -> None:
    """Print a bar for each step: what is in memory after it, and, lighter, what was there at its peak."""
    steps = [
        (number, memory)
        for number, memory in enumerate(loader.steps or ())
        if simulation.steps[number].is_loading
    ]  # fmt: skip
    highest = loader.peak.footprint.total or 1
    asked = traffic(simulation)
    columns = ["step", ">peak", ">after", "after, peak"] + (["~loads", ">frees"] if console.width >= WIDE else [])
    rows = Rows(console, f"Step by step with {loader.loader.value}", *columns)
    shown = steps if everything else _telling(steps, asked, loader.peak.step)
    several = len({simulation.steps[number].backend for number, _ in steps} - {None}) > 1
    for number, memory in shown:
        peak, after = memory.peak.total, memory.after.total
        name = step_name(simulation.steps[number], backend=several)
        cells = [name, human(peak), human(after), _bar(after, peak, highest)]
        if console.width >= WIDE:
            cells += [asked[number].loads, human(asked[number].freed) if asked[number].freed else ""]
        rows.add(*cells)
    rows.print()
    if len(shown) < len(steps):
        console.print(f"+ {plural(len(steps) - len(shown), 'more step')}; --all shows them", style="dim")


def _bar(after: int, peak: int, highest: int) -> str:
    full = round(_BAR * after / highest)
    return "█" * full + "░" * (round(_BAR * peak / highest) - full)


@dataclass
class Traffic:
    """What one step asks of a data loader, in bytes."""

    by_kind: dict[str, int]
    freed: int = 0

    @property
    def loads(self) -> str:
        """What is loaded, in words: 3.2 KiB delegate, 476.5 KiB named data."""
        return ", ".join(f"{human(size)} {kind}" for kind, size in self.by_kind.items())


def traffic(simulation: Simulation) -> list[Traffic]:
    """Return what each step loads and frees; the same with all loaders, though BufferDataLoader keeps what is freed."""
    found = [Traffic({}) for _ in simulation.steps]
    for event in simulation.events or ():
        if event.load is None:
            continue
        step = found[event.step]
        if event.action.value == "free":
            step.freed += event.load.size
        else:
            kind = event.load.kind.value
            step.by_kind[kind] = step.by_kind.get(kind, 0) + event.load.size
    return found


def _telling(steps: list[tuple[int, StepMemory]], asked: list[Traffic], peak: int) -> list[tuple[int, StepMemory]]:
    """Return the steps that load most, and the one with the peak, in order."""
    chosen = sorted(steps, key=lambda step: (step[0] != peak, -sum(asked[step[0]].by_kind.values())))[:MOST_ROWS]
    return sorted(chosen, key=lambda step: step[0])


def _print_events(events: Sequence[Event], simulation: Simulation, console: Console, everything: bool) -> None:
    rows = Rows(console, "Loads and frees", "call", ">offset", ">size", ">live after", "what", "step")
    shown = events if everything else events[:MOST_ROWS]
    for event in shown:
        load = event.load
        step = step_name(simulation.steps[event.step])
        if load is None:
            rows.add(event.action.value, "", "", f"{event.live_size:,}", "", step)
            continue
        offset = "" if load.file is None else f"{load.range.offset:,}"
        what = load.kind.value if load.kind.value in load.what else f"{load.kind.value} {safe(load.what, 24)}"
        guess = " (inferred)" if load.inferred else ""
        rows.add(event.action.value, offset, f"{load.size:,}", f"{event.live_size:,}", what + guess, step)
    rows.print()
    if len(shown) < len(events):
        console.print(f"+ {plural(len(events) - len(shown), 'more event')}; --all shows them", style="dim")
