"""What becomes of the bytes of one use, in words: by place, and by backend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from etpack.memory.backends import Backends, Runtime, Verdict, weakest

LOADERS_THAT_FREE = "with FileDataLoader, MmapDataLoader or the etz loader; BufferDataLoader frees nothing"
ANY_LOADER = "with any loader"
ANY_LOADER_INTO = "with any loader that has load_into, as all but SharedPtrDataLoader have"
BUFFER_ONLY = "with BufferDataLoader, through which ExecuTorch runs bundled programs; it frees nothing"

_PROGRAM_HOLDS = (
    "Destroying the Method gives back nothing: the Program holds it, and lets go of it when it is destroyed."
)

_NEVER_LOADED = "There is nothing to give back: it was never loaded."


@dataclass(frozen=True)
class Fate:
    """What becomes of loaded bytes."""

    verdict: Verdict
    # Why, in a sentence or two.
    why: str
    # With which loader the verdict holds.
    loader: str
    # What destroying the Method gives back, in a sentence.
    after_method_destroyed: str
    # Whether that is all of the bytes, at most; else it is none.
    method_frees: bool = False
    # When a conditional verdict holds, else None.
    condition: str | None = None
    # The file does not record the use; it was inferred.
    inferred: bool = False


PROGRAM = Fate(
    Verdict.NEVER,
    "The Program keeps its flatbuffer until it is destroyed.",
    ANY_LOADER,
    _PROGRAM_HOLDS,
)
CONSTANT = Fate(
    Verdict.NEVER,
    "The tensors of all methods point into the constant segment, so the Program keeps it until it is destroyed.",
    ANY_LOADER,
    _PROGRAM_HOLDS,
)
MUTABLE = Fate(
    Verdict.NOT_HELD,
    "Each first value is copied straight into a planned buffer of the method; the segment itself is not kept.",
    ANY_LOADER_INTO,
    "Destroying the Method gives back nothing of the file: the copies lie in planned buffers, which are the caller's.",
)
EXTERNAL = Fate(
    Verdict.NEVER,
    "A constant from a .ptd is held by the Method (the first value of a mutable tensor is copied, and not held).",
    ANY_LOADER,
    "Destroying the Method gives back all of it.",
    method_frees=True,
)
EXTERNAL_HERE = Fate(
    Verdict.NEVER,
    "It has the name of a tensor of the method that lies outside the program; as such the Method holds it.",
    ANY_LOADER,
    "Destroying the Method gives back all of it.",
    method_frees=True,
    inferred=True,
)
INLINE = Fate(
    Verdict.NEVER,
    "The blob lies inline in the flatbuffer, so the backend's free does nothing; it stays as long as the Program.",
    ANY_LOADER,
    _PROGRAM_HOLDS,
)
UNUSED = Fate(
    Verdict.NOT_LOADED,
    "Nothing in the program refers to this segment.",
    ANY_LOADER,
    _NEVER_LOADED,
)
PADDING = Fate(
    Verdict.NOT_LOADED,
    "No runtime asks for what lies between the parts.",
    ANY_LOADER,
    _NEVER_LOADED,
)
TRAILING = Fate(
    Verdict.NOT_LOADED,
    "No runtime asks for what lies after the last byte that the model declares.",
    ANY_LOADER,
    _NEVER_LOADED,
)
BUNDLED = Fate(
    Verdict.NEVER,
    "A bundled program is run from one buffer that holds the whole file, and no part of that can be freed.",
    BUFFER_ONLY,
    "Destroying the Method gives back nothing: the buffer is the caller's.",
)
DATA_MAP = Fate(
    Verdict.NEVER,
    "The FlatTensorDataMap keeps its flatbuffer as long as it lives.",
    ANY_LOADER,
    "Destroying the Method gives back nothing: the data map holds it.",
)
DATA_FILE = Fate(
    Verdict.UNKNOWN,
    "It depends on the program that asks for it: as an external constant it stays until the Method is destroyed; "
    "a backend that asks for it frees or keeps it as it does with named data.",
    LOADERS_THAT_FREE,
    "Destroying the Method gives back all of it, if it is an external constant, or a backend has kept it till then.",
    method_frees=True,
    inferred=True,
)
UNCLAIMED = Fate(
    Verdict.NOT_LOADED,
    "No delegate of this program is known to ask for it; an application that does gets a buffer of its own to free.",
    LOADERS_THAT_FREE,
    "Destroying the Method gives back nothing: no method has loaded it.",
    inferred=True,
)

_AFTER_BLOB = {
    Verdict.ALWAYS: "Destroying the Method gives back nothing more: the blob came back in init.",
    Verdict.ON_SUCCESS: "Destroying the Method gives back nothing more: the blob came back in init, or as that failed.",
    Verdict.CONDITIONAL: "Destroying the Method gives back the blob, where init did not.",
    Verdict.UNKNOWN: "Destroying the Method gives back the blob, if init did not.",
    Verdict.NEVER: "Destroying the Method gives back the blob.",
}
_AFTER_NAMED = {
    Verdict.ALWAYS: "Destroying the Method gives back nothing more: it came back in init.",
    Verdict.ON_SUCCESS: "Destroying the Method gives back nothing more: it came back in init.",
    Verdict.CONDITIONAL: "Destroying the Method gives back whatever the backend still holds.",
    Verdict.UNKNOWN: "Destroying the Method gives back what the backend still holds, if it lets go of it then.",
    Verdict.NEVER: "Destroying the Method gives back all of it: the backend holds it until then.",
}
_FREED_IN_INIT = (Verdict.ALWAYS, Verdict.ON_SUCCESS)


def of_blob(backend_id: str, backends: Backends) -> Fate:
    """Return what becomes of a delegate's blob that is a segment."""
    runtimes = backends.find(backend_id)
    verdict = weakest(runtime.verdict for runtime in runtimes)
    decisive = next(runtime for runtime in runtimes if runtime.verdict is verdict)
    return Fate(
        verdict,
        _several(runtimes, [runtime.verdict for runtime in runtimes]) + decisive.reason,
        _loader(verdict),
        _AFTER_BLOB[verdict],
        method_frees=verdict not in _FREED_IN_INIT,
        condition=decisive.condition,
    )


