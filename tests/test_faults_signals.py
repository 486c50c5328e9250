"""Ctrl-C, SIGTERM, SIGHUP and `kill -9` at every step: the old file stays whole, and nothing is left for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from etpack import interrupts
from etpack.output import TEMPORARY_SUFFIX
from tests import PATIENCE
from tests.fault_server import STEPS
from tests.faults import ROOT, Faults, unmeasured
from tests.test_faults_io import WRITERS

CODES = {"INT": 130, "TERM": 143, "HUP": 129}
TEMPORARY = f".out{TEMPORARY_SUFFIX}"


def _whole(faults: Faults, command: tuple[str, ...]) -> bytes:
    """What the command writes when nothing comes between."""
    assert faults.run(*command, "-f").code == 0
    return (faults.work / "out").read_bytes()


def _reset(faults: Faults, old: bool) -> None:
    (faults.work / "out").unlink(missing_ok=True)
    if old:
        (faults.work / "out").write_text("old")


def _state(faults: Faults, whole: bytes) -> str:
    """Whether the output is absent, old or new; never anything else."""
    path = faults.work / "out"
    if not path.exists():
        return "absent"
    data = path.read_bytes()
    assert data in (b"old", whole), "the output is a part of something"
    return "new" if data == whole else "old"


@pytest.mark.parametrize("old", [False, True], ids=["fresh", "over an old file"])
@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("name", CODES)
def test_a_signal_at_each_step(faults: Faults, command: tuple[str, ...], name: str, old: bool) -> None:
    whole = _whole(faults, command)
    command = (*command, "-q", *(["-f"] if old else []))
    _reset(faults, old)
    count = faults.count(*command, steps=list(STEPS))
    # SIGINT at every one; the others take the same way.
    for nth in range(1, count + 1, 1 if name == "INT" else 5):
        _reset(faults, old)
        outcome = faults.run(*command, steps=list(STEPS), nth=nth, action=name)
        outcome.check_told(CODES[name], "interrupted", "removed")
        assert (f"by SIG{name}" in outcome.stderr) == (name != "INT")
        state = _state(faults, whole)
        assert state in ("old" if old else "absent", "new")
        assert faults.listing() == ([] if state == "absent" else ["out"])


@pytest.mark.parametrize("old", [False, True], ids=["fresh", "over an old file"])
def test_ctrl_c_at_each_line_about_the_output(faults: Faults, old: bool) -> None:
    command = WRITERS["decompress"]
    whole = _whole(faults, command)
    command = (*command, "-q", *(["-f"] if old else []))
    _reset(faults, old)
    count = faults.count(*command, lines="etpack/output.py")
    for nth in range(1, count + 1):
        _reset(faults, old)
        outcome = faults.run(*command, lines="etpack/output.py", nth=nth, action="INT")
        state = _state(faults, whole)
        # On the very last line, when the output is there, it may be too late.
        assert outcome.code == 130 or (outcome.code == 0 and state == "new"), (nth, outcome)
        assert faults.listing() == ([] if state == "absent" else ["out"]), nth


@pytest.mark.parametrize("old", [False, True], ids=["fresh", "over an old file"])
@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_kill_9_at_each_step(faults: Faults, command: tuple[str, ...], old: bool) -> None:
    whole = _whole(faults, command)
    command = (*command, "-q", *(["-f"] if old else []))
    steps = [step for step in STEPS if step != "read"]
    _reset(faults, old)
    count = faults.count(*command, steps=steps)
    # Behind one step is before the next: what lies between them is not seen on the disk.
    for nth, action in [*((nth, "KILL") for nth in range(1, count + 1)), (count, "KILL-after")]:
        _reset(faults, old)
        outcome = faults.run(*command, steps=steps, nth=nth, action=action)
        assert outcome.code == -signal.SIGKILL
        state = _state(faults, whole)
        assert state in ("old" if old else "absent", "new")
        assert set(faults.listing()) - {"out"} <= {TEMPORARY}
        # The next run removes what was left, whether it does its work or is refused.
        code = faults.run(*command).code
        assert code == (2 if state == "new" and not old else 0)
        assert faults.listing() == ["out"]
        assert _state(faults, whole) == "new"


def test_kill_9_at_some_moment(faults: Faults) -> None:
    (faults.work / "big").write_bytes(os.urandom(1 << 20) * 16)
    command = [sys.executable, "-m", "etpack", "compress", "-q", "-f", "--opaque", "big", "-o", "out"]
    start = time.monotonic()
    subprocess.run(command, cwd=faults.work, env=unmeasured(), check=True)
    seconds = time.monotonic() - start
    whole = (faults.work / "out").read_bytes()
    for part in range(1, 6):
        (faults.work / "out").write_text("old")
        with subprocess.Popen(command, cwd=faults.work, env=unmeasured()) as process:
            time.sleep(seconds * part / 5)
            process.kill()
        assert (faults.work / "out").read_bytes() in (b"old", whole)
        assert set(faults.listing()) - {"big", "out"} <= {TEMPORARY}
    subprocess.run(command, cwd=faults.work, env=unmeasured(), check=True)
    assert faults.listing() == ["big", "out"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_real_signal_to_a_run_with_threads(tmp_path: Path, number: signal.Signals, code: int) -> None:
    (tmp_path / "x.bin").write_bytes(os.urandom(1 << 20) * 60)
    os.truncate(tmp_path / "x.bin", 1 << 34)  # so that it is not done before the signal, however busy the machine is
    command = [sys.executable, "-m", "etpack", "compress", "x.bin", "--opaque", "--effort", "max", "--codec", "lz4"]
    # A job in the background, as CI may be, has SIGINT ignored, and hands that down.
    listen = partial(signal.signal, number, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=listen) as process:
        deadline = time.monotonic() + PATIENCE
        while len(os.listdir(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert stderr.startswith("etpack: error: interrupted")
    assert len(stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["x.bin"]


# Starts etpack, and sends itself a signal when it imports its nth module or opens its nth file from then on.
_AT_IMPORT = """
import os, runpy, signal, sys
nth, number, begun = int(sys.argv[1]), int(sys.argv[2]), 0
signal.signal(signal.SIGINT, signal.default_int_handler)
def watch(event, args):
    global begun
    if event == "import" and (begun or args[0] == "etpack.interrupts"):
        begun += 1
        if begun == nth:
            os.kill(os.getpid(), number)
