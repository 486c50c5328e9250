"""Measures every part and writes the summary: `python -m benchmarks FILE_OR_FOLDER...`, or `make bench`."""

from __future__ import annotations

from benchmarks import summary
from benchmarks.part import run_parts

if __name__ == "__main__":
    summary.write(run_parts(summary.PARTS, "Measures all parts of the benchmarks and writes a summary."))
