"""URLs as sources: how many requests and bytes, each failure with what to do about it, and nothing left behind."""

from __future__ import annotations

import glob
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result

import etpack
from etpack import DataLoader, LimitError, Limits, Options, SourceError, UnsupportedError, verify_file
from etpack.cli import cli
from etpack.sources import open_source, spool, web
from etpack.sources.urls import as_path
from tests import PATIENCE, test_cli
from tests.serving import Site, serving, skip_without_libraries

skip_without_libraries()

# A file of which no more than the head and the tail should be fetched.
_WEIGHTS = np.random.default_rng(7).normal(size=1_300_000).astype(np.float32).tobytes()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An `.etz` of about 4 MB."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "weights").write_bytes(_WEIGHTS)
    etpack.compress(folder / "weights", folder / "large.etz", Options(opaque=True))
    return (folder / "large.etz").read_bytes()


@pytest.fixture
def files(digits: Path, packed_digits: Path, large: bytes) -> dict[str, bytes]:
    return {"m.pte": digits.read_bytes(), "m.etz": packed_digits.read_bytes(), "large.etz": large}


@pytest.fixture
def site(files: dict[str, bytes]) -> Iterator[Site]:
    """A well-behaved server."""
    with serving(files) as site:
        yield site


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, now the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args], standalone_mode=False)


def spools() -> list[str]:
    return glob.glob(os.path.join(tempfile.gettempdir(), "etpack-*"))


def test_file_urls_are_paths(files: dict[str, bytes], folder: Path) -> None:
    (folder / "a b.pte").write_bytes(files["m.pte"])
    url = (folder / "a b.pte").as_uri()
    assert as_path(url.replace("file://", "file://localhost")) == str(folder / "a b.pte")
    assert run("compress", url, "-q").exit_code == 0
    assert (folder / "a b.etz").exists()
    assert run("compress", url, "-f", "-o", "a b.pte").exception is not None
    with pytest.raises(etpack.OutputError, match="is the input itself"):
        etpack.compress(url, folder / "a b.pte", overwrite=True)
    with pytest.raises(SourceError, match="no host"):
        as_path("file://elsewhere/x")
    with pytest.raises(SourceError, match="byte of zero"):
        as_path("file:///x%00y")


# Requests and bytes


def test_inspect_reads_head_and_tail(site: Site) -> None:
    report = etpack.inspect_file(site.url + "large.etz")
    assert report.packing is not None
    assert [size for _, _, size in site.answers] == [web.HEAD_SIZE, 16384]
    site.answers.clear()
    assert etpack.inspect_file(site.url + "m.etz").program is not None
    # Head and tail, and the directory of one block in each of the three extents that have any.
    assert sorted(size for _, _, size in site.answers) == [16, 16, 16, web.HEAD_SIZE, 16384]
    site.answers.clear()
    assert etpack.inspect_file(site.url + "m.pte").program is not None
    # The program, and the delegate's blob.
    assert [(start, size) for _, start, size in site.answers] == [(0, 4096), (2176, 3248)]


