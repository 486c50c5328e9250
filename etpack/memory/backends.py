"""What each ExecuTorch backend frees, as read in its source code: `backends.json` as frozen values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any


class Verdict(Enum):
    """Whether a load's bytes come back before the Method is destroyed."""

    ALWAYS = "always"
    ON_SUCCESS = "on success"
    CONDITIONAL = "conditional"
    UNKNOWN = "unknown"
    NEVER = "never"
    # Copied out of the loader's buffer, which is gone at once.
    NOT_HELD = "not held"
    # No part of ExecuTorch asks for it.
    NOT_LOADED = "not loaded"


# Those that a backend can have, from the strongest promise to none.
BACKEND_VERDICTS = (Verdict.ALWAYS, Verdict.ON_SUCCESS, Verdict.CONDITIONAL, Verdict.UNKNOWN, Verdict.NEVER)


def weakest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that promises least, of those that a backend can have."""
    return max(verdicts, key=BACKEND_VERDICTS.index)


@dataclass(frozen=True)
class NamedDataHandling:
    """What a backend does with the named data that it asks for."""

    verdict: Verdict
    # One or two sentences.
    reason: str
    # Of tensors that the backend packs into a copy of its own, and of the others; None where `verdict` is for all.
    # Which are which is known where the blob can be read.
    packed: NamedDataHandling | None = None
    others: NamedDataHandling | None = None

    def of(self, packed: bool) -> NamedDataHandling:
        """Return what happens to a tensor that is known to be packed, or not."""
        return (self.packed if packed else self.others) or self


@dataclass(frozen=True)
class Runtime:
    """One runtime that serves a delegate id; another may serve the same id."""

    # As the program spells it.
    id: str
    # What people call it.
    name: str
    # For the blob that the backend gets, when it is a segment of its own.
    verdict: Verdict
    # When a conditional verdict holds, else None.
    condition: str | None
    # One sentence.
    reason: str
    # None for a backend that asks for no named data.
    named_data: NamedDataHandling | None
    # Paths in the ExecuTorch repository, most with lines.
    evidence: tuple[str, ...]
    # Version and commit of ExecuTorch that the evidence was read in; for a user's entry, of whatever the user names.
    executorch: str
    # Whether it is of the table that ships with etpack, and not of a user's.
    shipped: bool = True


@dataclass(frozen=True)
class NotDelegate:
    """Something with a backend's name that no delegate id stands for."""

    name: str
    reason: str
    evidence: tuple[str, ...]
    executorch: str


@dataclass(frozen=True)
class Backends:
    """The table."""

    # By delegate id, at least one each.
    runtimes: Mapping[str, tuple[Runtime, ...]]
    not_delegates: tuple[NotDelegate, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions of ExecuTorch that the shipped part of the table was read from."""
        found = {runtime.executorch for several in self.runtimes.values() for runtime in several if runtime.shipped}
        return tuple(sorted(found | {other.executorch for other in self.not_delegates}))

    def find(self, backend_id: str) -> tuple[Runtime, ...]:
        """Return the runtimes that serve an id; for one that is not in the table, a single unknown one."""
        return self.runtimes.get(backend_id) or (_unknown(backend_id, "No runtime for it is known here.", (), ""),)

    def replaced_by(self, own: Sequence[Runtime]) -> Backends:
        """Return the table with the runtimes of `own` instead of those it has for their ids."""
        return replace(self, runtimes={**self.runtimes, **by_id(own)})


def by_id(runtimes: Iterable[Runtime]) -> dict[str, tuple[Runtime, ...]]:
    """Return runtimes by the delegate id that they serve."""
    found: dict[str, tuple[Runtime, ...]] = {}
    for runtime in runtimes:
        found[runtime.id] = (*found.get(runtime.id, ()), runtime)
    return found


@cache
def load_backends() -> Backends:
    """Return the table that ships with etpack."""
    data = json.loads(Path(__file__).with_name("backends.json").read_text("utf-8"))
    runtimes = [*map(runtime_of, data["runtimes"]), *map(_without_runtime, data["without_runtime"])]
    return Backends(by_id(runtimes), tuple(map(_not_delegate, data["not_delegates"])))


def runtime_of(record: Mapping[str, Any]) -> Runtime:
    """Return a runtime from a record of `backends.json`, or one like it that was checked."""
    named = record["named_data"]
    return Runtime(
        id=record["id"],
        name=record["runtime"],
        verdict=Verdict(record["verdict"]),
        condition=record["condition"],
        reason=record["reason"],
        named_data=named and _handling(named),
        evidence=tuple(record["evidence"]),
        executorch=record["executorch"],
    )


def _handling(record: Mapping[str, Any]) -> NamedDataHandling:
    packed, others = record.get("packed"), record.get("others")
    return NamedDataHandling(
        Verdict(record["verdict"]), record["reason"], packed and _handling(packed), others and _handling(others)
    )


def _without_runtime(record: Mapping[str, Any]) -> Runtime:
    reason = "ExecuTorch has only the exporter's side of it, and no runtime to look at."
    return _unknown(record["id"], reason, tuple(record["evidence"]), record["executorch"])


def _unknown(backend_id: str, reason: str, evidence: tuple[str, ...], executorch: str) -> Runtime:
    return Runtime(
        id=backend_id,
        name="unknown runtime",
        verdict=Verdict.UNKNOWN,
        condition=None,
        reason=reason,
        named_data=NamedDataHandling(Verdict.UNKNOWN, reason),
        evidence=evidence,
        executorch=executorch,
    )


def _not_delegate(record: Mapping[str, Any]) -> NotDelegate:
    return NotDelegate(record["name"], record["reason"], tuple(record["evidence"]), record["executorch"])
