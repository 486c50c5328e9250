"""The page of `inspect --html` in a browser: drawn, hovered, clicked, light and dark, without network or errors."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner

from etpack.cli import cli
from etpack.describe.heat import heat_map
from etpack.describe.inspect_page import inspect_page
from etpack.errors import UnsupportedError
from etpack.files import compress
from etpack.output import OutputError
from etpack.report import inspect_file
from etpack.writer import Options
from tests import PATIENCE
from tests.conftest import ROOT
from tests.make_pte import (
    DelegateSpec,
    MethodSpec,
    NamedSpec,
    PtdSpec,
    PteSpec,
    TensorSpec,
    build_ptd,
    build_pte,
    weights,
)
from tests.native_tools import leave_out

# A browser and its elements: selenium types some of them.
Chrome: TypeAlias = Any
WebElement: TypeAlias = Any

MOST_BYTES = 6_000_000
TREEMAP, HEAT, TIMELINE = "#figure-1", "#figure-2", "#figure-3"
HOSTILE = "</script><script>alert(1)</script><a href='https://example.com/'>%{x}&lt;b&gt;"
# Of WCAG 2, for text of any size.
LEAST_CONTRAST = 4.5


def run(*args: str | Path) -> Any:
    return CliRunner().invoke(cli, ["inspect", *map(str, args)])


def figures(page: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)]


def full_page(source: Any) -> str:
    return inspect_page(inspect_file(source, blocks=True, planes=False, tensors=True, memory=True))


@pytest.fixture(scope="module")
def page(packed_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    result = run("--html", path, packed_digits)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    """Chromium without a window; a user's machine without it leaves these tests out, CI never."""
    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not binary or not driver:
        leave_out("Chromium or its driver is missing; on Debian: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    # Root, as which CI may run, has no sandbox; and a container's /dev/shm may be small.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser: Chrome = webdriver.Chrome(options, Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chrome: Chrome, page: Path) -> Chrome:
    """The browser with the page open, as a reader sees it who has chosen nothing."""
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    open_page(chrome, page)
    return chrome


def open_page(browser: Chrome, path: Path) -> None:
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    until(browser, lambda: all(browser.find_elements("css selector", f"{name} .main-svg") for name in names(browser)))


def names(browser: Chrome) -> list[str]:
    return [f"#{each.get_attribute('id')}" for each in browser.find_elements("css selector", ".figure")]


def until(browser: Chrome, holds: Any) -> Any:
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, PATIENCE, poll_frequency=0.05).until(lambda _: holds())


def hover(browser: Chrome, figure: str, element: WebElement) -> str:
    """Return the label that comes up where the pointer rests on the middle of an element."""
    from selenium.webdriver import ActionChains

    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    ActionChains(browser).move_to_element(element).perform()
    label = f"{figure} .hoverlayer .hovertext"
    until(browser, lambda: browser.find_elements("css selector", label))
    return " ".join(each.text for each in browser.find_elements("css selector", label))


def slices(browser: Chrome) -> dict[str, WebElement]:
    """Return the parts that the treemap shows, by label, large enough for it or not."""
    found = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(each => each.querySelector('text'))"
        ".map(each => [each.querySelector('text').dataset.unformatted, each.querySelector('path.surface')])",
        f"{TREEMAP} .treemaplayer g.slice",
    )
    return {unescape(label.split("<br>")[0]): surface for label, surface in found if label}


def test_the_plots_are_drawn(browser: Chrome) -> None:
    assert names(browser) == [TREEMAP, HEAT, TIMELINE]
    drawn = slices(browser)
    assert {"named data", "forward", "XnnpackBackend", "e3ac1d41ff…"} <= set(drawn)
    assert len(browser.find_elements("css selector", f"{HEAT} .heatmaplayer image")) == 1
    assert len(browser.find_elements("css selector", f"{TIMELINE} .scatterlayer path.js-line")) == 5
    for name in names(browser):
        size = browser.find_element("css selector", f"{name} .main-svg").size
        assert size["width"] > 600
        assert size["height"] > 150