@pytest.mark.parametrize("fast", [False, True])
def test_verify_fetches_each_byte_once(site: Site, files: dict[str, bytes], fast: bool) -> None:
    before = spools()
    verdict = verify_file(site.url + "large.etz", fast=fast)
    assert verdict.ok, verdict.findings
    assert verdict.file == site.url + "large.etz"
    size = len(files["large.etz"])
    assert site.bytes_sent == size
    assert len(site.answers) == 1 + -(-size // spool.PIECE_SIZE)
    assert spools() == before


def test_verify_of_a_file_with_a_bad_end_does_not_fetch_the_rest(site: Site, large: bytes) -> None:
    site.files["large.etz"] = bytes(12 << 20) + large[:-1]
    assert verify_file(site.url + "large.etz").exit_code == 1
    assert site.bytes_sent <= web.HEAD_SIZE + 2 * spool.PIECE_SIZE


def test_a_url_tells_by_its_name_what_it_should_be(site: Site) -> None:
    site.files["bad.etz"] = bytes(1000)
    verdict = verify_file(site.url + "bad.etz?signature=x")
    assert (verdict.packed, verdict.findings[0].rule) == (True, "header-magic")


def test_each_read_is_one_request_from_any_thread(site: Site) -> None:
    with etpack.open(site.url + "large.etz") as file, ThreadPoolExecutor(8) as pool:
        site.answers.clear()
        offsets = range(0, 40 * 65536, 65536)
        parts = list(pool.map(lambda offset: file.read_at(offset, 65536), offsets))
        assert len(site.answers) == len(parts)
    assert b"".join(parts) == _WEIGHTS[: 40 * 65536]


def test_the_loader_reads_urls(site: Site, files: dict[str, bytes]) -> None:
    for name in ("m.etz", "m.pte"):
        with DataLoader(site.url + name) as loader:
            with loader.load(80_768, 147_456) as buffer:
                assert buffer.data == files["m.pte"][80_768 : 80_768 + 147_456]
            assert b"".join(loader.iter_chunks()) == files["m.pte"]
        with pytest.raises(ValueError, match="closed"):
            loader.load(100_000, 5)


def test_a_remote_source_keeps_its_bounds(site: Site) -> None:
    for whole in (False, True):
        source = open_source(site.url + "m.pte", whole=whole)
        assert source.read_at(source.size, 0) == b""
        for offset, size in ((-1, 1), (0, -1), (source.size, 1), (0, source.size + 1)):
            with pytest.raises(ValueError, match="leaves"):
                source.read_at(offset, size)
        source.close()
        with pytest.raises(ValueError, match="closed"):
            source.read_at(0, 1)


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 4097])
@pytest.mark.parametrize("manner", ["good", "no ranges", "no ranges, no size"])
def test_files_of_any_size(size: int, manner: str) -> None:
    with serving({"x": bytes(range(256)) * 20}, manner) as site:
        site.files["x"] = site.files["x"][:size]
        for whole in (False, True):
            source = open_source(site.url + "x", whole=whole)
            assert (source.size, source.read_at(0, size)) == (size, site.files["x"])
            source.close()


# Commands


def test_commands_write_to_the_current_folder(site: Site, files: dict[str, bytes], folder: Path) -> None:
    url = site.url.replace("http://", "http://user:secret@")
    for arguments, output in (
        (["compress", url + "m.pte?signature=x"], "m.etz"),
        (["decompress", url + "m.etz"], "m.pte"),
        (["extract", url + "m.etz", "--segment", "1"], "m.segment1.bin"),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.exception) == (0, None)
        assert (folder / output).exists()
        assert "secret" not in result.output
        assert "signature" not in result.output
        assert "user:***@" in result.output
        assert "secret" not in run(*arguments, "--json", "-f").output
    assert (folder / "m.pte").read_bytes() == files["m.pte"]
    assert (folder / "m.etz").read_bytes() == files["m.etz"]
    assert sorted(os.listdir(folder)) == ["m.etz", "m.pte", "m.segment1.bin"]
    result = run("verify", "m.etz", url + "m.pte", "--json")
    assert "secret" not in result.output


def test_verify_compares_with_a_url(site: Site, files: dict[str, bytes], folder: Path) -> None:
    (folder / "m.pte").write_bytes(files["m.pte"])
    for name, code in (("m.etz", 0), ("m.pte", 0), ("large.etz", 1), ("absent", 4)):
        result = CliRunner().invoke(cli, ["verify", "m.pte", "--against", site.url + name])
        assert result.exit_code == code, result.output


@pytest.mark.parametrize("command", [["compress", "m.pte"], ["decompress", "m.etz"]])
def test_a_url_is_no_output(files: dict[str, bytes], folder: Path, command: list[str]) -> None:
    (folder / command[1]).write_bytes(files[command[1]])
    with pytest.raises(etpack.OutputError, match="cannot be written to") as caught:
        CliRunner().invoke(cli, [*command, "-o", "https://u:secret@h/x"], standalone_mode=False, catch_exceptions=False)
    assert caught.value.exit_code == 2
    assert caught.value.path == "https://u:***@h/x"


# Servers that do no ranges


def test_a_server_without_ranges_is_told_of(files: dict[str, bytes], caplog: pytest.LogCaptureFixture) -> None:
    before = spools()
    with serving(files, "no ranges") as site, etpack.open(site.url + "large.etz") as file:
        assert file.read_at(0, len(_WEIGHTS)) == _WEIGHTS
        assert len(site.answers) == 1
        assert spools() == before
    (message,) = caplog.messages
    assert f"large.etz: the server does not do ranges: downloading all {len(files['large.etz']):,} bytes" in message


def test_the_warning_goes_to_stderr_unless_quiet(files: dict[str, bytes], folder: Path) -> None:
    with serving(files, "no ranges") as site:
        for quiet in ([], ["-q"]):
            command = [sys.executable, "-m", "etpack", "extract", site.url + "m.etz", "--segment", "1", "-f", *quiet]
            result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=folder)
            assert result.returncode == 0
            said = result.stderr.startswith("etpack: warning: ") and "does not do ranges" in result.stderr
            assert said if not quiet else result.stderr == ""


