"""What the C reader takes of a small device: code, writable memory and stack, as gcc on x86-64 makes it at -Os."""

from __future__ import annotations

import functools
import platform
import re
import sys
from pathlib import Path

import pytest

from tests.native_tools import ROOT, need, run

RUNTIME = ROOT / "etpack" / "runtime"
READER = ("etz_open", "etz_tables", "etz_blocks", "etz_reader")
KERNELS = "etz_kernels"
FAST_KERNELS = "etz_kernels_x86"
CHOICE = "etz_kernels_best"
TABLE = ROOT / "benchmarks" / "results" / "runtime_size.md"
MAX_CODE = 6144
MAX_STACK = 1024
# The figures of the README are those of this compiler.
README_GCC = "12.2.0"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reader's object files, each with the compiler's account of calls and stack beside it."""
    if platform.machine() not in ("x86_64", "AMD64") or not sys.platform.startswith("linux"):
        pytest.skip("the budget is one of x86-64 with Linux")
    need("gcc", "size")
    folder = tmp_path_factory.mktemp("objects")
    for name in (*READER, KERNELS, FAST_KERNELS, CHOICE):
        out = folder / f"{name}.o"
        run("gcc", "-std=c99", "-Os", "-fcallgraph-info=su", "-c", RUNTIME / f"{name}.c", "-o", out)
    return folder


def sections(objects: Path, name: str) -> dict[str, int]:
    """Return the bytes of each section of an object file."""
    listing = run("size", "-A", "-d", objects / f"{name}.o")
    return {row[0]: int(row[1]) for row in re.findall(r"^(\.\S+)\s+(\d+)", listing, re.MULTILINE)}


def code_size(objects: Path, name: str) -> int:
    return sum(size for section, size in sections(objects, name).items() if section.startswith(".text"))


def test_the_code_is_within_its_budget(objects: Path) -> None:
    assert sum(code_size(objects, name) for name in (*READER, KERNELS)) < MAX_CODE


def test_nothing_is_writable(objects: Path) -> None:
    for name in (*READER, KERNELS, FAST_KERNELS, CHOICE):
        found = sections(objects, name)
        # What only the loader fills in (.data.rel.ro) is read-only when the program runs.
        assert {found[section] for section in (".data", ".bss")} == {0}, name
        assert not [section for section in found if section.startswith((".data.rel.local", ".tdata", ".tbss"))], name


def test_nothing_of_libc_is_called_but_memcpy_and_memset(objects: Path, tmp_path: Path) -> None:
    for name in (*READER, KERNELS):
        # Here the compiler expands fewer calls in place than at -Os.
        run("gcc", "-std=c99", "-O2", "-c", RUNTIME / f"{name}.c", "-o", tmp_path / f"{name}.o")
        for path in (objects / f"{name}.o", tmp_path / f"{name}.o"):
            wanted = set(re.findall(r"\bU (\w+)", run("nm", "-u", path)))
            assert {symbol for symbol in wanted if not symbol.startswith("etz_")} <= {"memcpy", "memset"}, path


class Calls:
    """Who calls whom, and the stack that each takes, its return address included."""

    def __init__(self, objects: Path) -> None:
        self.stack: dict[str, int] = {}
        self.callees: dict[str, set[str]] = {}
        for path in sorted(objects.glob("*.ci")):
            text = path.read_text(encoding="utf-8")
            for title, size in re.findall(r'node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes \(static\)', text):
                self.stack[title] = int(size)
            for caller, callee in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
                self.callees.setdefault(caller, set()).add(callee)
            # Nothing with a size that is known only at run time.
            assert "dynamic" not in re.sub(r"\b0 dynamic", "", text), path

    def of_file(self, name: str) -> list[str]:
        return [title for title in self.stack if f"/{name}.c:" in title]

    def below(self, caller: str, kernels: tuple[str, ...]) -> set[str]:
        """Return what a function may call; callbacks and decoders are the caller's own, and not counted."""
        found = self.callees.get(caller, set())
        if "__indirect_call" not in found:
            return found
        # The fast kernels leave ends to the portable ones.
        behind = (KERNELS,) if caller in self.of_file(FAST_KERNELS) else kernels
        return found | {title for name in behind for title in self.of_file(name)}

    def depth(self, *kernels: str) -> int:
        """Return the bytes of the deepest chain of calls, with kernels of these files."""

        @functools.cache
        def deepest(caller: str) -> int:
            return self.stack.get(caller, 0) + max(map(deepest, self.below(caller, kernels)), default=0)

        return max(map(deepest, ("etz_open", "etz_memory_needed", "etz_context_init", "etz_find_block", "etz_read")))


def test_the_stack_is_within_its_budget(objects: Path) -> None:
    calls = Calls(objects)
    assert {"etz_open", "etz_context_init", "etz_read"} <= calls.stack.keys()
    # A recursion would not come to an end.
    assert calls.depth(KERNELS, FAST_KERNELS) < MAX_STACK


def readme_code(row: str) -> int:
    """Return the bytes of code that the README states for x86-64."""
    return number(rf"^\| {row}[^|]*\| ([\d,]+) \|", RUNTIME / "README.md")


def readme_stack() -> tuple[int, int]:
    """Return the bytes of stack that the README states: with the portable kernels, and with those of the processor."""
    path = RUNTIME / "README.md"
    return (
        number(r"take at most ([\d,]+) bytes of stack", path),
        number(r"^([\d,]+) with those of the processor\. Tests hold", path),
    )


def number(pattern: str, path: Path) -> int:
    found = re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{path.name} has no {pattern}"
    return int(found[0].replace(",", ""))


def test_the_readme_says_what_gcc_makes(objects: Path) -> None:
    if run("gcc", "-dumpfullversion").strip() != README_GCC:
        pytest.skip(f"the figures of the README are those of gcc {README_GCC}")
    assert readme_code("the reader") == sum(code_size(objects, name) for name in READER)
    assert readme_code("portable kernels") == code_size(objects, KERNELS)
    assert readme_code("kernels for x86-64") == sum(code_size(objects, name) for name in (FAST_KERNELS, CHOICE))
    calls = Calls(objects)
    assert readme_stack() == (calls.depth(KERNELS), calls.depth(KERNELS, FAST_KERNELS))


def test_the_readme_says_what_the_table_says() -> None:
    rows = {"the reader": "the reader", "portable kernels": "portable kernels", "kernels for x86-64": "kernels of the"}
    for ours, theirs in rows.items():
        assert readme_code(ours) == number(rf"^\| {theirs}[^|]*\| ([\d,]+)", TABLE), ours
    kernels = ("portable kernels", "kernels of the processor")
    assert readme_stack() == tuple(number(rf"^\| the reader, {name} \| ([\d,]+) \|", TABLE) for name in kernels)
