"""Where the processor time of packing and unpacking goes, in one thread.

    python -m benchmarks.profile_pack FILE_OR_FOLDER...

Calls into C are counted by what they do, all else is Python: the profiler's own cost, which falls on Python, is left
out by running once without it and taking what the calls into C do not explain.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import etpack
from benchmarks.roundtrip import find_files
from etpack.reader import EtzFile
from etpack.unpack import unpack
from etpack.writer import pack

# Parts of the names that the profiler gives to calls, and what they are for.
KINDS = {
    "_hashlib": "SHA-256 of the content",
    "ZstdCompressor": "zstd, coding",
    "ZstdDecompressor": "zstd, decoding",
    "_kernels.split": "planes: split",
    "_kernels.merge": "planes: merge",
    "_kernels.totals": "probe: histograms",
    "_kernels.same": "check: comparing",
    "crc32c": "CRC-32C",
    "posix.pread": "reading the file",
}
PYTHON = "Python, and numpy's calls"


class Nowhere:
    """An output that keeps nothing."""

    def write(self, data: bytes | memoryview) -> None:
        """Forget `data`."""


def shares(work: Callable[[], object]) -> tuple[float, dict[str, float]]:
    """Return the seconds of processor time that `work` takes, and how they divide among KINDS and Python."""
    work()  # what is loaded and allocated once
    start = time.process_time()
    work()
    total = time.process_time() - start
    profile = cProfile.Profile(time.process_time)
    profile.runcall(work)
    found: defaultdict[str, float] = defaultdict(float)
    for (_, _, name), (_, _, seconds, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        for part, kind in KINDS.items():
            if part in name:
                found[kind] += seconds
    found[PYTHON] = max(0.0, total - sum(found.values()))
    return total, dict(sorted(found.items(), key=lambda item: -item[1]))


def main() -> None:
    """Print a table for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="FILE_OR_FOLDER")
    with tempfile.TemporaryDirectory(prefix="etpack-bench-") as folder:
        for path in find_files(parser.parse_args().places):
            packed = Path(folder) / "packed.etz"
            etpack.compress(path, packed, overwrite=True)
            size = path.stat().st_size
            with EtzFile(packed) as file:
                jobs: dict[str, Callable[[], object]] = {
                    "packing": partial(pack, path, Nowhere(), jobs=1),
                    "packing without the check": partial(pack, path, Nowhere(), jobs=1, check=False),
                    "unpacking": partial(unpack, file, Nowhere(), jobs=1),
                }
                for name, work in jobs.items():
                    total, parts = shares(work)
                    print(f"\n{path.name}, {name}: {total:.2f} s of processor time, {size / total / 1e6:.0f} MB/s\n")
                    print("| what | ms for each MB | share |\n|---|---:|---:|")
                    for kind, seconds in parts.items():
                        print(f"| {kind} | {seconds / size * 1e9:.2f} | {seconds / total:.0%} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
