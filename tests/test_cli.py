"""The command line: results on stdout, all else on stderr, the right exit code, never a traceback."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import click
import jsonschema
import pytest

import etpack
from etpack import cli
from etpack.cli import common
from tests import PATIENCE
from tests.conftest import ROOT


def run(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, as the process of its own would that takes a third of a second to start."""
    words, here = [str(arg) for arg in args], os.getcwd()
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        os.chdir(cwd or here)
        try:
            code = cli.run(words)
        finally:
            os.chdir(here)
    return subprocess.CompletedProcess(words, code, stdout.getvalue(), stderr.getvalue())


def start(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run etpack in a process of its own."""
    command = [sys.executable, "-m", "etpack", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=env)


@pytest.fixture
def model(digits: Path, tmp_path: Path) -> Path:
    """A copy of a real model in a folder of its own."""
    path = tmp_path / "model.pte"
    path.write_bytes(digits.read_bytes())
    return path


def test_version() -> None:
    result = start("--version")
    assert (result.returncode, result.stdout) == (0, f"etpack {etpack.__version__}\n")


TUNE = ["tune", "--storage", "5", "--decode", "lz4=5", "--fixed-function", "--block-size", "64K"]
SIZES = {"0": 0, "65536": 65536, "64K": 65536, "64KiB": 65536, "64kb": 65536, "1M": 1 << 20, "2GiB": 2 << 30}
HEX_SIZES = {"0x1B": 27, "0xFB": 251, "0x1000": 4096, "7B": 7}


@pytest.mark.parametrize(("text", "size"), {**SIZES, **HEX_SIZES}.items())
def test_sizes(text: str, size: int) -> None:
    assert common.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "64KK", "-1", "1e6", "0x", "0x1K", "1.5M", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter):
        common.parse_size(text)


def test_help_names_every_command_and_exit_code() -> None:
    result = run("--help")
    assert result.returncode == 0
    for word in ("compress", "decompress", "diff", "extract", "inspect", "verify", "Exit codes"):
        assert word in result.stdout


def test_compress_and_decompress_use_the_default_names(model: Path, tmp_path: Path) -> None:
    content = model.read_bytes()
    result = run("compress", "model.pte", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("model.pte: 493,480 bytes -> model.etz: 415,")
    assert "ratio 1.18" in result.stdout
    model.unlink()
    result = run("decompress", "model.etz", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "model.etz -> model.pte: 493,480 bytes\n")
    assert model.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "packed", "kind"),
    [("a.pte", "a.etz", "pte"), ("a.ptd", "a.ptd.etz", "ptd"), ("a.bpte", "a.bpte.etz", "bpte"), ("a", "a.etz", "pte")],
)
def test_default_names(name: str, packed: str, kind: str) -> None:
    from etpack.files import packed_path, unpacked_path
    from etpack.pte import FileKind

    assert packed_path(Path("d") / name) == Path("d") / packed
    restored = unpacked_path(Path("d") / packed, FileKind(kind))
    assert restored == Path("d") / (name if "." in name else name + ".pte")


def test_stdout_carries_the_data_when_asked(model: Path) -> None:
    packed = subprocess.run(
        [sys.executable, "-m", "etpack", "compress", model, "-o", "-"], capture_output=True, check=True
    )
    assert b"ratio" in packed.stderr
    etz = model.with_suffix(".etz")
    etz.write_bytes(packed.stdout)
    restored = subprocess.run(
        [sys.executable, "-m", "etpack", "decompress", etz, "-o", "-"], capture_output=True, check=True
    )
    assert restored.stdout == model.read_bytes()


def _on_a_terminal(*args: object) -> tuple[int, str]:
    """Run etpack with stdout and stderr on a terminal; return its exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "etpack", *map(str, args)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with open(ours, "rb", buffering=0) as terminal, suppress(OSError):  # EIO once nothing writes any more
            while piece := terminal.read(65536):
                shown += piece
    return process.returncode, shown.decode()


def test_a_terminal_shows_how_far_it_is(model: Path) -> None:
    code, shown = _on_a_terminal("compress", model)
    assert code == 0, shown
    assert "━" in shown
    assert "ratio 1.18" in shown
    assert "━" not in _on_a_terminal("compress", "-q", "-f", model)[1]


def test_a_terminal_gets_no_binary_data(packed_digits: Path) -> None:
    code, shown = _on_a_terminal("decompress", packed_digits, "-o", "-")
    assert code == 2
    assert "does not go to a terminal" in shown
    assert "ET12" not in shown
    for command in (["inspect"], TUNE):
        code, shown = _on_a_terminal(*command, packed_digits, "--html", "-")
        assert code == 2
        assert "name a file with --html" in " ".join(shown.split())


def test_data_for_a_closed_stdout_is_an_error(packed_digits: Path) -> None:
    line = f"'{sys.executable}' -m etpack decompress '{packed_digits}' -o - >&-"
    result = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 4
    assert result.stderr.startswith("etpack: error: stdout: is closed")


def _validate(command: str, output: str) -> None:
    schema = json.loads((ROOT / "schemas" / f"{command}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(output))


def test_json_results(model: Path) -> None:
    result = run("compress", model, "--json")
    (entry,) = json.loads(result.stdout)["results"]
    assert entry["content_size"] == model.stat().st_size
    assert entry["stored_size"] == model.with_suffix(".etz").stat().st_size
    assert entry["kind"] == "pte"
    _validate("compress", result.stdout)
    result = run("decompress", model.with_suffix(".etz"), "-o", model.with_suffix(".out"), "--json")
    _validate("decompress", result.stdout)
    (restored,) = json.loads(result.stdout)["results"]
    result = run("extract", model, "--range", "0:64", "-o", model.with_suffix(".head"), "--json")
    _validate("extract", result.stdout)
    assert restored["content_sha256"] == entry["content_sha256"]


def test_json_tells_what_was_done_before_an_error(model: Path) -> None:
    result = run("compress", model, model.parent / "absent.pte", "--json")
    assert result.returncode == 4
    assert [entry["file"] for entry in json.loads(result.stdout)["results"]] == [str(model)]


def test_a_file_that_grows_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(5000))
    result = run("compress", "--opaque", "--align", "1M", tmp_path / "x")
    assert result.returncode == 0
    assert "warning" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["compress"],
        ["inspect"],
        ["inspect", "model.pte", "--data"],
        ["diff", "model.pte"],
        ["tune", "--storage", "5", "--decode", "lz4=5", "--fixed-function"],
        ["verify"],
    ],
    ids=" ".join,
)
def test_only_compress_offers_to_pack_what_is_no_model(model: Path, command: list[str]) -> None:
    (model.parent / "empty").touch()
    result = run(*command, "empty", cwd=model.parent)
    told = result.stdout + result.stderr
    assert "empty: " in told
    assert "fetch it again, or export it anew" in told
    assert ("--opaque" in told) is (command == ["compress"])


