"""Loading into ExecuTorch in C++ with etpack's loader and with ExecuTorch's own; and how fast one core decodes.

    python -m benchmarks.device FILE_OR_FOLDER...

builds the programs of examples/cpp, with CMake, ExecuTorch's C++ SDK in build/sdk (`make bench` and `make test` put it
there) and the headers of liblz4 and libzstd.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import etpack
from benchmarks import plots
from benchmarks.harness import Spread, UnmeasuredError, progress, ratio_per_round, take_turns
from benchmarks.part import Bench, Part, Row, distinct, table
from benchmarks.places import MEGABYTE, representatives, weight_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
SDK = Path(os.environ.get("ETPACK_EXECUTORCH_SDK") or ROOT / "build" / "sdk" / "executorch")
SOURCES = ROOT / "examples" / "cpp"

WARM = "warm"
GUEST_COLD = "guest-cold"
SPEEDS = (50, 200, 1000)
CODECS = ("zstd", "lz4")
PEER = "FileDataLoader"

# Warm loads take tens of milliseconds and vary: so many times the rounds of the others.
_WARM_TIMES = 3
_LARGEST = 100 * MEGABYTE
_RUN_SECONDS = 120
_BUILD_SECONDS = 900

ABOUT = """
Each figure is of fresh processes of [runner](../../examples/cpp/runner.cpp), built with `-O3`; the loaders take turns.
Medians, with lowest and highest. Models are packed at the defaults (zstd, blocks of 64 KiB) and with `--codec lz4`.
Loading ends when the method can run; what a delegate does with its weights is part of it.

- "warm": the file is in the system's cache. "guest-cold": the system was asked to drop it (`POSIX_FADV_DONTNEED`); on a
  virtual machine its host may still have it, so this is no cold storage.
- "50 MB/s" and so on: as if storage were so slow, by [a throttle](../../examples/cpp/throttled_data_loader.h) that
  serves one read at a time and does not read ahead. A load of `FileDataLoader`, which is one `pread()`, takes as long
  as its bytes, its own work included. `EtzDataLoader` reads through a callback that takes as long as the stored bytes,
  and decodes besides. "Read ahead": one thread decodes, and another reads up to half a mebibyte that comes next, also
  between loads (`read_ahead`, 1 MiB). `BufferDataLoader` has its whole file read before. `MmapDataLoader` pays for all
  of a range when it is loaded, though a model may not touch all of it, and nothing later.
- First inference: after a warm load, with made-up inputs. Portable kernels are slow whatever the loader.
- Memory: the kernel's VmHWM and VmRSS when the method is loaded, in the warm runs; MB are 1,000,000 bytes.
- Decoding, by [decode_speed](../../examples/cpp/decode_speed.c): from memory to memory, the whole file, in GB/s of
  content, for etpack with checksums. "lz4 alone" and "zstd alone" are the same content in plain frames of 64 KiB
  without checksums (LZ4 high compression at level 9, zstd at level 3). "Best" sums each mebibyte's fastest time of
  all rounds.
"""


@dataclass(frozen=True)
class Contestant:
    """One way to load: the name it is shown by, what the runner needs to be told, and the codec, if packed."""

    name: str
    options: tuple[str, ...]
    codec: str = ""


PEERS = (
    Contestant(PEER, ("--loader", "file")),
    Contestant("MmapDataLoader", ("--loader", "mmap")),
    Contestant("BufferDataLoader", ("--loader", "buffer")),
)
# Reading ahead takes two threads as well: one decodes and one reads.
_WAYS = {"1 thread": ("--threads", "1"), "2 threads": ("--threads", "2"), "read ahead": ("--read-ahead", str(1 << 20))}
OURS = tuple(
    Contestant(f"etpack {codec}, {way}", ("--loader", "etz", *options), codec)
    for codec in CODECS
    for way, options in _WAYS.items()
)


@dataclass
class Taken:
    """What the runner printed, run by run, for each contestant."""

    values: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def median(self, name: str, value: str) -> float:
        """Return the median of a value over the runs of a contestant."""
        return statistics.median(run[value] for run in self.values[name])

    def every(self, name: str, value: str) -> list[float]:
        """Return a value of each run of a contestant."""
        return [run[value] for run in self.values[name]]


def build(folder: Path) -> Path:
    """Build runner and decode_speed, and return the folder they are in.

    Raises:
        UnmeasuredError: A tool or a library is missing, or the build fails.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    cmake = shutil.which("cmake", path=path)
    if cmake is None:
        raise UnmeasuredError("cmake is not installed; on Debian and Ubuntu: apt-get install cmake")
    if not SDK.is_dir():
        raise UnmeasuredError("ExecuTorch's C++ SDK is not in build/sdk; `make bench` puts it there")
    options = [f"-DCMAKE_PREFIX_PATH={SDK}", "-DCMAKE_BUILD_TYPE=Release"]
    for command in (
        [cmake, "-S", str(SOURCES), "-B", str(folder), *options],
        [cmake, "--build", str(folder), "--target", "runner", "decode_speed"],
    ):
        _output(command, _BUILD_SECONDS)
    return folder


