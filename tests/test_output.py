"""`etpack.output`: the old file stays whole until the new one is complete, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from etpack.cli import cli, report_error
from etpack.disk import write_all
from etpack.output import TEMPORARY_SUFFIX, FileOutput, OutputError


def test_the_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with FileOutput(target) as out:
        out.write(b"abc")
        out.write(memoryview(b"def"))
        assert not target.exists()
    assert target.read_bytes() == b"abcdef"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"old")
    with pytest.raises(error), FileOutput(target, overwrite=True) as out:  # noqa: PT012
        out.write(b"new")
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_that_is_there_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already") as caught, FileOutput(target):
        pass
    assert (caught.value.exit_code, caught.value.path) == (2, str(target))
    with FileOutput(target, overwrite=True) as out:
        out.write(b"new")
    assert target.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(OutputError), FileOutput(target) as out:  # noqa: PT012
        out.write(b"ours")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["x"]


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / f".x{TEMPORARY_SUFFIX}").write_bytes(b"half a file" * 100)
    with FileOutput(tmp_path / "x") as out:
        out.write(b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["x"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    with FileOutput(tmp_path / "x") as out:
        out.write(b"first")
        with pytest.raises(BlockingIOError, match="another etpack") as caught, FileOutput(tmp_path / "x"):
            pass
        assert caught.value.filename == str(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"first"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with FileOutput(tmp_path / "link", overwrite=True) as out:
        out.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_device_is_written_straight() -> None:
    with FileOutput("/dev/null") as out:
        out.write(b"gone")
    assert not os.path.isfile("/dev/null")


def test_short_writes_are_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: honest(fd, data[:3]))
    with FileOutput(tmp_path / "x") as out:
        out.write(b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space") as caught, FileOutput(tmp_path / "x") as out:  # noqa: PT012
        monkeypatch.setattr(os, call, full)
        out.write(b"too much")
    assert caught.value.filename == str(tmp_path / "x")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, FileOutput(tmp_path / "absent" / "x"):
        pass
    assert caught.value.filename == str(tmp_path / "absent" / "x")


def test_a_folder_cannot_be_an_output(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), FileOutput(tmp_path):
        pass


def test_a_foreign_file_in_the_temporary_files_place_is_not_removed(tmp_path: Path) -> None:
    temporary = tmp_path / f".x{TEMPORARY_SUFFIX}"
    with pytest.raises(OutputError, match="in the way"), FileOutput(tmp_path / "x") as out:  # noqa: PT012
        out.write(b"ours")
        temporary.unlink()
        temporary.write_bytes(b"theirs")
    assert temporary.read_bytes() == b"theirs"
    assert not (tmp_path / "x").exists()


def test_what_a_killed_process_left_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / f".x{TEMPORARY_SUFFIX}"
    left.write_bytes(bytes(1000))
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: SimpleNamespace(total=1 << 40, free=1000 - left.stat().st_size)
    )
    with pytest.raises(OSError, match="no room"), FileOutput(tmp_path / "x", size=1001):
        pass
    assert os.listdir(tmp_path) == []
    left.write_bytes(bytes(1000))
    with FileOutput(tmp_path / "x", size=1000) as out:
        out.write(bytes(1000))
    assert os.listdir(tmp_path) == ["x"]


def test_a_disk_without_room_is_refused_early(
    packed_digits: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.etz").write_bytes(packed_digits.read_bytes())
    size = digits.stat().st_size
    for free, code in ((size - 1, 4), (size, 0)):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(total=1 << 40, free=free))
        for arguments in (["decompress", "m.etz"], ["extract", "m.etz", "--range", f"0:{size}"]):
            result = CliRunner().invoke(cli, arguments)
            if code:
                assert isinstance(result.exception, OSError)
                assert result.exception.errno == errno.ENOSPC
                assert result.exception.filename.endswith(("m.pte", ".bin"))
                assert report_error(result.exception) == code
                assert os.listdir() == ["m.etz"]
            else:
                assert result.exit_code == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=1 << 40, free=0))
    assert CliRunner().invoke(cli, ["decompress", "m.etz", "-o", "-"]).exit_code == 0
    assert CliRunner().invoke(cli, ["decompress", "m.etz", "-q", "-o", "/dev/null"]).exit_code == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=0, free=0))
    assert CliRunner().invoke(cli, ["decompress", "m.etz", "-f"]).exit_code == 0, "not all file systems say"


def test_a_device_that_takes_nothing_is_an_error() -> None:
    with pytest.raises(OSError, match="takes no more bytes") as caught:
        write_all(lambda _: 0, b"data")
    assert caught.value.errno == errno.EIO
