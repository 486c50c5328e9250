"""What loading a model keeps in memory, and what comes back: pure, from a parsed model and a table of backends."""

from __future__ import annotations

from etpack.memory.backends import Backends, NamedDataHandling, Runtime, Verdict, load_backends, weakest
from etpack.memory.events import Action, Event, Holder, Load, Replay, Stage, Step
from etpack.memory.fates import Fate
from etpack.memory.freeability import Place, Use, UseGroup, UseKind, find_uses, group_uses
from etpack.memory.loaders import Cost, Loader, PackedCost, Speeds, Storage, is_speed
from etpack.memory.sequence import replay
from etpack.memory.simulation import LoaderMemory, MethodMemory, Simulation, simulate
from etpack.memory.timeline import Footprint, Moment, Part, StepMemory
from etpack.memory.unknowns import Unknown, UnknownKind

__all__ = [
    "Action",
    "Backends",
    "Cost",
    "Event",
    "Fate",
    "Footprint",
    "Holder",
    "Load",
    "Loader",
    "LoaderMemory",
    "MethodMemory",
    "Moment",
    "NamedDataHandling",
    "PackedCost",
    "Part",
    "Place",
    "Replay",
    "Runtime",
    "Simulation",
    "Speeds",
    "Stage",
    "Step",
    "StepMemory",
    "Storage",
    "Unknown",
    "UnknownKind",
    "Use",
    "UseGroup",
    "UseKind",
    "Verdict",
    "find_uses",
    "group_uses",
    "is_speed",
    "load_backends",
    "replay",
    "simulate",
    "weakest",
]
