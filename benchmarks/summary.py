"""What the benchmarks should show, and whether they do, judged from the JSON of the results.

    python -m benchmarks.summary [FOLDER]

writes `summary.md`, and the pages and plots of the parts anew, from the JSON beside them; it measures nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import device, memory, opening, random_reads, ratio, throughput
from benchmarks.part import RESULTS, Results, Row, block_name, distinct, table
from benchmarks.places import LARGE, MEGABYTE
from benchmarks.random_reads import is_peer
from benchmarks.ratio import DEFAULT_BLOCK, best_whole_file_peer, smallest

# In the order in which they are measured: opening uses files that memory packs.
PARTS = (ratio.PART, throughput.PART, random_reads.PART, memory.PART, opening.PART, device.PART)

_HUGE = 1500 * MEGABYTE
_CACHED = 16 * MEGABYTE
# What is less memory by so much is visibly less.
_VISIBLE = 0.05


@dataclass(frozen=True)
class Target:
    """One goal: what it asks for, what was measured, and whether that meets it; None if nothing was measured."""

    goal: str
    measured: str
    met: bool | None
    # Of what was measured, the first that does not meet it, or just the first.
    example: str = ""


def load(folder: Path = RESULTS) -> dict[str, list[Row]]:
    """Return the rows of each part that has results in a folder; none for the others."""
    paths = {part.name: folder / f"{part.name}.json" for part in PARTS}
    return {part: Results.load(path).rows if path.exists() else [] for part, path in paths.items()}


def targets(rows: dict[str, list[Row]]) -> list[Target]:
    """Return all goals, judged by rows of each part."""
    return [target for found in targets_by_area(rows).values() for target in found]


def targets_by_area(rows: dict[str, list[Row]]) -> dict[str, list[Target]]:
    """Return all goals by what they are about."""
    device_rows = {kind: [row for row in rows["device"] if row["kind"] == kind] for kind in ("load", "decode")}
    return {
        "size": list(_ratio_targets(rows["ratio"])),
        "packing and unpacking large files": list(_speed_targets(rows["throughput"])),
        "random reads": list(_random_targets(rows["random_reads"])),
        "`inspect`": list(_inspect_targets(rows["opening"])),
        "memory of packing, and start-up": list(_memory_targets(rows["memory"])),
        "loading in ExecuTorch": list(_loading_targets(device_rows["load"])),
        "decoding on one core": list(_decoding_targets(device_rows["decode"])),
    }


def _judge(goal: str, found: list[tuple[str, bool]]) -> Target:
    """Return a goal that is met if all that was found is good."""
    if not found:
        return Target(goal, "not measured", None)
    example, met = min(found, key=lambda each: each[1])
    return Target(goal, "; ".join(text for text, _ in found), met, example)


def _ratio_targets(rows: list[Row]) -> Iterator[Target]:
    trained = [row for row in rows if row["class"] in ("FP32", "FP16", "BF16")]
    for words, wanted in (("64 KiB blocks", {"block_size": DEFAULT_BLOCK}), ("blocks of the best size", {})):
        found = []
        for file in distinct(trained, "file"):
            ours = smallest(trained, file=file, packer="etpack", effort="max", **wanted)
            peer = best_whole_file_peer(trained, file)
            if ours and peer:
                size = "" if wanted else f" at {block_name(ours['block_size'])}"
                text = f"{_stem(file)} {ours['ratio']:.4f}{size}, {peer['packer']} {peer['ratio']:.4f}"
                found.append((text, ours["stored"] <= peer["stored"]))
        yield _judge(f"`--effort max`, {words}: no whole-file peer makes FP32, FP16 or BF16 weights smaller", found)


def _speed_targets(rows: list[Row]) -> Iterator[Target]:
    goals = (
        ("pack", "zstd -3 -T2, sync", "packing at the defaults to disk is no slower than `zstd -3 -T2` and `sync`"),
        ("pack", "zstd -3 -T2", "the same, but that zstd does not wait for the disk"),
        ("pack to nowhere", "zstd -3 -T2", "packing at the defaults to nowhere is no slower than `zstd -3 -T2`"),
        ("unpack", "zstd -d, sync", "unpacking to disk is no slower than `zstd -d` and `sync`"),
        ("unpack", "zstd -d", "unpacking as well, but that zstd does not wait for the disk"),
        ("unpack to nowhere", "zstd -d", "unpacking to nowhere is no slower than `zstd -d`"),
    )
    for group, peer, goal in goals:
        found = []
        for row in rows:
            if (row["group"], row["name"]) == (group, "etpack") and row["bytes"] > LARGE and peer in row["ratios"]:
                ratio = row["ratios"][peer]
                text = f"{_stem(row['file'])} {ratio['median']:.2f} times ({ratio['low']:.2f} to {ratio['high']:.2f})"
                found.append((text, ratio["median"] >= 1))
        yield _judge(f"{goal}, files over 500 MB", found)


def _random_targets(rows: list[Row]) -> Iterator[Target]:
    found = []
    # A smaller file would be read from what etpack keeps in memory.
    small = [row for row in rows if row["read_size"] == 4 << 10 and row["threads"] == 1 and row["bytes"] > _CACHED]
    for ours in (row for row in small if row["name"] == "etpack read_into"):
        same = [row for row in small if (row["file"], row["block_size"]) == (ours["file"], ours["block_size"])]
        peers = [row for row in same if is_peer(row["name"])]
        rivals = [row for row in peers if row["ratio"] >= ours["ratio"]]
        if not peers:
            continue
        nearest = (
            min(rivals, key=lambda row: float(row["p50_us"]))
            if rivals
            else max(peers, key=lambda row: float(row["ratio"]))
        )
        word = "" if rivals else "no peer reaches the ratio, nearest is "
        text = (
            f"{_stem(ours['file'])}, blocks of {block_name(ours['block_size'])}: {_read(ours)}; "
            f"{word}{nearest['name']} {_read(nearest)}"
        )
        found.append((text, not rivals or ours["p50_us"] < nearest["p50_us"]))
    yield _judge("random reads of 4 KiB, p50: ahead of every peer of equal or better ratio", found)


def _read(row: Row) -> str:
    return f"{row['p50_us']:.0f} us at ratio {row['ratio']:.3f}"


def _inspect_targets(rows: list[Row]) -> Iterator[Target]:
    for suffix, block_size in ((".pte", None), (".etz", DEFAULT_BLOCK)):
        found = []
        for row in rows:
            if row["bytes"] > _HUGE and row["block_size"] == block_size:
                seconds, peak = row["seconds"]["median"], row["peak"] / MEGABYTE
                found.append((f"{_stem(row['file'])} {seconds:.2f} s, {peak:.0f} MB", seconds < 0.5 and peak < 80))
        yield _judge(f"`etpack inspect` of a {suffix} of a model of 1.6 GB: less than 0.5 s and 80 MB", found)


def _memory_targets(rows: list[Row]) -> Iterator[Target]:
    packing = [row for row in rows if row["kind"] == "memory" and row["command"] == "compress"]
    found = []
    if packing:
        worst = max(packing, key=lambda row: int(row["peak"]))
        largest = max(row["bytes"] for row in packing)
        text = (
            f"at most {worst['peak'] / MEGABYTE:.0f} MB ({_stem(worst['file'])}, "
            f"blocks of {block_name(worst['block_size'])}), models of up to {largest:,} bytes"
        )
        found.append((text, worst["peak"] < 150 * MEGABYTE))
    yield _judge("packing needs less than 150 MB, whatever the size of model and blocks", found)
    starts = {row["command"]: row["seconds"]["median"] * 1000 for row in rows if row["kind"] == "start-up"}
    found = []
    if "etpack --version" in starts:
        others = [f"`{name}` {value:.0f} ms" for name, value in starts.items() if not name.startswith("etpack")]
        text = f"`etpack --version` {starts['etpack --version']:.0f} ms; " + ", ".join(others)
        found.append((text, starts["etpack --version"] < 150))
    yield _judge("start-up takes less than 150 ms", found)


def _loading_targets(rows: list[Row]) -> Iterator[Target]:
    by_name = {(row["file"], row["storage"], row["name"]): row for row in rows}
    files = distinct(rows, "file")
    speed = 200
    found = []
    for file in files:
        ways = ("zstd, read ahead", "zstd, 2 threads", "zstd, 1 thread", "lz4, read ahead")
        names = (device.PEER, *(f"etpack {way}" for way in ways))
        same = [by_name[key] for name in names if (key := (file, f"{speed} MB/s", name)) in by_name]
        if len(same) == len(names):
            ahead, two, one, lz4 = (row["saved"]["median"] * 1000 for row in same[1:])
            wanted = device.saving_wanted(same[1], same[0]["read"], speed) * 1000
            others = f"LZ4 {lz4:.0f}; not reading ahead {one:.0f}, with two decoding threads {two:.0f}"
            found.append((f"{_stem(file)} {ahead:.0f} ms quicker, {wanted:.0f} wanted ({others})", ahead >= wanted))
    goal = f"loading at {speed} MB/s, reading ahead, is quicker than `FileDataLoader` by at least 0.9 of the time"
    yield _judge(f"{goal} that reading fewer bytes saves", found)
    found = []
    for file in files:
        ours, lz4 = (by_name.get((file, device.WARM, f"etpack {codec}, 2 threads")) for codec in device.CODECS)
        if ours and lz4 and ours["class"] in ("BF16", "FP32") and "ratio" in ours:
            times = ours["ratio"]
            spread = f"{times['low']:.2f} to {times['high']:.2f}"
            text = f"{_stem(file)} {times['median']:.2f} times as fast ({spread}), LZ4 {lz4['ratio']['median']:.2f}"
            found.append((text, times["median"] > 1))
    yield _judge("loading BF16 and FP32 warm, two threads, is faster than with `FileDataLoader`", found)
    yield from _loading_memory_targets(by_name, files)


def _loading_memory_targets(by_name: dict[tuple[str, str, str], Row], files: list[str]) -> Iterator[Target]:
    close, below = [], []
    for file in files:
        ours = by_name.get((file, device.WARM, "etpack zstd, 1 thread"))
        peer, buffer = (by_name.get((file, device.WARM, name)) for name in (device.PEER, "BufferDataLoader"))
        if ours and peer:
            more = [(ours[what] - peer[what]) / MEGABYTE for what in ("peak", "resident")]
            close.append((f"{_stem(file)} {more[0]:+.1f} and {more[1]:+.1f} MB", max(more) <= 1))
        if ours and buffer and "xnnpack" in file:
            less = [ours[what] / buffer[what] - 1 for what in ("peak", "resident")]
            below.append((f"{_stem(file)} {less[0]:+.0%} and {less[1]:+.0%}", max(less) < -_VISIBLE))
    yield _judge("peak, and memory when loaded, one thread: at most 1 MB above `FileDataLoader`'s", close)
    yield _judge(f"the same, XNNPACK: below `BufferDataLoader`'s by more than {_VISIBLE:.0%}", below)


def _decoding_targets(rows: list[Row]) -> Iterator[Target]:
    speeds = {(row["file"], row["name"]): row for row in rows}
    for kind, part, wanted in (("BF16", "", 2.5), ("FP32", "minilm", 3.0)):
        found = []
        for file in distinct([row for row in rows if row["class"] == kind and part in row["file"]], "file"):
            names = ("etpack zstd", "etpack lz4", "memcpy")
            ours, lz4, copy = (speeds[file, name]["gb_per_s"]["median"] for name in names)
            best = speeds[file, names[0]]["best"]
            text = f"{_stem(file)} {ours:.2f} GB/s (best {best:.2f}), LZ4 {lz4:.2f}, memcpy {copy:.1f}"
            found.append((text, ours >= wanted))
        yield _judge(f"one core decodes {part.replace('minilm', 'MiniLM ')}{kind} at {wanted} GB/s or more", found)


def _stem(file: str) -> str:
    return Path(file).stem


def headline(rows: dict[str, list[Row]]) -> str:
    """Return the goals as a Markdown table."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    lines = [(target.goal, target.measured, words[target.met]) for target in targets(rows)]
    return table(("goal", "measured", "met"), lines, left=3)


