"""Packs and unpacks real models under many options, compares byte for byte, and prints a table.

    python -m benchmarks.roundtrip [--pairwise NAME ...] [--jobs-check NAME ...] FILE_OR_FOLDER ... > table.md

Every file is packed at the defaults and with `--codec lz4`; files under 10 MB also with every combination of block
size, codec, filter and effort, and files named by --pairwise with a set in which each pair of values occurs. Exits 1
if a single byte differs.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from pathlib import Path

import etpack
from etpack import Effort, Options

SMALL = 10_000_000
BLOCK_SIZES = (4 << 10, 64 << 10, 1 << 20)
CODECS = ("zstd", "lz4", "raw")
FILTERS = (True, False)
ROW = "| {} | {:,} | {} | {} | {} | {} | {:,} | {:.4f} | {:.1f} | {:.1f} | {} |"


def all_options() -> list[Options]:
    """Return every combination; effort and filters do not matter to raw, which comes once per block size."""
    return [
        Options(size, codec, effort, filters)
        for size, codec, effort, filters in product(BLOCK_SIZES, CODECS, Effort, FILTERS)
        if codec != "raw" or (effort is Effort.DEFAULT and filters)
    ]


def pairwise_options() -> list[Options]:
    """Return few combinations in which every pair of values of two options occurs, chosen greedily."""
    candidates = list(product(BLOCK_SIZES, CODECS, Effort, FILTERS))
    wanted = {pair for candidate in candidates for pair in combinations(enumerate(candidate), 2)}
    chosen = []
    while wanted:
        best = max(candidates, key=lambda c: len(wanted & set(combinations(enumerate(c), 2))))
        wanted -= set(combinations(enumerate(best), 2))
        chosen.append(Options(*best))
    return chosen


def round_trip(path: Path, options: Options, folder: Path) -> bool:
    """Pack and unpack one file, print its row, and return whether the bytes are the same."""
    packed, unpacked = folder / "packed.etz", folder / "unpacked"
    start = time.perf_counter()
    result = etpack.compress(path, packed, options, overwrite=True)
    middle = time.perf_counter()
    etpack.decompress(packed, unpacked, overwrite=True)
    end = time.perf_counter()
    same = filecmp.cmp(path, unpacked, shallow=False)
    print(
        ROW.format(
            path.name, result.content_size, f"{options.block_size >> 10}K", options.codec, options.effort.value,
            "yes" if options.filters else "no", result.stored_size, result.ratio, middle - start, end - middle,
            "same" if same else "**DIFFERENT**",
        ),
        flush=True,
    )  # fmt: skip
    return same


def same_for_any_jobs(path: Path, folder: Path) -> bool:
    """Pack one file with one thread and with two, print a line, and return whether the bytes are the same."""
    digests = []
    for jobs in (1, 2):
        packed = folder / "packed.etz"
        etpack.compress(path, packed, overwrite=True, jobs=jobs)
        with packed.open("rb") as file:
            digest = hashlib.sha256()
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
        digests.append(digest.hexdigest())
    verdict = "same" if digests[0] == digests[1] else "**DIFFERENT**"
    print(
        f"| {path.name} | {path.stat().st_size:,} | `{digests[0][:16]}` | `{digests[1][:16]}` | {verdict} |", flush=True
    )
    return digests[0] == digests[1]


def find_files(places: Sequence[str]) -> Iterator[Path]:
    """Yield the model files in the given files and folders, sorted by name within a folder."""
    for place in map(Path, places):
        yield from (
            [place] if place.is_file() else sorted(p for p in place.iterdir() if p.suffix in (".pte", ".ptd", ".bpte"))
        )


def main() -> int:
    """Print the tables; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--pairwise", nargs="*", default=[], metavar="NAME", help="files that get the pairwise set")
    parser.add_argument("--jobs-check", nargs="*", default=[], metavar="NAME", help="files to pack with -j1 and -j2")
    arguments = parser.parse_args()
    files = list(find_files(arguments.places))
    good = True
    with tempfile.TemporaryDirectory(prefix="etpack-bench-") as name:
        folder = Path(name)
        print("| file | bytes | block | codec | effort | filters | stored | ratio | pack s | unpack s | bytes are |")
        print("|---|---:|---:|---|---|---|---:|---:|---:|---:|---|")
        for path in files:
            chosen = [Options(), Options(codec="lz4")]
            if path.stat().st_size < SMALL:
                chosen += all_options()
            elif path.name in arguments.pairwise:
                chosen += pairwise_options()
            for options in chosen:
                good &= round_trip(path, options, folder)
        print("\n| file | bytes | -j1 | -j2 | bytes are |\n|---|---:|---|---|---|")
        for path in files:
            if path.name in arguments.jobs_check:
                good &= same_for_any_jobs(path, folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
