"""HTML pages: self-contained, well formed, and whatever a name holds, only text."""

from __future__ import annotations

import json
import re
import shlex
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest

import etpack
from etpack.describe.page import Page
from etpack.describe.tune_page import tune_page
from etpack.tuning import TuneReport
from tests.conftest import ROOT
from tests.test_cli import run, start
from tests.test_tune import ENGINE, PHONE

HOSTILE = "</script><script>alert(1)</script><img src=https://example.com/x onerror=alert(1)>\"'&<!--"
_VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Collects the elements of a page with their attributes, the text of scripts, and checks that elements nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text += data


@pytest.fixture(scope="module")
def report() -> TuneReport:
    """What was found for a real model."""
    model = ROOT / "examples" / "models" / "digits_fp32_xnnpack.pte"
    return etpack.tune(model, PHONE, block_sizes=[16384, 65536, 1 << 20])


@pytest.fixture(scope="module")
def left_alone() -> TuneReport:
    """What was found for a model that does not gain."""
    model = ROOT / "examples" / "models" / "digits_fp32_xnnpack.pte"
    return etpack.tune(model, ENGINE, block_sizes=[16384, 65536])


def test_a_page_holds_all_that_it_needs(report: TuneReport) -> None:
    page = tune_page(report)
    assert len(page.encode()) < 6_000_000
    reader = Reader(page)
    for tag, attributes in reader.elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base", "form")
        assert not {"src", "href", "srcset", "action"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes)
    policy = [attributes["content"] for _, attributes in reader.elements if "http-equiv" in attributes]
    assert policy[0]
    assert policy[0].startswith("default-src 'none';")
    assert "http" not in policy[0]
    assert "prefers-color-scheme: dark" in page


def test_the_plots_of_a_page_are_what_plotly_takes(report: TuneReport) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what plotly imports, if it is there, is not ours to judge
        from plotly.graph_objects import Figure
    reader = Reader(tune_page(report))
    places = [a["data-figure"] for tag, a in reader.elements if tag == "script" and "data-figure" in a]
    assert places == ["figure-1", "figure-2", "figure-3"]
    drawn = [attributes for tag, attributes in reader.elements if tag == "div" and attributes.get("role") == "img"]
    assert [attributes["id"] for attributes in drawn] == places
    assert all(attributes["aria-label"] for attributes in drawn)
    figures = [json.loads(script) for script in reader.scripts if script.startswith('{"data"')]
    assert len(figures) == 3
    for figure in figures:
        Figure(figure)
    seconds = {y for trace in figures[0]["data"] for y in trace["y"]}
    assert seconds >= {trial.load.seconds for trial in report.trials} | {report.plain.seconds}


def test_a_page_says_what_the_terminal_says(report: TuneReport) -> None:
    from etpack.describe.tune_reasons import reasons

    assert report.pays
    reader = Reader(tune_page(report))
    assert shlex.join(report.command or ()) in reader.text
    for reason in reasons(report):
        assert reason in reader.text
    assert sum(tag == "tr" for tag, _ in reader.elements) > len(report.trials)


def test_a_page_recommends_nothing_where_nothing_pays(left_alone: TuneReport) -> None:
    from etpack.describe.tune_reasons import reasons

    assert not left_alone.pays
    reader = Reader(tune_page(left_alone))
    assert "Recommended: leave it as it is" in reader.text
    assert "etpack compress" not in reader.text
    for reason in reasons(left_alone):
        assert reason in reader.text
    figures = [json.loads(script) for script in reader.scripts if script.startswith('{"data"')]
    assert not any(trace["name"] == "recommended" for figure in figures for trace in figure["data"])


def test_names_are_text() -> None:
    page = Page(HOSTILE)
    page.add_heading(HOSTILE)
    page.add_text(HOSTILE)
    page.add_code(HOSTILE)
    page.add_list([HOSTILE])
    page.add_table([HOSTILE, f">{HOSTILE}"], [[HOSTILE, HOSTILE]], {0: "mark"})
    page.add_figure({"data": [{"name": HOSTILE}], "layout": {}}, about=HOSTILE)
    html = page.to_html()
    reader = Reader(html)
    assert "img" not in {tag for tag, _ in reader.elements}
    assert reader.text.count(HOSTILE) == 10
    scripts = [script for script in reader.scripts if "alert(1)" in script]
    assert [json.loads(script)["data"][0]["name"] for script in scripts] == [HOSTILE]
    assert re.findall(r"<script>alert", html) == []


def test_a_page_without_plots_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    page = Page("words")
    page.add_text("only")
    assert "<script" not in page.to_html()


def test_without_plotly_nothing_is_searched_in_vain(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    device = ["--storage", "5", "--decode", "lz4=5", "--fixed-function"]
    result = run("tune", digits, *device, "--html", tmp_path / "x.html")
    assert result.returncode == 3
    assert "plotly" in result.stderr
    assert "pip install 'etpack[html]'" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_a_page(digits: Path, tmp_path: Path) -> None:
    args = ["tune", digits, "--storage", "5", "--decode", "lz4=5", "--fixed-function", "--block-size", "64K", "--html"]
    result = run(*args, tmp_path / "x.html")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Recommended" in result.stdout
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert start(*args, "-").stdout == page
