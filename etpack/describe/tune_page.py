"""A tune report as an HTML page: the recommendation, plots of what was tried, and the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etpack.describe.page import SERIES, Page
from etpack.describe.tune import COLUMNS, cells, command_line, heading, recommended
from etpack.describe.tune_reasons import device_lines, model_line, named, reasons, sample_line
from etpack.describe.words import duration, human, safe
from etpack.limits import written
from etpack.tuning import Trial, TuneReport

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


def tune_page(report: TuneReport) -> str:
    """Return the page.

    Raises:
        UnsupportedError: plotly is not installed.
    """
    page = Page(f"{safe(report.file, 2000)} on {safe(report.device.name)}")
    page.add_table(("device", ""), device_lines(report.device))
    page.add_heading(heading(report))
    if command := command_line(report):
        page.add_code(command)
    page.add_list(reasons(report))
    which = "the recommended options" if report.pays else "the options that come nearest"
    page.add_heading("Load time")
    page.add_figure(
        _figure(report, "time to load", "s", lambda trial: trial.load.seconds, report.plain.seconds, "plain file"),
        about=f"Load time by block size; {which} load in {duration(report.best.load.seconds)}.",
    )
    page.add_heading("File size")
    page.add_figure(
        _figure(report, "stored", "B", lambda trial: trial.stored_size, report.content_size, "plain file"),
        about=f"File size by block size; {which} store {human(report.best.stored_size)}.",
    )
    page.add_heading("Scratch")
    page.add_figure(
        _figure(report, "RAM", "B", lambda trial: trial.scratch_size, report.device.scratch_size, "there is"),
        about=f"Scratch by block size; {which} take {human(report.best.scratch_size)}.",
    )
    page.add_heading(f"Tried ({len(report.trials):,})")
    kinds = {n: "mark" if trial is recommended(report) else "faint" for n, trial in enumerate(report.trials)}
    marked = {n: kind for n, kind in kinds.items() if kind == "mark" or not report.trials[n].fits}
    page.add_table(COLUMNS, (cells(trial, report) for trial in report.trials), marked)
    page.add_text(f"{sample_line(report)} {model_line(report)}")
    return page.to_html()


def _figure(
    report: TuneReport, title: str, unit: str, value: Callable[[Trial], float], line: float | None, line_name: str
) -> dict[str, Any]:
    """Return a plot over block sizes, with a line for each codec, and a level line to hold them against."""
    series: dict[str, list[Trial]] = {}
    for trial in sorted(report.trials, key=lambda trial: trial.options.block_size):
        series.setdefault(_series_name(trial), []).append(trial)
    data = [
        _trace(name, trials, value, SERIES[number % len(SERIES)], _SYMBOLS[number % len(_SYMBOLS)])
        for number, (name, trials) in enumerate(sorted(series.items()))
    ]
    if best := recommended(report):
        data.append({
            "type": "scatter", "mode": "markers", "name": "recommended", "x": [best.options.block_size],
            "y": [value(best)], "hoverinfo": "skip",
            "marker": {"symbol": "circle-open", "size": 20, "color": "#d55e00", "line": {"width": 3}},
        })  # fmt: skip
    sizes = sorted({trial.options.block_size for trial in report.trials})
    layout: dict[str, Any] = {
        "xaxis": {
            "type": "log", "title": {"text": "block size"}, "tickvals": sizes, "ticktext": [written(n) for n in sizes],
        },
        "yaxis": {"title": {"text": title}, "rangemode": "tozero", "tickformat": "~s", "ticksuffix": unit},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    }  # fmt: skip
    if line is not None:
        data.append({
            "type": "scatter", "mode": "lines", "name": line_name, "x": [sizes[0], sizes[-1]], "y": [line, line],
            "hoverinfo": "skip", "line": {"dash": "dash", "color": "#888888"},
        })  # fmt: skip
    return {"data": data, "layout": layout}


def _series_name(trial: Trial) -> str:
    options = trial.options
    alignment = f", aligned to {written(options.alignment)}" if options.alignment > 1 else ""
    return f"{options.codec}, {options.effort.value}{alignment}"


def _trace(name: str, trials: list[Trial], value: Callable[[Trial], float], color: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines+markers", "name": safe(name),
        "x": [trial.options.block_size for trial in trials], "y": [value(trial) for trial in trials],
        "text": [_hover(trial) for trial in trials], "hoverinfo": "text",
        "line": {"color": color},
        "marker": {
            "color": color, "size": 8,
            "symbol": [symbol if trial.fits else f"{symbol}-open" for trial in trials],
        },
    }  # fmt: skip


def _hover(trial: Trial) -> str:
    lines = [
        named(trial), f"loads in {duration(trial.load.seconds)}", f"stores {human(trial.stored_size)}",
        f"scratch {human(trial.scratch_size)}" + ("" if trial.fits else ": does not fit"),
        "measured on all of the model" if trial.exact else "measured on a sample",
    ]  # fmt: skip
    return "<br>".join(line.replace("<", "&lt;") for line in lines)
