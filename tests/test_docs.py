"""Every command and program in README and guide runs and prints what is shown; examples too; links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click import Context

import etpack
from benchmarks import summary
from etpack.cli import cli
from etpack.errors import EtpackError, FormatError
from tests import PATIENCE
from tests.faults import unmeasured
from tests.make_pte import tuned
from tests.serving import serving, skip_without_libraries
from tests.test_cli import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "examples" / "guide.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
_NOT_OURS = {".venv", "build", ".venv-export", ".venv-bench"}
PAGES = [path for path in ROOT.rglob("*.md") if not _NOT_OURS & set(path.relative_to(ROOT).parts)]

_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


def run_console(block: str, folder: Path) -> str:
    """Run the lines of a console block that begin with "$ " in `folder`, and return the block as it would read."""
    shown = []
    for line in block.splitlines():
        if not line.startswith("$ "):
            continue
        command, _, target = line[2:].partition(" > ")
        words = shlex.split(command)
        assert words[0] == "etpack"
        result = run(*words[1:], cwd=folder)
        assert result.returncode in ((0, 1) if words[1] == "diff" else (0,)), result.stderr
        if target:
            (folder / target).write_text(result.stdout, encoding="utf-8")
        shown += [line, *([] if target else result.stdout.splitlines()), *result.stderr.splitlines()]
    return "\n".join(line.rstrip() for line in shown) + "\n"


def _python(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=PATIENCE, **options)


def prepare(folder: Path) -> Path:
    """Put the models and the device that the README uses into `folder`: one packed, one that differs in a weight."""
    model = ROOT / "examples" / "models" / "digits_fp32_xnnpack.pte"
    shutil.copy(model, folder / "model.pte")
    (folder / "tuned.pte").write_bytes(tuned(model.read_bytes(), 6))
    (device,) = re.findall(r"```toml\n(name = .*?)```", GUIDE, re.DOTALL)
    (folder / "device.toml").write_text(device, encoding="utf-8")
    return folder


def error_tree() -> str:
    """Return the tree of errors as the README shows it."""
    for name in etpack.__all__:
        getattr(etpack, name)  # imports the module that it is in
    rows: list[str] = []

    def add(kind: type[EtpackError], depth: int) -> None:
        name = "  " * depth + kind.__name__
        rows.append(f"{name:<26} {kind.slug:<14} {kind.exit_code}  {(kind.__doc__ or '').splitlines()[0]}")
        for child in sorted(kind.__subclasses__(), key=lambda k: k.__name__):
            if child.__module__.startswith("etpack."):
                add(child, depth + 1)

    add(EtpackError, 0)
    return "\n".join(rows)


def test_the_readmes_commands_print_what_is_shown(tmp_path: Path) -> None:
    blocks = _CONSOLE.findall(README + GUIDE)
    assert len(blocks) >= 6
    prepare(tmp_path)
    for block in blocks:
        assert run_console(block, tmp_path) == block


def test_the_readmes_urls_work(tmp_path: Path, packed_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_libraries()
    lines = re.findall(r"^(etpack .*?https://example.com/models/.*?) +#", GUIDE, re.MULTILINE)
    assert len(lines) == 4
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    model = ROOT / "examples" / "models" / "digits_fp32_xnnpack.pte"
    files = {"model.pte": model.read_bytes(), "model.etz": packed_digits.read_bytes()}
    with serving(files) as site:
        for line in lines:
            site.answers.clear()
            words = shlex.split(line.replace("https://example.com/models/", site.url))
            subprocess.run(
                [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, check=True, timeout=PATIENCE
            )
            if words[1] == "inspect":
                assert f"{site.bytes_sent // 1000} KB of {len(files['model.etz']) // 1000}" in GUIDE
            if words[1] == "verify":
                assert site.bytes_sent == len(files["model.etz"])
    assert (tmp_path / "model.etz").read_bytes() == files["model.etz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.etz", "model.segment8.bin"]


def test_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named: set[str] = set()
    for path in [*PAGES, ROOT / "Makefile", ROOT / ".ci" / "run"]:
        named |= set(re.findall(r"(?:`|^|^# |^    )make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert named >= {"demo", "test", "lint", "sweep", "bench", "test-export"}
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_options_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README + GUIDE))
    assert len(named) > 10
    commands = [cli, *(cli.get_command(Context(cli), name) for name in cli.list_commands(Context(cli)))]
    assert named <= {option for command in commands if command for each in command.params for option in each.opts}


def test_errors_that_the_readme_shows_are_public() -> None:
    shown = set(re.findall(r"^ *(\w+Error) +[a-z-]+ +\d", GUIDE, re.MULTILINE))
    assert {"EtpackError", "SelfCheckError"} <= shown <= set(etpack.__all__)


def test_the_guides_program_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (backends,) = re.findall(r"```toml\n(\[\[backends.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "my.toml").write_text(backends, encoding="utf-8")
    etpack.compress(prepare(tmp_path) / "model.pte")
    result = _python("-c", code, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.findall(r"^(\w+) (?:with mlock )?\d+ [\d.]+$", result.stdout, re.MULTILINE)[-1] == "EtzDataLoader"


def test_the_readmes_program_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    prepare(tmp_path)
    result = _python("-c", code, cwd=tmp_path, env=unmeasured())
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "1.188"
    assert "delegate (1,) ('XnnpackBackend',)" in lines
    assert "147456" in lines


def test_the_readme_shows_the_errors() -> None:
    assert f"```text\n{error_tree()}\n```" in GUIDE


def test_every_error_has_a_name_and_an_exit_code() -> None:
    assert issubclass(FormatError, ValueError)
    slugs = re.findall(r"^ *\w+Error +([a-z-]+) +\d", error_tree(), re.MULTILINE)
    assert {"not-etz", "truncated", "corrupt", "unsupported", "codec-missing", "limit", "bad-model"} <= set(slugs)


def test_the_readmes_ratios_are_those_that_were_measured() -> None:
    table = (ROOT / "benchmarks" / "results" / "roundtrip.md").read_text(encoding="utf-8")
    names = {
        "MiniLM BF16": "minilm_bf16_portable",
        "MiniLM FP16": "minilm_fp16_portable",
        "MiniLM FP32, XNNPACK": "minilm_fp32_xnnpack",
        "SmolLM2-135M BF16": "smollm2_bf16_portable",
        "CREPE int8, XNNPACK": "crepe_full_int8_xnnpack",
    }
    head, *rows = re.findall(r"^\| (?:ratio.*?)?\| (.*) \|$", README.split("## Two commands")[0], re.MULTILINE)
    columns = head.split(" | ")
    assert columns == list(names)
    measured = [row for row in rows if "---" not in row]
    assert len(measured) == 2
    for codec, row in zip(("auto", "lz4"), measured, strict=True):
        for column, ratio in zip(columns, row.split(" | "), strict=True):
            wanted = rf"\| {names[column]}.pte \| [\d,]+ \| 64K \| {codec} \| default \| yes \| [\d,]+ \| ([\d.]+) \|"
            (found,) = re.findall(wanted, table)
            assert f"{float(found):.3f}" == ratio, (column, codec)


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(program: Path, example_model: Path) -> None:
    result = _python(program, example_model, env=unmeasured())
    assert result.returncode == 0, result.stderr
    size = f"{example_model.stat().st_size:,}"
    assert size in result.stdout or "as recorded" in result.stdout
    assert "NOT" not in result.stdout


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda path: path.name)
def test_examples_say_what_they_need(program: Path) -> None:
    result = _python(program)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"usage: {program.name} " in result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_version_is_in_one_place() -> None:
    assert f'version = "{etpack.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"## {etpack.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_goals_of_the_readme_are_those_of_the_benchmarks() -> None:
    assert f"<!-- goals -->\n\n{summary.overview(summary.load())}\n\n" in README, "python -m tests.update_docs"