def overview(rows: dict[str, list[Row]]) -> str:
    """Return how many goals of each area are met as a Markdown table, as the README shows it; with one for instance."""
    lines = []
    for area, found in targets_by_area(rows).items():
        shown = min(found, key=lambda target: target.met is not False)
        not_met = "not met: " if shown.met is False else ""
        met = f"{sum(target.met is True for target in found)} of {len(found)}"
        lines.append((area, met, f"{not_met}{shown.goal}: {shown.example or shown.measured}"))
    return table(("", "goals met", "for instance"), lines, left=3)


def page(rows: dict[str, list[Row]], machine: dict[str, str]) -> str:
    """Return the text of `summary.md`."""
    facts = "; ".join(f"{name} {value}" for name, value in machine.items())
    pages = ", ".join(f"[{part.name}]({part.name}.md)" for part in PARTS if rows[part.name])
    return (
        "# Summary\n\nJudged from the medians in the JSON files beside this page; MB are 1,000,000 bytes.\n\n"
        f"{headline(rows)}\n\nHow each was measured, and every figure: {pages}.\n\nMeasured on: {facts}.\n"
    )


def write(folder: Path = RESULTS) -> None:
    """Write `summary.md` into the folder of the results, from the JSON there."""
    machine = next(Results.load(path).machine for part in PARTS if (path := folder / f"{part.name}.json").exists())
    (folder / "summary.md").write_text(page(load(folder), machine), encoding="utf-8")


def write_again(folder: Path) -> None:
    """Write the pages and plots of all parts that have JSON in the folder, and the summary."""
    for part in PARTS:
        path = folder / f"{part.name}.json"
        if path.exists():
            part.show(Results.load(path), folder)
    write(folder)


if __name__ == "__main__":
    write_again(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)
