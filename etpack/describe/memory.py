"""What comes back after a load, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etpack.describe.words import both, human, listed, plural, safe

if TYPE_CHECKING:
    from rich.console import Console

    from etpack.memory import Fate, UseGroup
    from etpack.report import MemoryReport

_STYLES = {
    "always": "green",
    "on success": "green",
    "conditional": "yellow",
    "unknown": "magenta",
    "never": "red",
    "not held": "green",
    "not loaded": "dim",
}
_MOST_GROUPS = 24
# Groups that are told in full; those that follow get a line.
_MOST_FOLDED_GROUPS = 200

_NOUNS = {
    "program": ("flatbuffer", "flatbuffers"),
    "constant": ("constant segment", "constant segments"),
    "mutable": ("segment of first values of mutable tensors", "segments of first values of mutable tensors"),
    "delegate": ("delegate blob", "delegate blobs"),
    "named data": ("key of named data", "keys of named data"),
    "external": ("tensor in a .ptd", "tensors in a .ptd"),
    "metadata": ("part around the model", "parts around the model"),
    "unused": ("segment that nothing uses", "segments that nothing uses"),
    "padding": ("gap between the parts", "gaps between the parts"),
    "trailing": ("trailing part", "trailing parts"),
}


def print_memory(report: MemoryReport, console: Console, *, everything: bool) -> None:
    """Print what of the content comes back, use by use, and a line that sums up."""
    from rich.table import Table
    from rich.text import Text

    console.print("\nWhat comes back after loading", style="bold")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    groups = sorted(report.groups, key=lambda group: -group.size)
    shown = groups if everything else groups[:_MOST_GROUPS]
    told: dict[Fate, str] = {}
    for group in shown[:_MOST_FOLDED_GROUPS]:
        verdict = group.fate.verdict.value
        title = _title(group)
        text = Text.assemble((title, "bold"), "\n")
        first = told.setdefault(group.fate, title)
        if first is title:
            text.append_text(Text.assemble(_why(group), "\n", (_after(group), "dim")))
        else:
            text.append(f"The same as for {first}.")
        table.add_row(Text(verdict, _STYLES[verdict]), human(group.size), text)
    console.print(table)
    if len(shown) > _MOST_FOLDED_GROUPS:
        lines = map(_line, shown[_MOST_FOLDED_GROUPS:])
        console.out("\n".join(lines), highlight=False)
    if len(shown) < len(groups):
        console.print(f"+ {plural(len(groups) - len(shown), 'smaller group')}; --all shows them", style="dim")
    totals = ", ".join(f"{total.verdict.value} {human(total.size)}" for total in report.totals)
    console.print(f"\nIn all: {totals}.")
    versions = " and ".join(report.executorch)
    console.print(
        f"As read in the source of ExecuTorch {versions}. Each use is loaded for itself, also where uses share a "
        "segment; a blob inline in the flatbuffer counts with the flatbuffer.",
        style="dim",
    )


def _line(group: UseGroup) -> str:
    return f"{group.fate.verdict.value:12}{human(group.size):>12}  {_title(group)}"


def _title(group: UseGroup) -> str:
    """Return what the uses of a group are, where they lie and whom they go to."""
    one, many = _NOUNS[group.kind.value]
    title = plural(len(group.uses), one, many) if len(group.uses) > 1 else f"the {one}"
    if group.place.value == "flatbuffer" and group.kind.value == "delegate":
        title += " inline in the flatbuffer"
    if group.kind.value == "metadata" and group.place.value == "flatbuffer":
        title = "the flatbuffer"
    if group.backends:
        title += f" for {listed(group.backends)}"
    if group.methods and group.kind.value not in ("program", "constant"):
        title += f" in {listed(group.methods)}"
    if len(group.uses) == 1 and group.kind.value in ("named data", "external"):
        title += f": {safe(group.uses[0].what, 40)}"
    return title + (" (inferred; the file does not record it)" if group.fate.inferred else "")


def _why(group: UseGroup) -> str:
    fate = group.fate
    condition = f" That is when {fate.condition}." if fate.condition else ""
    return safe(fate.why, 2000) + condition


def _after(group: UseGroup) -> str:
    """Return what destroying the Method gives back, and the loader that makes the verdict true."""
    size = f" That is {both(group.method_frees)} at most." if group.method_frees else ""
    loader = group.fate.loader
    return f"{group.fate.after_method_destroyed}{size}" + ("" if loader == "with any loader" else f" True {loader}.")
