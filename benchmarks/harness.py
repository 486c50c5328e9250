"""Timing: commands in processes of their own, contestants that take turns, medians, and ratios to a peer."""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ETPACK = (sys.executable, "-m", "etpack")

_LAUNCH = Path(__file__).with_name("launch.py")
_START = time.monotonic()


class UnmeasuredError(Exception):
    """A contestant cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Usage:
    """What one run of a command took: wall seconds, and the largest resident set in bytes."""

    seconds: float
    peak: int


@dataclass(frozen=True)
class Spread:
    """The median of several measurements, the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of one value or more, rounded to five digits that count."""
        ordered = [_rounded(value) for value in sorted(values)]
        return cls(_rounded(statistics.median(ordered)), ordered[0], ordered[-1])


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def progress(text: str) -> None:
    """Say on stderr what goes on, with the seconds since the start."""
    print(f"[{time.monotonic() - _START:6.0f} s] {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str], output: Path | None = None) -> Usage:
    """Run a command to its end; its stdout goes to `output`, or to nowhere.

    Raises:
        UnmeasuredError: The program is not there, failed, or took more than 20 minutes.
    """
    if shutil.which(command[0]) is None:
        raise UnmeasuredError(f"{command[0]} is not installed; on Debian and Ubuntu: apt-get install {command[0]}")
    reading, writing = os.pipe()
    with open(output or os.devnull, "wb") as target, open(reading, "rb") as report:
        try:
            result = subprocess.run(
                [sys.executable, "-I", "-S", str(_LAUNCH), str(writing), *command],
                stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.PIPE, pass_fds=(writing,),
            )  # fmt: skip
        finally:
            os.close(writing)
        if result.returncode:
            said = result.stderr.decode(errors="replace").strip().splitlines()
            raise UnmeasuredError(f"exit code {result.returncode}: {said[-1] if said else 'no message'}")
        return Usage(**json.load(report))


def settle() -> None:
    """Write out what earlier runs left to be written, so that the next does not pay for it."""
    os.sync()


def take_turns(
    contestants: Mapping[str, Callable[[], float]], rounds: int, failed: Callable[[str, str], None]
) -> dict[str, list[float]]:
    """Let each contestant run once a round, in order, and return the figures of those that finished every round.

    Args:
        contestants: Each name, and what measures one run of it.
        rounds: How many rounds.
        failed: Called with the name and the reason when a contestant raises `UnmeasuredError`; it is out from then on.
    """
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(figures):
            try:
                figures[name].append(contestants[name]())
            except UnmeasuredError as exc:
                del figures[name]
                failed(name, str(exc))
            else:
                progress(f"  round {number + 1} of {rounds}: {name}: {figures[name][-1]:.3g} s")
    return figures


def ratio_per_round(ours: Sequence[float], peers: Sequence[float]) -> Spread:
    """Return how many times as fast as the peer we were, from the seconds of the same rounds."""
    return Spread.of(peer / our for our, peer in zip(ours, peers, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all values do not exceed."""
    ordered = sorted(values)
    return _rounded(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)])
