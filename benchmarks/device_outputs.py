"""Runs models in ExecuTorch, plain and packed, and prints whether the outputs are the same, bit for bit.

    cmake -S examples/cpp -B build/runner -DCMAKE_PREFIX_PATH=FOLDER/executorch && cmake --build build/runner
    python -m benchmarks.device_outputs build/runner/runner FILE_OR_FOLDER ... > benchmarks/results/device_outputs.md

Each model is packed at the defaults (or taken from `--packed FOLDER`, if NAME.pte.etz is there), and external weights,
NAME.*.ptd beside NAME.pte, with it. Each method runs on the same made-up inputs from the plain file through
FileDataLoader, and from the packed one through EtzDataLoader with one thread and with two. Beside it stands the memory
in use when the method is loaded, and its peak until then. Exits 1 if outputs differ, or if a packed model fails where
the plain one runs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import etpack
from benchmarks.roundtrip import find_files

_HEAD = """# Outputs of packed models in ExecuTorch

Made by `python -m benchmarks.device_outputs`, where it says how. "Resident" is the memory in use when the method is
loaded, "peak" the most until then, in MB of 10^6 bytes; "more" is what EtzDataLoader has above FileDataLoader, with one
thread.

| model | method | outputs | hash | resident, File | more | peak, File | more |
|---|---|---|---|---:|---:|---:|---:|"""


@dataclass(frozen=True)
class Run:
    """What a run of the runner printed: `values` if it went well, else `reason`."""

    values: dict[str, str]
    reason: str = ""

    def megabytes(self, name: str) -> float:
        """Return a number of bytes in MB."""
        return int(self.values[f"{name}_bytes"]) / 1e6


def run(runner: Path, timeout: float, *arguments: str | Path) -> Run:
    """Run the runner once."""
    try:
        done = subprocess.run([runner, *arguments], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return Run({}, f"stopped after {timeout:.0f} s")
    if done.returncode:
        return Run({}, _reason(done.stderr) or f"exit status {done.returncode}")
    return Run(dict(re.findall(r"^(\w+): (\S+)$", done.stdout, re.MULTILINE)))


def _reason(stderr: str) -> str:
    """Return what ExecuTorch says in the first place, and the runner in the last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys([*lines[:1], *lines[-1:]])).replace("|", "/")


def row(runner: Path, timeout: float, method: str, plain: Sequence[Path], packed: Sequence[Path]) -> tuple[str, bool]:
    """Return a row of the table without the model's name, and whether it is as it should be.

    Args:
        runner: The program.
        timeout: Seconds for one run.
        method: Name of the method.
        plain: The model, and its external weights if it has any.
        packed: The same, packed.
    """

    def runs(files: Sequence[Path], *options: str) -> Run:
        data: list[str | Path] = ["--data", files[1]] if len(files) > 1 else []
        return run(runner, timeout, files[0], *data, "--method", method, *options)

    file = runs(plain, "--loader", "file")
    if file.reason:
        return f"`{method}` | cannot run: {file.reason} | | | | | |", True
    alone = runs(packed, "--loader", "etz")
    pair = runs(packed, "--loader", "etz", "--threads", "2")
    if reason := alone.reason or pair.reason:
        return f"`{method}` | **packed: {reason}** | | | | | |", False
    hashes = [each.values["outputs_hash"] for each in (file, alone, pair)]
    same = len(set(hashes)) == 1
    memory = " | ".join(
        f"{file.megabytes(name):.1f} | {alone.megabytes(name) - file.megabytes(name):+.1f}"
        for name in ("resident_loaded", "peak_loaded")
    )
    return f"`{method}` | {'same' if same else '**different**'} | {hashes[0]} | {memory} |", same


def rows(runner: Path, timeout: float, model: Path, packed: Path, work: Path) -> Iterator[tuple[str, bool]]:
    """Return the rows of all methods of a model; `work` is for its external weights, packed."""
    with etpack.open(packed) as file:
        methods = [method.name for method in file.model.methods]
    data = sorted(model.parent.glob(f"{model.stem}.*.ptd"))[:1]
    packed_data = [_packed(path, packed.parent, work) for path in data]
    for method in methods:
        yield row(runner, timeout, method, [model, *data], [packed, *packed_data])


def _packed(path: Path, folder: Path, work: Path) -> Path:
    ready = folder / f"{path.name}.etz"
    if ready.exists():
        return ready
    etpack.compress(path, work / ready.name)
    return work / ready.name


def main() -> int:
    """Print the table; return 0 if all outputs are the same."""
    parser = argparse.ArgumentParser(description="Compare the outputs of plain and packed models in ExecuTorch.")
    parser.add_argument("runner", type=Path)
    parser.add_argument("places", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--packed", type=Path, default=Path("."), help="Folder with models that are packed already.")
    parser.add_argument("--timeout", type=float, default=600, help="Seconds for one run.")
    said = parser.parse_args()
    all_good = True
    print(_HEAD)
    for model in (path for path in find_files(said.places) if path.suffix == ".pte"):
        with tempfile.TemporaryDirectory() as temporary:
            packed = _packed(model, said.packed, Path(temporary))
            for text, good in rows(said.runner.resolve(), said.timeout, model, packed, Path(temporary)):
                print(f"| {model.name} | {text}", flush=True)
                all_good = all_good and good
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())
