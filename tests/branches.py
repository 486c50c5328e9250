"""Says how many branches of etpack the tests took; fails below 95 %. `make test COVERAGE=1` runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

LEAST = 95.0


def main(report: Path) -> int:
    """Print the files with branches that were not taken, and the figure; return the exit code."""
    measured = json.loads(report.read_text(encoding="utf-8"))
    for name, file in sorted(measured["files"].items()):
        if missed := file["missing_branches"]:
            print(f"{name}: " + ", ".join(f"{line}->{'exit' if to < 0 else to}" for line, to in missed))
    taken, all_of_them = (measured["totals"][key] for key in ("covered_branches", "num_branches"))
    share = 100 * taken / all_of_them
    print(f"Branches taken: {taken} of {all_of_them}, {share:.1f} %; at least {LEAST:.0f} % are asked for")
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
