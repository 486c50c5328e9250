"""Random reads of 4 KiB and 64 KiB out of packed files, with one thread and four, against peers.

python -m benchmarks.random_reads FILE_OR_FOLDER...
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import etpack
from benchmarks import peers, plots
from benchmarks.harness import UnmeasuredError, percentile, progress
from benchmarks.part import Bench, Part, Row, block_name, distinct, table
from benchmarks.peers import Reader
from benchmarks.places import MEGABYTE, representatives, weight_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK_SIZES = (16 << 10, 64 << 10)
READ_SIZES = (4 << 10, 64 << 10)
THREADS = (1, 4)

_READS = 2000
_ROUNDS = 4
_CHECKED = 200
_LARGEST = 100 * MEGABYTE
_REFERENCE = "uncompressed file"

ABOUT = """
Microseconds until a read returned, at random offsets (any byte of the content, from a fixed seed, the same for all),
from a file that the kernel has cached. All files hold blocks of the same size. The contestants take turns. The first
200 reads of each were compared with the original. The ratio of each packed file stands beside its times, for a file
that is compressed less is easier to read: what counts is the comparison with peers of equal or better ratio. etpack
serves all threads from one open file; a peer's readers are not made for that, so each thread has one of its own. etpack
keeps 1 MiB of decoded blocks, which is all of a very small file. The row "uncompressed file" is `os.pread` from the
original.
"against" is the p50 of the peer divided by that of `read_into`: above 1 etpack is faster.
"""


@dataclass(frozen=True)
class _Contestant:
    name: str
    # Makes a reader for one thread.
    open: Callable[[], Reader]
    stored: int


class _Plain:
    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)


class _ReadAt:
    def __init__(self, file: etpack.EtzFile) -> None:
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        return self._file.read_at(offset, size)


class _ReadInto:
    def __init__(self, file: etpack.EtzFile) -> None:
        self._file = file
        self._buffer = bytearray()

    def read(self, offset: int, size: int) -> bytearray:
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        self._file.read_into(offset, memoryview(self._buffer))
        return self._buffer


def measure(bench: Bench) -> list[Row]:
    """Return one row for each file, block size, read size, number of threads and contestant."""
    rows: list[Row] = []
    for path in _choose(bench.files):
        for block_size in BLOCK_SIZES:
            packed = bench.packed(path, block_size)
            with etpack.open(packed, jobs=1) as file:
                contestants = [
                    _Contestant(_REFERENCE, lambda path=path: _Plain(path), path.stat().st_size),  # type: ignore[misc]
                    _Contestant("etpack read_into", lambda file=file: _ReadInto(file), packed.stat().st_size),  # type: ignore[misc]
                    _Contestant("etpack read_at", lambda file=file: _ReadAt(file), packed.stat().st_size),  # type: ignore[misc]
                    *_pack_peers(path, block_size, bench),
                ]
                for read_size in READ_SIZES:
                    rows += _contest(path, block_size, read_size, contestants, bench)
    return rows


def _choose(files: Sequence[Path]) -> list[Path]:
    """Return the largest representative of up to 100 MB of FP32 and of BF16, or of whatever classes there are."""
    fitting = [path for path in representatives(files) if path.stat().st_size <= _LARGEST] or list(files[:1])
    wanted = [path for path in fitting if weight_class(path) in ("FP32", "BF16")] or fitting[:1]
    best = {weight_class(path): path for path in sorted(wanted, key=lambda path: path.stat().st_size)}
    return list(best.values())


def _pack_peers(path: Path, block_size: int, bench: Bench) -> list[_Contestant]:
    """Pack a file with each peer, and return those that can be read."""
    readers: dict[str, list[tuple[str, Callable[[Path], Reader]]]] = {
        "Blosc2": [("Blosc2", peers.Blosc2.reader)],
        "seekable zstd -3": [
            ("pyzstd, zstd -3", peers.SeekableZstd.reader),
            ("indexed_zstd, zstd -3", peers.SeekableZstd.indexed_reader),
        ],
        "seekable zstd -19": [("pyzstd, zstd -19", peers.SeekableZstd.reader)],
    }
    found: list[_Contestant] = []
    for packer, ways in readers.items():
        progress(f"  packing {path.name} with {packer} and blocks of {block_name(block_size)}")
        try:
            made = peers.round_trip(packer, block_size, path, bench.work)
        except UnmeasuredError as exc:
            bench.miss(packer, path, str(exc))
            continue
        packed = Path(made["packed"])
        for name, reader in ways:
            found.append(_Contestant(name, lambda reader=reader, packed=packed: reader(packed), made["stored"]))  # type: ignore[misc]
    return found


def _contest(
    path: Path, block_size: int, read_size: int, contestants: Sequence[_Contestant], bench: Bench
) -> list[Row]:
    size = path.stat().st_size
    source = random.Random(f"{path.name} {read_size}")
    read_size = min(read_size, size)
    offsets = [source.randrange(size - read_size + 1) for _ in range(_READS)]
    good = [one for one in contestants if _is_right(one, path, offsets[:_CHECKED], read_size, bench)]
    rows: list[Row] = []
    for threads in THREADS:
        taken: dict[str, list[float]] = {one.name: [] for one in good}
        walls = dict.fromkeys(taken, 0.0)
        readers = {one.name: [one.open() for _ in range(threads)] for one in good}
        for number in range(_ROUNDS):
            share = offsets[number::_ROUNDS]
            for one in good:
                seconds, wall = _read_all(readers[one.name], share, read_size)
                taken[one.name] += seconds
                walls[one.name] += wall
        for one in good:
            row = {
                "file": path.name, "bytes": size, "class": weight_class(path), "block_size": block_size,
                "read_size": read_size, "threads": threads, "name": one.name, "ratio": round(size / one.stored, 4),
                "p50_us": round(percentile(taken[one.name], 50) * 1e6, 1),
                "p99_us": round(percentile(taken[one.name], 99) * 1e6, 1),
                "reads_per_s": round(len(taken[one.name]) / walls[one.name]),
            }  # fmt: skip
            progress(
                f"  {path.name}: blocks {block_name(block_size)}, reads {block_name(read_size)}, {threads} threads: "
                f"{one.name}: p50 {row['p50_us']} us, ratio {row['ratio']}"
            )
            rows.append(row)
    return rows


def _is_right(one: _Contestant, path: Path, offsets: Sequence[int], size: int, bench: Bench) -> bool:
    """Whether a contestant reads the bytes of the original; if not, that is noted."""
    plain = _Plain(path)
    try:
        reader = one.open()
        for offset in offsets:
            if reader.read(offset, size) != plain.read(offset, size):
                bench.miss(one.name, path, f"wrong bytes at {offset:#x}")
                return False
    except Exception as exc:  # whatever a peer raises, the others go on
        bench.miss(one.name, path, f"{type(exc).__name__}: {exc}")
        return False
    return True


def _read_all(readers: Sequence[Reader], offsets: Sequence[int], size: int) -> tuple[list[float], float]:
    """Read at all offsets, each reader its share in a thread of its own; return seconds of each read, and of all."""
    taken: list[list[float]] = [[] for _ in readers]
    start = threading.Barrier(len(readers) + 1)

    def work(number: int) -> None:
        reader, seconds, clock = readers[number], taken[number], time.perf_counter
        mine = offsets[number :: len(readers)]
        start.wait()
        for offset in mine:
            before = clock()
            reader.read(offset, size)
            seconds.append(clock() - before)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(readers))]
    for thread in threads:
        thread.start()
    start.wait()
    before = time.perf_counter()
    for thread in threads:
        thread.join()
    return [seconds for each in taken for seconds in each], time.perf_counter() - before


def is_peer(name: str) -> bool:
    """Whether a row's name is that of a peer, neither etpack nor the uncompressed file."""
    return not name.startswith("etpack") and name != _REFERENCE


