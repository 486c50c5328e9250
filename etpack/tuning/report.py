"""What a sweep found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from etpack.limits import written
from etpack.pte import FileKind
from etpack.tuning.cost import LoadCost
from etpack.tuning.device import Device
from etpack.writer import Options

# The part of the file's size, or of the time that it takes to load, that packing has to save to be worth it: what saves
# less is within what `tune` calls as good, and costs a step of the build and a loader.
LEAST_GAIN = 0.01


class Goal(Enum):
    """What the best option is best in."""

    LOAD = "load"
    SIZE = "size"


@dataclass(frozen=True)
class Trial:
    """One set of options, and what it comes to on the device."""

    options: Options
    # Whether all of the model was packed, or a sample of it.
    exact: bool
    # Bytes of the `.etz`.
    stored_size: int
    max_stored_block: int
    max_plane_scratch: int
    # Bytes of RAM for decoding, and how many of them the device's decoder asks for.
    scratch_size: int
    workspace_size: int
    # Whether the device has so much.
    fits: bool
    # Whether the file is smaller than the plain one, or loads more quickly, by `LEAST_GAIN` or more; of a sample,
    # whether it is not far from that.
    pays: bool
    load: LoadCost

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        options = self.options
        return {
            "block_size": options.block_size,
            "codec": options.codec,
            "effort": options.effort.value,
            "filters": options.filters,
            "alignment": options.alignment,
            "exact": self.exact,
            "stored_size": self.stored_size,
            "max_stored_block": self.max_stored_block,
            "max_plane_scratch": self.max_plane_scratch,
            "scratch_size": self.scratch_size,
            "workspace_size": self.workspace_size,
            "fits": self.fits,
            "pays": self.pays,
            "load": _cost_to_json(self.load),
        }


@dataclass(frozen=True)
class SampleReport:
    """Which part of the model the sweep looked at; what is `exact` was measured on all of it."""

    # Bytes of content, and pieces that they lie in.
    size: int
    piece_count: int
    # Trials of the sweep that were measured again, on all of the model.
    remeasured_count: int


@dataclass(frozen=True)
class TuneReport:
    """What `tune` found for one model and one device."""

    file: str
    kind: FileKind
    content_size: int
    device: Device
    goal: Goal
    # Requests that loading the model makes, and the bytes of content that they ask for.
    load_count: int
    load_size: int
    # What the loads cost where the model is not packed.
    plain: LoadCost
    # None if all was measured on the whole model.
    sample: SampleReport | None
    # The best first; behind them those that do not pay, and then those that do not fit.
    trials: tuple[Trial, ...]
    # Block sizes that were not tried: a block alone takes more RAM than there is.
    left_out: tuple[int, ...]

    @property
    def best(self) -> Trial:
        """The recommended options; the quickest or smallest of those that fit if none pay."""
        return self.trials[0]

    @property
    def pays(self) -> bool:
        """Whether to pack the model for the device; if not, it is best left as it is."""
        return self.best.pays

    @property
    def reason(self) -> str:
        """Why to pack it, or to leave it as it is, in a sentence."""
        if not self.pays:
            return f"No options that fit save {LEAST_GAIN:.0%} of the file's size, or of the time to load it."
        saved = {
            "the file's size": 1 - self.best.stored_size / self.content_size,
            "the time to load it": 1 - self.best.load.seconds / self.plain.seconds,
        }
        return f"It saves {' and '.join(f'{part:.1%} of {what}' for what, part in saved.items() if part > 0)}."

    @property
    def command(self) -> tuple[str, ...] | None:
        """The recommended command line; None if the model is best left as it is."""
        if not self.pays:
            return None
        file = f"./{self.file}" if self.file.startswith("-") else self.file
        return ("etpack", "compress", *option_words(self.best.options), file)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, by `schemas/tune.schema.json`."""
        return {
            "file": self.file,
            "kind": self.kind.value,
            "content_size": self.content_size,
            "device": asdict(self.device),
            "goal": self.goal.value,
            "load_count": self.load_count,
            "load_size": self.load_size,
            "plain": _cost_to_json(self.plain),
            "sample": None if self.sample is None else asdict(self.sample),
            "pays": self.pays,
            "reason": self.reason,
            "command": list(self.command) if self.command else None,
            "best": self.best.to_json(),
            "trials": [trial.to_json() for trial in self.trials],
            "left_out_block_sizes": list(self.left_out),
        }


def option_words(options: Options) -> tuple[str, ...]:
    """Return options as the command line takes them; those at their defaults are left out, but for size and codec."""
    words = ["--block-size", written(options.block_size), "--codec", options.codec]
    if options.effort is not Options().effort:
        words += ["--effort", options.effort.value]
    if not options.filters:
        words += ["--no-filter"]
    if options.alignment > 1:
        words += ["--align", written(options.alignment)]
    return tuple(words)


def _cost_to_json(cost: LoadCost) -> dict[str, Any]:
    return {**asdict(cost), "seconds": cost.seconds}
