"""Compression ratio per class of weights, at each block size and effort, against peers.

python -m benchmarks.ratio FILE_OR_FOLDER...
"""

from __future__ import annotations

import filecmp
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import etpack
from benchmarks import peers, plots
from benchmarks.harness import UnmeasuredError, progress
from benchmarks.part import Bench, Part, Row, block_name, distinct, table
from benchmarks.places import MEGABYTE, representatives, weight_class
from etpack import Effort, Options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK_SIZES = (4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20)
DEFAULT_BLOCK = 64 << 10

# What takes longest is spared large files: the highest effort at other block sizes, then other block sizes, then peers.
_MAX_AT_EVERY_SIZE = 25 * MEGABYTE
_EVERY_SIZE = 100 * MEGABYTE
_SLOW_PEERS = {"zstd -19": 100 * MEGABYTE, "OpenZL": 300 * MEGABYTE}

ABOUT = """
Content size divided by stored size, of files with trained weights. Everything was restored and compared with the
original. The peers for whole files give no random access. ZipNN and OpenZL are told the type of number that suits the
file best, by trying; Blosc2 shuffles and packs with zstd, in blocks of the same size as etpack, with the best type size
and level. Seconds are single runs in one process, for orientation.
"""


def measure(bench: Bench) -> list[Row]:
    """Return one row for each file and way to pack it."""
    rows: list[Row] = []
    for path in representatives(bench.files):
        rows += _ours(path, bench.work)
        rows += _peers(path, bench)
    return rows


def _options(size: int) -> Iterator[Options]:
    for block_size in BLOCK_SIZES if size <= _EVERY_SIZE else (DEFAULT_BLOCK,):
        for effort in Effort:
            if effort is not Effort.MAX or size <= _MAX_AT_EVERY_SIZE or block_size in (DEFAULT_BLOCK, 256 << 10):
                yield Options(block_size, effort=effort)
    yield Options(DEFAULT_BLOCK, codec="lz4")


def _ours(path: Path, work: Path) -> Iterator[Row]:
    packed, restored = work / "ratio.etz", work / "ratio.out"
    for options in _options(path.stat().st_size):
        start = time.perf_counter()
        result = etpack.compress(path, packed, options, overwrite=True)
        middle = time.perf_counter()
        etpack.decompress(packed, restored, overwrite=True)
        end = time.perf_counter()
        if not filecmp.cmp(path, restored, shallow=False):
            raise SystemExit(f"benchmarks: {path} came back different with {options}")
        yield _row(
            path, "etpack", options.block_size, result.stored_size, middle - start, end - middle,
            codec=options.codec, effort=options.effort.value,
        )  # fmt: skip
    packed.unlink()
    restored.unlink()


def _peers(path: Path, bench: Bench) -> Iterator[Row]:
    wanted: list[tuple[str, int | None]] = [(name, None) for name in peers.WHOLE_FILE]
    wanted += [("Blosc2", block_size) for block_size in BLOCK_SIZES]
    for name, block_size in wanted:
        limit = _SLOW_PEERS.get(name)
        if limit and path.stat().st_size > limit:
            bench.miss(name, path, f"larger than {limit // MEGABYTE} MB, it would take too long")
            continue
        try:
            found = peers.round_trip(name, block_size or 0, path, bench.work)
        except UnmeasuredError as exc:
            bench.miss(name, path, str(exc))
            continue
        Path(found["packed"]).unlink()
        yield _row(path, name, block_size, found["stored"], found["pack_s"], found["unpack_s"], detail=found["detail"])


def _row(
    path: Path, packer: str, block_size: int | None, stored: int, pack_s: float, unpack_s: float, **more: str
) -> Row:
    size = path.stat().st_size
    how = " ".join([packer, *([block_name(block_size)] if block_size else []), *more.values()])
    progress(f"  {path.name}: {how}: {size / stored:.4f} in {pack_s:.1f} + {unpack_s:.1f} s")
    return {
        "file": path.name, "class": weight_class(path), "bytes": size, "packer": packer, "block_size": block_size,
        "stored": stored, "ratio": round(size / stored, 5), "pack_s": round(pack_s, 2), "unpack_s": round(unpack_s, 2),
        **more,
    }  # fmt: skip


def smallest(rows: list[Row], **wanted: object) -> Row | None:
    """Return the row with the smallest result of those whose fields have the wanted values."""
    fitting = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return min(fitting, key=lambda row: int(row["stored"]), default=None)


