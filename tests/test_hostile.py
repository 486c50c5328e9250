"""What an attack on the command line and the readers once broke, and must not break again."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

import etpack
from etpack import DataLoader, LimitError
from etpack.flatbuffer import _MAX_PAGES, Flatbuffer
from etpack.plan import cut_model
from etpack.pte import FileKind, Method, ModelFile, Range, Role, Segment
from etpack.sources import BufferSource
from tests import PATIENCE
from tests.faults import unmeasured
from tests.make_pte import NamedSpec, PtdSpec, build_bpte, build_ptd, weights
from tests.test_cli import TUNE, run


@pytest.fixture
def model(digits: Path, tmp_path: Path) -> Path:
    """A copy of a real model in a folder of its own."""
    path = tmp_path / "model.pte"
    path.write_bytes(digits.read_bytes())
    return path


@pytest.mark.parametrize("link", ["itself", "symlink", "hard link"])
def test_a_report_does_not_overwrite_what_is_verified(model: Path, link: str) -> None:
    before = model.read_bytes()
    report = model.parent / "report.xml"
    if link == "symlink":
        report.symlink_to(model)
    elif link == "hard link":
        report.hardlink_to(model)
    result = run("verify", model, "--junit", model if link == "itself" else report)
    assert result.returncode == 2
    assert "is the input itself" in result.stderr
    assert model.read_bytes() == before


def test_a_report_that_has_no_place_is_refused_before_the_work(model: Path) -> None:
    packed = model.with_suffix(".etz")
    etpack.compress(model, packed)
    for place in ("absent/report.xml", "."):
        result = run("verify", packed, "--junit", place, cwd=model.parent)
        assert (result.returncode, result.stdout) == (4, "")  # no file was looked at
        assert f"error: {place}: " in result.stderr


REPORTS = {
    "inspect": ("inspect", "{model}", "-f", "--html"),
    "tune": (*TUNE, "{model}", "-f", "--html"),
    "verify": ("verify", "{model}", "--junit"),
}


@pytest.mark.parametrize("command", REPORTS.values(), ids=REPORTS)
def test_a_report_replaces_no_model(model: Path, command: tuple[str, ...]) -> None:
    """Where the report's name was forgotten, that of another model is in its place."""
    others = [model.parent / f"other.{suffix}" for suffix in ("pte", "ptd", "bpte", "etz")]
    shutil.copy(model, others[0])
    others[1].write_bytes(build_ptd(PtdSpec([NamedSpec("w", weights(300))])))
    others[2].write_bytes(build_bpte(model.read_bytes()))
    etpack.compress(model, others[3])
    before = [path.read_bytes() for path in others]
    for path in others:
        result = run(*(word.format(model=model) for word in command), path)
        assert (result.returncode, result.stdout) == (2, "")
        assert f"{path}: is a model or an .etz, which no report replaces; name another file with -" in result.stderr
    assert [path.read_bytes() for path in others] == before
    assert len(list(model.parent.iterdir())) == 5


def test_overwriting_keeps_the_permissions(model: Path) -> None:
    packed = model.with_suffix(".etz")
    packed.write_bytes(b"old")
    packed.chmod(0o600)
    assert run("compress", "-f", model).returncode == 0
    assert stat.S_IMODE(packed.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("command", "closed"),
    [
        *((command, "<&- >&- 2>&-") for command in ("inspect model.pte", "verify model.pte", "--help")),
        *(("compress -f model.pte", closed) for closed in (">&-", "2>&-", "<&-", "<&- >&- 2>&-")),
    ],
)
def test_closed_streams_do_no_harm(model: Path, command: str, closed: str) -> None:
    line = f"'{sys.executable}' -m etpack {command} {closed}"
    result = subprocess.run(
        ["sh", "-c", line], cwd=model.parent, env=unmeasured(), capture_output=True, text=True, timeout=PATIENCE
    )
    assert (result.returncode, result.stderr) == (0, "")
    if command.startswith("compress"):
        etpack.open(model.with_suffix(".etz")).close()


def test_names_reach_the_terminal_without_control_characters(model: Path) -> None:
    name = model.parent / "a\x1b[31m\nb\r[x].pte"
    model.rename(name)
    for args in (["compress", name], ["inspect", name], ["verify", name], ["compress", f"{name}x"]):
        result = run(*args)
        assert "\x1b" not in result.stdout + result.stderr
        assert "\r" not in result.stdout + result.stderr
        assert "internal error" not in result.stderr


def test_names_that_are_not_utf_8_are_no_trouble(model: Path) -> None:
    name = os.fsencode(model.parent) + b"/bad\xff.pte"
    os.rename(model, name)
    for command in (["compress"], ["compress", "-f", "--json"], ["inspect"], ["verify", "--json"]):
        line = [os.fsencode(word) for word in (sys.executable, "-m", "etpack", *command)] + [name]
        env = {**unmeasured(), "PYTHONIOENCODING": "utf-8:strict"}
        result = subprocess.run(line, env=env, capture_output=True, timeout=PATIENCE)
        assert result.returncode == 0, result.stderr


def _overlapping(count: int, methods: int) -> ModelFile:
    """Return a model of segments that all overlap, each used by many methods."""
    size = 10_000
    names = tuple(f"method_{number}" for number in range(methods))
    segments = tuple(
        Segment(n, Range(100 + n, size - 200 - 2 * n), (Role.DELEGATE,), methods=names) for n in range(count)
    )
    made = tuple(Method(name, (), (), 0, 0, 0, 0) for name in names)
    end = Range(size, 0)
    return ModelFile(FileKind.PTE, size, Range(0, 100), 32, 100, None, segments, made, (), (), Range(0, size), end)


@pytest.mark.parametrize(("count", "methods"), [(1000, 1), (50, 2000)])
def test_names_times_overlaps_are_bounded(count: int, methods: int) -> None:
    with pytest.raises(LimitError, match="overlap"):
        cut_model(_overlapping(count, methods), 4096)


def test_a_flatbuffer_keeps_few_of_its_pages() -> None:
    data = bytes(100 << 18)
    buffer = Flatbuffer(BufferSource(data), lambda message, where: ValueError(message))
    for page in range(100):
        buffer.read(page << 18, 4)
    assert len(buffer._pages) <= _MAX_PAGES


def test_threads_do_not_multiply_memory(packed_digits: Path) -> None:
    tracemalloc.start()
    total = sum(len(chunk) for chunk in DataLoader(packed_digits).iter_chunks(chunk_size=65536, jobs=5000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total > 400_000
    assert peak < 20 << 20


@pytest.mark.parametrize("option", ["--range", "--delegate", "--tensor"])
def test_numbers_of_any_length_are_refused(model: Path, option: str) -> None:
    digits = "1" * 5000
    value = {"--range": f"0:{digits}", "--delegate": f"forward:{digits}", "--tensor": f"#{digits}"}[option]
    result = run("extract", model, option, value)
    assert result.returncode == 2
    assert "internal error" not in result.stderr


def test_a_closed_file_says_so(packed_digits: Path) -> None:
    file = etpack.open(packed_digits)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read_at(0, 1)
