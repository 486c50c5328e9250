"""A tune report on the terminal: the recommendation, the reasons, and a table of what was tried."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from etpack.describe.tables import WIDE, Rows
from etpack.describe.terminal import trimmed
from etpack.describe.tune_reasons import device_lines, model_line, reasons, sample_line
from etpack.describe.words import duration, human, safe

if TYPE_CHECKING:
    from rich.console import Console

    from etpack.tuning import Trial, TuneReport

# Rows of the table unless all are asked for.
_MOST_ROWS = 12

COLUMNS = (
    ">block",
    "codec",
    ">align",
    "effort",
    ">stored",
    ">ratio",
    ">load",
    ">reading",
    ">decoding",
    ">scratch",
    "note",
)
# Those that a narrow terminal has no room for.
_WIDE_COLUMNS = {"effort", ">ratio", ">reading", ">decoding"}


def print_tune(report: TuneReport, console: Console, *, everything: bool = False) -> None:
    """Print a report.

    Args:
        report: What `tune` found.
        console: Where it goes.
        everything: All rows of the table, and not the best only.
    """
    with trimmed(console):
        _print(report, console, everything)


def heading(report: TuneReport) -> str:
    """Return what is recommended, as a heading."""
    if not report.pays:
        return "Recommended: leave it as it is"
    return f"Recommended for {'the quickest load' if report.goal.value == 'load' else 'the smallest file'}"


def command_line(report: TuneReport) -> str | None:
    """Return the recommended command as a shell takes it, if there is one."""
    return safe(shlex.join(report.command), 4000) if report.command else None


def cells(trial: Trial, report: TuneReport) -> Sequence[str]:
    """Return the row of a trial, by `COLUMNS`."""
    options = trial.options
    notes = ["does not fit"] if not trial.fits else [] if trial.pays else ["no gain"]
    notes += [] if trial.exact else ["by the sample"]
    return (
        human(options.block_size),
        options.codec + ("" if options.filters else ", no filter"),
        human(options.alignment) if options.alignment > 1 else "",
        options.effort.value,
        human(trial.stored_size),
        f"{report.content_size / trial.stored_size:.3f}",
        duration(trial.load.seconds),
        duration(trial.load.read_seconds),
        duration(trial.load.decode_seconds),
        human(trial.scratch_size),
        ", ".join(["recommended"] * (trial is recommended(report)) + notes),
    )


def recommended(report: TuneReport) -> Trial | None:
    """Return the trial that is recommended, if one is."""
    return report.best if report.pays else None


def _print(report: TuneReport, console: Console, everything: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"{safe(report.file, 2000)} on {safe(report.device.name)}", "bold"), soft_wrap=True)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in device_lines(report.device):
        grid.add_row(label, safe(text, 2000))
    console.print(grid)
    console.print(f"\n{heading(report)}", style="bold")
    if command := command_line(report):
        console.print(Text(f"  {command}", "green"), soft_wrap=True)
    reason_grid = Table.grid(padding=(0, 1))
    reason_grid.add_column(no_wrap=True)
    reason_grid.add_column(overflow="fold")
    for reason in reasons(report):
        reason_grid.add_row("-", reason)
    console.print(reason_grid)
    shown = report.trials if everything else report.trials[:_MOST_ROWS]
    columns = [name for name in COLUMNS if console.width >= WIDE or name not in _WIDE_COLUMNS]
    table = Rows(console, f"Tried ({len(report.trials):,})", *columns)
    for trial in shown:
        style = "green" if trial is recommended(report) else None if trial.fits else "dim"
        row = dict(zip(COLUMNS, cells(trial, report), strict=True))
        table.add(*[row[name] for name in columns], style=style)
    table.print()
    if len(shown) < len(report.trials):
        console.print(f"+ {len(report.trials) - len(shown):,} more; --all shows them", style="dim")
    console.print(f"\n{sample_line(report)} {model_line(report)}", style="dim")
