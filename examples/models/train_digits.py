"""Train a small CNN on scikit-learn's handwritten digits and export it for ExecuTorch in three precisions.

Writes into the output directory (the folder of this script, unless another is given):

    digits_fp32_xnnpack.pte   FP32, everything in the XNNPACK delegate
    digits_int8_xnnpack.pte   static INT8 (PT2E), everything in the XNNPACK delegate
    digits_bf16_portable.pte  BF16 on the portable kernels; methods "forward" and "features" share their weights
    digits_sample.json        a few test images, their labels, and what each exported model answers

Every model takes one image, a float32 tensor of shape (1, 1, 8, 8) with values from 0 to 1, and returns ten float32
logits, shape (1, 10); "features" returns 64 activations, shape (1, 64).
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

SEED = 20
EPOCHS = 60
BATCH = 32
SAMPLE_COUNT = 16
CALIBRATION_COUNT = 128


class Cast(nn.Module):  # type: ignore[misc, unused-ignore]
    """Converts a tensor to one dtype, so that a BF16 model can take and return float32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.dtype)


def load_split() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return training images, test images (float32, N x 1 x 8 x 8, 0 to 1), training labels and test labels."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    train, test = train_test_split(range(len(labels)), test_size=0.25, stratify=digits.target, random_state=SEED)
    return images[train], images[test], labels[train], labels[test]


def build_model() -> nn.Sequential:
    """Build the untrained network: `features` (image to 64 activations), then `head` (to ten logits)."""
    features = nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 4 * 4, 64),
        nn.ReLU(),
    )
    model = nn.Sequential()
    model.add_module("features", features)
    model.add_module("head", nn.Linear(64, 10))
    return model


def train(images: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    """Train with AdamW, weight decay and a cosine schedule; return the model in eval mode."""
    model = build_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def export_fp32(model: nn.Sequential, image: torch.Tensor) -> bytes:
    """Export `model` as it is to the XNNPACK delegate."""
    program = torch.export.export(model, (image,))
    return bytes(to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)


def export_int8(model: nn.Sequential, images: torch.Tensor) -> bytes:
    """Quantize `model` to INT8 (weights per channel), calibrate on `images`, and export it to the XNNPACK delegate."""
    example = (images[:1],)
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(model, example).module(), quantizer)
    for image in images.split(1):
        prepared(image)
    return export_fp32(convert_pt2e(prepared), images[:1])


def export_bf16(model: nn.Sequential, image: torch.Tensor) -> bytes:
    """Export `model` with BF16 weights to the portable kernels, with a second method for the features alone."""
    rounded = copy.deepcopy(model).to(torch.bfloat16)
    methods = {
        "forward": nn.Sequential(Cast(torch.bfloat16), rounded, Cast(torch.float32)),
        "features": nn.Sequential(Cast(torch.bfloat16), rounded.features, Cast(torch.float32)),
    }
    programs = {name: torch.export.export(method.eval(), (image,)) for name, method in methods.items()}
    return bytes(to_edge_transform_and_lower(programs).to_executorch().buffer)


def run_exported(path: Path, images: torch.Tensor) -> torch.Tensor:
    """Run method "forward" of the .pte at `path` on each image in ExecuTorch's runtime; return the logits, N x 10."""
    forward = Runtime.get().load_program(path).load_method("forward")
    assert forward is not None
    return torch.cat([forward.execute((image,))[0] for image in images.split(1)])


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of rows of `logits` whose largest entry is the label, 0 to 1."""
    return round(float((logits.argmax(1) == labels).float().mean()), 4)


def export_all(model: nn.Sequential, calibration: torch.Tensor, directory: Path) -> list[Path]:
    """Write the three .pte files into `directory` and return their paths."""
    contents = {
        "digits_fp32_xnnpack.pte": export_fp32(model, calibration[:1]),
        "digits_int8_xnnpack.pte": export_int8(model, calibration),
        "digits_bf16_portable.pte": export_bf16(model, calibration[:1]),
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return [directory / name for name in contents]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the digits example and export it for ExecuTorch.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).parent, help="where to write")
    directory: Path = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    train_images, test_images, train_labels, test_labels = load_split()
    start = time.monotonic()
    model = train(train_images, train_labels)
    print(f"trained on {len(train_labels)} images in {time.monotonic() - start:.0f} s")

    with torch.no_grad():
        paths = export_all(model, train_images[:CALIBRATION_COUNT], directory)
        logits = {"eager": model(test_images)} | {path.name: run_exported(path, test_images) for path in paths}
    accuracies = {name: accuracy(rows, test_labels) for name, rows in logits.items()}
    for name, value in accuracies.items():
        print(f"{name}: {value:.2%} of {len(test_labels)} test images")

    sample = {
        "accuracy": accuracies,
        "images": test_images[:SAMPLE_COUNT].flatten(1).tolist(),
        "labels": test_labels[:SAMPLE_COUNT].tolist(),
        "logits": {path.name: logits[path.name][:SAMPLE_COUNT].tolist() for path in paths},
    }
    (directory / "digits_sample.json").write_text(json.dumps(sample) + "\n")


if __name__ == "__main__":
    main()
