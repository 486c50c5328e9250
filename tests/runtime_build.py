"""Builds the C programs of `tests/runtime/`, once a session, and runs them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "tests" / "runtime"
HEADERS = ("lz4.h", "zstd.h")


def find_tool(name: str) -> str | None:
    """Return the path of a program, from beside this Python or from PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def _missing() -> str | None:
    """Return what the build needs and this machine lacks."""
    compiler = os.environ.get("CC") or next((name for name in ("cc", "gcc", "clang") if find_tool(name)), None)
    if not compiler or not find_tool("cmake"):
        return "a C compiler and cmake"
    includes = "".join(f"#include <{header}>\n" for header in HEADERS)
    command = [*compiler.split(), "-xc", "-fsyntax-only", "-"]
    done = subprocess.run(
        command, input=f"#include <stddef.h>\n{includes}", capture_output=True, text=True, check=False
    )
    return "the headers of liblz4 and libzstd" if done.returncode else None


@functools.cache
def build_programs(name: str, *options: str) -> Path:
    """Return the folder of the programs of `tests/runtime/`, built with these options of cmake."""
    folder = ROOT / "build" / f"runtime-{name}"
    ninja = find_tool("ninja")
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    cmake = find_tool("cmake")
    assert cmake
    for command in (
        [cmake, "-S", str(SOURCE), "-B", str(folder), *generator, *options],
        [cmake, "--build", str(folder), "--parallel", "2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def build(name: str, *options: str) -> Path:
    """Return the folder of the built programs; where they cannot be built, skip the test, or fail it in CI."""
    missing = _missing()
    if missing:
        packages = "gcc cmake liblz4-dev libzstd-dev"
        leave_out(f"the C reader needs {missing}; on Debian and Ubuntu: apt-get install {packages}")
    return build_programs(name, *options)


def leave_out(reason: str) -> NoReturn:
    """Skip the test; in CI nothing may be missing, and it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(program: Path, *arguments: str | Path, timeout: float = 120) -> str:
    """Return what a program prints; a sanitizer's complaint, or any other failure, is an error."""
    command: Sequence[str] = [str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-1000:]
    return done.stdout
