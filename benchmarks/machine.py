"""What the figures were measured on."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from etpack.reader import available_processors

_LIBRARIES = (
    "etpack", "numpy", "zstandard", "lz4", "google-crc32c", "blosc2", "pyzstd", "indexed_zstd", "zipnn", "openzl",
)  # fmt: skip


def describe() -> dict[str, str]:
    """Return names and values: processor, cores, memory, kernel, Python, and the version of each library and tool."""
    found = {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": str(available_processors()),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    found |= {name: _library(name) for name in _LIBRARIES}
    return found | {"zstd (tool)": _tool(("zstd", "--version")), "lz4 (tool)": _tool(("lz4", "--version"))}


def _field(path: str, name: str) -> str:
    """Return the value of the first line "name : value" of a file of the kernel, or nothing."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _memory() -> str:
    total = _field("/proc/meminfo", "MemTotal").split()
    return f"{int(total[0]) / (1 << 20):.1f} GiB" if total else "unknown"


def _library(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _tool(command: Sequence[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "not installed"
    return next(
        (word.strip(",") for word in said.split() if word.startswith("v") and word[1:2].isdigit()), said.strip()
    )
