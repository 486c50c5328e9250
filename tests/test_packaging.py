"""The C parts as a user's build system finds them: `etpack runtime`, find_package(etpack), add_subdirectory."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import etpack
from etpack.runtime_files import runtime_dir, runtime_files
from tests import PATIENCE, native_tools
from tests.native_tools import cmake_build, need

CONSUMER = Path(__file__).parent / "consumer"
BUILD_FILES = {"CMakeLists.txt", "etpack-config.cmake", "etpack-config-version.cmake"}


def _configure(build: Path, *options: str) -> subprocess.CompletedProcess[str]:
    cmake = native_tools.program("cmake")
    assert cmake
    return subprocess.run(
        [cmake, "-S", CONSUMER, "-B", build, *options], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def _output(program: Path, *args: Path) -> bytes:
    return subprocess.run([program, *args], capture_output=True, check=True, timeout=PATIENCE).stdout


def _runtime(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etpack", "runtime", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_the_command_says_where_things_are() -> None:
    folder = etpack.runtime_dir()
    assert _runtime("--dir").stdout == f"{folder}\n"
    assert (Path(_runtime("--cmakedir").stdout.strip()) / "etpack-config.cmake").is_file()
    assert (Path(_runtime("--includes").stdout.strip().removeprefix("-I")) / "etz_reader.h").is_file()
    assert _runtime("--files").stdout.splitlines() == [str(path) for path in runtime_files()]


def test_the_command_wants_to_know_what_of_it() -> None:
    result = _runtime()
    assert result.returncode == 2
    assert "--cmakedir" in result.stderr
    result = _runtime("--cmakedir", "--files")
    assert (result.returncode, result.stdout) == (2, "")
    assert "--cmakedir and --files" in result.stderr


def test_the_list_of_files_is_all_there_is() -> None:
    names = {path.name for path in runtime_dir().iterdir() if path.is_file()}
    assert names == {path.name for path in runtime_files()} | BUILD_FILES | {"README.md"}


def test_the_package_compiles_every_source() -> None:
    text = (runtime_dir() / "etpack-config.cmake").read_text(encoding="utf-8")
    named = set(re.findall(r"etz_\w+\.c(?:pp)?\b", text)) | {"etz_decoder_lz4.c", "etz_decoder_zstd.c"}
    assert named == {path.name for path in runtime_files() if path.suffix != ".h"}


def test_the_package_has_etpacks_version() -> None:
    text = (runtime_dir() / "etpack-config-version.cmake").read_text(encoding="utf-8")
    assert f'set(PACKAGE_VERSION "{etpack.__version__}")' in text


def test_find_package_gives_the_reader(tmp_path: Path, digits: Path, packed_digits: Path) -> None:
    need("cc", "c++", "cmake", "lz4", "zstd")
    cmake_build(CONSUMER, tmp_path, f"-DCMAKE_PREFIX_PATH={runtime_dir()}", "-DCONSUMER_PARTS=reader")
    assert _output(tmp_path / "use_reader", packed_digits) == digits.read_bytes()


def test_find_package_gives_the_loader_where_executorch_is(tmp_path: Path, digits: Path, packed_digits: Path) -> None:
    need("cc", "c++", "cmake", "lz4", "zstd", "sdk")
    readme = (native_tools.ROOT / "README.md").read_text(encoding="utf-8")
    found, linked = re.findall(r"```cmake\n(.*)\n(.*)\n```", readme)[0]
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(app LANGUAGES C CXX)\n"
        f"{found}\nadd_executable(app {CONSUMER}/use_data_loader.cpp)\n{linked}\n",
        encoding="utf-8",
    )
    cmake_build(tmp_path, tmp_path, f"-DCMAKE_PREFIX_PATH={runtime_dir()};{native_tools.sdk()}")
    assert _output(tmp_path / "app", packed_digits) == digits.read_bytes()


def test_add_subdirectory_gives_the_same_without_codecs_too(tmp_path: Path, digits: Path) -> None:
    need("cc", "c++", "cmake", "sdk")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in [*runtime_files(), *(runtime_dir() / name for name in BUILD_FILES)]:
        (copy / path.name).write_bytes(path.read_bytes())
    places = [f"-DETPACK_RUNTIME={copy}", f"-DCMAKE_PREFIX_PATH={native_tools.sdk()}"]
    options = ["-DETPACK_WITH_LZ4=OFF", "-DETPACK_WITH_ZSTD=OFF", "-DETPACK_OPTIMIZE_SIZE=ON"]
    cmake_build(CONSUMER, tmp_path / "build", *places, *options, "-DCONSUMER_PARTS=reader;data_loader")
    raw = tmp_path / "raw.etz"
    etpack.compress(digits, raw, etpack.Options(codec="raw"))
    for program in ("use_reader", "use_data_loader"):
        assert _output(tmp_path / "build" / program, raw) == digits.read_bytes()


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        ("data_loader", ["-DCMAKE_DISABLE_FIND_PACKAGE_executorch=ON"], "ExecuTorch is not found: install its wheel"),
        ("reader", ["-DETPACK_LZ4_LIBRARY=NO", "-DETPACK_LZ4_INCLUDE_DIR=NO"], "apt-get install liblz4-dev"),
        ("writer", [], "etpack has no component writer; it has reader and data_loader"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, part: str, options: list[str], message: str) -> None:
    need("cc", "c++", "cmake", "lz4", "zstd")
    result = _configure(tmp_path, f"-DCMAKE_PREFIX_PATH={runtime_dir()}", f"-DCONSUMER_PARTS={part}", *options)
    assert result.returncode != 0
    assert message in " ".join(result.stderr.split())


def test_a_missing_tool_skips_a_test_and_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(native_tools.TOOLS, "zstd", replace(native_tools.TOOLS["zstd"], found=lambda: False))
    remedy = "without zstd; to get it: apt-get install libzstd-dev, make clean, make test"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=remedy):
        need("zstd")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=remedy):
        need("zstd")


def test_one_line_says_what_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, tool in native_tools.TOOLS.items():
        here = partial(bool, name not in ("c++", "lz4"))
        monkeypatch.setitem(native_tools.TOOLS, name, replace(tool, found=here))
    native_tools.main()
    remedy = "apt-get install g++ liblz4-dev, make clean, make test"
    assert capsys.readouterr().out == f"Left out: the tests that need c++, lz4. To get them: {remedy}\n"
