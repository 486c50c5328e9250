"""Check etpack against real exports: models made here and now, and those shipped in examples/models.

Needs torch and ExecuTorch (see requirements.txt), so `make test-export` runs it, in an environment of its own. Whatever
imports ExecuTorch runs in a subprocess: it is noisy, and a process that has loaded a model may keep its packed
weights, and so hide a damaged copy.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "examples" / "models"
# Largest difference of a logit between two CPUs: rounding for FP32, a few steps of the output for INT8 and BF16.
TOLERANCES = {
    "digits_fp32_xnnpack.pte": 0.001,
    "digits_int8_xnnpack.pte": 0.5,
    "digits_bf16_portable.pte": 0.5,
}
MODELS = list(TOLERANCES)


def run_python(*arguments: str | Path) -> None:
    """Run Python with `arguments` and show its output only when it fails."""
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command} failed\n{result.stdout}\n{result.stderr}"


def run_model(model: Path, sample: Path, output: Path, *options: str) -> dict[str, torch.Tensor]:
    """Run `model` in a fresh process and return its outputs by method name."""
    run_python(HERE / "run_model.py", model, sample, output, *options)
    outputs: dict[str, torch.Tensor] = torch.load(output, weights_only=True)
    return outputs


def assert_same(after: dict[str, torch.Tensor], before: dict[str, torch.Tensor]) -> None:
    """Compare outputs as integers: bit for bit, with no special case for zeros and NaN."""
    assert set(after) == set(before)
    for method, expected in before.items():
        assert torch.equal(after[method].view(torch.int32), expected.view(torch.int32)), method


def read_sample(directory: Path) -> dict[str, Any]:
    """Read the digits_sample.json of `directory`."""
    sample: dict[str, Any] = json.loads((directory / "digits_sample.json").read_text())
    return sample


@pytest.fixture(scope="session", params=["shipped", "fresh"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the example models: the one in git, or one that is trained and exported now."""
    if request.param == "shipped":
        return SHIPPED
    fresh = tmp_path_factory.mktemp("fresh")
    run_python(SHIPPED / "train_digits.py", fresh)
    return fresh


def test_accuracy(directory: Path) -> None:
    accuracies = read_sample(directory)["accuracy"]
    assert sorted(accuracies) == sorted(["eager", *MODELS])
    assert min(accuracies.values()) >= 0.97


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_gives_the_same_outputs(directory: Path, name: str, tmp_path: Path) -> None:
    sample = directory / "digits_sample.json"
    packed, restored = tmp_path / "packed.etz", tmp_path / "restored.pte"
    run_python("-m", "etpack", "compress", directory / name, "-o", packed)
    run_python("-m", "etpack", "decompress", packed, "-o", restored)
    assert packed.stat().st_size < restored.stat().st_size
    assert restored.read_bytes() == (directory / name).read_bytes()

    before = run_model(directory / name, sample, tmp_path / "before.pt")
    assert_same(run_model(restored, sample, tmp_path / "after.pt"), before)


@pytest.mark.parametrize("name", MODELS)
def test_an_etz_gives_the_same_outputs_from_memory(name: str, tmp_path: Path) -> None:
    sample, packed = SHIPPED / "digits_sample.json", tmp_path / "packed.etz"
    run_python("-m", "etpack", "compress", SHIPPED / name, "-o", packed)
    before = run_model(SHIPPED / name, sample, tmp_path / "before.pt")
    assert_same(run_model(packed, sample, tmp_path / "after.pt"), before)
    assert_same(run_model(packed, sample, tmp_path / "after.pt", "bytes"), before)


def test_the_guides_program_runs_an_etz(tmp_path: Path) -> None:
    guide = (HERE.parents[1] / "examples" / "guide.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```py\n(.*?)```", guide, re.DOTALL)
    run_python("-m", "etpack", "compress", SHIPPED / "digits_fp32_xnnpack.pte", "-o", tmp_path / "model.etz")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=300, check=True
    )
    assert "torch.Size([1, 10])" in result.stdout


def test_a_method_that_frees_its_weights_gives_the_memory_back(tmp_path: Path) -> None:
    run_python("-m", "etpack", "compress", SHIPPED / "digits_fp32_xnnpack.pte", "-o", tmp_path / "model.etz")
    # Only the page of the flatbuffer stays; and what is loaded after that comes to the same.
    code = """if True:
        import os, sys, torch
        from etpack.executorch import load_program
        program = load_program(sys.argv[1], sha256=True)
        outputs = []
        for _ in range(2):
            method = program.load_method("forward")
            assert os.fstat(program._memory._fd).st_blocks * 512 == 4096
            outputs.append(method.execute((torch.ones(1, 1, 8, 8),))[0])
            program._loaded.clear()
            program._methods["forward"] = None
        assert torch.equal(*outputs)
    """
    run_python("-c", code, tmp_path / "model.etz")


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_in_the_sample(directory: Path, name: str, tmp_path: Path) -> None:
    sample = read_sample(directory)
    logits = run_model(directory / name, directory / "digits_sample.json", tmp_path / "outputs.pt")["forward"]
    expected = torch.tensor(sample["logits"][name])
    torch.testing.assert_close(logits, expected, rtol=0, atol=TOLERANCES[name])
    assert logits.argmax(1).tolist() == expected.argmax(1).tolist()


def test_bf16_model_has_two_methods_and_one_copy_of_the_weights(directory: Path, tmp_path: Path) -> None:
    name = "digits_bf16_portable.pte"
    outputs = run_model(directory / name, directory / "digits_sample.json", tmp_path / "outputs.pt")
    assert {method: rows.shape[1] for method, rows in outputs.items()} == {"forward": 10, "features": 64}
    assert (directory / name).stat().st_size < 0.6 * (directory / "digits_fp32_xnnpack.pte").stat().st_size


def test_readme_figures() -> None:
    readme = (SHIPPED / "README.md").read_text()
    accuracies = read_sample(SHIPPED)["accuracy"]
    for name in MODELS:
        assert f"| `{name}` | {(SHIPPED / name).stat().st_size:,} | {accuracies[name]:.2%} |" in readme
    assert f"| `digits_sample.json` | {(SHIPPED / 'digits_sample.json').stat().st_size:,} |" in readme
    assert f"{accuracies['eager']:.2%} too" in readme
