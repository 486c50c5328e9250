"""What a file cannot tell of the memory that loading it takes, each with a bound where there is one; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from etpack.memory.backends import Backends
from etpack.memory.events import Action, Load, Replay
from etpack.pte import Blobs, FileKind, ModelFile
from etpack.pte.blobs import XNNPACK


class UnknownKind(Enum):
    """What is not known."""

    # A backend's own copies of the weights it was given; counted in the figures, about.
    COPIES = "copies"
    # Whatever else a backend allocates: the compiled model, a workspace, memory of another processor.
    BACKEND = "backend"
    # Whether a backend frees what it loaded.
    FREES = "frees"
    # Which delegate asks for which named data.
    ASKERS = "askers"
    # A .ptd that was not given.
    DATA_FILE = "data file"
    # The runtime's own structures.
    RUNTIME = "runtime"
    # What the allocator keeps of freed memory.
    ALLOCATOR = "allocator"
    # What a decoder needs beside scratch, and the tables of the file.
    DECODER = "decoder"
    # Pages that are mapped and never touched.
    PAGES = "pages"


@dataclass(frozen=True)
class Unknown:
    """Something that a file cannot tell."""

    kind: UnknownKind
    # Id of the backend that it is about, or None.
    backend: str | None
    # Bytes, by `bound`; None where there is no bound.
    size: int | None
    # "about": in the figures, and may be more or less. "at most": in the figures, and may be less. "more": not in the
    # figures, and comes on top.
    bound: str
    # In a sentence or two.
    why: str


def find_unknowns(model: ModelFile, run: Replay, blobs: Blobs, backends: Backends) -> tuple[Unknown, ...]:
    """Return what is not known of a replayed load, the figures' own bounds first."""
    loads = [event.load for event in run.events if event.load and event.action is not Action.FREE]
    return (
        *_copies(run),
        *_uncertain_frees(loads),
        *_uncertain_askers(model, loads, blobs),
        *_absent(run),
        *_backends(model, backends),
        *_always(model),
    )


def _copies(run: Replay) -> Iterator[Unknown]:
    size = sum(run.packed_sizes.values())
    if size:
        yield Unknown(
            UnknownKind.COPIES,
            XNNPACK,
            size,
            "about",
            "XNNPACK packs a copy of the weights of each delegate, about as large as they are; it stays until the "
            "Method is destroyed. Padding, another data type or a weights cache make it larger or smaller.",
        )


def _uncertain_frees(loads: list[Load]) -> Iterator[Unknown]:
    sizes: dict[str | None, int] = {}
    for load in loads:
        if not load.holder_known and not load.into:
            sizes[load.backend] = sizes.get(load.backend, 0) + load.size
    for backend, size in sizes.items():
        who = "Whoever asks for it" if backend is None else "The backend"
        why = f"{who} may free this while it is initialised, or keep it; the figures have it kept."
        yield Unknown(UnknownKind.FREES, backend, size, "at most", why)


def _uncertain_askers(model: ModelFile, loads: list[Load], blobs: Blobs) -> Iterator[Unknown]:
    guessed: dict[str | None, int] = {}
    for load in loads:
        if load.inferred and model.kind is not FileKind.PTD:
            guessed[load.backend] = guessed.get(load.backend, 0) + load.size
    for backend, size in guessed.items():
        reasons = set(blobs.unread.values())
        because = f" ({next(iter(reasons))})" if backend == XNNPACK and reasons else ""
        yield Unknown(
            UnknownKind.ASKERS,
            backend,
            size,
            "at most",
            "The file does not record which delegate asks for which named data"
            f"{because}; the figures have the last delegate that may ask for it ask for all that nobody else does.",
        )


def _absent(run: Replay) -> Iterator[Unknown]:
    if run.absent:
        size = sum(run.absent.values())
        count = len(run.absent)
        keys = "a key" if count == 1 else f"{count:,} keys"
        yield Unknown(
            UnknownKind.DATA_FILE,
            None,
            size,
            "about",
            f"The model asks for {keys} that it does not have: with a .ptd that has them, its own flatbuffer comes on "
            "top. Sizes are as the model says.",
        )


def _backends(model: ModelFile, backends: Backends) -> Iterator[Unknown]:
    ids = sorted({delegate.id for method in model.methods for delegate in method.delegates})
    for backend_id in ids:
        if backend_id == XNNPACK:
            why = "XNNPACK has a workspace for activations, which delegates share, and structures for each operator."
        else:
            names = " or ".join(dict.fromkeys(runtime.name for runtime in backends.find(backend_id)))
            why = f"What {names} makes of the blob and the weights, here or on another processor, cannot be told."
        yield Unknown(UnknownKind.BACKEND, backend_id, None, "more", why)


def _always(model: ModelFile) -> Iterator[Unknown]:
    if model.kind is not FileKind.PTD:
        values = sum(method.value_count for method in model.methods)
        yield Unknown(
            UnknownKind.RUNTIME,
            None,
            None,
            "more",
            f"The runtime has structures of its own for {values:,} values and their tensors.",
        )
    if model.kind is FileKind.BPTE:
        return
    yield Unknown(
        UnknownKind.ALLOCATOR,
        None,
        None,
        "more",
        "FileDataLoader's buffers go back to the heap, and the allocator may keep them: at most the difference between "
        "the peak and what stays.",
    )
    yield Unknown(
        UnknownKind.PAGES,
        None,
        None,
        "at most",
        "MmapDataLoader's pages count as if all were touched; those that nobody touches are never read.",
    )
    yield Unknown(
        UnknownKind.DECODER,
        None,
        None,
        "more",
        "EtzDataLoader's decoders may need a workspace beside the scratch, as zstd does; and it keeps the tables of a "
        "file in memory where they are small.",
    )
