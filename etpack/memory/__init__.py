"""What loading a model keeps in memory, and what comes back: pure, from a parsed model and a table of backends."""

from __future__ import annotations

from etpack.memory.backends import Backends, NamedDataHandling, Runtime, Verdict, load_backends, weakest
from etpack.memory.fates import Fate
from etpack.memory.freeability import Place, Use, UseGroup, UseKind, find_uses, group_uses

__all__ = [
    "Backends",
    "Fate",
    "NamedDataHandling",
    "Place",
    "Runtime",
    "Use",
    "UseGroup",
    "UseKind",
    "Verdict",
    "find_uses",
    "group_uses",
    "load_backends",
    "weakest",
]
