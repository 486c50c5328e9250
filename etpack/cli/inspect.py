"""`etpack inspect`."""

# ruff: noqa: A005  (a module of commands; each has the name of its command)

from __future__ import annotations

from contextlib import closing

import click

from etpack.cli import common
from etpack.limits import Limits
from etpack.report import Report, inspect_file
from etpack.sources import open_source, steady


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=common.INPUT)
@click.option("--blocks", is_flag=True, help="List the blocks of an .etz, with the codec of each plane.")
@click.option("--tensors", is_flag=True, help="List the tensors.")
@click.option("--all", "everything", is_flag=True, help="Show all rows of long tables.")
@common.limit_option
@common.json_option
def inspect(
    files: tuple[str, ...], blocks: bool, tensors: bool, everything: bool, limits: Limits, as_json: bool
) -> None:
    """Show what a .pte, .ptd, .bpte or .etz holds, how it is stored, and what of it comes back after loading.

    Of an .etz, its index, the blocks of its program, and the directory of a block of each extent are read. A FILE may
    be a URL; no more of it is fetched than that.
    """
    reports = (_inspect(file, blocks, tensors, limits) for file in files)
    if as_json:
        common.echo_json({"results": [report.to_json() for report in reports]})
        return
    from etpack.describe.terminal import make_console, print_report

    console = make_console()
    for number, report in enumerate(reports):
        if number:
            console.print()
        print_report(report, console, everything=everything)


def _inspect(file: str, blocks: bool, tensors: bool, limits: Limits) -> Report:
    with closing(open_source(file, limits=limits)) as source, steady(source):
        return inspect_file(source, blocks=blocks, tensors=tensors, limits=limits)