@pytest.mark.parametrize(
    ("words", "wanted"), [("compress mod", "file,mod"), ("verify m", "file,m"), ("ins", "inspect")]
)
def test_the_shell_completes(words: str, wanted: str) -> None:
    line = ["etpack", *words.split()]
    env = {**os.environ, "_ETPACK_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(line)}
    result = start(env={**env, "COMP_CWORD": str(len(line) - 1)})
    assert wanted in result.stdout


@pytest.mark.parametrize("kind", ["compress", "decompress"])
def test_a_pipe_gets_the_whole_file(model: Path, packed_digits: Path, kind: str) -> None:
    source = model if kind == "compress" else packed_digits
    command = [sys.executable, "-m", "etpack", kind, "-q", str(source), "-f", "-o", "/dev/stdout"]
    piped = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE)
    assert piped.stdout == (packed_digits if kind == "compress" else model).read_bytes()


def test_verbose_says_how_fast(model: Path) -> None:
    result = run("compress", "-v", "-j", 1, model)
    assert result.stderr.startswith(f"etpack: {model}: ")
    assert result.stderr.endswith(" MB/s, 1 thread\n")
    result = run("decompress", "-v", "-j", 2, model.with_suffix(".etz"), "-o", model.with_suffix(".out"))
    assert result.stderr.endswith(" MB/s, 2 threads\n")


