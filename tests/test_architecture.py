"""The picture of who imports whom, and a few other rules of the house."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import PATIENCE
from tests.faults import unmeasured

PACKAGE = Path(__file__).parent.parent / "etpack"

# A module imports only from rows above its own, or from inside its own package.
ROWS = (
    {"errors", "interrupts", "disk", "runtime_files", "parallel", "__version__", "_kernels"},
    {"limits", "kernels", "settings"},
    {"sources"},
    {"filters", "layout", "output", "_flatbuffers"},
    {"codecs", "flatbuffer", "source_io", "runs"},
    {"pte"},
    {"plan", "blocks", "probe", "guard"},
    {"padding", "manifest", "coders", "block_reader"},
    {"encode"},
    {"reader", "selfcheck", "body"},
    {"loader", "writer"},
    {"unpack", "memory", "pick"},
    {"files", "check", "compare", "report", "executorch"},
    {"tuning", "bench"},
    {"describe"},
    {"cli"},
)
RANKS = {name: rank for rank, row in enumerate(ROWS) for name in row}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem[0] != "_")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "etpack" else (module,)


def _top(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = _top(path)
    assert own in RANKS, f"{own} has no place in the picture"
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "etpack" and parts[1] != own:
            assert RANKS[parts[1]] < RANKS[own], f"{own} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_but_its_own_module_needs_executorch(path: Path) -> None:
    found = {name.split(".")[0] for name in _imports(path)} & {"torch", "executorch", "torchao"}
    assert found == ({"executorch"} if path == PACKAGE / "executorch.py" else set())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    assert "print" not in names
    if _top(path) != "cli":
        assert not any(name.split(".")[0] == "click" for name in _imports(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_small_and_say_what_they_are_for(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 60, f"{node.name} is long"


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 30


def test_inspecting_a_model_loads_only_what_it_needs(digits: Path) -> None:
    # Half of the time that a small model takes is for loading what does the work.
    code = "import sys; from etpack.cli import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, "inspect", str(digits)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True, env=unmeasured())
    loaded = set(done.stderr.split())
    assert "etpack.report" in loaded
    dear = {
        "concurrent.futures", "hashlib", "importlib.resources", "lz4", "numpy", "plotly", "shutil", "tempfile",
        "tomli", "tomllib", "zstandard",
    }  # fmt: skip
    assert loaded & dear == set()
