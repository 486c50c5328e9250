"""Run every method of a .pte or .etz in ExecuTorch's runtime on the sample images, and save what comes out.

Usage: python run_model.py MODEL SAMPLE_JSON OUTPUT [bytes]

With "bytes", an .etz is loaded as where there are no files in memory.

OUTPUT is a file for torch.load: a dict from method name to a tensor with one row per image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from executorch.runtime import Program, Runtime

import etpack.executorch


def run_method(program: Program, name: str, images: torch.Tensor) -> torch.Tensor:
    """Run one method on each of `images` (N x 1 x 8 x 8) and return its outputs, one row per image."""
    method = program.load_method(name)
    assert method is not None
    return torch.cat([method.execute((image,))[0] for image in images.split(1)])


def main() -> None:
    model, sample, output = (Path(argument) for argument in sys.argv[1:4])
    images = torch.tensor(json.loads(sample.read_text())["images"]).reshape(-1, 1, 8, 8)
    if sys.argv[4:] == ["bytes"]:
        vars(etpack.executorch)["_has_files_in_memory"] = lambda: False
    load = etpack.executorch.load_program if model.suffix == ".etz" else Runtime.get().load_program
    program = load(model)
    torch.save({name: run_method(program, name, images) for name in sorted(program.method_names)}, output)


if __name__ == "__main__":
    main()
