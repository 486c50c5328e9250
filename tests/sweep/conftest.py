"""Counts what is tried, and says so at the end."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

# Of processor time, for one damaged file; many times what was ever measured, for machines that are slow.
MOST_SECONDS = 10.0
# Of the whole process, in MiB.
MOST_MEMORY = 400


@dataclass
class Tally:
    """What one test tried."""

    name: str
    tried: int = 0
    accepted: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    def each(self, cases: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the cases; count them, and take the processor time that each is worked on."""
        for case in cases:
            started = time.process_time()
            yield case
            self.slowest = max(self.slowest, time.process_time() - started)
            self.tried += 1
        assert self.slowest < MOST_SECONDS

    def finish(self) -> None:
        self.seconds = time.perf_counter() - self._started


_TALLIES: list[Tally] = []


def peak_memory(usage: resource.struct_rusage) -> int:
    """Return the most memory that a process has had, in MiB."""
    return usage.ru_maxrss >> (20 if sys.platform == "darwin" else 10)


def _own_peak() -> int:
    return peak_memory(resource.getrusage(resource.RUSAGE_SELF))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts for the test that asks for it."""
    name = request.node.name
    made = Tally(name.removeprefix("test_").replace("_", " "))
    yield made
    made.finish()
    _TALLIES.append(made)
    assert made.tried, "a sweep that tries nothing proves nothing"
    assert _own_peak() < MOST_MEMORY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each sweep."""
    for each in _TALLIES:
        terminalreporter.write_line(
            f"{each.tried:9,} tried, {each.accepted:7,} accepted, {each.seconds:6.1f} s, "
            f"slowest {1000 * each.slowest:5.0f} ms: {each.name}"
        )
    total, seconds = sum(each.tried for each in _TALLIES), sum(each.seconds for each in _TALLIES)
    terminalreporter.write_line(f"{total:9,} in all, {seconds:.1f} s, at most {_own_peak()} MiB")