def _output(command: Sequence[str], seconds: float) -> str:
    """Return what a command prints; its failure is an `UnmeasuredError`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as exc:
        raise UnmeasuredError(f"it took more than {seconds:.0f} s") from exc
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UnmeasuredError(f"exit code {done.returncode}: {said[-1] if said else 'no message'}")
    return done.stdout


def measure(bench: Bench) -> list[Row]:
    """Return the rows of each model: loading from each storage, first inference, decoding."""
    try:
        programs = build(bench.work / "device")
    except UnmeasuredError as exc:
        bench.miss("the C++ programs", None, str(exc))
        return []
    rows: list[Row] = []
    for path in chosen(bench.files):
        packed = {codec: _packed(bench, path, codec) for codec in CODECS}
        model = Model(bench, programs, path, packed)
        for storage in (WARM, GUEST_COLD, *(f"{speed} MB/s" for speed in SPEEDS)):
            rows += model.loading(storage)
        rows += model.inference()
        rows += model.decoding()
    return rows


def chosen(files: Sequence[Path]) -> list[Path]:
    """Return the programs among the representatives of each class; large ones would take minutes at 50 MB/s."""
    programs = [path for path in files if path.suffix == ".pte" and path.stat().st_size <= _LARGEST]
    return representatives(programs) if programs else []


def _packed(bench: Bench, path: Path, codec: str) -> Path:
    if codec == CODECS[0]:
        return bench.packed(path)
    target = bench.work / f"{path.name}.{codec}.etz"
    progress(f"  packing {path.name} with {codec}")
    etpack.compress(path, target, etpack.Options(codec=codec))
    return target


@dataclass(frozen=True)
class Model:
    """A model that is measured: the plain file, and the packed ones by codec."""

    bench: Bench
    programs: Path
    path: Path
    packed: dict[str, Path]

    def loading(self, storage: str) -> Iterator[Row]:
        """Return one row for each loader that could load."""
        options = ["--load-only"]
        if storage.endswith("MB/s"):
            options += ["--throttle", storage.split()[0]]
        rounds = self.bench.rounds * (_WARM_TIMES if storage == WARM else 1)
        taken = self._turns(storage, "load_seconds", options, rounds, cold=storage == GUEST_COLD)
        for one in (*PEERS, *OURS):
            if one.name not in taken.values:
                continue
            seconds = taken.every(one.name, "load_seconds")
            row = self._row("load", one) | {"storage": storage, "seconds": asdict(Spread.of(seconds))}
            if PEER in taken.values:
                peer = taken.every(PEER, "load_seconds")
                row["ratio"] = asdict(ratio_per_round(seconds, peer))
                row["saved"] = asdict(Spread.of(their - our for our, their in zip(seconds, peer, strict=True)))
            if storage.endswith("MB/s"):
                row["read"] = int(taken.median(one.name, "bytes_read"))
            if storage == WARM:
                row |= {
                    "peak": int(taken.median(one.name, "peak_loaded_bytes")),
                    "resident": int(taken.median(one.name, "resident_loaded_bytes")),
                }
            yield row

    def inference(self) -> Iterator[Row]:
        """Return one row for each loader, ours with one thread: the first inference."""
        loaders = (*PEERS, *(one for one in OURS if one.name.endswith(", 1 thread")))
        taken = self._turns("first inference", "execute_seconds", [], 1, loaders)
        # Portable kernels take seconds, to which a loader adds nothing.
        if any(run["execute_seconds"] < 1 for runs in taken.values.values() for run in runs):
            taken = self._turns("first inference", "execute_seconds", [], self.bench.rounds * _WARM_TIMES, loaders)
        for one in loaders:
            if one.name in taken.values:
                seconds = taken.every(one.name, "execute_seconds")
                both = [run["load_seconds"] + run["execute_seconds"] for run in taken.values[one.name]]
                spreads = {"seconds": asdict(Spread.of(seconds)), "with_loading": asdict(Spread.of(both))}
                yield self._row("inference", one) | spreads

    def decoding(self) -> Iterator[Row]:
        """Return one row for memcpy, for each codec alone, and for each packed model."""
        rounds = self.bench.rounds * _WARM_TIMES
        etz = [str(path) for path in self.packed.values()]
        try:
            said = _output([str(self.programs / "decode_speed"), str(rounds), str(self.path), *etz], _RUN_SECONDS)
        except UnmeasuredError as exc:
            self.bench.miss("decoding", self.path, str(exc))
            return
        names = ["memcpy", "lz4 alone", "zstd alone", *(f"etpack {codec}" for codec in self.packed)]
        size = self.path.stat().st_size
        for name, line in zip(names, said.splitlines(), strict=True):
            stored, best, *seconds = line.split()[1:]
            yield {
                "kind": "decode", "file": self.path.name, "class": weight_class(self.path), "bytes": size, "name": name,
                "stored": int(stored), "gb_per_s": asdict(Spread.of(size / float(each) / 1e9 for each in seconds)),
                "best": round(size / float(best) / 1e9, 3),
            }  # fmt: skip

    def _row(self, kind: str, one: Contestant) -> Row:
        return {
            "kind": kind, "file": self.path.name, "class": weight_class(self.path), "bytes": self.path.stat().st_size,
            "stored": self._file(one).stat().st_size, "name": one.name,
        }  # fmt: skip

    def _file(self, one: Contestant) -> Path:
        return self.packed[one.codec] if one.codec else self.path

    def _turns(
        self,
        what: str,
        value: str,
        options: list[str],
        rounds: int,
        loaders: Sequence[Contestant] = (*PEERS, *OURS),
        *,
        cold: bool = False,
    ) -> Taken:
        """Let loaders take turns, and return what the runs of those printed that finished all rounds."""
        taken: dict[str, list[dict[str, float]]] = {}
        progress(f"  {self.path.name}: {what}")

        def once(one: Contestant) -> float:
            file = self._file(one)
            if cold:
                _drop(file)
            else:
                _touch(file)
            said = _output([str(self.programs / "runner"), str(file), *one.options, *options], _RUN_SECONDS)
            found = {name: float(number) for name, number in re.findall(r"^(\w+): ([0-9.]+)$", said, re.MULTILINE)}
            taken.setdefault(one.name, []).append(found)
            return found[value]

        calls: dict[str, Callable[[], float]] = {one.name: partial(once, one) for one in loaders}

        def failed(name: str, reason: str) -> None:
            taken.pop(name, None)
            self.bench.miss(f"{what}, {name}", self.path, reason)

        take_turns(calls, rounds, failed)
        return Taken(taken)


def _drop(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _touch(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(MEGABYTE)
        while file.readinto(buffer):
            pass


def saving_wanted(row: Row, loaded: int, speed: int) -> float:
    """Return the seconds that a packed model should save: nine tenths of the time that reading fewer bytes saves.

    Args:
        row: Of the packed model.
        loaded: Bytes that are loaded from the plain one.
        speed: Of the storage, in MB/s.
    """
    return 0.9 * (1 - float(row["stored"]) / float(row["bytes"])) * loaded / (speed * MEGABYTE)


def tables(rows: list[Row]) -> str:
    """Return the tables of the page."""
    parts = {
        "Time to a loaded method": _loading_table,
        "First inference": _inference_table,
        "Memory when the method is loaded": _memory_table,
        "Decoding, one core": _decoding_table,
    }
    return "\n\n".join(f"## {title}\n\n{made(rows)}" for title, made in parts.items())


def _spread(values: Row, scale: float = 1, digits: int = 0) -> str:
    low, high = values["low"] * scale, values["high"] * scale
    return f"{values['median'] * scale:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _loading_table(rows: list[Row]) -> str:
    loads = [row for row in rows if row["kind"] == "load"]
    storages = distinct(loads, "storage")
    lines = []
    for file in distinct(loads, "file"):
        for name in distinct(loads, "name"):
            mine = {row["storage"]: row for row in loads if (row["file"], row["name"]) == (file, name)}
            if mine:
                size = next(iter(mine.values()))["stored"] / MEGABYTE
                cells = [_spread(mine[each]["seconds"], 1000) if each in mine else "-" for each in storages]
                lines.append((file, name, f"{size:.1f}", *cells))
    header = ("file", "loader", "MB", *(f"{storage}, ms" for storage in storages))
    return table(header, lines, left=2)


def _inference_table(rows: list[Row]) -> str:
    lines = [
        (row["file"], row["name"], _spread(row["seconds"], 1000, 1), _spread(row["with_loading"], 1000, 1))
        for row in rows
        if row["kind"] == "inference"
    ]
    return table(("file", "loader", "first inference, ms", "with loading, ms"), lines, left=2)


def _memory_table(rows: list[Row]) -> str:
    warm = [row for row in rows if row["kind"] == "load" and row["storage"] == WARM]
    peers = {row["file"]: row for row in warm if row["name"] == PEER}
    lines = []
    for row in warm:
        peer = peers.get(row["file"])
        more = [f"{(row[what] - peer[what]) / MEGABYTE:+.1f}" if peer else "-" for what in ("peak", "resident")]
        lines.append(
            (row["file"], row["name"], f"{row['peak'] / MEGABYTE:.1f}", more[0],
             f"{row['resident'] / MEGABYTE:.1f}", more[1])
        )  # fmt: skip
    header = ("file", "loader", "peak MB", "above File", "resident MB", "above File")
    return table(header, lines, left=2)


def _decoding_table(rows: list[Row]) -> str:
    lines = [
        (row["file"], row["class"], row["name"], f"{row['bytes'] / row['stored']:.3f}", _spread(row["gb_per_s"], 1, 2),
         f"{row['best']:.2f}")
        for row in rows
        if row["kind"] == "decode"
    ]  # fmt: skip
    return table(("file", "class", "decoder", "ratio", "GB/s", "best"), lines, left=3)


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Return bars of warm loads and of loads at 200 MB/s, and of decoding."""
    figures: dict[str, Figure] = {}
    loads = [row for row in rows if row["kind"] == "load"]
    for storage, name in ((WARM, "device-warm"), (f"{SPEEDS[1]} MB/s", f"device-{SPEEDS[1]}")):
        chosen_rows = [row for row in loads if row["storage"] == storage]
        if chosen_rows:
            seconds = {(row["file"], row["name"]): row["seconds"]["median"] * 1000 for row in chosen_rows}
            figures[name] = _bars(chosen_rows, seconds, f"ms to a loaded method, {storage}")
    decoded = [row for row in rows if row["kind"] == "decode" and row["name"] != "memcpy"]
    if decoded:
        speeds = {(row["file"], row["name"]): row["gb_per_s"]["median"] for row in decoded}
        figures["device-decoding"] = _bars(decoded, speeds, "GB/s of content, one core")
    return figures


def _bars(rows: list[Row], values: dict[tuple[str, str], float], what: str) -> Figure:
    files = distinct(rows, "file")
    series = {name: [values.get((file, name)) for file in files] for name in distinct(rows, "name")}
    return plots.bars([Path(file).stem for file in files], series, what)


PART = Part("device", "Loading in ExecuTorch, and decoding", ABOUT, measure, tables, draw)

if __name__ == "__main__":
    PART.main()
