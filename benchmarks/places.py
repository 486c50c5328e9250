"""Which files a part measures, and of which class of weights each is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

SUFFIXES = (".pte", ".ptd", ".bpte")
MEGABYTE = 1_000_000
LARGE = 500 * MEGABYTE

# The first pattern that the name of a file contains tells its class; the rest are classed by their kind.
_CLASSES = (
    ("8da4w", "int4"), ("int4", "int4"), ("8da8w", "int8"), ("int8", "int8"),
    ("bf16", "BF16"), ("fp16", "FP16"), ("fp32", "FP32"),
)  # fmt: skip

# One or two files of each class, where the corpus of benchmarks/README.md is there.
_REPRESENTATIVES = {
    "minilm_fp32_xnnpack", "crepe_full_fp32_portable", "minilm_fp16_portable", "minilm_bf16_portable",
    "smollm2_bf16_portable", "crepe_full_int8_xnnpack", "minilm_8da8w_xnnpack", "minilm_8da4w_xnnpack",
}  # fmt: skip


def find_files(places: Sequence[str]) -> list[Path]:
    """Return the model files in the given files and folders, sorted by name within a folder.

    Raises:
        SystemExit: A place is not there, or no place has a model.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            found += sorted(path for path in place.iterdir() if path.suffix in SUFFIXES)
        elif place.is_file():
            found.append(place)
        else:
            raise SystemExit(f"benchmarks: {place} is not there")
    if not found:
        raise SystemExit(f"benchmarks: no {', '.join(SUFFIXES)} in {', '.join(places) or 'nothing'}")
    return found


def weight_class(path: Path) -> str:
    """Return FP32, FP16, BF16, int8 or int4 by the file's name, else its kind."""
    return next((kind for pattern, kind in _CLASSES if pattern in path.stem), path.suffix)


def representatives(files: Sequence[Path]) -> list[Path]:
    """Return the known representatives of each class, or all files where there is none of them, ordered by class."""
    chosen = [path for path in files if path.stem in _REPRESENTATIVES] or list(files)
    order = list(dict.fromkeys(["FP32", "FP16", "BF16", "int8", "int4"] + [weight_class(path) for path in chosen]))
    return sorted(chosen, key=lambda path: (order.index(weight_class(path)), path.name))


def middle(files: Sequence[Path]) -> Path:
    """Return the largest representative of at most 100 MB, or the smallest file if all are larger."""
    fitting = [path for path in representatives(files) if _size(path) <= 100 * MEGABYTE]
    return max(fitting, key=_size) if fitting else min(files, key=_size)


def large(files: Sequence[Path]) -> list[Path]:
    """Return the files of more than 500 MB, the smallest first."""
    return sorted((path for path in files if _size(path) > LARGE), key=_size)


def ladder(files: Sequence[Path], sizes: Iterable[int]) -> list[Path]:
    """Return the file nearest to each size, by ratio, each once and the smallest first."""
    nearest = {min(files, key=lambda path: abs(math.log(_size(path) / size))) for size in sizes}
    return sorted(nearest, key=_size)


def _size(path: Path) -> int:
    return path.stat().st_size
