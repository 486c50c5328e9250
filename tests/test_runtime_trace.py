"""The simulation against ExecuTorch itself: every call, every free, and every live byte after it."""

from __future__ import annotations

from pathlib import Path

import pytest

import etpack
from benchmarks.runtime_trace import predicted, run
from etpack.memory import replay
from etpack.pte import read_blobs, read_model
from etpack.sources import BufferSource
from tests.conftest import EXAMPLE_MODELS
from tests.test_runtime_loader import _built


@pytest.fixture(scope="session")
def runner() -> Path:
    """The runner of examples/cpp, which logs what ExecuTorch asks of a loader."""
    return _built("").folder / "runner"


def methods() -> list[tuple[Path, str]]:
    models = [(path, read_model(BufferSource(path.read_bytes()))) for path in EXAMPLE_MODELS]
    return [(path, method.name) for path, model in models for method in model.methods]


@pytest.mark.parametrize("loader", ["file", "etz"])
@pytest.mark.parametrize(("model", "method"), methods(), ids=lambda value: getattr(value, "stem", value))
def test_the_runtime_does_what_was_simulated(
    runner: Path, model: Path, method: str, loader: str, tmp_path: Path
) -> None:
    source = BufferSource(model.read_bytes())
    parsed = read_model(source)
    expected = tuple(predicted(replay(parsed, blobs=read_blobs(source, parsed), methods=[method])))
    place = model
    if loader == "etz":
        place = tmp_path / "model.etz"
        etpack.compress(model, place)
    measured = run(runner, place, loader, method, tmp_path / "calls.jsonl")
    assert measured is not None
    assert measured.calls == expected
    assert expected[-1][-1] == 0
