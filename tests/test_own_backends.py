"""A user's own table of backends: what it says, and what is wrong with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from etpack.cli import cli
from etpack.errors import BackendsError
from etpack.memory import Verdict, load_backends
from etpack.memory.own_backends import read_backends
from tests.conftest import ROOT
from tests.make_pte import DelegateSpec, MethodSpec, PteSpec, build_pte

ENTRY: dict[str, Any] = {
    "id": "AcmeNpu",
    "verdict": "conditional",
    "condition": "the driver is 2.1 or newer",
    "reason": "The driver copies the blob, and init frees it.",
    "name": "Acme NPU",
    "evidence": ["acme/backend.cpp:41-60"],
    "version": "acme 2.1",
    "named_data": {"verdict": "never", "reason": "Weights are read in place."},
}

TOML = """
[[backends]]
id = "AcmeNpu"
verdict = "on success"
reason = "Init frees it."
"""


def written(folder: Path, *entries: object) -> Path:
    path = folder / "my.json"
    path.write_text(json.dumps({"backends": list(entries)}), encoding="utf-8")
    return path


def fault(folder: Path, **changes: object) -> BackendsError:
    entry = {key: value for key, value in {**ENTRY, **changes}.items() if value is not None}
    with pytest.raises(BackendsError) as caught:
        read_backends(written(folder, entry))
    assert caught.value.hint
    assert caught.value.path == str(folder / "my.json")
    return caught.value


def test_every_key_is_used(tmp_path: Path) -> None:
    (runtime,) = read_backends(written(tmp_path, ENTRY)).find("AcmeNpu")
    assert (runtime.id, runtime.name, runtime.verdict) == ("AcmeNpu", "Acme NPU", Verdict.CONDITIONAL)
    assert (runtime.condition, runtime.reason) == (ENTRY["condition"], ENTRY["reason"])
    assert (runtime.evidence, runtime.executorch) == (("acme/backend.cpp:41-60",), "acme 2.1")
    assert runtime.named_data is not None
    assert (runtime.named_data.verdict, runtime.named_data.reason) == (Verdict.NEVER, "Weights are read in place.")


def test_the_shipped_table_stays_but_for_the_ids_of_the_file(tmp_path: Path) -> None:
    entry = {"id": "VulkanBackend", "verdict": "never", "reason": "A fork that keeps all."}
    backends = read_backends(written(tmp_path, entry, {**ENTRY, "id": "VulkanBackend"}))
    assert [runtime.verdict.value for runtime in backends.find("VulkanBackend")] == ["never", "conditional"]
    assert backends.find("VulkanBackend")[0].name == "VulkanBackend"
    assert backends.find("QnnBackend") == load_backends().find("QnnBackend")
    assert backends.versions == load_backends().versions


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(TOML, encoding="utf-8")
    (runtime,) = read_backends(path).find("AcmeNpu")
    assert (runtime.verdict, runtime.named_data) == (Verdict.ON_SUCCESS, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": None}, r"backends\[0\] has no 'id'"),
        ({"id": ""}, r"backends\[0\].id must be text"),
        ({"id": 5}, r"backends\[0\].id must be text, not 5"),
        ({"reason": None}, "has no 'reason'"),
        ({"verdict": None}, "has no 'verdict'"),
        ({"verdict": "sometimes"}, "no verdict 'sometimes'"),
        ({"verdict": "not loaded"}, "no verdict 'not loaded'"),
        ({"verdict": "always"}, "takes no condition"),
        ({"condition": None}, "needs a condition"),
        ({"evidence": "one"}, r"backends\[0\].evidence must be a list"),
        ({"evidence": ["a", 1]}, r"evidence\[1\] must be text"),
        ({"resaon": "x"}, "unknown key 'resaon'"),
        ({"named_data": "never"}, r"backends\[0\].named_data must be a table"),
        ({"named_data": {"verdict": "never"}}, r"named_data has no 'reason'"),
        ({"named_data": {"verdict": "never", "reason": "x", "packed": 1}}, "unknown key 'packed'"),
    ],
)
def test_a_wrong_entry_names_its_place(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    assert re.search(message, str(fault(tmp_path, **changes)))


def test_a_misspelt_key_is_guessed(tmp_path: Path) -> None:
    assert fault(tmp_path, resaon="x").hint == "did you mean 'reason'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 column 2"),
        ("", "backends is missing"),
        ("x = 1", "unknown key 'x'"),
        ('{"backends": 1}', "backends must be a list"),
        ('{"backends": [1]}', r"backends\[0\] must be a table"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "my.json").write_text(text, encoding="utf-8")
    with pytest.raises(BackendsError, match=message) as caught:
        read_backends(tmp_path / "my.json")
    assert caught.value.hint
    assert caught.value.path == str(tmp_path / "my.json")


def test_on_the_command_line(tmp_path: Path) -> None:
    model = tmp_path / "m.pte"
    model.write_bytes(build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec("AcmeNpu", b"b" * 99)])])))
    path = written(tmp_path, ENTRY)
    result = CliRunner().invoke(cli, ["inspect", "--json", "--backends", str(path), str(model)])
    assert result.exit_code == 0, result.output
    groups = json.loads(result.stdout)["results"][0]["memory"]["groups"]
    assert [group["verdict"] for group in groups if group["kind"] == "delegate"] == ["conditional"]
    path.write_text("{}", encoding="utf-8")
    result = CliRunner().invoke(cli, ["inspect", "--backends", str(path), str(model)])
    assert isinstance(result.exception, BackendsError)
    assert (result.exception.exit_code, result.exception.path) == (2, str(path))


def test_the_guide_shows_a_file_that_works(tmp_path: Path) -> None:
    text = (ROOT / "examples" / "guide.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    (tmp_path / "my.toml").write_text(example, encoding="utf-8")
    assert len(read_backends(tmp_path / "my.toml").find("AcmeNpu")) == 1


def test_speeds_and_data_on_the_command_line(digits: Path) -> None:
    run = CliRunner().invoke
    text = run(cli, ["inspect", "--storage-speed", "200", "--decode-speed", "2000", str(digits)]).output
    assert "FileDataLoader: destroying forward gives back" in text
    result = run(cli, ["inspect", "--decode-speed", "2000", str(digits)])
    assert (result.exit_code, "--storage-speed" in result.output) == (2, True)
    for speed in ("0", "-1", "fast", "nan", "inf", "1e-320", "1e10"):
        result = run(cli, ["inspect", "--storage-speed", speed, str(digits)])
        assert (result.exit_code, f"'{speed}' is not a speed in MB/s" in result.output) == (2, True)
    assert run(cli, ["inspect", "--data", str(digits), str(digits)]).exit_code != 0
