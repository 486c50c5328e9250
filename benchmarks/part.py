"""A part of the benchmarks: measured into rows, which are kept as JSON; Markdown and plots are made of the rows."""

from __future__ import annotations

import argparse
import compileall
import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import etpack
from benchmarks import machine
from benchmarks.harness import progress
from benchmarks.places import find_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"

Row = dict[str, Any]


class Bench:
    """One run: the model files, a folder for what is made on the way, and what could not be measured."""

    def __init__(self, files: Sequence[Path], work: Path, *, rounds: int = 3) -> None:
        self.files = files
        self.work = work
        self.rounds = rounds
        self.missing: list[Row] = []

    def miss(self, what: str, path: Path | None, reason: str) -> None:
        """Note, and say aloud, that something was not measured."""
        name = path.name if path else ""
        progress(f"NOT MEASURED: {what} {name}: {reason}")
        self.missing.append({"what": what, "file": name, "reason": reason})

    def packed_path(self, path: Path, block_size: int) -> Path:
        """Return where the model is, or will be, packed with blocks of this size and defaults else."""
        return self.work / f"{path.name}.{block_size}.etz"

    def packed(self, path: Path, block_size: int = 64 << 10) -> Path:
        """Return the model packed so; it is packed when it is first asked for."""
        target = self.packed_path(path, block_size)
        if not target.exists():
            progress(f"  packing {path.name} with blocks of {block_size >> 10}K")
            etpack.compress(path, target, etpack.Options(block_size))
        return target


@dataclass(frozen=True)
class Results:
    """What one part measured, as it is kept in JSON."""

    part: str
    machine: dict[str, str]
    # Seconds that the whole part took.
    seconds: float
    rows: list[Row]
    # What could not be measured: what, file, reason.
    missing: list[Row]

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def save(self, path: Path) -> None:
        """Write the results, one row a line, so that differences can be read."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("rows", "missing")}
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()]
        for name, rows in (("rows", self.rows), ("missing", self.missing)):
            text = ",\n    ".join(json.dumps(row) for row in rows)
            lines.append(f'"{name}": [\n    {text}\n  ]' if rows else f'"{name}": []')
        path.write_text("{\n  " + ",\n  ".join(lines) + "\n}\n", encoding="utf-8")


@dataclass(frozen=True)
class Part:
    """A part: what it is called, what measures it, and what shows its rows.

    Attributes:
        name: The module, and the stem of the files of results.
        title: The heading of its page.
        about: Markdown: how it was measured.
        measure: Returns the rows.
        tables: Returns the Markdown of the rows.
        plots: Returns figures by name; needs matplotlib.
    """

    name: str
    title: str
    about: str
    measure: Callable[[Bench], list[Row]]
    tables: Callable[[list[Row]], str]
    plots: Callable[[list[Row]], dict[str, Figure]]

    def run(self, bench: Bench, folder: Path) -> None:
        """Measure, and write JSON, plots and Markdown into a folder."""
        progress(f"{self.name}: begins")
        start, before = time.monotonic(), len(bench.missing)
        rows = self.measure(bench)
        seconds = round(time.monotonic() - start, 1)
        results = Results(self.name, machine.describe(), seconds, rows, bench.missing[before:])
        folder.mkdir(parents=True, exist_ok=True)
        results.save(folder / f"{self.name}.json")
        self.show(results, folder)
        progress(f"{self.name}: took {seconds} s")

    def show(self, results: Results, folder: Path) -> None:
        """Write plots and Markdown of results into a folder."""
        page = folder / f"{self.name}.md"
        shown: list[str] = []
        if page.exists():
            # Names of plots may come of names of files, so earlier ones would stay.
            for name in re.findall(r"^!\[(.*)\]\(", page.read_text(encoding="utf-8"), re.MULTILINE):
                (folder / f"{name}.svg").unlink(missing_ok=True)
        try:
            import matplotlib as mpl
        except ImportError as exc:
            progress(f"NO PLOTS: {exc}")
        else:
            mpl.use("svg")
            mpl.rcParams["svg.hashsalt"] = "etpack"
            for name, figure in self.plots(results.rows).items():
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
                shown.append(name)
        page.write_text(self.page(results, shown), encoding="utf-8")

    def page(self, results: Results, plots: Sequence[str] = ()) -> str:
        """Return the page of results; `plots` are the names of figures beside it."""
        parts = [f"# {self.title}", self.about.strip(), *(f"![{name}]({name}.svg)" for name in plots)]
        parts.append(self.tables(results.rows))
        if results.missing:
            rows = [(row["what"], row["file"], row["reason"]) for row in results.missing]
            parts.append("## Not measured\n\n" + table(("what", "file", "why"), rows))
        facts = "; ".join(f"{name} {value}" for name, value in results.machine.items())
        parts.append(f"Measured in {results.seconds:,.0f} s by `python -m benchmarks.{results.part}` on: {facts}.")
        return "\n\n".join(parts) + "\n"

    def main(self) -> None:
        """Run this part alone, as its module's program."""
        run_parts([self], f"Measures this part of the benchmarks: {self.title.lower()}.")


def run_parts(parts: Sequence[Part], description: str) -> Path:
    """Parse the command line of a program of the benchmarks, run parts, and return the folder of the results."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("places", nargs="+", metavar="FILE_OR_FOLDER", help="models to measure with")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for results; default %(default)s")
    parser.add_argument("--work", type=Path, help="folder for temporary files; default: a new one beside the results")
    parser.add_argument("--rounds", type=int, default=3, help="how often each command runs; default %(default)s")
    arguments = parser.parse_args()
    files = find_files(arguments.places)
    # As Ctrl-C: what was made on the way is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments.results.mkdir(parents=True, exist_ok=True)
    # As an install does; otherwise commands may compile themselves at every start.
    compileall.compile_dir(Path(etpack.__file__).parent, quiet=2)
    with tempfile.TemporaryDirectory(prefix="work-", dir=arguments.work or arguments.results) as work:
        bench = Bench(files, Path(work), rounds=arguments.rounds)
        for part in parts:
            part.run(bench, arguments.results)
    if bench.missing:
        print(f"benchmarks: {len(bench.missing)} things were not measured; the pages say which", file=sys.stderr)
    return Path(arguments.results)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table whose first `left` columns are texts, the others figures."""
    lines = [header, ["---" if number < left else "---:" for number in range(len(header))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def distinct(rows: Iterable[Row], key: str) -> list[Any]:
    """Return the different values of a field, in the order in which they come."""
    return list(dict.fromkeys(row[key] for row in rows))


def block_name(size: int | None) -> str:
    """Return a block size as the command line takes it, or a dash for none."""
    if size is None:
        return "-"
    return f"{size >> 10}K" if size < 1 << 20 else f"{size >> 20}M"