def test_quiet_is_quiet(model: Path) -> None:
    result = run("compress", "-q", model)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_options_reach_the_file(model: Path) -> None:
    run(
        "compress",
        model,
        "--block-size",
        "16K",
        "--codec",
        "lz4",
        "--no-filter",
        "--align",
        "0x200",
        "--effort",
        "fast",
    )
    with etpack.open(model.with_suffix(".etz")) as file:
        assert (file.block_size, file.footer.alignment) == (16384, 512)
        options = file.manifest.options
        assert (options.codec, options.effort, options.filters) == ("lz4", "fast", False)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["compress"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command"),
        (["compress", "m.pte", "--block-size", "1000"], 2, "power of two"),
        (["compress", "m.pte", "--block-size", "many"], 2, "not a size"),
        (["compress", "m.pte", "--codec", "brotli"], 2, "no codec 'brotli'"),
        (["compress", "m.pte", "--codec", "lz4-bitplanes"], 2, "choose from auto, zstd, lz4, raw"),
        (["extract", "m.pte", "--range", "0-64"], 2, "Invalid value for '--range': '0-64' is no range"),
        (["compress", "-"], 2, "at random"),
        (["compress", ""], 2, "an empty name"),
        (["decompress", "a.etz", "b.etz", "-o", "x"], 2, "-o takes one"),
        (["compress", "m.pte", "-f", "-o", "m.pte"], 2, "is the input itself"),
        (["extract", "m.pte", "--range", "0:1", "-f", "-o", "m.pte"], 2, "is the input itself"),
        (["compress", "m.pte", "m.pte", "-o", "x"], 2, "-o takes one"),
        (["compress", "absent.pte"], 4, "absent.pte: No such file"),
        (["compress", "."], 4, "Is a directory"),
        (["compress", "text.pte"], 1, "text.pte: "),
        (["compress", "m.pte", "-o", "text.pte"], 2, "error: text.pte: exists already"),
        (["compress", "m.pte", "-o", "absent/x"], 4, "absent/x: No such file"),
        (["decompress", "m.pte", "-o", "x"], 1, "no .etz header"),
        (["decompress", "cut.etz", "-o", "x"], 1, "footer"),
        (["decompress", "odd.name"], 2, "-o"),
    ],
)
def test_errors(digits: Path, packed_digits: Path, tmp_path: Path, args: list[str], code: int, words: str) -> None:
    (tmp_path / "m.pte").write_bytes(digits.read_bytes())
    (tmp_path / "text.pte").write_text("this is no model, whatever its name says; not at all, really")
    (tmp_path / "cut.etz").write_bytes(packed_digits.read_bytes()[:-100])
    (tmp_path / "odd.name").write_bytes(packed_digits.read_bytes())
    before = sorted(os.listdir(tmp_path))
    result = run(*args, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["compress", "m.pte", "-o", "n" * 256], "choose a shorter name with -o"),
        (["compress", "m.pte", "-o", "https://h/x"], "write to a file with -o, and upload that"),
        (["inspect", "m.pte", "--html", "n" * 256], "choose a shorter name with --html"),
        (["inspect", "m.pte", "--html", "m.pte"], "choose another output with --html"),
        (["inspect", "m.pte", "--html", "there"], "choose another output with --html, or overwrite it with -f"),
        (["inspect", "m.pte", "--html", "https://h/x"], "write to a file with --html, and upload that"),
        ([*TUNE, "m.pte", "--html", "n" * 256], "choose a shorter name with --html"),
        ([*TUNE, "m.pte", "--html", "m.pte"], "choose another output with --html"),
        ([*TUNE, "m.pte", "--html", "there"], "choose another output with --html, or overwrite it with -f"),
        (["verify", "m.pte", "--junit", "n" * 256], "choose a shorter name with --junit"),
        (["verify", "m.pte", "--junit", "m.pte"], "choose another output with --junit"),
        (["verify", "m.pte", "--junit", "pipe"], "start the reader first, or write to a file with --junit"),
        (["inspect", "n" * 256], "choose a shorter name"),
        (["verify", "n" * 256], "choose a shorter name"),
    ],
)
def test_an_error_names_the_option_that_named_the_output(model: Path, args: list[str], words: str) -> None:
    model.rename(model.with_name("m.pte"))
    (model.parent / "there").touch()
    os.mkfifo(model.parent / "pipe")
    result = run(*args, cwd=model.parent)
    assert result.returncode in (2, 4)
    assert f"; {words}\n" in result.stdout + result.stderr


def test_a_page_for_a_closed_stdout_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.__stdout__", None)
    for command in (["inspect"], TUNE):
        result = run(*command, model, "--html", "-")
        assert (result.returncode, result.stdout) == (4, "")
        assert "stdout: is closed" in result.stderr
        assert "write to a file with --html" in result.stderr


def test_a_damaged_file_gives_an_error_and_no_output(packed_digits: Path, tmp_path: Path) -> None:
    data = bytearray(packed_digits.read_bytes())
    data[70_000] ^= 1
    (tmp_path / "x.etz").write_bytes(data)
    result = run("decompress", "x.etz", cwd=tmp_path)
    assert result.returncode == 1
    assert "x.etz: block 7" in result.stderr
    assert "[block-crc]" in result.stderr
    assert os.listdir(tmp_path) == ["x.etz"]


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    result = run("--debug", "compress", tmp_path / "absent.pte")
    assert "Traceback" in result.stderr


def test_startup_imports_no_heavy_library() -> None:
    heavy = {"numpy", "rich", "zstandard", "lz4", "flatbuffers"}
    code = f"import sys; import etpack.cli; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
