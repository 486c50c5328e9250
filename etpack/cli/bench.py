"""`etpack bench`."""

from __future__ import annotations

import click

from etpack import bench as measuring
from etpack.cli import common
from etpack.describe.bench import describe_bench
from etpack.limits import Limits


@click.command()
@click.argument("file", metavar="FILE", type=common.INPUT)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    multiple=True,
    default=measuring.THREADS,
    show_default=True,
    help="Threads to decode with. May be repeated.",
)
@click.option("--reads", type=click.IntRange(1), default=measuring.READS, show_default=True, help="Random reads.")
@common.limit_option
@common.quiet_option
@common.json_option
def bench(file: str, threads: tuple[int, ...], reads: int, limits: Limits, quiet: bool, as_json: bool) -> None:
    """Measure how fast this machine decodes an .etz, and how long random reads of 4 KiB and 64 KiB of it take.

    All of FILE is read once before, so that it comes from the system's cache where that has room for it. A URL is first
    fetched into a temporary file.
    """
    with common.progress_bar(file, quiet=quiet or as_json) as progress:
        report = measuring.bench_file(file, threads=threads, reads=reads, limits=limits, progress=progress)
    if as_json:
        common.echo_json(report.to_json())
    elif not quiet:
        click.echo("\n".join(describe_bench(report)))
