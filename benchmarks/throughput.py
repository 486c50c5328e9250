"""Packing, unpacking and verifying as whole command lines, against zstd and lz4.

python -m benchmarks.throughput FILE_OR_FOLDER...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import plots
from benchmarks.harness import ETPACK, Spread, UnmeasuredError, progress, ratio_per_round, run, settle, take_turns
from benchmarks.part import Bench, Part, Row, distinct, table
from benchmarks.places import MEGABYTE, large, middle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABOUT = """
Whole command lines, start of Python included, with warm caches: every command of a group runs once, in turn, and so on
for several rounds; what earlier commands left to be written to disk is written before each. MB/s is content over the
median of the seconds. A ratio is that of the same round, etpack to the peer named, its median, lowest and highest;
above 1 etpack is faster. etpack hashes the content, decodes and compares what it packs, and waits until the disk has
the file; zstd and lz4 do none of that, so the rows with ", sync" wait for the disk too.
"""

_EVERYTHING = 500 * MEGABYTE


@dataclass(frozen=True)
class Contest:
    """A command of etpack or a peer, on a model `{model}` and what was made of it before.

    Attributes:
        group: Commands of a group take turns.
        command: Its words; "{out}" is the file to write, without it stdout goes nowhere.
        peers: The names that etpack's command is compared with; a peer has none.
        every_size: Whether files of more than 500 MB get it too.
    """

    group: str
    name: str
    command: tuple[str, ...]
    peers: tuple[str, ...] = ()
    every_size: bool = True


def _etpack(words: str) -> tuple[str, ...]:
    return (*ETPACK, *words.split())


_PACK = ("zstd -3 -T2, sync", "zstd -3 -T2", "lz4 -1")
_UNPACK = ("zstd -d, sync", "zstd -d", "lz4 -d")
_UNPACK_TO_NOWHERE = ("zstd -d", "lz4 -d")

CONTESTS = (
    Contest("pack", "etpack", _etpack("compress -f -q -j2 {model} -o {out}"), _PACK),
    Contest("pack", "etpack --no-check", _etpack("compress -f -q --no-check -j2 {model} -o {out}"), _PACK),
    Contest("pack", "zstd -3 -T2, sync", ("sh", "-c", "zstd -3 -T2 -f -q '{model}' -o '{out}' && sync '{out}'")),
    Contest("pack", "zstd -3 -T2", ("zstd", "-3", "-T2", "-f", "-q", "{model}", "-o", "{out}")),
    Contest("pack", "lz4 -1", ("lz4", "-1", "-f", "-q", "{model}", "{out}")),
    Contest("pack, 1 thread", "etpack", _etpack("compress -f -q -j1 {model} -o {out}"), ("zstd -3 -T1",), False),
    Contest("pack, 1 thread", "etpack --no-check", _etpack("compress -f -q --no-check -j1 {model} -o {out}"),
            ("zstd -3 -T1",), False),
    Contest("pack, 1 thread", "zstd -3 -T1", ("zstd", "-3", "-T1", "-f", "-q", "{model}", "-o", "{out}"), (), False),
    Contest("pack to nowhere", "etpack", _etpack("compress -q -j2 {model} -o -"), ("zstd -3 -T2",)),
    Contest("pack to nowhere", "etpack --no-check", _etpack("compress -q --no-check -j2 {model} -o -"),
            ("zstd -3 -T2",)),
    Contest("pack to nowhere", "zstd -3 -T2", ("zstd", "-3", "-T2", "-q", "-c", "{model}")),
    Contest("unpack", "etpack", _etpack("decompress -f -q -j2 {etz} -o {out}"), _UNPACK),
    Contest("unpack", "etpack -j1", _etpack("decompress -f -q -j1 {etz} -o {out}"), _UNPACK, False),
    Contest("unpack", "zstd -d, sync", ("sh", "-c", "zstd -d -f -q '{zst}' -o '{out}' && sync '{out}'")),
    Contest("unpack", "zstd -d", ("zstd", "-d", "-f", "-q", "{zst}", "-o", "{out}")),
    Contest("unpack", "lz4 -d", ("lz4", "-d", "-f", "-q", "{lz4}", "{out}")),
    Contest("unpack to nowhere", "etpack", _etpack("decompress -q -j2 {etz} -o -"), _UNPACK_TO_NOWHERE),
    Contest("unpack to nowhere", "etpack -j1", _etpack("decompress -q -j1 {etz} -o -"), _UNPACK_TO_NOWHERE, False),
    Contest("unpack to nowhere", "zstd -d", ("zstd", "-d", "-q", "-c", "{zst}")),
    Contest("unpack to nowhere", "lz4 -d", ("lz4", "-d", "-q", "-c", "{lz4}")),
    Contest("verify", "etpack", _etpack("verify -j2 {etz}"), ("zstd -t", "lz4 -t")),
    Contest("verify", "etpack --fast", _etpack("verify --fast -j2 {etz}"), ("zstd -t", "lz4 -t")),
    Contest("verify", "zstd -t", ("zstd", "-t", "-q", "{zst}")),
    Contest("verify", "lz4 -t", ("lz4", "-t", "-q", "{lz4}")),
)  # fmt: skip


def measure(bench: Bench) -> list[Row]:
    """Return one row for each file and command."""
    rows: list[Row] = []
    for path in [middle(bench.files), *(path for path in large(bench.files) if path != middle(bench.files))]:
        names = _prepare(path, bench)
        for group in dict.fromkeys(contest.group for contest in CONTESTS):
            contests = [
                contest
                for contest in CONTESTS
                if contest.group == group and (contest.every_size or path.stat().st_size <= _EVERYTHING)
            ]
            if contests:
                rows += _group(contests, path, names, bench)
        for name in ("out", "zst", "lz4"):
            Path(names[name]).unlink(missing_ok=True)
    return rows


def _prepare(path: Path, bench: Bench) -> dict[str, str]:
    """Pack a file with each packer, and return the names of all files."""
    names = {name: str(bench.work / f"throughput.{name}") for name in ("out", "zst", "lz4")}
    names |= {"model": str(path), "etz": str(bench.packed(path))}
    for tool, level in (("zstd", "-3"), ("lz4", "-1")):
        try:
            run([tool, level, "-q", "-c", str(path)], Path(names["zst" if tool == "zstd" else "lz4"]))
        except UnmeasuredError as exc:
            bench.miss(tool, path, str(exc))
    return names


def _group(contests: list[Contest], path: Path, names: dict[str, str], bench: Bench) -> list[Row]:
    progress(f"  {path.name}: {contests[0].group}")

    def once(contest: Contest) -> Callable[[], float]:
        def seconds() -> float:
            Path(names["out"]).unlink(missing_ok=True)
            settle()
            return run([word.format(**names) for word in contest.command]).seconds

        return seconds

    figures = take_turns(
        {contest.name: once(contest) for contest in contests},
        bench.rounds,
        lambda name, why: bench.miss(name, path, why),
    )
    rows: list[Row] = []
    for contest in contests:
        if contest.name in figures:
            ratios = {
                peer: asdict(ratio_per_round(figures[contest.name], figures[peer]))
                for peer in contest.peers
                if peer in figures
            }
            size = path.stat().st_size
            seconds = Spread.of(figures[contest.name])
            rows.append(
                {
                    "file": path.name, "bytes": size, "group": contest.group, "name": contest.name,
                    "seconds": asdict(seconds), "ratios": ratios,
                    "mb_per_s": round(size / seconds.median / MEGABYTE, 1),
                }
            )  # fmt: skip
    return rows


def tables(rows: list[Row]) -> str:
    """Return a table for each file."""
    parts = []
    for file in distinct(rows, "file"):
        mine = [row for row in rows if row["file"] == file]
        parts += [f"## {file}, {mine[0]['bytes']:,} bytes", _table(mine)]
    return "\n\n".join(parts)


def _table(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        seconds = row["seconds"]
        ratios = [
            f"{spread['median']:.2f} ({spread['low']:.2f} to {spread['high']:.2f}) of {peer}"
            for peer, spread in row["ratios"].items()
        ]
        spread = f"{seconds['low']:.2f} to {seconds['high']:.2f}"
        name = f"**{row['name']}**" if row["ratios"] else row["name"]
        lines.append(
            (row["group"], name, ", ".join(ratios), f"{seconds['median']:.2f}", spread, f"{row['mb_per_s']:,.0f}")
        )
    return table(("what", "command", "ratio of speeds", "s", "s, lowest to highest", "MB/s"), lines, left=3)


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Return a figure of speeds for the largest file."""
    file = max(rows, key=lambda row: int(row["bytes"]))["file"]
    speeds = {(row["group"], _packer(row["name"])): float(row["mb_per_s"]) for row in rows if row["file"] == file}
    groups = [group for group in distinct(rows, "group") if (group, "etpack") in speeds]
    packers = dict.fromkeys(packer for _, packer in speeds)
    series = {packer: [speeds.get((group, packer)) for group in groups] for packer in packers}
    return {"throughput": plots.bars(groups, series, f"{file}: MB of content a second")}


def _packer(name: str) -> str:
    """Return the name under which a command is drawn: all of zstd's as one, and all of lz4's."""
    return name if name.startswith("etpack") else name.split()[0]


PART = Part("throughput", "Throughput", ABOUT, measure, tables, draw)

if __name__ == "__main__":
    PART.main()
