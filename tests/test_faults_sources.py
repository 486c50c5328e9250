"""A file that changes while it is read, and two runs that write the same file."""

from __future__ import annotations

import subprocess
import sys

import pytest

import etpack
from etpack.errors import SourceError
from etpack.output import FileOutput
from tests import PATIENCE
from tests.faults import Faults, unmeasured
from tests.test_faults_io import READERS

CHANGES = ("append", "rewrite", "cut", "replace")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", READERS)
def test_a_source_that_changes(faults: Faults, name: str, change: str) -> None:
    command = READERS[name]
    (source,) = [word for word in command if word.startswith("model.") and word != "model.pte"] or ["model.pte"]
    count = faults.count(*command, steps=["read"])
    for nth in sorted({1, 1 + count // 2, count}):
        faults.fresh()
        outcome = faults.run(*command, steps=["read"], nth=nth, action=change, path=source)
        if command[0] == "verify":
            assert outcome.code == 4, outcome
            told = outcome.stdout
            assert outcome.stderr == ""
        else:
            outcome.check_told(4, source)
            told = outcome.stderr
        assert "changed while it was" in told or "was it cut while it was read" in told, outcome
        assert "again" in told
        assert faults.listing() == []


@pytest.mark.parametrize("name", ["model.pte", "model.etz"])
def test_the_library_notices_too(faults: Faults, name: str) -> None:
    source = faults.work / name
    call = etpack.compress if name == "model.pte" else etpack.decompress
    with pytest.raises(SourceError, match="changed") as caught:
        call(source, faults.work / "out", progress=lambda *_: source.touch())
    assert caught.value.path == str(source)
    assert faults.listing() == []


def test_an_output_that_somebody_else_is_writing(faults: Faults) -> None:
    with FileOutput(faults.work / "out") as out:
        out.write(b"theirs")
        outcome = faults.run("decompress", "model.etz", "-o", "out")
        outcome.check_told(4, "out: another etpack is writing this file", "wait for the other one")
    assert (faults.work / "out").read_bytes() == b"theirs"
    assert faults.listing() == ["out"]


@pytest.mark.parametrize("force", [[], ["-f"]])
def test_two_runs_with_one_output(faults: Faults, force: list[str]) -> None:
    command = [sys.executable, "-m", "etpack", "compress", "-q", "-j1", "model.pte", "-o", "out", *force]
    if force:
        (faults.work / "out").write_text("old")
    runs = [
        subprocess.Popen(command, cwd=faults.work, env=unmeasured(), stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    codes = []
    for run in runs:
        _, stderr = run.communicate(timeout=PATIENCE)
        codes.append(run.returncode)
        assert run.returncode in ((0, 4) if force else (0, 2, 4))
        assert (stderr == "") == (run.returncode == 0)
    assert codes.count(0) >= 1 if force else codes.count(0) == 1
    assert (faults.work / "out").read_bytes() == (faults.work / "model.etz").read_bytes()
    assert faults.listing() == ["out"]
