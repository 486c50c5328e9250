"""What each data loader takes in memory for what it loads, and what it reads of the storage; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from etpack.memory.events import Load
from etpack.pte import Range

# Of the systems that ExecuTorch's loaders are used on; some have 16 KiB.
PAGE_SIZE = 4096
# The alignment that FileDataLoader asks the heap for by default.
_HEAP_ALIGNMENT = 16


class Loader(Enum):
    """A data loader of ExecuTorch's, or etpack's."""

    BUFFER = "BufferDataLoader"
    FILE = "FileDataLoader"
    MMAP = "MmapDataLoader"
    MMAP_MLOCK = "MmapDataLoader with mlock"
    ETZ = "EtzDataLoader"


@dataclass(frozen=True)
class PackedCost:
    """What it takes to decode a part of the content from an `.etz`, in bytes."""

    # None if the file is not packed, so that there is no telling.
    stored: int | None
    # Whole blocks.
    decoded: int


@dataclass(frozen=True)
class Storage:
    """How the content is stored, or would be."""

    # Bytes of the content: BufferDataLoader holds all of them.
    content_size: int
    block_size: int
    # Bytes that a device needs to decode any block: the largest stored one, scratch for planes, and a decoded block.
    scratch: int
    # Whether that is what the footer says. If not, it is the most that a file packed at the defaults would need.
    packed: bool
    # What it takes to decode a content range.
    cost: Callable[[Range], PackedCost]


@dataclass(frozen=True)
class Held:
    """Memory that one buffer takes, in bytes."""

    # The system cannot take it back: heap, anonymous pages.
    dirty: int = 0
    # Pages of the file that the system may drop and read again. At most: pages that nobody touches are never read.
    clean: int = 0
    # Pages of the file that the system may not drop.
    pinned: int = 0


@dataclass(frozen=True)
class Cost:
    """What some loads take, in bytes and requests."""

    # Calls of `load` and `load_into`.
    requests: int = 0
    # Asked for.
    size: int = 0
    # Read from the storage; None if the file is not packed, so that there is no telling for EtzDataLoader. For
    # MmapDataLoader at most: pages that nobody touches are not read.
    read_size: int | None = 0
    # Decoded, whole blocks each time; 0 with all loaders but EtzDataLoader.
    decoded_size: int = 0
    # At least, reading and decoding in turn; None if no speeds were given, or `read_size` is None.
    seconds: float | None = None


def is_speed(mb_s: float) -> bool:
    """Whether a number of MB/s (10^6 bytes a second) is such that every time that is made of it is a number."""
    return 1e-9 <= mb_s <= 1e9


@dataclass(frozen=True)
class Speeds:
    """How fast a device is, in bytes a second.

    Raises:
        ValueError: One of them cannot be (`is_speed`).
    """

    storage: float
    # Of decoding blocks, with one thread; None if there is no need to know how long EtzDataLoader takes.
    decode: float | None = None

    def __post_init__(self) -> None:
        for speed in (self.storage, self.decode):
            if speed is not None and not is_speed(speed / 1e6):
                raise ValueError(f"{speed!r} is not a speed in bytes a second")


def held_by(loader: Loader, load: Load) -> Held:
    """Return what the buffer of a load takes until it is freed."""
    if load.into or not load.size or loader is Loader.BUFFER:
        return Held()
    if loader is Loader.MMAP:
        return Held(clean=_covering_pages(load.range))
    if loader is Loader.MMAP_MLOCK:
        return Held(pinned=_covering_pages(load.range))
    return Held(dirty=_on_the_heap(load.size))


def cost_of(loader: Loader, loads: Sequence[Load], storage: Storage, speeds: Speeds | None = None) -> Cost:
    """Return what some loads take; those of another file than the model's count as if it were not packed."""
    read: int | None = 0
    decoded = 0
    for load in loads:
        if not load.size or loader is Loader.BUFFER:
            continue
        stored: int | None = load.size
        if loader in (Loader.MMAP, Loader.MMAP_MLOCK):
            stored = _covering_pages(load.range)
        elif loader is Loader.ETZ and load.file == 0:
            packed = storage.cost(load.range)
            stored, decoded = packed.stored, decoded + packed.decoded
        read = None if read is None or stored is None else read + stored
    return Cost(len(loads), sum(load.size for load in loads), read, decoded, _seconds(read, decoded, speeds))


def _seconds(read: int | None, decoded: int, speeds: Speeds | None) -> float | None:
    if read is None or speeds is None or (decoded and speeds.decode is None):
        return None
    return round(read / speeds.storage + (decoded / speeds.decode if speeds.decode else 0), 6)


def _covering_pages(place: Range) -> int:
    first = place.offset // PAGE_SIZE
    return (-(-place.end // PAGE_SIZE) - first) * PAGE_SIZE


def _on_the_heap(size: int) -> int:
    """Return what an allocation takes: whole pages if it has any to itself."""
    unit = PAGE_SIZE if size >= PAGE_SIZE else _HEAP_ALIGNMENT
    return -(-size // unit) * unit
