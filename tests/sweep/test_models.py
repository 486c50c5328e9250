"""Flipped bits, cuts and changed fields of models that are not packed, under inspect and verify."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import damage, make_pte
from tests.conftest import ROOT
from tests.make_pte import DelegateSpec, MethodSpec, NamedSpec, PtdSpec, PteSpec, TensorSpec
from tests.sweep.conftest import Tally

FOLDER = ROOT / "tests" / "data" / "models"
EXAMPLES = ROOT / "examples" / "models"

_SMALL = ("add_arduino.pte", "add_apple.pte", "module_linear_no_constant_segment.pte")


def _rich_pte() -> bytes:
    """Return a program with everything that a program can have."""
    weights = make_pte.weights(300)
    tensors = [
        TensorSpec(weights, name="w"),
        TensorSpec(b"\0" * 64, kind="mutable"),
        TensorSpec(b"", kind="external", name="outside", sizes=[3, 4]),
        TensorSpec(kind="planned", sizes=[4]),
    ]
    delegates = [DelegateSpec(data=b"x" * 500), DelegateSpec(data=b"y" * 50, inline=True)]
    methods = [MethodSpec(tensors=tensors, delegates=delegates), MethodSpec(name="other", tensors=tensors[:1])]
    named = [NamedSpec("w", b"k" * 300), NamedSpec("key", weights[:99])]
    return make_pte.build_pte(
        PteSpec(methods=methods, named_data=named, unused_segments=[b"u" * 20], trailing=b"t" * 9)
    )


def _ptd() -> bytes:
    entries = ("w", make_pte.weights(100), "float32"), ("a", b"a" * 50), ("b", b"b" * 9, "int8")
    return make_pte.build_ptd(PtdSpec(named_data=[NamedSpec(*entry) for entry in entries]))


def _bpte() -> bytes:
    return make_pte.build_bpte((FOLDER / "add_apple.pte").read_bytes())


MODELS = {
    "pte": _rich_pte(),
    "ptd": _ptd(),
    "bpte": _bpte(),
    **{name: (FOLDER / name).read_bytes() for name in _SMALL},
}
LARGER = [FOLDER / "bundled_program.bpte", FOLDER / "keyword_spotting_cortex_m.pte", *sorted(EXAMPLES.glob("*.pte"))]


@pytest.fixture(params=list(MODELS.values()), ids=list(MODELS))
def model(request: pytest.FixtureRequest) -> bytes:
    """A small model, almost all of it flatbuffer."""
    data: bytes = request.param
    return data


def _judge(cases: Iterable[bytes], tally: Tally) -> None:
    for damaged in tally.each(cases):
        error = damage.judge_report(damaged)
        verdict = damage.judge_verdict(damaged, packed=False)
        assert error is None or not verdict.ok
        tally.accepted += verdict.ok


def test_flipped_bits(model: bytes, tally: Tally) -> None:
    _judge(damage.flips(model, one_a_byte=len(model) > 1035), tally)


def test_truncations(model: bytes, tally: Tally) -> None:
    _judge(damage.truncations(model), tally)


def test_edits(model: bytes, tally: Tally) -> None:
    _judge(damage.random_edits(model, 500, seed=5), tally)


@pytest.mark.parametrize("path", LARGER, ids=lambda path: path.name)
def test_edits_of_real_models(path: Path, tally: Tally) -> None:
    _judge(damage.random_edits(path.read_bytes(), 300, seed=6, stop=12_000, in_tail=0.1), tally)
