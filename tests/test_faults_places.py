"""Places where an output cannot be, or an input not be read: said before anything is done, with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from etpack.output import TEMPORARY_SUFFIX
from tests import PATIENCE
from tests.faults import Faults

DECOMPRESS = ("decompress", "model.etz", "-o")


def test_a_folder_that_cannot_be_written_to(faults: Faults) -> None:
    folder = faults.work / "folder"
    folder.mkdir(mode=0o555)
    outcome = faults.run(*DECOMPRESS, "folder/out", unprivileged=True)
    outcome.check_told(4, "folder/out: Permission denied", "check the permissions")
    assert os.listdir(folder) == []
    folder.chmod(0o755)


def test_an_input_that_cannot_be_read(faults: Faults) -> None:
    (faults.work / "model.pte").chmod(0)
    outcome = faults.run("compress", "model.pte", "-o", "out", unprivileged=True)
    outcome.check_told(4, "model.pte: Permission denied", "check the permissions")
    assert faults.listing() == []


def test_a_current_folder_that_cannot_be_read(faults: Faults) -> None:
    faults.work.chmod(0o333)
    outcome = faults.run(*DECOMPRESS, "out", unprivileged=True)
    faults.work.chmod(0o777)
    assert outcome.code == 0
    assert faults.listing() == ["out"]


def test_a_current_folder_that_is_gone(faults: Faults) -> None:
    gone = faults.work / "gone"
    gone.mkdir()
    outcome = faults.run("compress", str(faults.work / "model.pte"), "-o", "out", remove_folder=True, cwd=gone)
    outcome.check_told(4, "out: No such file or directory", "check the path")
    gone.mkdir()
    model = str(faults.work / "model.pte")
    outcome = faults.run("compress", model, "-o", f"{faults.work}/out", remove_folder=True, cwd=gone)
    assert outcome.code == 0


def test_a_real_start_in_a_folder_that_is_gone(faults: Faults) -> None:
    gone = faults.work / "gone"
    gone.mkdir()
    command = f'cd {gone}; rmdir {gone}; exec "$0" -m etpack verify -q {faults.work}/model.etz'
    result = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, timeout=PATIENCE)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_file_system_that_is_read_only(faults: Faults) -> None:
    outcome = faults.run(*DECOMPRESS, "out", steps=["open"], nth=2, action="EROFS")
    outcome.check_told(4, "out: Read-only file system", "write elsewhere with -o")
    assert faults.listing() == []


@pytest.mark.parametrize("place", [".", "folder", "folder/", "absent/"])
def test_an_output_that_is_a_folder(faults: Faults, place: str) -> None:
    (faults.work / "folder").mkdir()
    faults.run(*DECOMPRESS, place, "-f").check_told(4, "Is a directory", "give a file")
    assert faults.listing() == ["folder"]
    assert os.listdir(faults.work / "folder") == []


@pytest.mark.parametrize("place", ["absent/out", "model.pte/out"])
def test_an_output_in_no_folder(faults: Faults, place: str) -> None:
    faults.run(*DECOMPRESS, place).check_told(4, f"{place}: ", "check the path")
    assert faults.listing() == []


def test_a_name_that_is_too_long(faults: Faults) -> None:
    faults.run(*DECOMPRESS, "n" * 256).check_told(4, "File name too long", "choose a shorter name")
    assert faults.listing() == []


@pytest.mark.parametrize("size", [242, 243, 255])
def test_a_name_as_long_as_can_be(faults: Faults, size: int) -> None:
    name = "n" * size
    outcome = faults.run(*DECOMPRESS, name, steps=["write"], nth=1, action="KILL")
    assert outcome.code == -9
    (left,) = faults.listing()
    assert left.endswith(TEMPORARY_SUFFIX)
    assert faults.run(*DECOMPRESS, name).code == 0
    assert faults.listing() == [name]


@pytest.mark.parametrize(
    "command",
    [
        ("compress", "model.pte", "-o", ""),
        ("decompress", "model.etz", "-o", ""),
        ("extract", "model.etz", "--segment", "1", "-o", ""),
        ("verify", "model.etz", "--junit", ""),
        ("verify", "model.etz", "--against", ""),
        ("compress", ""),
        ("inspect", ""),
    ],
    ids=" ".join,
)
def test_an_empty_name(faults: Faults, command: tuple[str, ...]) -> None:
    outcome = faults.run(*command)
    assert outcome.code == 2
    assert "an empty name" in outcome.stderr
    assert faults.listing() == []


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("compress",),
        ("compress", "--nonsense", "model.pte"),
        ("compress", "-j", "0", "model.pte"),
        ("compress", "--block-size", "1", "model.pte"),
        ("compress", "model.pte", "model.pte", "-o", "out"),
        ("decompress", "model.etz", "model.etz", "-o", "out"),
        ("extract", "model.etz"),
        ("verify", "--fast", "--against", "model.pte", "model.etz"),
        ("verify", "--json", "--junit", "-", "model.etz"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_usage(faults: Faults, command: tuple[str, ...]) -> None:
    outcome = faults.run(*command)
    assert (outcome.code, outcome.stdout) == (2, "")
    # The last line says what is wrong; it, or the help, or the line that leads there, says what to do.
    *_, last = outcome.stderr.splitlines()
    helps = "help' for help" in outcome.stderr or "-h' for help" in outcome.stderr or not command
    assert helps or any(word in last for word in ("give", "choose", "name", "power")), last
    assert faults.listing() == []


@pytest.mark.parametrize("force", [(), ("-f",)])
def test_a_link_to_a_file(faults: Faults, force: tuple[str, ...]) -> None:
    (faults.work / "real").write_text("old")
    (faults.work / "out").symlink_to("real")
    outcome = faults.run(*DECOMPRESS, "out", *force)
    assert (faults.work / "out").is_symlink()
    assert faults.listing() == ["out", "real"]
    if force:
        assert outcome.code == 0
        assert (faults.work / "real").read_bytes() == (faults.work / "model.pte").read_bytes()
    else:
        outcome.check_told(2, "real: exists already", "-f")
        assert (faults.work / "real").read_text() == "old"


def test_a_link_to_nothing(faults: Faults) -> None:
    (faults.work / "out").symlink_to("real")
    assert faults.run(*DECOMPRESS, "out").code == 0
    assert (faults.work / "out").is_symlink()
    assert (faults.work / "real").read_bytes() == (faults.work / "model.pte").read_bytes()


def test_a_link_to_itself(faults: Faults) -> None:
    (faults.work / "out").symlink_to("out")
    faults.run(*DECOMPRESS, "out", "-f").check_told(4, "out: Too many levels of symbolic links", "check the path")
    assert faults.listing() == ["out"]


@pytest.mark.parametrize("kind", ["itself", "link", "hard link"])
def test_an_output_that_is_the_input(faults: Faults, kind: str) -> None:
    same = faults.work / "same"
    before = (faults.work / "model.etz").read_bytes()
    if kind == "link":
        same.symlink_to("model.etz")
    elif kind == "hard link":
        same.hardlink_to(faults.work / "model.etz")
    outcome = faults.run(*DECOMPRESS, "model.etz" if kind == "itself" else "same", "-f")
    outcome.check_told(2, "is the input itself", "choose another output")
    assert (faults.work / "model.etz").read_bytes() == before


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "hard link"])
def test_what_is_in_the_temporary_files_way(faults: Faults, kind: str) -> None:
    way = faults.work / f".out{TEMPORARY_SUFFIX}"
    precious = faults.work / "precious"
    precious.write_text("precious")
    if kind == "folder":
        way.mkdir()
    elif kind == "link":
        way.symlink_to("precious")
    elif kind == "pipe":
        os.mkfifo(way)
    else:
        way.hardlink_to(precious)
    faults.run(*DECOMPRESS, "out").check_told(2, "is in the way", "remove it")
    assert precious.read_text() == "precious"
    assert faults.listing() == [way.name, "precious"]


def test_a_file_made_by_others_before_the_end(faults: Faults) -> None:
    outcome = faults.run(*DECOMPRESS, "out", steps=["link"], nth=1, action="create", path="out")
    outcome.check_told(2, "out: exists already")
    assert (faults.work / "out").read_text() == "theirs"
    assert faults.listing() == ["out"]


def test_an_input_that_is_no_file(faults: Faults) -> None:
    os.mkfifo(faults.work / "pipe")
    (faults.work / "folder").mkdir()
    faults.run("compress", "absent").check_told(4, "absent: No such file or directory", "check the path")
    faults.run("compress", "folder").check_told(4, "folder: Is a directory", "give a file")
    faults.run("compress", "pipe").check_told(4, "pipe: cannot be read at random", "give a regular file")
    faults.run("compress", "/proc/cpuinfo").check_told(4, "cpuinfo: cannot be read at random", "give a regular file")


def test_a_temporary_folder_that_is_not_there(faults: Faults, tmp_path: Path) -> None:
    # The spool goes where there is room: a wrong TMPDIR alone is no reason to fail.
    outcome = faults.run("compress", "-q", "model.pte", "-o", "-", env={"TMPDIR": str(tmp_path / "absent")})
    assert outcome.code == 0
    shutil.rmtree(tmp_path)