def of_named_data(askers: Iterable[tuple[str, bool | None]], backends: Backends, *, inferred: bool = True) -> Fate:
    """Return what becomes of named data that any of `askers` may ask for.

    Args:
        askers: Ids of backends that do ask for named data, each with whether it packs this, None if that is not known.
        backends: The table.
        inferred: The file does not say who asks for it.
    """
    handlings = [
        (runtime, runtime.named_data if packed is None else runtime.named_data.of(packed))
        for backend_id, packed in askers
        for runtime in backends.find(backend_id)
        if runtime.named_data
    ]
    verdict = weakest(handling.verdict for _, handling in handlings)
    decisive = next(handling for _, handling in handlings if handling.verdict is verdict)
    return Fate(
        verdict,
        _several([runtime for runtime, _ in handlings], [h.verdict for _, h in handlings]) + decisive.reason,
        _loader(verdict),
        _AFTER_NAMED[verdict],
        method_frees=verdict not in _FREED_IN_INIT,
        inferred=inferred,
    )


def _loader(verdict: Verdict) -> str:
    return ANY_LOADER if verdict is Verdict.NEVER else LOADERS_THAT_FREE


def _several(runtimes: Sequence[Runtime], verdicts: Sequence[Verdict]) -> str:
    """Say that the weakest of several runtimes decides, or nothing if there is one."""
    if len(runtimes) == 1:
        return ""
    shown = [f"{runtime.name} ({verdict.value})" for runtime, verdict in zip(runtimes, verdicts, strict=True)]
    names = " or ".join(shown[:3]) + (f" or {len(shown) - 3:,} others" if len(shown) > 3 else "")
    return f"It goes to {names}; the weaker holds. "
