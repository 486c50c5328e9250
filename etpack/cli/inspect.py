"""`etpack inspect`."""

# ruff: noqa: A005  (a module of commands; each has the name of its command)

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

import click

from etpack.cli import common
from etpack.limits import Limits
from etpack.memory import Backends, Loader, Speeds
from etpack.report import Device, Report, inspect_file, read_data_file, with_loaders
from etpack.sources import Source, open_source, steady

_SPEED = click.FloatRange(min=0, min_open=True)
_DATA = "A .ptd that the model is loaded with. May be repeated."
_BACKENDS = (
    "What your own backends free: a .toml or .json file, as the README shows. Its entries replace the known ones."
)
_LOADERS = {loader.name.lower().replace("_", "-"): loader for loader in Loader}
_STORAGE_SPEED = "How fast the device reads, to say how long loading takes."


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
@click.option("--storage-speed", metavar="MB/S", type=_SPEED, help=_STORAGE_SPEED)
@click.option("--decode-speed", metavar="MB/S", type=_SPEED, help="How fast the device decodes; see --storage-speed.")
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
    device = Device(
        backends=_read_backends(backends) if backends else None,
        data_files=tuple(read_data_file(file, limits=limits) for file in data_files),
        speeds=Speeds(storage_speed * 1e6, decode_speed and decode_speed * 1e6) if storage_speed else None,
    )
    look = partial(inspect_file, blocks=blocks, tensors=tensors, tree=tree, memory=memory, device=device, limits=limits)
    reports = (_inspect(file, look, limits) for file in files)
    if loaders:
        chosen = [_LOADERS[name] for name in loaders]
        reports = (with_loaders(report, chosen) for report in reports)
    if as_json:
        common.echo_json({"results": [report.to_json() for report in reports]})
        return
    from etpack.describe.terminal import make_console, print_report

    console = make_console()
    for number, report in enumerate(reports):
        if number:
            console.print()
        print_report(report, console, everything=everything)


def _inspect(file: str, look: Callable[[Source], Report], limits: Limits) -> Report:
    with closing(open_source(file, limits=limits)) as source, steady(source):
        return look(source)


def _read_backends(path: str) -> Backends:
    from etpack.memory.own_backends import read_backends

    return read_backends(path)
