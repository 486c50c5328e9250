"""A report on the terminal: a summary of the file, then its tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from etpack.describe import loading, memory, tables
from etpack.describe.map import print_map
from etpack.describe.tree import print_tree
from etpack.describe.words import both, coding, human, plural, ratio, safe

if TYPE_CHECKING:
    import shutil

    from rich.console import Console

    from etpack.report import Packing, ProgramReport, Report

PIPED_WIDTH = 120


def make_console() -> Console:
    """Return a console on stdout: as wide as the terminal, or without one 120 columns wide and without colours."""
    from rich.console import Console

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may have letters that the terminal does not
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)


@contextmanager
def trimmed(console: Console) -> Iterator[None]:
    """Take the padding off the lines that are printed: a table has it, and in a file or a pipe nobody wants it."""
    with console.capture() as captured:
        yield
    console.file.writelines(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines())


def print_report(report: Report, console: Console, *, everything: bool = False) -> None:
    """Print a report.

    Args:
        report: What `inspect_file` found.
        console: Where it goes.
        everything: All rows of the tables, and not the largest only.
    """
    with trimmed(console):
        _print_all(report, console, everything)


def _print_all(report: Report, console: Console, everything: bool) -> None:
    _print_summary(report, console)
    print_map(report, console)
    tables.print_extents(report, console, everything=everything)
    tables.print_roles(report, console)
    if report.methods:
        tables.print_methods(report.methods, console, everything=everything)
    if report.tree:
        print_tree(report.tree, console, everything=everything)
    if report.tensors is not None:
        tables.print_tensors(report, console, everything=everything)
    if report.blocks is not None:
        tables.print_blocks(report.blocks, console, everything=everything)
    if report.memory:
        memory.print_memory(report.memory, console, everything=everything)
        if report.memory.simulation:
            loading.print_loading(report.memory.simulation, console, everything=everything)
        else:
            console.print(f"\nMemory while loading is not shown: {report.memory.unsimulated}.")
    if report.missing:
        console.print(f"\nMethods, tensors and what comes back are not shown: {safe(report.missing, 2000)}.")


def _print_summary(report: Report, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(safe(report.file, 2000), "bold"), soft_wrap=True)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in summary_lines(report):
        grid.add_row(label, text)
    console.print(grid)


def summary_lines(report: Report) -> list[tuple[str, str]]:
    """Return what to say of the whole file: labels and texts."""
    kind = "a file that was not looked into" if report.kind.value == "opaque" else f".{report.kind.value}"
    lines = [("content", f"{kind}, {both(report.content_size)}")]
    if report.packing:
        lines += _packing_lines(report.packing)
    if report.program:
        lines.append(("program", _program_line(report.program)))
    return lines


def _packing_lines(packing: Packing) -> list[tuple[str, str]]:
    saved = 1 - packing.stored_size / packing.content_size if packing.content_size else 0
    shared = f", {packing.shared_count:,} of them share another's bytes" if packing.shared_count else ""
    options = packing.options
    chosen = f"codec {safe(options.codec)}, effort {safe(options.effort)}, filters {'on' if options.filters else 'off'}"
    padding = f", {human(packing.padding_size)} of padding" if packing.padding_size else ""
    share = packing.overhead / packing.stored_size
    encodings = [f"{coding(e.filter, e.codec, e.plane_codecs)} ({e.block_count:,})" for e in packing.encodings]
    codecs = " and ".join(packing.codecs)
    return [
        ("stored", f"{both(packing.stored_size)}, ratio {ratio(packing.ratio)}, {saved:.1%} saved"),
        ("blocks", f"{packing.block_count:,} of up to {human(packing.block_size)}{shared}"),
        ("coding", ", ".join(encodings) or "no blocks"),
        ("packed by", f"{safe(packing.tool)}: {chosen}, alignment {packing.alignment:,}"),
        ("overhead", f"{plural(packing.overhead, 'byte')} ({share:.2%}){padding}"),
        ("a device needs", _device_line(packing) + (f", {codecs}" if codecs else ", no decoder")),
        ("SHA-256", packing.content_sha256),
    ]


def _device_line(packing: Packing) -> str:
    largest, scratch = plural(packing.max_stored_block, "byte"), plural(packing.max_plane_scratch, "byte")
    return f"{largest} for the largest stored block, {scratch} of scratch for planes"


def _program_line(program: ProgramReport) -> str:
    header = f"header of {program.header_length} bytes" if program.header_length else "no extended header"
    keys = f", {plural(program.named_data_count, 'key')} of named data" if program.named_data_count else ""
    return f"{human(program.size)} of flatbuffer, {header}, {plural(program.segment_count, 'segment')}{keys}"
