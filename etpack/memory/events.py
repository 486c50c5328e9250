"""What happens while ExecuTorch loads a model and destroys it: steps, loads, and events, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from etpack.loader import SegmentInfo
from etpack.memory.freeability import UseKind
from etpack.pte import Range


class Action(Enum):
    """What happens at an event."""

    # The loader gives a buffer, which somebody holds.
    LOAD = "load"
    # The loader copies into a buffer of the runtime's.
    LOAD_INTO = "load into"
    # The runtime asks how large the file is.
    SIZE = "size"
    FREE = "free"


class Stage(Enum):
    """What the runtime is doing."""

    DATA_FILE = "data file"
    PROGRAM = "program"
    # Of a method: its external constants, and the first values of its tensors.
    TENSORS = "tensors"
    DELEGATE = "delegate"
    DESTROY_METHOD = "destroy method"
    DESTROY_DATA_FILE = "destroy data file"
    DESTROY_PROGRAM = "destroy program"


class Holder(Enum):
    """Who holds what was loaded, and so decides when it is freed."""

    # Freed as soon as it was looked at.
    NOBODY = "nobody"
    PROGRAM = "program"
    DATA_FILE = "data file"
    METHOD = "method"
    # Freed while the delegate is initialised.
    INIT = "init"


@dataclass(frozen=True)
class Step:
    """One step of loading or destroying."""

    stage: Stage
    # Name of the method; None for the program and data files.
    method: str | None = None
    # Number and backend id of the delegate.
    delegate: int | None = None
    backend: str | None = None
    # Position of the data file.
    data_file: int | None = None

    @property
    def is_loading(self) -> bool:
        """Whether it comes before anything is destroyed."""
        return self.stage in (Stage.DATA_FILE, Stage.PROGRAM, Stage.TENSORS, Stage.DELEGATE)


@dataclass(frozen=True)
class Load:
    """One request to a data loader, and what becomes of its answer."""

    # Counts the loads, from 0.
    number: int
    kind: UseKind
    # The key, or whatever else tells it from others of its kind.
    what: str
    # Content range of the file, in bytes. Where the file was not given only the size means something, and that is as
    # the program or the blob says.
    range: Range
    # 0 for the program's file, 1 and up for the data files; None if none of these has it.
    file: int | None
    info: SegmentInfo
    # Copied into a buffer of the runtime's (load_into) and not kept in one of the loader's (load).
    into: bool
    # The method, and the number and backend id of the delegate, that is being loaded; None while the program is.
    method: str | None = None
    delegate: int | None = None
    backend: str | None = None
    holder: Holder = Holder.PROGRAM
    # Whether that is known. If not, it is either INIT or METHOD.
    holder_known: bool = True
    # The file does not say who asks for it; it was inferred.
    inferred: bool = False

    @property
    def size(self) -> int:
        return self.range.size


@dataclass(frozen=True)
class Event:
    """One call, or one free."""

    action: Action
    # Position of its step.
    step: int
    # None for SIZE.
    load: Load | None
    # Bytes that were loaded and not freed, after it.
    live_size: int


@dataclass(frozen=True)
class Replay:
    """The calls and frees of loading a model and destroying it, in order."""

    steps: tuple[Step, ...]
    events: tuple[Event, ...]
    # Bytes of constants that XNNPACK packs into copies of its own, by position of the delegate's step.
    packed_sizes: Mapping[int, int]
    # Keys that a delegate or a tensor asks for, and that no given file has, with their bytes.
    absent: Mapping[str, int]
