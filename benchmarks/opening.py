"""Opening and inspecting models of all sizes, plain and packed: seconds, memory, and what is read of the file.

python -m benchmarks.opening FILE_OR_FOLDER...
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import etpack
from benchmarks import plots
from benchmarks.harness import ETPACK, Spread, run
from benchmarks.load_sequence import CountingSource
from benchmarks.part import Bench, Part, Row, block_name, table
from benchmarks.places import MEGABYTE, ladder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZES = (MEGABYTE, 10 * MEGABYTE, 50 * MEGABYTE, 100 * MEGABYTE, 270 * MEGABYTE, 650 * MEGABYTE)
_HUGE = 1500 * MEGABYTE
_DEFAULT_BLOCK = 64 << 10

ABOUT = """
`etpack inspect FILE` as a whole command line with warm caches: the median, lowest and highest of the seconds, and the
peak of resident memory, the interpreter and libraries included. In turn with each runs `python -c pass`, and "times
python" is the ratio to it. Reads and their bytes are those that `etpack.inspect_file` makes of the file, and
`etpack.open` beside it; that opens in the milliseconds given, within a running program.
"""


def measure(bench: Bench) -> list[Row]:
    """Return one row for each model, plain and packed."""
    huge = [path for path in bench.files if path.stat().st_size > _HUGE]
    chosen = ladder(bench.files, [*_SIZES, *(path.stat().st_size for path in huge)])
    rows: list[Row] = []
    for path in chosen:
        rows.append(_row(path, path, None, bench.rounds))
        block_sizes = [_DEFAULT_BLOCK, *([4 << 10] if path == chosen[-1] else [])]
        rows += [_row(path, bench.packed(path, size), size, bench.rounds) for size in block_sizes]
    return rows


def _row(model: Path, path: Path, block_size: int | None, rounds: int) -> Row:
    seconds, starts, peaks = [], [], []
    for _ in range(rounds):
        usage = run([*ETPACK, "inspect", str(path)])
        starts.append(run([sys.executable, "-c", "pass"]).seconds)
        seconds.append(usage.seconds)
        peaks.append(usage.peak)
    inspect_reads, inspect_bytes, _ = _count(path, etpack.inspect_file)
    row: Row = {
        "file": model.name, "bytes": model.stat().st_size, "block_size": block_size, "stored": path.stat().st_size,
        "seconds": asdict(Spread.of(seconds)), "peak": max(peaks),
        "times_python": asdict(Spread.of(one / other for one, other in zip(seconds, starts, strict=True))),
        "inspect_reads": inspect_reads, "inspect_bytes": inspect_bytes,
    }  # fmt: skip
    if block_size:
        row["open_reads"], row["open_bytes"], row["open_ms"] = _count(path, etpack.open)
    return row


def _count(path: Path, use: Callable[[CountingSource], object]) -> tuple[int, int, float]:
    """Return reads, bytes read, and milliseconds of the fastest of three uses of a file."""
    fastest = float("inf")
    for _ in range(3):
        with closing(CountingSource(path)) as source:
            start = time.perf_counter()
            use(source)
            fastest = min(fastest, time.perf_counter() - start)
            counted = source.reads, source.bytes_read
    return *counted, round(fastest * 1000, 2)


def tables(rows: list[Row]) -> str:
    """Return the table of the page."""
    lines: list[Sequence[str]] = []
    for row in rows:
        seconds = row["seconds"]
        opened = (
            f"{row['open_reads']} | {row['open_bytes']:,} | {row['open_ms']:.1f}" if row["block_size"] else "- | - | -"
        )
        lines.append(
            (
                row["file"], f".etz, {block_name(row['block_size'])}" if row["block_size"] else "plain",
                f"{row['bytes']:,}", f"{row['stored']:,}",
                f"{seconds['median']:.3f} ({seconds['low']:.3f} to {seconds['high']:.3f})",
                f"{row['times_python']['median']:.1f}", f"{row['peak'] / MEGABYTE:.0f}", f"{row['inspect_reads']:,}",
                f"{row['inspect_bytes']:,}", f"{row['inspect_bytes'] / row['stored']:.2%}", *opened.split(" | "),
            )
        )  # fmt: skip
    header = (
        "model", "form", "content", "file size", "inspect s", "times python", "peak MB", "reads", "bytes read",
        "of the file", "reads to open", "bytes to open", "ms to open",
    )  # fmt: skip
    return table(header, lines, left=2)


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Return seconds and peak against the size of the model."""
    forms: dict[str, Callable[[Row], bool]] = {
        "inspect .pte": lambda row: row["block_size"] is None,
        "inspect .etz": lambda row: row["block_size"] == _DEFAULT_BLOCK,
    }

    def series(value: Callable[[Row], float]) -> dict[str, list[tuple[float, float]]]:
        return {name: [(row["bytes"], value(row)) for row in rows if wanted(row)] for name, wanted in forms.items()}

    x = "bytes of the model"
    return {
        "opening-seconds": plots.lines(
            series(lambda row: row["seconds"]["median"]), x, "seconds", logarithmic="x", limit=0.5
        ),
        "opening-memory": plots.lines(
            series(lambda row: row["peak"] / MEGABYTE), x, "peak MB", logarithmic="x", limit=80
        ),
    }


PART = Part("opening", "Opening and inspecting", ABOUT, measure, tables, draw)

if __name__ == "__main__":
    PART.main()
