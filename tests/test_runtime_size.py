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
    for name in (*READER, KERNELS, FAST_KERNELS):
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
    for name in (*READER, KERNELS, FAST_KERNELS):
        found = sections(objects, name)
        # What only the loader fills in (.data.rel.ro) is read-only when the program runs.
        assert {found[section] for section in (".data", ".bss")} == {0}, name
        assert not [section for section in found if section.startswith((".data.rel.local", ".tdata", ".tbss"))], name


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

    def below(self, caller: str) -> set[str]:
        """Return what a function may call; callbacks and decoders are the caller's own, and not counted."""
        found = self.callees.get(caller, set())
        if "__indirect_call" not in found:
            return found
        # The fast kernels leave ends to the portable ones.
        behind = [KERNELS] if caller in self.of_file(FAST_KERNELS) else [KERNELS, FAST_KERNELS]
        return found | {title for name in behind for title in self.of_file(name)}

    def depth(self) -> int:
        """Return the bytes of the deepest chain of calls."""

        @functools.cache
        def deepest(caller: str) -> int:
            return self.stack.get(caller, 0) + max(map(deepest, self.below(caller)), default=0)

        return max(map(deepest, self.stack))


def test_the_stack_is_within_its_budget(objects: Path) -> None:
    calls = Calls(objects)
    assert {"etz_open", "etz_context_init", "etz_read"} <= calls.stack.keys()
    # A recursion would not come to an end.
    assert calls.depth() < MAX_STACK


def test_the_readme_says_what_gcc_makes(objects: Path) -> None:
    if run("gcc", "-dumpfullversion").strip() != README_GCC:
        pytest.skip(f"the figures of the README are those of gcc {README_GCC}")
    readme = (RUNTIME / "README.md").read_text(encoding="utf-8")
    reader, kernels = (
        int(re.findall(rf"^\| {part}[^|]*\| ([\d,]+) \|", readme, re.MULTILINE)[0].replace(",", ""))
        for part in ("the reader", "portable kernels")
    )
    assert reader == sum(code_size(objects, name) for name in READER)
    assert kernels == code_size(objects, KERNELS)
