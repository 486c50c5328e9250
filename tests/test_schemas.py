"""The generated modules are those of the schemas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from etpack._flatbuffers import bundled_program, etz, flat_tensor, program, xnnpack

ROOT = Path(__file__).resolve().parents[1]


def test_generated_modules_are_up_to_date() -> None:
    """Fails, and says so, where there is no flatc: a check that is skipped holds nothing."""
    command = [sys.executable, str(ROOT / "schemas" / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_check_names_a_stale_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "schemas"))
    import generate  # type: ignore[import-not-found]

    output = tmp_path / "etpack" / "_flatbuffers"
    monkeypatch.setattr(generate, "OUTPUT", output)
    monkeypatch.setattr(generate, "relative", lambda path: path.name)
    output.mkdir(parents=True)
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (output / "etz.py").write_text("old")
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "etz.py is stale; run: python schemas/generate.py\n"


def test_ids_are_those_of_executorch() -> None:
    """Each was checked against a hex dump of a file that ExecuTorch wrote."""
    assert program.IDENTIFIER == b"ET12"
    assert flat_tensor.IDENTIFIER == b"FT01"
    assert bundled_program.IDENTIFIER == b"BP08"
    assert program.Program.NAMED_DATA == 7
    assert program.ExecutionPlan.NON_CONST_BUFFER_SIZES == 8
    assert program.Tensor.EXTRA_TENSOR_INFO == 9
    assert (program.EValue.VAL_TYPE, program.EValue.VAL) == (0, 1)
    assert int(program.KernelTypes.TENSOR) == 5
    assert flat_tensor.NamedData.TENSOR_LAYOUT == 2
    assert bundled_program.BundledProgram.PROGRAM == 2
    assert xnnpack.IDENTIFIER == b"XN01"
    assert (xnnpack.XNNGraph.XNODES, xnnpack.XNNGraph.XVALUES, xnnpack.XNNGraph.CONSTANT_DATA) == (1, 2, 8)
    assert (xnnpack.XNode.XNODE_UNION_TYPE, xnnpack.XNode.XNODE_UNION) == (0, 1)
    assert (xnnpack.XNNConv.FILTER_ID, xnnpack.XNNFullyConnected.FILTER_ID) == (16, 1)


def test_defaults_other_than_zero_are_generated() -> None:
    assert etz.IDENTIFIER == b"ETZM"
    assert etz.Options.FILTERS_DEFAULT is True
