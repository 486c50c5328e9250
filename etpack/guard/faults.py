"""Collects what is wrong with a model; a file with a million faults costs no more memory than one with a hundred."""

from __future__ import annotations

from dataclasses import dataclass, field

from etpack.errors import PteError
from etpack.guard.rules import MODEL_RULES

# Faults of each severity that are kept; further ones are counted.
MAX_FAULTS = 100


@dataclass(frozen=True)
class Fault:
    """One broken rule of `MODEL_RULES`."""

    rule: str
    message: str
    # Offset in the file in bytes.
    where: int

    @property
    def severity(self) -> str:
        """Either "error" or "warning"."""
        return MODEL_RULES[self.rule].severity


@dataclass
class Faults:
    """Faults in the order in which they were found, errors and warnings apart."""

    errors: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    # Faults beyond those kept.
    omitted_count: int = 0

    def add(self, rule: str, message: str, where: int) -> None:
        """Note a fault at offset `where` in the file; raise KeyError if there is no such rule."""
        kept = self.errors if MODEL_RULES[rule].severity == "error" else self.warnings
        if len(kept) < MAX_FAULTS:
            kept.append(Fault(rule, message, where))
        else:
            self.omitted_count += 1

    def add_error(self, exc: PteError, who: str) -> None:
        """Note a fault that a function of `etpack.pte` found, with `who` it is about before its message."""
        where = exc.where or 0
        message = str(exc).removesuffix(f" [{exc.rule}]").removesuffix(f" at {where:#x}")
        self.add(exc.rule, f"{who}: {message}", where)