sys.addaudithook(watch)
sys.argv = ["etpack", *sys.argv[3:]]
from etpack.__main__ import main
try:
    main()
finally:
    if nth == 0:
        os.write(1, b"%d" % begun)
"""


def _start(faults: Faults, nth: int, number: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _AT_IMPORT, str(nth), str(int(number)), "compress", "-q", "model.pte", "-o", "out"]
    env = {**unmeasured(), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=faults.work, env=env, capture_output=True, text=True, timeout=PATIENCE)


def test_a_signal_while_it_starts(faults: Faults) -> None:
    count = int(_start(faults, 0, 0).stdout)
    assert count > 100
    (faults.work / "out").unlink()
    for turn in range(12):
        number = signal.SIGTERM if turn % 4 == 3 else signal.SIGINT
        nth = 1 + (turn if turn < 4 else count * turn // 12)
        result = _start(faults, nth, number)
        assert result.returncode == 128 + number, (nth, result)
        assert result.stdout == ""
        assert result.stderr == "" or result.stderr.startswith("etpack: error: interrupted"), (nth, result)
        assert len(result.stderr.splitlines()) <= 1, (nth, result)
        assert faults.listing() == []


@pytest.mark.parametrize("name", CODES)
def test_an_ignored_signal_stays_ignored(faults: Faults, name: str) -> None:
    outcome = faults.run(
        "decompress", "-q", "model.etz", "-o", "out", steps=["write"], nth=1, action=name, ignored=[name]
    )
    assert (outcome.code, outcome.stderr) == (0, "")
    assert faults.listing() == ["out"]


_IN_A_DESTRUCTOR = """
import os, signal
from etpack import interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupts.listen()
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(9): pass
try:
    Last()
    signal.pause()
except KeyboardInterrupt:
    os.write(1, b"%d" % interrupts.received())
"""


def test_a_signal_that_python_would_swallow() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _IN_A_DESTRUCTOR],
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "2", "")


def test_a_library_does_not_listen() -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with interrupts.held_back():
        assert interrupts.received() == 0