def test_nothing_is_fetched_and_nothing_goes_wrong(browser: Chrome) -> None:
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert requests
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_every_plot_says_what_is_under_the_pointer(browser: Chrome) -> None:
    label = hover(browser, TREEMAP, slices(browser)["e3ac1d41ff…"])
    assert "named data / forward / XnnpackBackend / e3ac1d41ff…" in label
    assert "256 KiB (262,144 bytes), 53.1%" in label
    label = hover(browser, HEAT, browser.find_element("css selector", f"{HEAT} .nsewdrag"))
    assert re.search(r"block \d+, from 0x[0-9a-f]+", label)
    assert re.search(r"extent \d+, named data: 71c977b…", label)
    assert re.search(r"planes4r zstd.* stored as .*, ratio 1\.\d{3}", label, re.DOTALL)
    label = hover(browser, TIMELINE, browser.find_element("css selector", f"{TIMELINE} .nsewdrag"))
    assert "DataLoader" in label
    assert "forward: delegate 0, XnnpackBackend" in label
    assert "loads 3.2 KiB delegate, 476.5 KiB named data" in label
    assert re.search(r"(at most|after it) [\d.]+ [KM]iB", label)


def test_a_click_zooms_and_leads_back(browser: Chrome) -> None:
    whole = slices(browser)["named data"]
    width = whole.rect["width"]
    assert browser.find_elements("css selector", f"{TREEMAP} g.pathbar") == []
    small = slices(browser)["71c977b115…"]
    before = small.rect["width"]
    hover(browser, TREEMAP, small)
    small.click()
    until(browser, lambda: browser.find_elements("css selector", f"{TREEMAP} g.pathbar"))
    until(browser, lambda: list(slices(browser)) == ["71c977b115…"])
    until(browser, lambda: slices(browser)["71c977b115…"].rect["width"] > 2 * before)
    # Clicks are not heard while it moves.
    leave = f"document.querySelector('{TREEMAP} g.pathbar')?.dispatchEvent(new MouseEvent('click'))"
    until(browser, lambda: browser.execute_script(leave) or "digits.etz" in slices(browser))
    until(browser, lambda: abs(slices(browser)["named data"].rect["width"] - width) < 2)
    assert browser.get_log("browser") == []


COLOURS = """
const shown = each => each.getClientRects().length && each.textContent.trim();
const text = (query, name) => [...document.querySelectorAll(query)].filter(shown).map(
    each => [getComputedStyle(each)[name], getComputedStyle(document.body).backgroundColor, each.textContent]);
const tiles = [...document.querySelectorAll(".treemaplayer g.slice, .treemaplayer g.pathbar")].filter(shown).map(
    each => [getComputedStyle(each.querySelector("text")).fill, getComputedStyle(each.querySelector("path")).fill,
             each.textContent]);
return [...text("h1, h2, p, li, th, td", "color"), ...tiles,
        ...text(".xtick text, .ytick text, .legendtext, .annotation-text, .xtitle, .ytitle, .cbaxis text", "fill")];
"""