def tables(rows: list[Row]) -> str:
    """Return a table for each file and block size."""
    parts = []
    for file in distinct(rows, "file"):
        for block_size in distinct(rows, "block_size"):
            mine = [row for row in rows if (row["file"], row["block_size"]) == (file, block_size)]
            parts += [f"## {file}, blocks of {block_name(block_size)}", _table(mine)]
    return "\n\n".join(parts)


def _table(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        ours = next(
            other["p50_us"]
            for other in rows
            if other["name"] == "etpack read_into"
            and (other["read_size"], other["threads"]) == (row["read_size"], row["threads"])
        )
        lines.append(
            (
                block_name(row["read_size"]) if row["read_size"] % 1024 == 0 else f"{row['read_size']:,}",
                f"{row['threads']}", row["name"], f"{row['ratio']:.3f}",
                f"{row['p50_us']:,.0f}", f"{row['p99_us']:,.0f}",
                f"{row['reads_per_s']:,}", f"{row['p50_us'] / ours:.2f}" if is_peer(row["name"]) else "",
            )
        )  # fmt: skip
    return table(("read", "threads", "reader", "ratio", "p50 us", "p99 us", "reads/s", "against"), lines, left=3)


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Return, for each file, ratio against p50 of reads of 4 KiB with one thread, for blocks of the largest size."""
    figures = {}
    for file in distinct(rows, "file"):
        wanted = (file, max(BLOCK_SIZES), min(READ_SIZES), 1)
        series = {
            row["name"]: (row["ratio"], row["p50_us"])
            for row in rows
            if (row["file"], row["block_size"], row["read_size"], row["threads"]) == wanted
            and row["name"] != _REFERENCE
        }
        x, y = f"{file}: content size / stored size", "p50 of a read of 4 KiB, us"
        figures[f"random-{Path(file).stem}"] = plots.points(series, x, y, logarithmic="y")
    return figures


PART = Part("random_reads", "Random reads", ABOUT, measure, tables, draw)

if __name__ == "__main__":
    PART.main()
