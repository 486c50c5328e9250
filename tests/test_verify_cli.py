"""`etpack verify`: what it prints, and above all its exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from click.testing import CliRunner, Result

from etpack.check import verify_file
from etpack.cli import cli
from etpack.describe.github import to_annotations
from etpack.describe.junit import to_junit
from etpack.describe.verdict import describe_verdict
from tests.make_etz import BlockSpec, EtzSpec, ExtentSpec, build_etz, opaque_spec
from tests.make_pte import DelegateSpec, MethodSpec, PteSpec, build_pte

SCHEMA = json.loads((Path(__file__).parent.parent / "schemas" / "verify.schema.json").read_text())

Verify = Callable[..., Result]


@pytest.fixture
def files(tmp_path: Path, packed_digits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, now the current one, with a file of each fate: good, bad, unsupported; missing is not there."""
    (tmp_path / "good.etz").write_bytes(packed_digits.read_bytes())
    damaged = bytearray(packed_digits.read_bytes())
    damaged[100_000] ^= 1
    (tmp_path / "bad.etz").write_bytes(damaged)
    (tmp_path / "cut.etz").write_bytes(damaged[:5000])
    private = EtzSpec(bytes(100), [ExtentSpec(0, [BlockSpec(100, codec=200, stored=b"private")])])
    (tmp_path / "unsupported.etz").write_bytes(build_etz(private))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def verify(files: Path) -> Verify:
    """Runs the command in that folder."""
    assert files
    return lambda *arguments: CliRunner().invoke(cli, ["verify", *arguments], standalone_mode=False)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "etpack", "verify", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["good.etz"], 0),
        (["bad.etz"], 1),
        (["cut.etz"], 1),
        (["unsupported.etz"], 3),
        (["missing.etz"], 4),
        (["good.etz", "missing.etz"], 4),
        (["missing.etz", "unsupported.etz", "good.etz"], 3),
        (["missing.etz", "unsupported.etz", "bad.etz", "good.etz"], 1),
    ],
    ids=lambda value: "+".join(name[:-4] for name in value) if isinstance(value, list) else str(value),
)
def test_the_exit_code_is_that_of_the_worst_file(verify: Verify, names: list[str], code: int) -> None:
    for reports in ([], ["--json"], ["--junit", "-"], ["--junit", "report.xml", "-q"], ["--json", "--junit", "r.xml"]):
        result = verify(*names, *reports)
        assert result.exception is None
        assert result.return_value == code


def test_the_process_exits_with_it(files: Path) -> None:
    assert files
    assert run("good.etz").returncode == 0
    assert run("bad.etz", "--json").returncode == 1
    assert run("missing.etz", "unsupported.etz", "--junit", "-").returncode == 3
    missing = run("missing.etz")
    assert missing.returncode == 4
    assert missing.stderr == ""
    assert missing.stdout.splitlines() == [
        "missing.etz: error: No such file or directory [readable]; check the path",
        "1 file: 0 good, 0 bad, 1 unreadable",
    ]
    usage = run()
    assert usage.returncode == 2
    assert "Traceback" not in usage.stderr


def test_what_is_good_says_what_was_checked(verify: Verify, digits: Path) -> None:
    assert verify("good.etz").output == ("good.etz: good, 18 blocks, 493,480 bytes of content\n1 file: 1 good, 0 bad\n")
    assert "bytes stored, not decoded" in verify("good.etz", "--fast").output
    assert f"{digits}: good, a .pte of 493,480 bytes" in verify(str(digits)).output
    assert verify("good.etz", "--against", str(digits)).return_value == 0


def test_errors_name_file_place_rule_and_what_to_do(verify: Verify) -> None:
    first, summary = verify("bad.etz").output.splitlines()
    for part in ("bad.etz: error: block ", "stored at 0x", "content 0x", "named data, segment ", "[block-crc]; "):
        assert part in first
    assert first.endswith("fetch it again, or pack it anew")
    assert summary == "1 file: 0 good, 1 bad"


def test_quiet_prints_errors_only(verify: Verify) -> None:
    assert verify("good.etz", "-q").output == ""
    lines = verify("good.etz", "bad.etz", "-q").output.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("bad.etz: error: ")


def test_names_from_a_file_reach_no_terminal_as_they_are(verify: Verify, files: Path) -> None:
    spec = opaque_spec(b"content")
    spec.extents[0].keys = ("\x1b[2Jkey",)
    spec.blocks[0].crc = 1
    (files / "evil.etz").write_bytes(build_etz(spec))
    output = verify("evil.etz").output
    assert "[2Jkey" in output
    assert "\x1b" not in output