def luminance(color: str) -> float:
    channels = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_is_legible(browser: Chrome, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    wanted = "rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 28)"
    paper = f"{TIMELINE} .main-svg"
    until(browser, lambda: wanted in browser.find_element("css selector", paper).get_attribute("style"))
    pairs = browser.execute_script(COLOURS)
    assert len(pairs) > 60
    assert {ground for _, ground, _ in pairs} > {wanted}
    for ink, ground, text in pairs:
        assert contrast(ink, ground) >= LEAST_CONTRAST, (text, ink, ground)


def test_a_narrow_page_is_not_cut_off(browser: Chrome) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        until(browser, lambda: browser.find_element("css selector", f"{TIMELINE} .main-svg").size["width"] < 390)
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_names_are_only_text(chrome: Chrome, tmp_path: Path) -> None:
    method = MethodSpec(HOSTILE, tensors=[TensorSpec(weights(400), name=HOSTILE)], delegates=[DelegateSpec(HOSTILE)])
    path = tmp_path / "hostile.html"
    path.write_text(full_page(build_pte(PteSpec([method], [NamedSpec(HOSTILE, b"x" * 900)]))), encoding="utf-8")
    open_page(chrome, path)
    assert chrome.get_log("browser") == []
    assert chrome.find_elements("css selector", "svg a") == []
    assert any("</script>" in name for name in slices(chrome))


# Without a browser.


def test_the_treemap_adds_up(real_model: Path) -> None:
    treemap = figures(full_page(real_model))[0]["data"][0]
    values = dict(zip(treemap["ids"], treemap["values"], strict=True))
    assert values["0"] == real_model.stat().st_size
    sums: dict[str, int] = {}
    for parent, value in zip(treemap["parents"], treemap["values"], strict=True):
        sums[parent] = sums.get(parent, 0) + value
    assert all(values[parent] == total for parent, total in sums.items() if parent)


def test_the_heat_map_has_every_block(packed_digits: Path) -> None:
    report = inspect_file(packed_digits, blocks=True)
    heat = heat_map(report)["data"][0]
    shares = [share for row in heat["z"] for share in row]
    assert report.blocks
    assert shares == [round(block.stored_size / block.size, 4) for block in report.blocks]


def test_what_cannot_be_shown_is_named(tmp_path: Path, digits: Path) -> None:
    compress(digits, tmp_path / "opaque.etz", Options(opaque=True))
    page = full_page(tmp_path / "opaque.etz")
    assert "packed without looking into it (--opaque)" in page
    assert len(figures(page)) == 2
    assert figures(full_page(ROOT / "schemas" / "vectors" / "ok_empty.etz")) == []


def test_a_model_with_too_many_loads_has_the_rest(digits: Path) -> None:
    report = inspect_file(digits, tensors=True, memory=True)
    assert report.memory
    untold = replace(report.memory, simulation=None, unsimulated="too many")
    page = inspect_page(replace(report, memory=untold))
    assert "Memory while loading is not shown: too many." in page
    assert len(figures(page)) == 1


@pytest.mark.unmeasured
def test_many_steps_keep_the_peak() -> None:
    delegates = [DelegateSpec(data=bytes(64 + number % 500)) for number in range(900)]
    model = build_pte(PteSpec([MethodSpec(delegates=delegates)]))
    report = inspect_file(model, memory=True)
    assert report.memory
    assert report.memory.simulation
    lines = figures(full_page(model))[-1]["data"]
    for line, loader in zip(lines, report.memory.simulation.loaders, strict=True):
        assert len(line["x"]) <= 2 * 200 + 1
        assert max(line["y"]) == loader.peak.footprint.total


def test_many_blocks_share_cells(tmp_path: Path) -> None:
    path = tmp_path / "many.bin"
    path.write_bytes(bytes(3000 * 4096))
    compress(path, tmp_path / "many.etz", Options(block_size=4096, opaque=True))
    report = inspect_file(tmp_path / "many.etz", blocks=True, planes=False)
    assert report.blocks
    assert len(report.blocks) == 3000
    heat = heat_map(report)["data"][0]
    cells = [share for row in heat["z"] for share in row]
    assert len(cells) == 1500
    assert "blocks 0 to 1, from 0x0" in heat["text"][0][0]


@pytest.mark.unmeasured
def test_the_page_of_a_large_model_stays_small() -> None:
    tensors = [TensorSpec(weights(4 + number % 99), name=f"layers.{number}." + "x" * 100) for number in range(3000)]
    named = [NamedSpec(f"key{number}" + "y" * 100, number.to_bytes(4, "little") * 16) for number in range(3000)]
    delegates = [DelegateSpec(data=b"blob%d" % number) for number in range(700)]
    page = full_page(build_pte(PteSpec([MethodSpec(tensors=tensors, delegates=delegates)], named)))
    assert len(page.encode()) < MOST_BYTES
    assert "smaller ones" in page


def test_a_page_is_not_overwritten_without_force(packed_digits: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    result = run("--html", path, packed_digits)
    assert isinstance(result.exception, OutputError)
    assert path.read_text() == "mine"
    assert run("--html", path, "-f", packed_digits).exit_code == 0
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_page_of_several_files_or_beside_json_is_refused(packed_digits: Path, digits: Path, tmp_path: Path) -> None:
    assert run("--html", tmp_path / "x.html", packed_digits, digits).exit_code == 2
    assert run("--html", "-", "--json", packed_digits).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_page_does_not_replace_what_it_is_made_of(packed_digits: Path, tmp_path: Path) -> None:
    weights_file, backends = tmp_path / "w.ptd", tmp_path / "backends.toml"
    weights_file.write_bytes(build_ptd(PtdSpec([NamedSpec("w", weights(300))])))
    backends.write_text("backends = []")
    before = {path: path.read_bytes() for path in (packed_digits, weights_file, backends)}
    for path in before:
        result = run("--html", path, "-f", "--data", weights_file, "--backends", backends, packed_digits)
        assert isinstance(result.exception, OutputError)
    assert {path: path.read_bytes() for path in before} == before


def test_a_page_goes_to_stdout(packed_digits: Path, page: Path) -> None:
    assert run("--html", "-", packed_digits).stdout == page.read_text(encoding="utf-8")


def test_without_plotly_the_user_is_told(packed_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    result = run("--html", tmp_path / "x.html", packed_digits)
    assert isinstance(result.exception, UnsupportedError)
    assert "pip install 'etpack[html]'" in str(result.exception.hint)
    assert list(tmp_path.iterdir()) == []
