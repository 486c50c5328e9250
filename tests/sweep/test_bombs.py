"""What a model of a few megabytes may cost the whole process, at most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make_bombs import BOMBS, GUARD_BOMBS, LARGEST
from tests.sweep.conftest import Tally, peak_memory

# On a quiet desktop each takes a second at most; the limit leaves room for machines that are slow or busy.
MOST_SECONDS = 8.0
MOST_MEMORY = 200

COMMANDS = (["inspect", "--all", "--tensors"], ["inspect", "--json"], ["verify"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_largest_models_that_are_read_cost_little(command: list[str], tally: Tally, tmp_path: Path) -> None:
    codes = {0, 1} if "verify" in command else {0}  # methods of one name, for instance, are read and not good
    _run_all(LARGEST, command, codes, tally, tmp_path / "model.pte")


@pytest.mark.parametrize("command", [["inspect"], ["verify"]], ids=" ".join)
def test_bombs_cost_little(command: list[str], tally: Tally, tmp_path: Path) -> None:
    bombs = BOMBS | {f"guard: {name}": data for name, data in GUARD_BOMBS.items() if "verify" in command}
    _run_all(bombs, command, {1}, tally, tmp_path / "model.pte")


def _run_all(models: dict[str, bytes], command: list[str], exit_codes: set[int], tally: Tally, path: Path) -> None:
    for (name, data), _ in zip(models.items(), tally.each(models.values()), strict=True):
        path.write_bytes(data)
        line = [sys.executable, "-m", "etpack", *command, str(path)]
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode in exit_codes, name
        tally.accepted += process.returncode == 0
        assert usage.ru_utime + usage.ru_stime < MOST_SECONDS, name
        assert peak_memory(usage) < MOST_MEMORY, name
