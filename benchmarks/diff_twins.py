"""Compares models with their fine-tuned twins, and holds what `etpack diff` names against what was trained.

    python -m benchmarks.diff_twins --names NAMES.ptd --trained REGEX A B [A B ...] > table.md

NAMES.ptd holds the tensors of the models A under their names, so that a part that changed is known by the bytes that it
had in A. Exits 1 if a part is named that was not trained, or a trained tensor that is in A as it is was not named.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from contextlib import closing
from pathlib import Path

import etpack
from etpack.compare import Change, PartChange, PartKind
from etpack.sources import FileSource

TENSORS = (PartKind.CONSTANT, PartKind.NAMED_DATA)
ROW = "| {} | {} | {:,} | {:,} | {:,} | {} | {:,} of {:,} | {:,} |"
HEAD = (
    "| a | b | tensors that changed | of these trained, by their bytes in a | quantised, so not known by bytes "
    "| others named, or missed | blocks to send | bytes |\n|---|---|---:|---:|---:|---|---:|---:|"
)


def tensor_names(path: Path) -> dict[str, str]:
    """Return the keys of a .ptd by the SHA-256 of their bytes."""
    with closing(FileSource(path)) as source:
        model = etpack.read_model(source)
        places = ((named.key, model.segments[named.segment].range) for named in model.named_data)
        return {hashlib.sha256(source.read_at(place.offset, place.size)).hexdigest(): key for key, place in places}


def old_digest(part: PartChange, path: Path) -> str:
    """Return the SHA-256 of what a part was in `path`; empty if it was not there."""
    if part.a is None or part.a.offset is None:
        return ""
    with etpack.DataLoader(path) as loader, loader.load(part.a.offset, part.a.size) as buffer:
        return hashlib.sha256(buffer.data).hexdigest()


def compare(a: Path, b: Path, names: dict[str, str], trained: re.Pattern[str]) -> bool:
    """Print the row of a pair; return whether the tensors are the right ones."""
    found = etpack.diff(a, b, everything=True)
    tensors = [(part, names.get(old_digest(part, a))) for part in found.parts if part.kind in TENSORS]
    changed = [(part, name) for part, name in tensors if part.change is not Change.UNCHANGED]
    known = [name for _, name in changed if name and trained.search(name)]
    missed = [name for part, name in tensors if part.change is Change.UNCHANGED and name and trained.search(name)]
    others = [name or str(part.b) for part, name in changed if not known_or_quantised(part, name, trained)]
    blocks = found.blocks
    quantised = len(changed) - len(known) - len(others)
    print(
        ROW.format(
            a.name, b.name, len(changed), len(known), quantised, ", ".join(others + missed) or "none",
            blocks.new_count, blocks.block_count, blocks.new_size,
        )
    )  # fmt: skip
    return not others and not missed


def known_or_quantised(part: PartChange, name: str | None, trained: re.Pattern[str]) -> bool:
    """Whether a part is a trained tensor, or a matched one whose bytes are not those of any float tensor."""
    if name:
        return trained.search(name) is not None
    return part.change is Change.CHANGED and part.b is not None and part.b.dtype != "float32"


def main() -> int:
    """Run the program; returns its exit code."""
    parser = argparse.ArgumentParser(description="Compare models with their fine-tuned twins.")
    parser.add_argument("--names", type=Path, required=True, help="a .ptd with the tensors of A under their names")
    parser.add_argument("--trained", type=re.compile, required=True, help="which of the names were trained")
    parser.add_argument("files", type=Path, nargs="+", metavar="A B")
    arguments = parser.parse_args()
    files = arguments.files
    if len(files) % 2:
        parser.error("files come in pairs")
    names = tensor_names(arguments.names)
    count = sum(arguments.trained.search(name) is not None for name in names.values())
    print("# What `etpack diff` names of fine-tuned models\n")
    print("Made by `python -m benchmarks.diff_twins`, which exits 1 if others are named than were trained, or not all.")
    print(f"Trained were {count} of {len(names)} tensors, those that match `{arguments.trained.pattern}`.\n")
    print(HEAD)
    right = [compare(a, b, names, arguments.trained) for a, b in zip(files[::2], files[1::2], strict=True)]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
