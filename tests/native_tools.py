"""What the tests of the parts in C and C++ need of this machine, and how to get it.

`need` skips the calling test or module where something is missing, and fails it in CI. `make test` says what it leaves
out for that, in one line: `python -m tests.native_tools`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from tests import PATIENCE

ROOT = Path(__file__).parent.parent
# ExecuTorch's wheel without its dependencies, for the C++ SDK in it; kept from the path of Python.
SDK = Path(os.environ.get("ETPACK_EXECUTORCH_SDK") or ROOT / "build" / "sdk" / "executorch")


def program(*names: str) -> Path | None:
    """Return the first of `names` that is installed, in the environment of this Python before any other."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return next((Path(found) for name in names if name and (found := shutil.which(name, path=path))), None)


def c_compiler() -> Path | None:
    """Return the C compiler: $CC if it is set, else the system's."""
    return program(os.environ.get("CC", ""), "cc", "gcc", "clang")


def cxx_compiler() -> Path | None:
    """Return the C++ compiler: $CXX if it is set, else the system's."""
    return program(os.environ.get("CXX", ""), "c++", "g++", "clang++")


def sdk() -> Path | None:
    """Return the folder `executorch` of its wheel, where CMake finds its package, or None."""
    return SDK if (SDK / "share" / "cmake" / "executorch-config.cmake").is_file() else None


@cache
def _has_header(name: str) -> bool:
    compiler = c_compiler()
    command = [str(compiler), "-E", "-x", "c", "-"]
    text = f"#include <{name}>\n"
    return compiler is not None and not subprocess.run(command, input=text, capture_output=True, text=True).returncode


def _inner_loops() -> bool:
    from etpack.kernels import native

    return native is not None


@dataclass(frozen=True)
class _Tool:
    found: Callable[[], object]
    # Debian packages; what pip has comes with `make test`.
    packages: str = ""


TOOLS = {
    "inner loops": _Tool(_inner_loops, "gcc python3-dev"),
    "cc": _Tool(c_compiler, "gcc libc6-dev"),
    "gcc": _Tool(lambda: program("gcc"), "gcc libc6-dev"),
    "size": _Tool(lambda: program("size"), "binutils"),
    "c++": _Tool(cxx_compiler, "g++"),
    "lz4": _Tool(lambda: _has_header("lz4.h"), "liblz4-dev"),
    "zstd": _Tool(lambda: _has_header("zstd.h"), "libzstd-dev"),
    "cmake": _Tool(lambda: program("cmake")),
    "ninja": _Tool(lambda: program("ninja")),
    "sdk": _Tool(sdk),
}


def missing(*names: str) -> list[str]:
    """Return which of these tools are not here; names as in `TOOLS`."""
    return [name for name in names if not TOOLS[name].found()]


def remedy(names: Iterable[str]) -> str:
    """Return the commands that bring these tools, in one line."""
    packages = dict.fromkeys(word for name in names for word in TOOLS[name].packages.split())
    install = [f"apt-get install {' '.join(packages)}"] if packages else []
    return ", ".join([*install, "make clean", "make test"])


def need(*names: str) -> None:
    """Skip the calling test, or at module level the module, if one of these tools is missing; in CI fail.

    Args:
        names: Of `TOOLS`: "cc" and "c++" are any compilers, "lz4" and "zstd" headers and libraries, "sdk" is
            that of ExecuTorch.
    """
    lacking = missing(*names)
    if lacking:
        leave_out(f"without {', '.join(lacking)}; to get it: {remedy(lacking)}")


def leave_out(reason: str) -> NoReturn:
    """Skip the test, or at module level the module; in CI nothing may be missing, and it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def cmake_build(source: Path, build: Path, *options: str, targets: Iterable[str] = ()) -> Path:
    """Configure and build a CMake project, and return `build`, its folder.

    Args:
        source: Folder of the project.
        build: Folder for what is built, made if it is not there.
        options: For the first step, "-DNAME=VALUE" for instance.
        targets: What to build; all by default.
    """
    cmake, ninja = program("cmake"), program("ninja")
    assert cmake, "call need('cmake') first"
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    run(cmake, "-S", source, "-B", build, *generator, *options)
    run(cmake, "--build", build, *(word for target in targets for word in ("--target", target)))
    return build


def run(*command: str | Path) -> str:
    """Run a command that has to succeed, and return its stdout; what it printed is shown when it fails."""
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    printed = f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    assert result.returncode == 0, f"{' '.join(words)} failed\n{printed}"
    return result.stdout


def main() -> None:
    """Print one line that says what `make test` leaves out, if anything, and how to get it."""
    if lacking := missing(*TOOLS):
        print(f"Left out: the tests that need {', '.join(lacking)}. To get them: {remedy(lacking)}")


if __name__ == "__main__":
    main()
