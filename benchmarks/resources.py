"""Runs each command on a file in a process of its own, and prints its wall time and peak memory.

    python -m benchmarks.resources FILE ... > table.md

Peak memory is the largest resident set that the kernel saw (ru_maxrss), the interpreter and libraries included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


def measure(arguments: list[str]) -> tuple[float, float]:
    """Run etpack with these arguments; return wall seconds and peak resident MiB.

    Raises:
        SystemExit: The command failed.
    """
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "etpack", *arguments], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"etpack {' '.join(arguments)} exited with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def commands(path: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield a name and the arguments of each command, in an order in which they can run."""
    packed, restored = str(folder / "x.etz"), str(folder / "x.out")
    yield "inspect, plain", ["inspect", str(path)]
    yield "inspect --json, plain", ["inspect", "--json", str(path)]
    yield "verify, plain", ["verify", str(path)]
    yield "compress", ["compress", "-f", "-q", str(path), "-o", packed]
    yield "compress -j1", ["compress", "-f", "-q", "-j1", str(path), "-o", packed]
    yield "compress --block-size 4K", ["compress", "-f", "-q", "--block-size", "4K", str(path), "-o", packed]
    yield "inspect, packed at 4K", ["inspect", packed]
    yield "compress --no-check", ["compress", "-f", "-q", "--no-check", str(path), "-o", packed]
    yield "inspect, packed", ["inspect", packed]
    yield "verify --fast", ["verify", "--fast", packed]
    yield "verify", ["verify", packed]
    yield "decompress", ["decompress", "-f", "-q", packed, "-o", restored]
    yield "decompress, to nowhere", ["decompress", "-q", packed, "-o", os.devnull]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    print("| file | bytes | command | seconds | peak MiB |\n|---|---:|---|---:|---:|")
    for path in parser.parse_args().files:
        with tempfile.TemporaryDirectory(prefix="etpack-bench-") as folder:
            for name, arguments in commands(path, Path(folder)):
                seconds, peak = measure(arguments)
                print(f"| {path.name} | {path.stat().st_size:,} | {name} | {seconds:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
