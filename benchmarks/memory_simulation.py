"""What `etpack inspect` says of loading, beside what ExecuTorch does: every call and free, and resident memory.

    python -m benchmarks.memory_simulation RUNNER FILE_OR_FOLDER ... > table.md

RUNNER is the program of examples/cpp, built against ExecuTorch's wheel. It loads each method of each .pte with each
loader; a .ptd is given to the model whose name its own begins with. The calls and the bytes live after each must be the
simulated ones. Then memory: the growth of the process from its start, at its peak and with the method loaded, beside
the prediction. Exits 1 if a call differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import etpack
from benchmarks.machine import describe
from benchmarks.roundtrip import find_files
from benchmarks.runtime_trace import Measured, predicted, run
from etpack.memory import Footprint, Loader, LoaderMemory, replay, simulate
from etpack.pte import Blobs, FileKind, ModelFile, read_blobs, read_model
from etpack.reader import EtzFile
from etpack.report import read_data_file
from etpack.report.storage import packed_storage
from etpack.sources import FileSource

LOADERS = {"buffer": Loader.BUFFER, "file": Loader.FILE, "mmap": Loader.MMAP, "etz": Loader.ETZ}
_LARGE = 20_000_000
ABOUT = """
Megabytes (10^6 bytes) of growth of resident memory since the start of the process, beside the prediction. "Predicted"
has planned buffers and, after a +, about what XNNPACK's own copies of its weights take. For mmap it is a range: of the
pages of the file that are mapped, those that nobody touches are not resident. "Off" is the prediction over the measured
size, less one; for mmap, how far that lies outside the range. What is lacking are the runtime's and the backend's own
structures, and with FileDataLoader what the allocator keeps of freed memory.
"""


@dataclass(frozen=True)
class Case:
    """A method of a model."""

    path: Path
    data: Path | None
    model: ModelFile
    blobs: Blobs
    data_files: tuple[ModelFile, ...]
    method: str


def find_cases(places: Sequence[str]) -> Iterator[Case]:
    """Yield the methods of all models."""
    files = list(find_files(places))
    for path in files:
        with FileSource(path) as source:
            model = read_model(source)
            if model.kind is not FileKind.PTE:
                continue
            blobs = read_blobs(source, model)
        data = next(
            (other for other in files if other.suffix == ".ptd" and other.name.startswith(path.stem + ".")), None
        )
        data_files = (read_data_file(data),) if data else ()
        for method in model.methods:
            yield Case(path, data, model, blobs, data_files, method.name)


def simulated(case: Case, packed: Path) -> dict[Loader, LoaderMemory]:
    """Return what loading a method takes, by loader."""
    with EtzFile(packed) as file:
        simulation = simulate(
            case.model,
            packed_storage(file),
            blobs=case.blobs,
            data_files=case.data_files,
            methods=[case.method],
            details=False,
        )
    return {each.loader: each for each in simulation.loaders}


def has_delegates(model: ModelFile) -> bool:
    return any(method.delegates for method in model.methods)


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def shown(footprint: Footprint) -> str:
    """Return a prediction: without backends' copies, and after a + these."""
    known = footprint.dirty + footprint.planned
    text = megabytes(known)
    if footprint.clean:
        text += f" to {megabytes(known + footprint.clean)}"
    return text + (f" + {megabytes(footprint.backends)}" if footprint.backends else "")


def off(measured: int, footprint: Footprint) -> str:
    """Return by how much of the measured size a prediction is too high, or too low."""
    high = footprint.total
    nearest = min(max(measured, high - footprint.clean), high)
    return f"{(nearest - measured) / measured:+.1%}"


def row(case: Case, loader: str, measured: Measured, said: LoaderMemory) -> str:
    """Return a row of the table."""
    peak, after = said.peak.footprint, said.after_init.footprint
    cells = [
        case.path.name, case.method, loader, megabytes(measured.peak), shown(peak), off(measured.peak, peak),
        megabytes(measured.loaded), shown(after), off(measured.loaded, after),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Print the table; return 1 if a call differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runner", type=Path, metavar="RUNNER")
    parser.add_argument("places", nargs="+", metavar="FILE_OR_FOLDER")
    arguments = parser.parse_args()
    same = calls = 0
    worst = 0.0
    different: list[str] = []
    silent: list[str] = []
    facts = describe()
    print(f"# The load simulation beside the real runtime\n{ABOUT}")
    print(f"{facts['processor']}, {facts['kernel']}; etpack {facts['etpack']}. One run each.\n")
    print("| file | method | loader | peak | predicted | off | loaded | predicted | off |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="etpack-bench-") as name:
        folder = Path(name)
        for case in find_cases(arguments.places):
            packed, packed_data = folder / f"{case.path.name}.etz", folder / "data.etz"
            if not packed.exists():
                for old in folder.glob("*.etz"):
                    old.unlink()
                etpack.compress(case.path, packed)
                if case.data:
                    etpack.compress(case.data, packed_data)
            expected = tuple(
                predicted(replay(case.model, blobs=case.blobs, data_files=case.data_files, methods=[case.method]))
            )
            said = simulated(case, packed)
            for loader, kind in LOADERS.items():
                etz = loader == "etz"
                data = case.data and (packed_data if etz else case.data)
                measured = run(
                    arguments.runner, packed if etz else case.path, loader, case.method, folder / "log", data
                )
                if measured is None:
                    silent.append(f"{case.path.name} ({case.method})")
                    break
                calls += len(measured.calls)
                same += measured.calls == expected
                if measured.calls != expected:
                    different.append(f"{case.path.name} ({case.method}, {loader})")
                print(row(case, loader, measured, said[kind]), flush=True)
                if loader != "mmap" and not has_delegates(case.model) and case.model.size > _LARGE:
                    predicted_size = said[kind].peak.footprint.total
                    worst = max(worst, abs(predicted_size - measured.peak) / measured.peak)
    print(
        f"\nCalls and frees: {calls:,} in {same + len(different):,} loads; the same as simulated in {same:,} of them."
    )
    print(f"Of models over 20 MB without delegates, and the loaders that copy, the peak is off by {worst:.1%} at most.")
    if different:
        print(f"\n**Different**: {', '.join(different)}.")
    if silent:
        print(f"\nThe wheel cannot load: {', '.join(silent)}.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
