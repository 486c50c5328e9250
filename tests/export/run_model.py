"""Run every method of a .pte in ExecuTorch's runtime on the sample images, and save what comes out.

Usage: python run_model.py MODEL SAMPLE_JSON OUTPUT

OUTPUT is a file for torch.load: a dict from method name to a tensor with one row per image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from executorch.runtime import Program, Runtime


def run_method(program: Program, name: str, images: torch.Tensor) -> torch.Tensor:
    """Run one method on each of `images` (N x 1 x 8 x 8) and return its outputs, one row per image."""
    method = program.load_method(name)
    assert method is not None
    return torch.cat([method.execute((image,))[0] for image in images.split(1)])


def main() -> None:
    model, sample, output = (Path(argument) for argument in sys.argv[1:])
    images = torch.tensor(json.loads(sample.read_text())["images"]).reshape(-1, 1, 8, 8)
    program = Runtime.get().load_program(model)
    torch.save({name: run_method(program, name, images) for name in sorted(program.method_names)}, output)


if __name__ == "__main__":
    main()
