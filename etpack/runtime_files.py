"""Where the C reader and the ExecuTorch loader are: sources, headers and a CMake package, installed with etpack."""

from __future__ import annotations

from pathlib import Path


def runtime_dir() -> Path:
    """Return the folder with the C reader and the loader; `find_package(etpack)` finds them with it as a prefix."""
    return Path(__file__).parent / "runtime"


def runtime_files() -> list[Path]:
    """Return the headers and sources in it, by name: what to copy into another build system."""
    return sorted(path for path in runtime_dir().iterdir() if path.suffix in (".h", ".c", ".cpp"))
