"""Signals that end a run: each becomes one KeyboardInterrupt, and never in the middle of a step that belongs together.

The library does not listen; the command line does. It imports this module before all others, so it imports little.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a retry waits for, in seconds; see `_retry`.
_SOON = 0.001

# The signal that came, or 0; further ones change nothing, so that they cannot cut short what the first one began.
_number = 0
# The one that is raised again, a moment later.
_later = 0
# How many `held_back` blocks we are in, and whether a signal came meanwhile.
_held = 0
_waiting = False
# What `also_call` was given.
_called: list[Callable[[], None]] = []


def listen() -> None:
    """Take SIGINT, SIGTERM and SIGHUP, but for those that the caller had ignored, as `nohup` does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _take)
    sys.unraisablehook = _retry


def ignore() -> None:
    """Ignore them from now on: the run is over."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if signal.getsignal(signal.SIGALRM) is _take_later:
        signal.setitimer(signal.ITIMER_REAL, 0)


def received() -> int:
    """Return the number of the signal that ends the run, or 0."""
    return _number


def also_call(function: Callable[[], None]) -> None:
    """Have a function called as soon as a signal comes, held back or not: to end what other threads wait for."""
    _called.append(function)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold a signal back until the end of the block; for steps that are short and belong together."""
    global _held, _waiting
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if _waiting and not _held:
            _waiting = False
            raise KeyboardInterrupt


def _take(number: int, _frame: object) -> None:
    global _number, _waiting
    if _number:
        return
    _number = number
    for function in _called:
        function()
    if not _held:
        raise KeyboardInterrupt
    _waiting = True


def _retry(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise again, a moment later, what was raised where nothing can be: in a destructor or a callback."""
    global _number, _later
    if not (_number and issubclass(unraisable.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)
        return
    _later, _number = _number, 0
    signal.signal(signal.SIGALRM, _take_later)
    signal.setitimer(signal.ITIMER_REAL, _SOON)


def _take_later(_: int, frame: object) -> None:
    _take(_later, frame)
