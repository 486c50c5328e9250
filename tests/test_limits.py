"""Limits: each at its value and one below what a file asks, over API and command line; bombs cost nothing."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

import etpack
from etpack import DataLoader, EtpackError, EtzFile, LimitError, Limits, verify_file
from etpack.cli import cli
from etpack.layout import SectionType
from etpack.limits import EXPANSION_FLOOR, option_name, written
from tests.conftest import ROOT
from tests.make_etz import EtzSpec, ExtentSpec, build_etz, constant_block, raw_block, to_spec

MAX_BLOCK_SIZE = 4 << 20

# What `packed_digits` asks for, by limit.
ASKS: dict[str, Callable[[EtzFile], int]] = {
    "content_size": lambda file: file.size,
    "blocks": lambda file: file.block_count,
    "extents": lambda file: len(file.extents),
    "manifest_size": lambda file: next(s.size for s in file.sections if s.type == SectionType.MANIFEST),
    "decode_memory": lambda file: file.footer.max_stored_block + file.footer.max_plane_scratch + file.block_size,
}

READERS: dict[str, Callable[[bytes, Limits], object]] = {
    "open": lambda data, limits: etpack.open(data, limits=limits).close(),
    "DataLoader": lambda data, limits: DataLoader(data, limits=limits).close(),
    "inspect_file": lambda data, limits: etpack.inspect_file(data, limits=limits),
}

COMMANDS = [
    ["inspect"],
    ["verify"],
    ["verify", "--fast"],
    ["decompress", "-f", "-o", "out"],
    ["extract", "--range", "0:9", "-f", "-o", "out"],
]


def run(*args: object) -> tuple[int, str]:
    """Run a command in this process; return its exit code, and what it or its error says."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    error = result.exception
    if isinstance(error, EtpackError):
        return error.exit_code, f"{error}; {error.hint}"
    assert error is None or isinstance(error, SystemExit), error
    return result.exit_code, result.output


def test_the_guide_lists_the_limits() -> None:
    guide = (ROOT / "examples" / "guide.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| .+ \|$", guide.partition("## Limits")[2], re.MULTILINE)
    assert rows == [(option_name(name), written(value)) for name, value in asdict(Limits()).items()]


def test_help_lists_the_limits() -> None:
    for command in ("inspect", "verify", "decompress", "extract", "compress"):
        text = re.sub(r"-?\n\s+", lambda match: "-" if match[0][0] == "-" else " ", run(command, "--help")[1])
        for name, value in asdict(Limits()).items():
            assert f"{option_name(name)} ({written(value)})" in text


def test_every_limit_has_a_test() -> None:
    # Those that are not here have tests of their own: below, and in test_remote.py.
    assert set(asdict(Limits())) == set(ASKS) | {"expansion", "download_size"}


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_limits_in_python(packed_digits: Path, name: str, read: Callable[[bytes, Limits], object]) -> None:
    data = packed_digits.read_bytes()
    with etpack.open(data) as file:
        asked = ASKS[name](file)
    read(data, Limits(**{name: asked}))
    with pytest.raises(LimitError, match=rf"{name.replace('_', ' ')} {asked:,}, over the limit of {asked - 1:,}"):
        read(data, Limits(**{name: asked - 1}))
    assert verify_file(data, limits=Limits(**{name: asked})).ok
    assert verify_file(data, limits=Limits(**{name: asked - 1})).exit_code == 3


def test_limits_of_decompress(packed_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(LimitError):
        etpack.decompress(packed_digits, tmp_path / "x", limits=Limits(blocks=1))
    etpack.decompress(packed_digits, tmp_path / "x", limits=Limits(blocks=18))


def test_the_file_that_is_compared_with_has_limits_too(packed_digits: Path, digits: Path) -> None:
    assert verify_file(digits, against=packed_digits, limits=Limits(blocks=18)).ok
    assert verify_file(digits, against=packed_digits, limits=Limits(blocks=17)).exit_code == 3


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_error_names_the_option_that_helps(
    packed_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: Sequence[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with etpack.open(packed_digits) as file:
        asked = ASKS[name](file)
    code, text = run(*command, packed_digits, "--limit", f"{option_name(name)}={asked - 1}")
    assert code == 3
    assert not (tmp_path / "out").exists()
    (option,) = re.findall(r"--limit ([a-z-]+=\w+)", text)
    assert option == f"{option_name(name)}={written(asked)}"
    assert f"limits=etpack.Limits({name}={asked})" in text
    assert run(*command, packed_digits, "--limit", option)[0] == 0


@pytest.mark.parametrize("value", ["size=1", "content_size=1", "content-size", "content-size=", "=5", "blocks=many"])
def test_what_is_no_limit(packed_digits: Path, value: str) -> None:
    assert run("inspect", packed_digits, "--limit", value)[0] == 2


def test_limits_may_be_repeated(packed_digits: Path) -> None:
    assert run("verify", packed_digits, "--limit", "blocks=18", "--limit", "content-size=1M")[0] == 0
    assert run("verify", packed_digits, "--limit", "blocks=18", "--limit", "content-size=1K")[0] == 3


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1, "1"), (1024, "1K"), (1025, "1025"), (3 << 40, "3T")])
def test_numbers_are_written_exactly(value: int, text: str) -> None:
    assert written(value) == text