def test_nothing_is_said_where_all_is_read_anyway(files: dict[str, bytes], caplog: pytest.LogCaptureFixture) -> None:
    with serving(files, "no ranges") as site:
        assert verify_file(site.url + "large.etz").ok
        assert len(site.answers) == 1
    assert caplog.messages == []


@pytest.mark.parametrize("manner", ["good", "no ranges", "no ranges, no size"])
def test_downloads_have_a_limit(files: dict[str, bytes], manner: str) -> None:
    size = len(files["large.etz"])
    before = spools()
    with serving(files, manner) as site:
        url = site.url + "large.etz"
        assert verify_file(url, limits=Limits(download_size=size)).ok
        (finding,) = verify_file(url, limits=Limits(download_size=size - 1)).findings
        assert finding.exit_code == 3
        assert "--limit download-size=" in (finding.hint or "")
        if manner != "good":
            with pytest.raises(LimitError) as caught:
                etpack.open(url, limits=Limits(download_size=size - 1))
            assert caught.value.path == url
        else:
            etpack.open(url, limits=Limits(download_size=1)).close()
    assert spools() == before


def test_a_full_temporary_folder_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=1 << 40, free=1000))
    (finding,) = verify_file(site.url + "m.etz").findings
    assert "has no room for 4" in finding.message
    assert "TMPDIR" in (finding.hint or "")
    assert finding.exit_code == 4


# Failures

FAILURES = [
    ("404", 0, "answered 404"),
    ("401", 0, "answered 401"),
    ("403", 1, "answered 403"),
    ("503", 1, "answered 503"),
    ("circles", 0, "redirects in circles"),
    ("no http", 0, "no HTTP"),
    ("hangs up", 0, "connection broke"),
    ("hangs up", 1, "connection broke"),
    ("silent", 0, "does not answer"),
    ("silent", 1, "does not answer"),
    ("ends early", 0, "connection broke"),
    ("ends early", 1, "connection broke"),
    ("no ranges", 1, "now does none"),
    ("no total", 0, "how large"),
    ("other range", 0, "another range"),
    ("other range", 1, "another range"),
    ("other size", 1, "changed"),
    ("other tag", 1, "changed"),
    ("cut", 1, "changed"),
]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("manner", "after", "words"), FAILURES, ids=lambda value: str(value))
def test_failures(
    large: bytes, manner: str, after: int, words: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if manner == "silent":  # only then is the time-out waited for; a busy machine may need longer for an answer
        monkeypatch.setattr(web, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(web, "RETRY_PAUSES", (0, 0))
    before = spools()
    with serving({"x.etz": large}, manner, after) as site:
        url = site.url.replace("http://", "http://user:secret@") + "x.etz"
        with pytest.raises(SourceError, match=words) as caught:
            _read_end(url, len(large), whole)
        assert caught.value.exit_code == 4
        assert caught.value.path == site.url.replace("http://", "http://user:***@") + "x.etz"
        assert "secret" not in str(caught.value)
        assert caught.value.hint
        # One to open it, three for the range, each of which aiohttp may repeat; ten redirects.
        assert site.requests <= 11
    assert spools() == before


@pytest.mark.parametrize("manner", ["503", "429", "hangs up", "ends early"])
def test_what_passes_is_tried_again(large: bytes, manner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "RETRY_PAUSES", (0, 0))
    with serving({"x.etz": large}, manner, after=1) as site:
        site.until = 3
        assert verify_file(site.url + "x.etz").ok
        assert site.requests >= 5


def _read_end(url: str, size: int, whole: bool) -> None:
    source = open_source(url, whole=whole)
    try:
        source.read_at(size - 1000, 1000)
    finally:
        source.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/x", "Connection refused"),
        ("http://127.0.0.1:99999/x", "no URL"),
        ("https:///x", "no URL"),
        ("http://nowhere.invalid/x", "the host is not known"),
    ],
)
def test_servers_that_are_not_there(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = socket.getaddrinfo

    def find(host: str, *args: object, **kwargs: object) -> object:
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return honest(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    with pytest.raises(SourceError, match=words) as caught:
        open_source(url)
    assert (caught.value.path, caught.value.exit_code) == (url, 4)


def test_tls_with_whom_speaks_none(site: Site) -> None:
    with pytest.raises(SourceError, match=r"certificate|cannot connect"):
        open_source(site.url.replace("http://", "https://") + "m.etz")


def test_the_password_is_sent(files: dict[str, bytes]) -> None:
    with serving(files, "password") as site:
        assert verify_file(site.url + "m.etz").findings[0].message == "the server answered 401 Unauthorized"
        assert verify_file(site.url.replace("http://", "http://user:secret@") + "m.etz").ok


def test_redirects_are_followed(site: Site) -> None:
    assert verify_file(site.url + "moved/m.etz").ok


def test_all_commands_exit_with_4_and_no_traceback(site: Site, folder: Path) -> None:
    url = site.url + "absent.etz"
    for arguments in (["inspect"], ["verify"], ["extract", "--segment", "1"], ["compress"], ["decompress"]):
        result = test_cli.run(*arguments, url)
        assert result.returncode == 4, result.stderr
        assert f"{url}: " in result.stdout + result.stderr
        assert "404" in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        assert "check the URL" in result.stdout + result.stderr
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("command", "number"),
    [
        *((command, signal.SIGINT) for command in ("inspect", "verify", "decompress")),
        *(("verify", number) for number in (signal.SIGTERM, signal.SIGHUP)),
    ],
)
def test_an_interrupt_does_not_wait_for_the_server(
    files: dict[str, bytes], folder: Path, command: str, number: signal.Signals
) -> None:
    with serving(files, "silent", after=1) as site:
        words = [sys.executable, "-m", "etpack", command, site.url + "large.etz"]
        # A job in the background, as CI may be, has SIGINT ignored, and hands that down.
        listen = partial(signal.signal, number, signal.SIG_DFL)
        with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=listen) as process:
            deadline = time.monotonic() + PATIENCE
            while site.requests < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(number)
            _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr
    assert "asyncio" not in stderr
    assert os.listdir(folder) == []


