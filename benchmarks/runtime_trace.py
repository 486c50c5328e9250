"""What ExecuTorch asks of a data loader, as the runner of examples/cpp logs it, beside what the simulation says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from etpack.memory import Action, Replay

# A call or a free: what it is, in which file ("program" or "data"), offset and size, what the loader is told (type,
# index and descriptor), and the bytes loaded and not freed after it. What does not apply is None.
Call = tuple[str, str | None, int | None, int | None, tuple[str, int, str | None] | None, int]

_FILES = {0: "program", 1: "data"}
# What the runner prints of memory.
_FIGURE = re.compile(r"^(resident|peak)_(start|loaded)_bytes: (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Measured:
    """One run of the runner that only loads."""

    calls: tuple[Call, ...]
    # Growth of resident memory since its start, in bytes: its peak, and when the method is loaded.
    peak: int
    loaded: int


def run(runner: Path, model: Path, loader: str, method: str, log: Path, data: Path | None = None) -> Measured | None:
    """Load a method and destroy it; None if ExecuTorch's wheel cannot load it.

    Args:
        runner: The program, built from examples/cpp.
        model: A .pte, or an .etz for the loader "etz".
        loader: "file", "mmap", "buffer" or "etz".
        method: Name of the method.
        log: Where the calls go.
        data: The .ptd, if the model needs one; packed if the model is.
    """
    words = [str(runner), str(model), "--loader", loader, "--method", method, "--load-only", "--log", str(log)]
    words += ["--data", str(data)] if data else []
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    if done.returncode == 1:
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed\n{done.stderr}")
    figures = {(kind, moment): int(size) for kind, moment, size in _FIGURE.findall(done.stdout)}
    start = figures["resident", "start"]
    lines = log.read_text(encoding="utf-8").splitlines()
    return Measured(
        tuple(traced([json.loads(line) for line in lines])),
        figures["peak", "loaded"] - start,
        figures["resident", "loaded"] - start,
    )


def traced(lines: Sequence[dict[str, object]]) -> Iterator[Call]:
    """Yield the calls of a log of the runner's."""
    places: dict[object, tuple[int, int]] = {}
    for line in lines:
        call, live = str(line["call"]), int(str(line["live"]))
        if call == "size":
            yield call, str(line["source"]), None, None, None, live
        elif call == "free":
            offset, size = places.pop(line["buffer"])
            yield call, str(line["source"]), offset, size, None, live
        elif call in ("load", "load_into"):
            offset, size = int(str(line["offset"])), int(str(line["size"]))
            if "buffer" in line:
                places[line["buffer"]] = offset, size
            descriptor = line["descriptor"]
            info = str(line["type"]).lower(), int(str(line["index"])), None if descriptor is None else str(descriptor)
            yield call, str(line["source"]), offset, size, info, live


def predicted(replay: Replay) -> Iterator[Call]:
    """Yield the calls of a replay in the same form."""
    for event in replay.events:
        load, live = event.load, event.live_size
        if load is None:
            file = replay.steps[event.step].data_file
            yield "size", _FILES[file or 0], None, None, None, live
            continue
        place = _FILES[0 if load.file is None else load.file], load.range.offset, load.size
        if event.action is Action.FREE:
            yield "free", *place, None, live
        else:
            info = load.info.type.value, load.info.index, load.info.descriptor
            yield event.action.value.replace(" ", "_"), *place, info, live