# Bombs


def zeros(size: int, block_size: int) -> bytes:
    """Return a file of `size` zeros in constant blocks, made without them."""
    blocks = [constant_block(0, block_size)] * (size // block_size)
    spec = EtzSpec(b"", [ExtentSpec(0, blocks)], block_size)
    spec.footer.content_size = size
    return build_etz(spec)


def gap(size: int) -> bytes:
    """Return a file that claims `size` bytes of content, of which one block is there."""
    spec = EtzSpec(bytes(100), [ExtentSpec(0, [raw_block(bytes(100))])])
    spec.footer.content_size = size
    return build_etz(spec)


def scratch(size: int) -> bytes:
    """Return a file that claims to need `size` bytes of scratch."""
    spec = EtzSpec(bytes(100), [ExtentSpec(0, [raw_block(bytes(100))])])
    spec.footer.max_plane_scratch = size
    return build_etz(spec)


BOMBS = {
    "gap of terabytes": (lambda: gap((1 << 48) - 1), "content-size"),
    "gap within the size limit": (lambda: gap(1 << 36), "expansion"),
    "gap above the floor": (lambda: gap(EXPANSION_FLOOR + 1), "expansion"),
    "constant blocks": (lambda: zeros(1 << 36, MAX_BLOCK_SIZE), "expansion"),
    "scratch": (lambda: scratch((1 << 32) - 1), "decode-memory"),
}


@pytest.mark.parametrize(("make", "name"), BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_before_memory_is_taken(
    make: Callable[[], bytes], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = make()
    assert len(data) < 1 << 20
    Path("bomb.etz").write_bytes(data)
    for read in READERS.values():
        read(gap(100), Limits())  # imports what it needs
        tracemalloc.start()
        with pytest.raises(LimitError, match=name.replace("-", " ")):
            read(data, Limits())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20
    for command in COMMANDS:
        code, text = run(*command, "bomb.etz")
        assert code == 3
        assert f"--limit {name}=" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb.etz"]


@pytest.mark.parametrize("claim", ["index", "extents", "manifest", "stored block"])
def test_sizes_that_the_file_does_not_have_are_refused(packed_digits: Path, claim: str) -> None:
    spec = to_spec(packed_digits.read_bytes())
    if claim == "stored block":
        spec.footer.max_stored_block = (1 << 32) - 1
    else:
        kind = {"index": SectionType.INDEX, "extents": SectionType.EXTENTS, "manifest": SectionType.MANIFEST}[claim]
        spec.section(kind).size = (1 << 48) - 1
    data = build_etz(spec)
    tracemalloc.start()
    with pytest.raises(EtpackError):
        etpack.open(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_models_of_zeros_pass() -> None:
    for data in (zeros(EXPANSION_FLOOR, MAX_BLOCK_SIZE), zeros(4 << 30, 64 << 10), gap(EXPANSION_FLOOR)):
        with etpack.open(data) as file:
            assert file.read_at(file.size - 5, 5) == bytes(5)


def test_expansion_at_its_limit() -> None:
    data = gap(2 << 30)
    asked = -(-(2 << 30) // len(data))
    etpack.open(data, limits=Limits(expansion=asked)).close()
    with pytest.raises(LimitError, match=f"expansion {asked:,}, over") as caught:
        etpack.open(data, limits=Limits(expansion=asked - 1))
    assert f"--limit expansion={written(asked)}" in (caught.value.hint or "")