def best_whole_file_peer(rows: list[Row], file: str) -> Row | None:
    """Return the row of the peer without random access that makes the smallest of a file."""
    return smallest([row for row in rows if row["packer"] != "etpack"], file=file, block_size=None)


def tables(rows: list[Row]) -> str:
    """Return the tables of the page."""
    return "\n\n".join(
        [
            "## At blocks of 64 KiB, and whole-file peers",
            _overview(rows),
            "## By block size",
            _by_block_size(rows),
            "## Everything",
            _everything(rows),
        ]
    )


def _cell(row: Row | None) -> str:
    return f"{row['ratio']:.4f}" if row else "-"


def _files(rows: list[Row]) -> dict[str, Row]:
    """Return the first row of each file."""
    return {file: next(row for row in rows if row["file"] == file) for file in distinct(rows, "file")}


def _overview(rows: list[Row]) -> str:
    ways: dict[str, Row] = {
        f"etpack {effort.value}": {"packer": "etpack", "effort": effort.value, "codec": "auto"} for effort in Effort
    }
    ways["etpack `--codec lz4`"] = {"packer": "etpack", "codec": "lz4"}
    ways["Blosc2"] = {"packer": "Blosc2"}
    ways = {name: {**way, "block_size": DEFAULT_BLOCK} for name, way in ways.items()}
    ways |= {name: {"packer": name} for name in peers.WHOLE_FILE}
    lines = [
        (
            first["class"],
            file,
            f"{first['bytes']:,}",
            *(_cell(smallest(rows, file=file, **way)) for way in ways.values()),
        )
        for file, first in _files(rows).items()
    ]
    return table(("class", "file", "bytes", *ways), lines, left=2)


def _by_block_size(rows: list[Row]) -> str:
    ways: dict[str, Row] = {f"etpack {effort.value}": {"packer": "etpack", "effort": effort.value} for effort in Effort}
    ways["Blosc2"] = {"packer": "Blosc2"}
    lines = [
        (file, name, *(_cell(smallest(rows, file=file, block_size=size, **way)) for size in BLOCK_SIZES))
        for file in distinct(rows, "file")
        for name, way in ways.items()
    ]
    return table(("file", "packer", *map(block_name, BLOCK_SIZES)), lines, left=2)


def _everything(rows: list[Row]) -> str:
    lines = [
        (
            row["file"], row["packer"], " ".join(row[name] for name in ("codec", "effort", "detail") if row.get(name)),
            block_name(row["block_size"]), f"{row['stored']:,}", _cell(row),
            f"{row['pack_s']:.2f}", f"{row['unpack_s']:.2f}",
        )
        for row in rows
    ]  # fmt: skip
    return table(("file", "packer", "options", "block", "stored", "ratio", "pack s", "unpack s"), lines, left=3)


def draw(rows: list[Row]) -> dict[str, Figure]:
    """Return the figures of the page."""
    ways: dict[str, Row] = {
        "etpack default": {"packer": "etpack", "effort": "default", "codec": "auto", "block_size": DEFAULT_BLOCK},
        "etpack max": {"packer": "etpack", "effort": "max", "codec": "auto", "block_size": DEFAULT_BLOCK},
        "etpack lz4": {"packer": "etpack", "codec": "lz4", "block_size": DEFAULT_BLOCK},
        "Blosc2": {"packer": "Blosc2", "block_size": DEFAULT_BLOCK},
        **{name: {"packer": name} for name in peers.WHOLE_FILE},
    }
    files = distinct(rows, "file")

    def ratio(file: str, way: Row) -> float | None:
        row = smallest(rows, file=file, **way)
        return row["ratio"] if row else None

    bars = {name: [ratio(file, way) for file in files] for name, way in ways.items()}
    lines = {
        Path(file).stem: [
            (size, value)
            for size in BLOCK_SIZES
            for value in [ratio(file, {"packer": "etpack", "effort": "default", "codec": "auto", "block_size": size})]
            if value
        ]
        for file in files
    }
    return {
        "ratio": plots.bars([Path(file).stem for file in files], bars, "content size / stored size", start=1.0),
        "ratio-by-block-size": plots.lines(lines, "block size, bytes", "content size / stored size", logarithmic="x"),
    }


PART = Part("ratio", "Compression ratio", ABOUT, measure, tables, draw)

if __name__ == "__main__":
    PART.main()
