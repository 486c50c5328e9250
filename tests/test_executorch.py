"""etpack.executorch against a stand-in for ExecuTorch; with the real one it is tested in tests/export."""

from __future__ import annotations

import importlib
import mmap
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

import etpack
from etpack import executorch
from etpack.errors import CorruptError

PAGE = mmap.PAGESIZE


class MappedFile:
    """What ExecuTorch holds of a path: the file, opened, and the mapping of its head."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)
        self.head = mmap.mmap(self.number, PAGE, prot=mmap.PROT_READ)

    def __del__(self) -> None:
        os.close(self.number)


class Program:
    """Loads as ExecuTorch does: opens the path and maps the head at once, and reads all of it for each method."""

    def __init__(self, data: bytes | str) -> None:
        self.data = data
        self.file = MappedFile(data) if isinstance(data, str) else None

    def load_method(self, name: str) -> bytes:
        assert self.file
        if name == "missing":
            raise KeyError(name)
        return os.pread(self.file.number, 1 << 30, 0)

    @property
    def held(self) -> int:
        """Bytes of memory that the file takes."""
        assert self.file
        return os.fstat(self.file.number).st_blocks * 512


class Runtime:
    options: ClassVar[dict[str, Any]] = {}

    @staticmethod
    def get() -> Runtime:
        return Runtime()

    def load_program(self, data: bytes | str, **options: Any) -> Program:
        Runtime.options = options
        return Program(data)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("executorch.runtime")
    vars(module).update(Runtime=Runtime, Program=Program, Method=bytes)
    monkeypatch.setitem(sys.modules, "executorch", ModuleType("executorch"))
    monkeypatch.setitem(sys.modules, "executorch.runtime", module)
    monkeypatch.setattr(executorch, "_forked", False)
    executorch._program_class.cache_clear()


linux = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")


@linux
@pytest.mark.parametrize("sha256", [False, True])
def test_memory_is_given_back_after_each_method_and_is_whole_for_the_next(
    digits: Path, packed_digits: Path, sha256: bool
) -> None:
    program: Any = executorch.load_program(packed_digits, sha256=sha256, verification="minimal")
    content = digits.read_bytes()
    assert Runtime.options == {"verification": "minimal"}
    assert program.held >= len(content)
    for name in ("forward", "features"):
        assert program.load_method(name) == content
        assert program.held == PAGE
        assert program.file.head[:] == content[:PAGE]
    assert program.load_method("forward") is program.load_method("forward")
    assert isinstance(program, Program)


@linux
def test_memory_is_given_back_when_a_method_does_not_load(packed_digits: Path) -> None:
    program: Any = executorch.load_program(packed_digits)
    with pytest.raises(KeyError):
        program.load_method("missing")
    assert program.held == PAGE


@linux
def test_memory_stays_on_request(digits: Path, packed_digits: Path) -> None:
    program: Any = executorch.load_program(packed_digits, release=False)
    assert program.load_method("forward") == digits.read_bytes()
    assert program.held >= digits.stat().st_size


@linux
def test_memory_stays_once_another_process_may_map_it(digits: Path, packed_digits: Path) -> None:
    code = "import os; from etpack import executorch; os.fork() or os._exit(0); os.wait(); print(executorch._forked)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"True\n"
    program: Any = executorch.load_program(packed_digits)
    executorch._note_fork()
    assert program.load_method("forward") == digits.read_bytes()
    assert program.held >= digits.stat().st_size


@linux
def test_nothing_stays_open(packed_digits: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    program = executorch.load_program(packed_digits)
    program.load_method("forward")
    assert len(os.listdir("/proc/self/fd")) > before
    del program
    assert len(os.listdir("/proc/self/fd")) == before


def test_where_there_are_no_files_in_memory_it_is_bytes(
    digits: Path, packed_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executorch, "_has_files_in_memory", lambda: False)
    program: Any = executorch.load_program(packed_digits)
    assert program.data == digits.read_bytes()


def test_a_damaged_file_is_an_error_that_names_it(packed_digits: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.etz"
    data = bytearray(packed_digits.read_bytes())
    data[100_000] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(CorruptError) as caught:
        executorch.load_program(damaged)
    assert caught.value.path == str(damaged)


def test_another_kind_of_file_is_an_error(digits: Path) -> None:
    with pytest.raises(etpack.NotEtzError):
        executorch.load_program(digits)


def test_it_is_imported_without_executorch_and_says_what_is_missing(
    packed_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "executorch", None)
    monkeypatch.delitem(sys.modules, "executorch.runtime")
    monkeypatch.delitem(sys.modules, "etpack.executorch")
    module = importlib.import_module("etpack.executorch")
    with pytest.raises(ImportError, match=r"pip install 'etpack\[executorch\]'"):
        module.load_program(packed_digits)
