"""Reads, writes and every other step fail, one at a time: the message, the exit code, and what is left on the disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import etpack
from tests import PATIENCE
from tests.faults import Faults, unmeasured

READERS = {
    "compress": ("compress", "-j1", "model.pte", "-o", "out"),
    "compress --opaque": ("compress", "-j1", "--opaque", "model.pte", "-o", "out"),
    "decompress": ("decompress", "-j1", "model.etz", "-o", "out"),
    "verify": ("verify", "-j1", "model.etz"),
    "verify --fast": ("verify", "-j1", "--fast", "model.etz"),
    "verify --against": ("verify", "-j1", "--against", "model.pte", "model.etz"),
    "verify model": ("verify", "-j1", "model.pte"),
    "inspect": ("inspect", "model.etz"),
    "inspect --blocks": ("inspect", "--blocks", "model.etz"),
    "inspect model": ("inspect", "model.pte"),
    "extract": ("extract", "-j1", "model.etz", "--segment", "8", "-o", "out"),
    "extract model": ("extract", "-j1", "model.pte", "--segment", "8", "-o", "out"),
}
WRITERS = {name: READERS[name] for name in ("compress", "decompress", "extract")}
FULL = ("ENOSPC", "EIO", "EDQUOT")


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_each_read_that_fails(faults: Faults, command: tuple[str, ...]) -> None:
    count = faults.count(*command, steps=["read"])
    faults.fresh()
    for nth in range(1, count + 1):
        outcome = faults.run(*command, steps=["read"], nth=nth, action="EIO")
        if command[0] == "verify":
            assert (outcome.code, outcome.stderr) == (4, "")
            assert "Input/output error" in outcome.stdout
            assert "try again" in outcome.stdout
        else:
            outcome.check_told(4, "model.", "Input/output error", "try again")
        assert faults.listing() == []


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_short_reads_change_nothing(faults: Faults, command: tuple[str, ...]) -> None:
    whole = faults.run(*command)
    data = (faults.work / "out").read_bytes() if "out" in command else b""
    faults.fresh()
    short = faults.run(*command, steps=["read"], action="short")
    assert (short.code, short.stdout, short.stderr) == (0, whole.stdout, "")
    assert data == ((faults.work / "out").read_bytes() if "out" in command else b"")


@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("reason", FULL)
def test_each_write_that_fails(faults: Faults, command: tuple[str, ...], reason: str) -> None:
    count = faults.count(*command, steps=["write"])
    (faults.work / "out").write_text("old")
    for nth in range(1, count + 1):
        outcome = faults.run(*command, "-f", steps=["write"], nth=nth, action=reason)
        outcome.check_told(4, "out: ", os.strerror(getattr(errno, reason)))
        assert (faults.work / "out").read_text() == "old"
        assert faults.listing() == ["out"]


@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_short_writes_change_nothing(faults: Faults, command: tuple[str, ...]) -> None:
    assert faults.run(*command).code == 0
    whole = (faults.work / "out").read_bytes()
    assert faults.run(*command, "-f", steps=["write"], action="short").code == 0
    assert (faults.work / "out").read_bytes() == whole


@pytest.mark.parametrize("step", ["open", "lock", "truncate", "mode", "sync", "rename"])
@pytest.mark.parametrize("reason", ["EIO", "ENOSPC", "EROFS"])
def test_each_other_step_that_fails(faults: Faults, step: str, reason: str) -> None:
    (faults.work / "out").write_text("old")
    command = ("decompress", "-j1", "model.etz", "-o", "out", "-f")
    count = faults.count(*command, steps=[step])
    # The last step of this kind is about the folder, which some systems do not let one open: that is no error.
    last = count - 1 if step in ("open", "sync") else count
    (faults.work / "out").write_text("old")
    for nth in range(1, last + 1):
        outcome = faults.run(*command, steps=[step], nth=nth, action=reason)
        outcome.check_told(4, os.strerror(getattr(errno, reason)))
        assert (faults.work / "out").read_text() == "old"
        assert faults.listing() == ["out"]
    if last < count:
        assert faults.run(*command, steps=[step], nth=count, action=reason).code == 0


@pytest.mark.parametrize("reason", ["EIO", "ENOSPC", "ENAMETOOLONG"])
def test_a_link_that_fails(faults: Faults, reason: str) -> None:
    outcome = faults.run("decompress", "model.etz", "-o", "out", steps=["link"], nth=1, action=reason)
    outcome.check_told(4, "out: ", os.strerror(getattr(errno, reason)))
    assert faults.listing() == []


@pytest.mark.parametrize("reason", ["EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK"])
def test_a_file_system_without_links(faults: Faults, reason: str) -> None:
    run = ("decompress", "model.etz", "-o", "out")
    assert faults.run(*run, steps=["link"], nth=1, action=reason).code == 0
    assert faults.listing() == ["out"]
    faults.run(*run, steps=["link"], nth=1, action=reason).check_told(2, "exists already")


def test_a_temporary_file_that_cannot_be_removed(faults: Faults) -> None:
    run = ("decompress", "model.etz", "-o", "out")
    assert faults.run(*run, steps=["unlink"], nth=1, action="EIO").code == 0
    assert (faults.work / "out").read_bytes() == (faults.work / "model.pte").read_bytes()
    assert faults.listing() == [".out.etpack-tmp", "out"]
    assert faults.run(*run, "-f").code == 0
    assert faults.listing() == ["out"]
    assert (faults.work / "out").read_bytes() == (faults.work / "model.pte").read_bytes()


@pytest.mark.parametrize("reason", ["ENAMETOOLONG", "EFBIG", "EROFS", "EDQUOT", "ENOLCK", "ESTALE", "EMFILE", "ENFILE"])
def test_every_errno_of_an_output_has_a_remedy(faults: Faults, reason: str) -> None:
    outcome = faults.run("compress", "-j1", "model.pte", "-o", "out", steps=["write"], nth=1, action=reason)
    outcome.check_told(4, "out: ")
    assert faults.listing() == []


@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_a_limit_on_file_sizes(faults: Faults, command: tuple[str, ...]) -> None:
    outcome = faults.run(*command, limits={"FSIZE": 20_000})
    outcome.check_told(4, "out: File too large", "ulimit -f")
    assert faults.listing() == []


@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_a_full_device(faults: Faults, command: tuple[str, ...]) -> None:
    outcome = faults.run(*command[:-1], "/dev/full")
    outcome.check_told(4, "/dev/full: No space left on device")


PRINTERS = {**READERS, **{f"{name} -o -": (*WRITERS[name][:-1], "-") for name in WRITERS}}


@pytest.mark.parametrize("command", PRINTERS.values(), ids=PRINTERS)
def test_a_full_stdout(faults: Faults, command: tuple[str, ...]) -> None:
    outcome = faults.run(*command, streams=("/dev/null", "/dev/full", "stderr"))
    outcome.check_told(4, "stdout: No space left on device")


@pytest.mark.parametrize("command", PRINTERS.values(), ids=PRINTERS)
def test_a_closed_stdout(faults: Faults, command: tuple[str, ...]) -> None:
    outcome = faults.run(*command, streams=("/dev/null", None, "stderr"))
    if "-" in command:
        outcome.check_told(4, "stdout: is closed", "redirect")
    else:
        assert (outcome.code, outcome.stderr) == (0, "")


def test_closed_streams_do_not_get_into_the_output(faults: Faults) -> None:
    outcome = faults.run("compress", "-q", "model.pte", "-o", "out", streams=(None, None, None))
    assert outcome.code == 0
    assert (faults.work / "out").read_bytes() == (faults.work / "model.etz").read_bytes()


@pytest.mark.parametrize("stderr", [None, "/dev/full"])
def test_a_stderr_that_takes_nothing(faults: Faults, stderr: str | None) -> None:
    streams = ("/dev/null", "stdout", stderr)
    assert faults.run("compress", "absent", streams=streams).code == 4
    assert faults.run("compress", "--nonsense", streams=streams).code == 2
    assert faults.run("verify", "-q", "model.etz", streams=streams).code == 0


def test_no_room_for_a_large_index(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_index: object, _rows: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.write", full)
    with pytest.raises(OSError, match="TMPDIR names another folder") as caught:
        etpack.compress(digits, tmp_path / "out.etz")
    assert caught.value.filename == os.environ.get("TMPDIR", "/tmp")
    assert list(tmp_path.iterdir()) == []


def _pipe(command: tuple[str, ...], folder: Path, size: int, unbuffered: str = "") -> tuple[int, str]:
    """Run a real etpack whose reader goes after `size` bytes; return exit code and stderr."""
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    words = [sys.executable, "-m", "etpack", *command]
    with subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert len(process.stdout.read(size)) == size
        process.stdout.close()
        stderr = process.stderr.read().decode()
    return process.returncode, stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("name", ["decompress -o -", "compress -o -"])
def test_a_reader_that_goes(faults: Faults, name: str, unbuffered: str) -> None:
    assert _pipe((*PRINTERS[name], "-q"), faults.work, 10, unbuffered) == (141, "")


@pytest.mark.parametrize("name", ["inspect", "verify", "compress"])
def test_a_reader_that_is_gone(faults: Faults, name: str) -> None:
    assert _pipe(READERS[name], faults.work, 0) == (141, "")


def test_a_pipe_without_a_reader(faults: Faults) -> None:
    os.mkfifo(faults.work / "pipe")
    outcome = faults.run("decompress", "model.etz", "-o", "pipe")
    outcome.check_told(4, "pipe: nothing reads from this pipe", "start the reader first")


@pytest.mark.parametrize("name", ["compress", "decompress"])
def test_a_pipe_with_a_reader(faults: Faults, name: str) -> None:
    pipe = faults.work / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    data = bytearray()

    def read() -> None:
        while chunk := os.read(reading, 1 << 16):
            data.extend(chunk)

    holder = os.open(pipe, os.O_WRONLY)  # so that the reader does not see an end before the run begins
    reader = threading.Thread(target=read)
    reader.start()
    outcome = faults.run(*READERS[name][:-1], "pipe")
    os.close(holder)
    reader.join()
    os.close(reading)
    assert outcome.code == 0
    assert data == (faults.work / ("model.etz" if name == "compress" else "model.pte")).read_bytes()


def test_an_allocation_that_fails(faults: Faults) -> None:
    outcome = faults.run("compress", "model.pte", "-o", "out", steps=["read"], nth=5, action="MEMORY")
    outcome.check_told(4, "out of memory", "-j 1")
    assert faults.listing() == []


def test_no_more_threads(faults: Faults) -> None:
    outcome = faults.run("compress", "-j4", *READERS["compress"][2:], no_threads=True)
    outcome.check_told(4, "no more threads", "-j 1")
    assert faults.listing() == []


@pytest.mark.parametrize("name", ["compress", "decompress", "verify"])
def test_one_job_needs_no_more_threads(faults: Faults, name: str) -> None:
    outcome = faults.run(READERS[name][0], "-j1", *READERS[name][2:], no_threads=True)
    assert outcome.code == 0, outcome


def _limited(faults: Faults, words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=faults.work, env=unmeasured(), capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("limit", [6, 8, 10, 12, 16])
def test_few_open_files(faults: Faults, limit: int) -> None:
    words = ["sh", "-c", f'ulimit -n {limit}; exec "$0" -m etpack compress model.pte -o out', sys.executable]
    result = _limited(faults, words)
    assert result.returncode in (0, 4), result.stderr
    assert "Traceback" not in result.stderr
    assert (result.returncode == 0) == (faults.listing() == ["out"])
    assert result.returncode == 0 or "ulimit -n" in result.stderr


@pytest.mark.parametrize("megabytes", range(60, 170, 10))
def test_little_memory(faults: Faults, megabytes: int) -> None:
    limit = f'ulimit -v {megabytes << 10}; exec "$0" -m etpack compress -j4 model.pte -o out'
    words = ["sh", "-c", limit, sys.executable]
    result = _limited(faults, words)
    assert result.returncode in (0, 4), result.stderr
    assert "Traceback" not in result.stderr
    assert (result.returncode == 0) == (faults.listing() == ["out"])
    assert result.returncode == 0 or "ulimit" in result.stderr