def test_an_interrupt_ends_what_threads_wait_for(large: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_interrupted", False)
    with serving({"x": large}, "silent", after=1) as site:
        source = open_source(site.url + "x")
        timer = threading.Timer(0.2, web.interrupt)
        timer.start()
        for _ in range(2):
            with pytest.raises(SourceError, match="interrupted"):
                source.read_at(100_000, 10)
        timer.join()
        source.close()


# Libraries


@pytest.mark.parametrize("missing", ["fsspec", "aiohttp"])
def test_without_the_libraries_it_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UnsupportedError, match="takes fsspec and aiohttp") as caught:
        open_source("https://h/x")
    assert "pip install 'etpack[remote]'" in (caught.value.hint or "")
    assert (caught.value.exit_code, caught.value.path) == (3, "https://h/x")
    if missing == "fsspec":
        with pytest.raises(UnsupportedError, match="takes fsspec"):
            open_source("s3://b/x")


def test_other_protocols_go_to_fsspec(large: bytes) -> None:
    memory = importlib.import_module("fsspec").filesystem("memory")
    memory.pipe("/folder/x.etz", large)
    assert verify_file("memory://folder/x.etz").ok
    with etpack.open("memory://folder/x.etz") as file:
        assert file.read_at(5, 70_000) == _WEIGHTS[5:70_005]
        memory.pipe("/folder/x.etz", large[:100])
        with pytest.raises(SourceError, match="ended after") as caught:
            file.read_at(1 << 20, 5)
        assert caught.value.path == "memory://folder/x.etz"
    for url, words in (("memory://folder/absent", "no such file"), ("memory://folder", "no file")):
        with pytest.raises(SourceError, match=words):
            open_source(url)


def test_what_a_protocol_raises_names_the_url() -> None:
    importlib.import_module("fsspec").filesystem("memory").pipe("/no.zip", b"no zip")
    with pytest.raises(SourceError, match="BadZipFile") as caught:
        open_source("zip://x::memory://no.zip")
    assert caught.value.path == "zip://x::memory://no.zip"
    with pytest.raises(SourceError) as caught:
        open_source("zip://x::http://user:secret@127.0.0.1:1/y")
    assert "user:***@127" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_protocols_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match="'nonsense' cannot be read"):
        open_source("nonsense://x")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UnsupportedError, match="not installed"):
        open_source("s3://bucket/x")


def test_files_do_not_load_what_urls_need(packed_digits: Path) -> None:
    code = (
        "import sys, etpack.cli, etpack.cli.common; from etpack.sources import open_source;"
        f"open_source({str(packed_digits)!r}); print(sorted({{'fsspec', 'aiohttp', 'asyncio'}} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
