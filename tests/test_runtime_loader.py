"""EtzDataLoader with ExecuTorch's C++ SDK: every source, error and trap, and the same outputs as from the `.pte`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import etpack
from etpack.layout import SectionType
from tests import PATIENCE, native_tools
from tests.conftest import ROOT
from tests.make_pte import NamedSpec, PtdSpec, build_ptd
from tests.test_vectors import VECTORS, sidecar

SOURCE = ROOT / "tests" / "runtime" / "loader"
TRAPS = range(1, 13)
# What ExecuTorch's codes are for the errors of the specification.
CODES = {
    "not-etz": "NotFound",
    "truncated": "InvalidProgram",
    "corrupt": "InvalidProgram",
    "unsupported": "NotSupported",
    "codec-missing": "NotSupported",
    "limit": "OutOfResources",
}


@dataclass(frozen=True)
class Tools:
    """What was built, and with which sanitizer."""

    folder: Path
    sanitizer: str

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run a program that has to succeed, and return what it printed."""
        # ExecuTorch's own libraries are not instrumented, and what they keep for good is no leak of ours.
        options = os.environ | {
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "TSAN_OPTIONS": "halt_on_error=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        command = [str(self.folder / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=options)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@cache
def _built(sanitizer: str, *targets: str) -> Tools:
    native_tools.need("cc", "c++", "lz4", "zstd", "cmake", "sdk")
    # vptr needs run-time types, which the loader is built without.
    flags = f"-fsanitize={sanitizer} -fno-sanitize=vptr -fno-sanitize-recover=all -g" if sanitizer else ""
    folder = ROOT / "build" / f"loader-{sanitizer or 'release'}"
    options = [f"-DCMAKE_{language}_FLAGS={flags}" for language in ("C", "CXX")]
    native_tools.cmake_build(SOURCE, folder, *options, f"-DCMAKE_PREFIX_PATH={native_tools.SDK}", targets=targets)
    return Tools(folder, sanitizer)


@pytest.fixture(scope="session", params=["", "address,undefined"], ids=["plain", "sanitized"])
def tools(request: pytest.FixtureRequest) -> Tools:
    """The programs, as they are released and with AddressSanitizer and UndefinedBehaviorSanitizer."""
    return _built(request.param)


@pytest.fixture(scope="session")
def thread_tools() -> Tools:
    """The program that is run with ThreadSanitizer."""
    return _built("thread", "loader_check")


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A `.ptd` of nine megabytes, weights, noise and zeros, so large that several threads share a load; and packed."""
    source = np.random.default_rng(0)
    arrays = {
        "weight": source.normal(0, 0.05, 1 << 20).astype("float32"),
        "noise": source.integers(-128, 128, (3 << 20) + 77).astype("int8"),
        "zeros": np.zeros(1 << 18, "float32"),
        "bias": source.normal(0, 1, 100).astype("float32"),
        "half": source.normal(0, 0.05, 1 << 19).astype("float16"),
    }
    named = [NamedSpec(name, array.tobytes()) for name, array in arrays.items()]
    plain = tmp_path_factory.mktemp("mixed") / "mixed.ptd"
    plain.write_bytes(build_ptd(PtdSpec(named_data=named)))
    packed = plain.with_suffix(".etz")
    etpack.compress(plain, packed)
    return plain, packed


@pytest.mark.parametrize("check", ["sources", "errors", "threads", "ahead", "data"])
def test_loader(tools: Tools, mixed: tuple[Path, Path], check: str) -> None:
    tools.run("loader_check", check, *mixed)


def test_large_blocks_are_read_ahead(tools: Tools, mixed: tuple[Path, Path], tmp_path: Path) -> None:
    packed = tmp_path / "large.etz"
    etpack.compress(mixed[0], packed, etpack.Options(block_size=1 << 20, filters=False))
    tools.run("loader_check", "ahead-large", mixed[0], packed)


@pytest.mark.parametrize("trap", TRAPS)
def test_trap(tools: Tools, mixed: tuple[Path, Path], trap: int) -> None:
    tools.run("loader_check", "trap", str(trap), *mixed)


def test_every_trap_is_listed() -> None:
    text = (SOURCE / "README.md").read_text(encoding="utf-8")
    checks = re.findall(r"^\| (\d+) \|.*\| `(\w+)` \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in checks] == list(TRAPS)
    order = re.findall(r"^      (\w+),$", (SOURCE / "traps.cpp").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for _, name in checks] == order


def test_the_readmes_show_the_example_that_runs(tools: Tools, digits: Path, packed_digits: Path) -> None:
    example = (ROOT / "examples" / "cpp" / "load_model.cpp").read_text(encoding="utf-8")
    marked = example.split("// [integration]\n")[1]
    for page in (ROOT / "README.md", ROOT / "etpack" / "runtime" / "README.md"):
        assert f"```cpp\n{marked}```\n" in page.read_text(encoding="utf-8"), page
    for model in (digits, packed_digits):
        assert tools.run("load_model", model) == "Error::Ok\n"


@pytest.mark.parametrize("check", ["threads", "ahead"])
def test_threads_under_thread_sanitizer(thread_tools: Tools, mixed: tuple[Path, Path], check: str) -> None:
    thread_tools.run("loader_check", check, *mixed)


@pytest.mark.parametrize("vectors", [VECTORS], ids=["all"])
def test_vectors_give_the_errors_of_the_table(tools: Tools, vectors: list[Path]) -> None:
    said = dict(line.split(" ", 1) for line in tools.run("loader_check", "read", *vectors).splitlines())
    assert len(said) == len(vectors) >= 60
    for path in vectors:
        sidecar_says = sidecar(path)
        expected, result = sidecar_says["expect"], said[str(path)]
        if result.startswith("ok "):
            # What only a tool that reads the whole file finds, a loader may find.
            assert expected == "ok" or sidecar_says["moment"] == "verify", path.name
        else:
            assert result.split(" ")[1] == f"Error::{CODES[expected]}", path.name
            # Only a file that is no .etz may look to a data map as if a name were not in it.
            assert result != "load Error::NotFound", path.name


def _ignored(packed: Path) -> tuple[int, int]:
    """Return where the manifest lies, which no load depends on."""
    with etpack.open(packed) as file:
        section = next(section for section in file.sections if section.type == SectionType.MANIFEST)
        return section.stored_offset, section.stored_offset + section.size


def test_a_flipped_bit_gives_an_error(tools: Tools, digits: Path, packed_digits: Path) -> None:
    step = "1999" if tools.sanitizer else "997"
    tools.run("loader_check", "flips", digits, packed_digits, step, *map(str, _ignored(packed_digits)))


def _calls(log: Path) -> list[dict[str, object]]:
    calls = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [call.pop("n") for call in calls] == list(range(len(calls)))
    for call in calls:
        call.pop("microseconds", None)
    return calls


def _outputs(tools: Tools, *arguments: str | Path) -> str:
    printed = tools.run("runner", *arguments)
    found = re.search(r"^outputs_hash: (\w{16})$", printed, re.MULTILINE)
    assert found, printed
    return found[1]


@cache
def _expected(tools: Tools, model: Path) -> str:
    return _outputs(tools, model, "--loader", "file")


OPTIONS = {
    "defaults": [],
    "two threads": ["--threads", "2"],
    "reading ahead": ["--read-ahead", "1048576"],
    "no threads": ["--threads", "0"],
    "aligned": ["--align", "4096"],
    "retained": ["--retain"],
    "small pages": ["--huge-pages", "0"],
}
PACKINGS = {
    "defaults": etpack.Options(),
    "lz4": etpack.Options(codec="lz4"),
    "no filter": etpack.Options(filters=False),
    "small blocks": etpack.Options(block_size=4096),
    "aligned": etpack.Options(block_size=1 << 20, alignment=4096),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_outputs_are_those_of_the_pte(tools: Tools, example_model: Path, packing: str, tmp_path: Path) -> None:
    packed = tmp_path / "model.etz"
    etpack.compress(example_model, packed, PACKINGS[packing])
    expected = _expected(tools, example_model)
    for name, options in OPTIONS.items():
        assert _outputs(tools, packed, "--loader", "etz", *options) == expected, name


@pytest.mark.parametrize("loader", ["mmap", "buffer", "etz"])
def test_all_loaders_are_asked_for_the_same(tools: Tools, example_model: Path, loader: str, tmp_path: Path) -> None:
    packed = tmp_path / "model.etz"
    etpack.compress(example_model, packed)
    logs = tmp_path / "file.jsonl", tmp_path / "other.jsonl"
    model = packed if loader == "etz" else example_model
    assert _outputs(tools, example_model, "--loader", "file", "--log", logs[0]) == _outputs(
        tools, model, "--loader", loader, "--log", logs[1]
    )
    expected = _calls(logs[0])
    assert _calls(logs[1]) == expected
    assert {"load", "size", "free", "phase"} <= {str(call["call"]) for call in expected}
    assert expected[-1] == {"call": "phase", "name": "end", "live": 0}
