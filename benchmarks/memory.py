"""Peak memory of each command against file size and block size; and how long a command takes to start.

python -m benchmarks.memory FILE_OR_FOLDER...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import plots
from benchmarks.harness import ETPACK, Spread, UnmeasuredError, progress, run
from benchmarks.part import Bench, Part, Row, block_name, distinct, table
from benchmarks.places import MEGABYTE, ladder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK_SIZES = (4 << 10, 64 << 10, 4 << 20)

_SIZES = (MEGABYTE, 50 * MEGABYTE, 2000 * MEGABYTE)
_STARTS = 11

ABOUT = """
The largest resident set that the kernel saw of one run of each command, the interpreter and libraries included, with
two threads; it is never less than the 12 MB of the program that starts the command. Beside it the same of zstd, packing
with `-3 -T2`, unpacking and testing, and the ratio of etpack's to it: below 1 etpack needs less. Start-up: the commands
take turns, eleven times; the ratio is to the other command of the same turn.
"""


def measure(bench: Bench) -> list[Row]:
    """Return one row for each file, block size and command, and one for each command that is only started."""
    rows: list[Row] = []
    for path in ladder(bench.files, _SIZES):
        rows += _memory(path, bench)
    return rows + _start_up(bench)


def _memory(path: Path, bench: Bench) -> Iterator[Row]:
    model, out, zst = str(path), str(bench.work / "memory.out"), str(bench.work / "memory.zst")
    peers: dict[str, tuple[str, tuple[str, ...]]] = {
        "compress": ("zstd -3 -T2", ("zstd", "-3", "-T2", "-f", "-q", model, "-o", zst)),
        "decompress": ("zstd -d", ("zstd", "-d", "-f", "-q", zst, "-o", out)),
        "verify": ("zstd -t", ("zstd", "-t", "-q", zst)),
    }
    theirs: dict[str, int] = {}
    for command, (name, words) in peers.items():
        try:
            theirs[command] = run(words).peak
        except UnmeasuredError as exc:
            bench.miss(name, path, str(exc))
    for block_size in BLOCK_SIZES:
        # Other parts use what is packed here.
        etz = str(bench.packed_path(path, block_size))
        ours = {
            "compress": ("compress", "-f", "-q", "-j2", "--block-size", str(block_size), model, "-o", etz),
            "decompress": ("decompress", "-f", "-q", "-j2", etz, "-o", out),
            "verify": ("verify", "-j2", etz),
        }
        for command, arguments in ours.items():
            usage = run([*ETPACK, *arguments])
            progress(f"  {path.name}: {command}, blocks of {block_name(block_size)}: {usage.peak / MEGABYTE:.0f} MB")
            row: Row = {
                "kind": "memory", "file": path.name, "bytes": path.stat().st_size, "command": command,
                "block_size": block_size, "seconds": round(usage.seconds, 2), "peak": usage.peak,
            }  # fmt: skip
            if command in theirs:
                peer = {"peer": peers[command][0], "peer_peak": theirs[command]}
                row |= peer | {"ratio": round(usage.peak / theirs[command], 2)}
            yield row
    for name in (out, zst):
        Path(name).unlink(missing_ok=True)


def _start_up(bench: Bench) -> list[Row]:
    commands = {
        "etpack --version": [*ETPACK, "--version"],
        "etpack --help": [*ETPACK, "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "zstd --version": ["zstd", "--version"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(_STARTS):
        for name in list(seconds):
            try:
                seconds[name].append(run(commands[name]).seconds)
            except UnmeasuredError as exc:
                del seconds[name]
                bench.miss(name, None, str(exc))
    rows: list[Row] = []
    for name, mine in seconds.items():
        row: Row = {"kind": "start-up", "command": name, "seconds": asdict(Spread.of(mine))}
        for peer in ("python -c pass", "zstd --version"):
            if peer in seconds and name.startswith("etpack"):
                pairs = zip(mine, seconds[peer], strict=True)
                row[f"times {peer}"] = asdict(Spread.of(one / other for one, other in pairs))
        rows.append(row)
    return rows


def tables(rows: list[Row]) -> str:
    """Return the tables of the page."""
    memory = [
        (
            row["file"], row["command"], f"{row['bytes']:,}", block_name(row["block_size"]),
            f"{row['peak'] / MEGABYTE:.0f}",
            f"{row['peer_peak'] / MEGABYTE:.0f} ({row['peer']})" if "peer" in row else "-",
            f"{row['ratio']:.2f}" if "ratio" in row else "-", f"{row['seconds']:.2f}",
        )
        for row in rows
        if row["kind"] == "memory"
    ]  # fmt: skip

    def times(row: Row, peer: str) -> str:
        return f"{row[f'times {peer}']['median']:.1f}" if f"times {peer}" in row else "-"

    starts = [
        (
            f"`{row['command']}`", f"{row['seconds']['median'] * 1000:.0f}",
            f"{row['seconds']['low'] * 1000:.0f} to {row['seconds']['high'] * 1000:.0f}",
            times(row, "python -c pass"), times(row, "zstd --version"),
        )
        for row in rows
        if row["kind"] == "start-up"
    ]  # fmt: skip
    header = ("command", "ms", "ms, lowest to highest", "times `python -c pass`", "times `zstd --version`")
    return "\n\n".join(
        [
            "## Peak memory",
            table(("file", "command", "bytes", "block", "peak MB", "peer, MB", "ratio", "s"), memory, left=2),
            "## Start-up",
            table(header, starts),
        ]
    )


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Return the peak of packing against the size of the model, for each block size."""
    packing = [row for row in rows if row["kind"] == "memory" and row["command"] == "compress"]
    series = {
        f"blocks of {block_name(size)}": [
            (row["bytes"], row["peak"] / MEGABYTE) for row in packing if row["block_size"] == size
        ]
        for size in distinct(packing, "block_size")
    }
    series["zstd -3 -T2"] = [
        (row["bytes"], row["peer_peak"] / MEGABYTE)
        for row in packing
        if row["block_size"] == BLOCK_SIZES[0] and "peer" in row
    ]
    return {"memory": plots.lines(series, "bytes of the model", "peak MB of packing", logarithmic="x", limit=150)}


PART = Part("memory", "Memory and start-up", ABOUT, measure, tables, draw)

if __name__ == "__main__":
    PART.main()
