"""A codec that someone else registers through an entry point works in every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import PATIENCE

PLUGIN = Path(__file__).parent.parent / "examples" / "deflate_codec"


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which the example codec is installed as pip would install it."""
    info = tmp_path / "site" / "etpack_deflate-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: etpack-deflate\nVersion: 1.0\n")
    declared = (PLUGIN / "pyproject.toml").read_text(encoding="utf-8").split('entry-points."etpack.codecs"]\n')[1]
    (info / "entry_points.txt").write_text("[etpack.codecs]\n" + declared.splitlines()[0].replace('"', "") + "\n")
    return {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{PLUGIN}"}


def _run(env: dict[str, str], *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etpack", *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("options", [["--no-filter"], ["--effort", "max"], ["--align", "512"]])
def test_it_goes_with_every_option(installed: dict[str, str], digits: Path, tmp_path: Path, options: list[str]) -> None:
    packed = tmp_path / "x.etz"
    assert _run(installed, "compress", digits, "-o", packed, "--codec", "deflate", *options).returncode == 0
    assert _run(installed, "verify", packed, "--against", digits).returncode == 0


def test_every_command_takes_it(installed: dict[str, str], digits: Path, tmp_path: Path) -> None:
    packed, restored = tmp_path / "x.etz", tmp_path / "x.pte"
    result = _run(installed, "compress", digits, "-o", packed, "--codec", "deflate", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"][0]["ratio"] > 1.05
    assert _run(installed, "verify", packed, "--against", digits).returncode == 0
    assert _run(installed, "verify", "--fast", packed).returncode == 0
    shown = _run(installed, "inspect", packed)
    assert shown.returncode == 0, shown.stderr
    assert "deflate" in shown.stdout
    assert _run(installed, "inspect", "--blocks", packed).returncode == 0
    assert _run(installed, "extract", packed, "--segment", 8, "-o", tmp_path / "s").returncode == 0
    assert _run(installed, "decompress", packed, "-o", restored).returncode == 0
    assert restored.read_bytes() == digits.read_bytes()


def test_without_it_the_error_says_what_is_missing(installed: dict[str, str], digits: Path, tmp_path: Path) -> None:
    packed = tmp_path / "x.etz"
    _run(installed, "compress", digits, "-o", packed, "--codec", "deflate")
    result = _run(dict(os.environ), "decompress", packed, "-o", tmp_path / "y")
    assert result.returncode == 3
    assert "private codec 160" in result.stderr
    assert "plugin" in result.stderr
    assert _run(dict(os.environ), "verify", packed).returncode == 3
    shown = _run(dict(os.environ), "inspect", packed)
    assert shown.returncode == 0, shown.stderr
    assert "160" in shown.stdout


def test_a_plugin_that_does_not_load_is_named(digits: Path, tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[etpack.codecs]\nbroken = absent_module:codec\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = _run(env, "compress", digits, "-o", tmp_path / "x.etz", "--codec", "broken")
    assert result.returncode == 2
    assert "absent_module:codec does not load" in result.stderr
    assert "Traceback" not in result.stderr