def test_json_fits_its_schema(verify: Verify, digits: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    names = ["good.etz", "bad.etz", "cut.etz", "unsupported.etz", "missing.etz", ".", str(digits)]
    for options in ([], ["--fast"]):
        report: dict[str, Any] = json.loads(verify(*names, "--json", *options).stdout)
        jsonschema.validate(report, SCHEMA)
        assert [result["file"] for result in report["results"]] == names
        assert [result["exit_code"] for result in report["results"]] == [0, 1, 1, 0 if options else 3, 4, 4, 0]
        assert report["good_count"] + report["bad_count"] == len(names)
    (finding,) = report["results"][1]["findings"]
    assert (finding["rule"], finding["role"]) == ("block-crc", "named data")
    different = json.loads(verify("good.etz", "--against", "bad.etz", "--json").stdout)
    jsonschema.validate(different, SCHEMA)


def test_junit_has_a_case_for_each_file(verify: Verify, files: Path) -> None:
    names = ["good.etz", "bad.etz", "unsupported.etz", "missing.etz"]
    verify(*names, "--junit", "report.xml")
    root = ElementTree.parse(files / "report.xml").getroot()
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    for element in (root, suite):
        counts = [element.get(name) for name in ("tests", "failures", "errors")]
        assert counts == ["4", "1", "2"]
    assert [case.get("name") for case in suite] == names
    assert [[child.tag for child in case] for case in suite] == [[], ["failure"], ["error"], ["error"]]
    failure = suite[1][0]
    assert failure.get("type") == "block-crc"
    assert "segment" in (failure.text or "")
    assert verify(*names, "--junit", "-").stdout == (files / "report.xml").read_text()
    verify("good.etz", "--junit", "report.xml")
    assert len(ElementTree.parse(files / "report.xml").getroot()[0]) == 1


def test_junit_holds_whatever_a_file_is_called() -> None:
    name = "a\x00b\udcff<&>\N{SNOWMAN}.etz"
    text = to_junit([replace(verify_file(b"x" * 99), file=name)])
    ((case,),) = ElementTree.fromstring(text.encode())
    assert case.get("name") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}<&>\N{SNOWMAN}.etz"


def test_reports_tell_what_they_leave_out_and_what_is_no_error() -> None:
    bad = verify_file(b"x" * 99)
    bad = replace(bad, findings=bad.findings * 2, omitted_count=1234)
    note = replace(bad.findings[0], severity="warning", message="odd, but no error")
    fine = replace(bad, findings=(note,), omitted_count=0)
    assert (fine.ok, fine.exit_code) == (True, 0)
    ((case, good_case),) = ElementTree.fromstring(to_junit([bad, fine]).encode())
    assert "(and 1,235 more)" in (case[0].get("message") or "")
    assert (case[0].text or "").endswith("\nand 1,234 more")
    assert [child.tag for child in good_case] == ["system-out"]
    assert list(describe_verdict(bad))[-1] == "<buffer>: and 1,234 more"
    assert "warning: odd, but no error" in list(describe_verdict(fine))[1]


# What a runner of GitHub Actions takes from a line of stdout, and how it undoes the escapes.
_COMMAND = re.compile("::(error|warning) file=([^,:]*),title=([^,:]*)::(.*)")


def parsed(text: str) -> list[tuple[str, ...]]:
    """Return severity, file, title and message of each line, which must all be commands."""
    matches = [_COMMAND.fullmatch(line) for line in text.splitlines()]
    assert None not in matches
    codes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}
    undo = re.compile("|".join(codes))
    return [tuple(undo.sub(lambda code: codes[code[0]], part) for part in match.groups()) for match in matches if match]


def test_github_gets_an_annotation_for_each_finding(verify: Verify) -> None:
    names = ["good.etz", "bad.etz", "unsupported.etz", "missing.etz"]
    result = verify(*names, "--github", "--junit", "report.xml")
    *lines, summary = result.output.splitlines()
    assert summary == "4 files: 1 good, 1 bad, 1 not supported here, 1 unreadable"
    found = parsed("\n".join(lines))
    assert [(severity, file, title) for severity, file, title, _ in found] == [
        ("error", "bad.etz", "etpack block-crc"),
        ("error", "unsupported.etz", "etpack codec-known"),
        ("error", "missing.etz", "etpack readable"),
    ]
    assert "stored at 0x" in found[0][3]
    assert result.return_value == 1
    assert verify(*names, "--github", "-q").output.splitlines() == lines
    assert verify("good.etz", "--github", "-q").output == ""


@pytest.mark.parametrize(
    "name", ["a,b:c.etz", "100%.etz", "%0A::error::x", "::add-mask::x.etz", "é\u2028\x1b.etz", ","]
)
def test_no_name_breaks_an_annotation(name: str) -> None:
    bad = verify_file(b"x" * 99)
    text = "::error::%0A, \r\n::set-output name=x::y"
    bad = replace(bad, file=name, findings=(replace(bad.findings[0], message=text),), omitted_count=7)
    first, second = parsed("\n".join(to_annotations(bad)))
    shown = name.replace("\x1b", "\\x1b").replace("\u2028", "\\x2028")
    assert (first[:3], second[:3]) == (("error", shown, "etpack identifier"), ("error", shown, "etpack"))
    assert first[3].startswith(r"::error::%0A, \x0d\x0a::set-output name=x::y")
    assert second[3] == "and 7 more"


def test_lines_break_no_annotation() -> None:
    bad = verify_file(b"x" * 99)
    (line,) = to_annotations(replace(bad, file="a\r\nb.etz"))
    assert parsed(line)[0][1] == "a\r\nb.etz"


def test_warnings_are_annotations_of_their_own(verify: Verify, files: Path) -> None:
    delegates = [DelegateSpec(data=b"8 bytes."), DelegateSpec(data=b"8 more .")]  # one of them is not at 16
    (files / "odd.pte").write_bytes(build_pte(PteSpec([MethodSpec(delegates=delegates)], segment_alignment=8)))
    result = verify("odd.pte", "--github")
    assert [each[:3] for each in parsed(result.output.splitlines()[0])] == [
        ("warning", "odd.pte", "etpack segment-alignment")
    ]
    assert result.return_value == 0
    assert "warning: segment " in verify("odd.pte").output


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["good.etz", "bad.etz", "--against", "good.etz"],
        ["good.etz", "--against", "good.etz", "--fast"],
        ["good.etz", "--json", "--junit", "-"],
        ["good.etz", "--json", "--github"],
        ["good.etz", "--github", "--junit", "-"],
        ["good.etz", "-j", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage(files: Path, arguments: list[str]) -> None:
    assert files
    assert CliRunner().invoke(cli, ["verify", *arguments]).exit_code == 2
