"""A file to scale in one line: a letter where an extent begins, dashes while it lasts, and colours if there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etpack.describe.words import human
from etpack.pte import Role

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from etpack.report import ExtentReport, Report

# A letter and a style for each role.
_MARKS = {
    Role.PROGRAM: ("P", "black on cyan"),
    Role.CONSTANT: ("C", "white on blue"),
    Role.MUTABLE: ("M", "white on magenta"),
    Role.DELEGATE: ("D", "black on yellow"),
    Role.NAMED_DATA: ("N", "black on green"),
    Role.METADATA: ("A", "black on cyan"),
    Role.UNUSED: ("U", "white on red"),
    Role.PADDING: ("Z", "black on white"),
    Role.TRAILING: ("T", "white on red"),
    Role.OPAQUE: ("O", "black on white"),
}
_GAP = "."
_MOST_CELLS = 120


def print_map(report: Report, console: Console) -> None:
    """Print the map, and what its letters mean; nothing for an empty file."""
    from rich.text import Text

    size = report.content_size
    if not size:
        return
    count = min(console.width, _MOST_CELLS, size)
    cells = extents_by_cell(report, count)
    console.print(f"\nMap, {human(-(-size // count))} a cell", style="bold")
    line = Text()
    before = None
    for extent in cells:
        letter, style = _MARKS[extent.role] if extent else (_GAP, "dim")
        line.append("-" if extent and extent is before else letter, style)
        before = extent
    console.print(line, soft_wrap=True)
    console.print(_legend(report, cells))


def extents_by_cell(report: Report, count: int) -> list[ExtentReport | None]:
    """Return the extent that has most of each of `count` equal parts of the content; None where the gaps have it."""
    size = report.content_size
    starts = [number * size // count for number in range(count + 1)]
    found: list[ExtentReport | None] = [None] * count
    most = [0] * count
    covered = [0] * count
    cell = 0
    for extent in report.extents:
        end = extent.offset + extent.size
        while starts[cell + 1] <= extent.offset and cell + 1 < count:
            cell += 1
        number = cell
        while number < count and starts[number] < end:
            part = min(end, starts[number + 1]) - max(extent.offset, starts[number])
            covered[number] += part
            if part > most[number]:
                most[number], found[number] = part, extent
            number += 1
    for number in range(count):
        if starts[number + 1] - starts[number] - covered[number] > most[number]:
            found[number] = None
    return found


def _legend(report: Report, cells: list[ExtentReport | None]) -> Text:
    """Return what each letter means; roles that are too small for a cell come last."""
    from rich.text import Text

    drawn = {extent.role for extent in cells if extent}
    parts = [Text.assemble(_MARKS[role], f" {role.value}") for role in Role if role in drawn]
    if None in cells:
        parts.append(Text(f"{_GAP} between them"))
    small = [total.role.value for total in report.roles if total.role not in drawn]
    if small:
        parts.append(Text(f"less than a cell: {', '.join(small)}", "dim"))
    return Text("  ").join(parts)
