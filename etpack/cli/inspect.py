"""`etpack inspect`."""

# ruff: noqa: A005  (a module of commands; each has the name of its command)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import click

from etpack.cli import common
from etpack.describe.page import check_plotly
from etpack.limits import Limits
from etpack.memory import Backends, Loader, Speeds, is_speed
from etpack.report import LoadSetup, Report, inspect_file, read_data_file, with_loaders
from etpack.sources import open_source, steady

_DATA = "A .ptd that the model is loaded with. May be repeated."
_BACKENDS = (
    "What your own backends free: a file of TOML or JSON, as the guide shows. Its entries replace the known ones."
)
_LOADERS = {loader.name.lower().replace("_", "-"): loader for loader in Loader}
_STORAGE_SPEED = "How fast the device reads, to say how long loading takes."


def _to_speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not is_speed(speed):
        raise click.BadParameter(f"{text!r} is not a speed in MB/s")
    return speed


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=common.INPUT)
@click.option("--blocks", is_flag=True, help="List the blocks of an .etz, with the codec of each plane.")
@click.option("--tensors", is_flag=True, help="List the tensors, the largest first.")
@click.option("--tree", is_flag=True, help="Show the content by method and delegate, down to the tensors.")
@click.option("--memory", is_flag=True, help="Show what is in memory at each step of loading, and each load and free.")
@click.option(
    "--loader", "loaders", multiple=True, type=click.Choice(list(_LOADERS)),
    help="Tell of loading with this data loader; of all by default. May be repeated.",
)  # fmt: skip
@click.option("--data", "data_files", multiple=True, metavar="PTD", type=common.INPUT, help=_DATA)
@click.option("--backends", metavar="FILE", type=common.INPUT, help=_BACKENDS)
@click.option("--storage-speed", metavar="MB/S", type=_to_speed, help=_STORAGE_SPEED)
@click.option(
    "--decode-speed", metavar="MB/S", type=_to_speed, help="How fast the device decodes; see --storage-speed."
)
@click.option("--html", metavar="PATH", type=common.OUTPUT, help="Write a page with plots; - for stdout.")
@click.option("-f", "--force", is_flag=True, help="Overwrite a page that is there.")
@click.option("--all", "everything", is_flag=True, help="Show all rows of long tables.")
@common.limit_option
@common.json_option
def inspect(
    files: tuple[str, ...],
    blocks: bool,
    tensors: bool,
    tree: bool,
    memory: bool,
    loaders: tuple[str, ...],
    data_files: tuple[str, ...],
    backends: str | None,
    storage_speed: float | None,
    decode_speed: float | None,
    html: str | None,
    force: bool,
    everything: bool,
    limits: Limits,
    as_json: bool,
) -> None:
    """Show what a .pte, .ptd, .bpte or .etz holds, how it is stored, and what of it comes back after loading.

    Of an .etz, its index, the blocks of its program, and the directory of a block of each extent are read; of a model
    for XNNPACK, the delegates' blobs too. A FILE may be a URL; no more of it is fetched than that.
    """
    if decode_speed and not storage_speed:
        raise click.UsageError("--decode-speed says nothing without --storage-speed; give both")
    setup = LoadSetup(
        backends=_read_backends(backends) if backends else None,
        data_files=tuple(read_data_file(file, limits=limits) for file in data_files),
        speeds=Speeds(storage_speed * 1e6, decode_speed and decode_speed * 1e6) if storage_speed else None,
    )
    chosen = [_LOADERS[name] for name in loaders]
    look = partial(_inspect, setup=setup, loaders=chosen, limits=limits)
    if html:
        _write_page(html, files, (*data_files, backends), look, force=force, as_json=as_json)
        if html == common.STDOUT:
            return
    reports = (look(file, blocks=blocks, tensors=tensors, tree=tree, memory=memory) for file in files)
    if as_json:
        common.echo_json({"results": [report.to_json() for report in reports]})
        return
    from etpack.describe.terminal import make_console, print_report

    console = make_console()
    for number, report in enumerate(reports):
        if number:
            console.print()
        print_report(report, console, everything=everything)


def _inspect(file: str, *, loaders: Sequence[Loader], limits: Limits, **options: Any) -> Report:
    with closing(open_source(file, limits=limits)) as source, steady(source):
        report = inspect_file(source, limits=limits, **options)
    return with_loaders(report, loaders) if loaders else report


def _write_page(
    path: str,
    files: Sequence[str],
    others: Sequence[str | None],
    look: Callable[..., Report],
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Write the page of one file, which has all that can be asked for."""
    if len(files) > 1:
        raise click.UsageError("a page is of one file; run etpack once for each")
    if as_json and path == common.STDOUT:
        raise click.UsageError("--json and --html - both go to stdout; name a file for --html")
    check_plotly()
    from etpack.describe.inspect_page import inspect_page

    with common.open_report(path, (*files, *others), force=force, option="--html") as out:
        out.write(inspect_page(look(files[0], blocks=True, planes=False, tensors=True, memory=True)).encode())


def _read_backends(path: str) -> Backends:
    from etpack.memory.own_backends import read_backends

    return read_backends(path)
