"""`etpack tune`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import click

from etpack.cli import common
from etpack.codecs import Effort
from etpack.describe.page import check_plotly
from etpack.errors import naming
from etpack.layout import BLOCK_SIZES
from etpack.limits import Limits, written
from etpack.tuning import SAMPLE_SIZE, Device, Goal, read_values
from etpack.tuning import tune as search


def _by_name(convert: Callable[[str], Any]) -> Callable[..., dict[str, Any]]:
    """Return a callback that turns NAME=VALUE, repeated, into a dictionary."""

    def to_values(_context: click.Context, _parameter: click.Parameter, texts: Sequence[str]) -> dict[str, Any]:
        values = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise click.BadParameter(f"{text!r} is not NAME=VALUE")
            values[name] = convert(value)
        return values

    return to_values


def _to_block_sizes(_context: click.Context, _parameter: click.Parameter, sizes: Sequence[int]) -> Sequence[int]:
    for size in sizes:
        if size not in BLOCK_SIZES:
            raise click.BadParameter(f"{size:,} is not a power of two from 4K to 4M")
    return sizes or BLOCK_SIZES


def _to_speed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number of MB/s") from None


@click.command()
@click.argument("file", metavar="MODEL", type=common.INPUT)
@click.option(
    "--device", "description", type=common.INPUT, metavar="PATH", help="Numbers in TOML or JSON, as the guide shows."
)
@click.option("--storage", type=float, metavar="MB/S", help="What storage delivers.")
@click.option("--request-us", type=float, metavar="US", help="Microseconds before storage begins to answer a read.")
@click.option("--sector", type=common.parse_size, metavar="SIZE", help="Storage is read in whole sectors of this size.")
@click.option("--scratch", type=common.parse_size, metavar="SIZE", help="RAM that decoding may take.")
@click.option(
    "--decode",
    multiple=True,
    callback=_by_name(_to_speed),
    metavar="CODEC=MB/S",
    help="Content that a codec gives in a second: lz4, zstd, one installed; planes for putting byte planes together.",
)
@click.option(
    "--workspace",
    multiple=True,
    callback=_by_name(common.parse_size),
    metavar="CODEC=SIZE",
    help="RAM that the decoder of a codec takes for itself.",
)
@click.option("--fixed-function", is_flag=True, help="The decoder takes bare streams; nothing puts planes together.")
@click.option(
    "--for",
    "goal",
    type=click.Choice([goal.value for goal in Goal]),
    default=Goal.LOAD.value,
    show_default=True,
    help="The quickest load, or the smallest file.",
)
@click.option(
    "--block-size", "block_sizes", type=common.parse_size, multiple=True, callback=_to_block_sizes, metavar="SIZE",
    help="Try this one; all from 4K to 4M by default. May be repeated.",
)  # fmt: skip
@click.option(
    "--effort",
    "efforts",
    type=click.Choice([effort.value for effort in Effort]),
    multiple=True,
    default=[Effort.DEFAULT.value],
    show_default=True,
    help="Try this one. May be repeated.",
)
@click.option(
    "--sample", type=common.parse_size, default=written(SAMPLE_SIZE), show_default=True, metavar="SIZE",
    help="Bytes of MODEL that each trial packs; the best then pack all of it.",
)  # fmt: skip
@click.option("--full", is_flag=True, help="Pack all of MODEL in each trial.")
@click.option("--html", type=common.OUTPUT, metavar="PATH", help="Write a page with plots; - for stdout.")
@click.option("-f", "--force", is_flag=True, help="Overwrite a page that is there.")
@click.option("--all", "everything", is_flag=True, help="Show all that was tried.")
@common.limit_option
@common.jobs_option
@common.quiet_option
@common.json_option
def tune(
    file: str,
    description: str | None,
    goal: str,
    block_sizes: Sequence[int],
    efforts: tuple[str, ...],
    sample: int,
    full: bool,
    html: str | None,
    force: bool,
    everything: bool,
    limits: Limits,
    jobs: int | None,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Find the options of `compress` that suit MODEL and a device, by trying them; no .etz is written.

    The device is described in a file, by options, or both: what an option says counts. etpack knows no hardware, so the
    numbers are yours. If no options save 1 % of the size or of the time to load, it says to leave MODEL as it is. Exit
    code 3 if nothing fits into the scratch.
    """
    if html:
        check_plotly()
    if as_json and html == common.STDOUT:
        raise click.UsageError("--json and --html - both go to stdout; name a file for --html")
    device = _device(description, given)
    page = common.open_report(html, (file, description), force=force, option="--html") if html else nullcontext()
    with page as out:
        with common.progress_bar(file, quiet=quiet or as_json) as progress:
            report = search(
                file, device, goal=Goal(goal), block_sizes=block_sizes, efforts=list(map(Effort, efforts)),
                sample_size=None if full else sample, jobs=jobs, limits=limits, progress=progress,
            )  # fmt: skip
        if out:
            from etpack.describe.tune_page import tune_page

            out.write(tune_page(report).encode())
    if as_json:
        common.echo_json(report.to_json())
    elif not quiet and html != common.STDOUT:
        from etpack.describe.terminal import make_console
        from etpack.describe.tune import print_tune

        print_tune(report, make_console(), everything=everything)


def _device(description: str | None, given: Mapping[str, Any]) -> Device:
    """Return the device that a file describes, with what the options say put over it."""
    names = {"storage": "storage_mb_s", "sector": "sector_size", "scratch": "scratch_size", "decode": "decode_mb_s"}
    values = read_values(description) if description else {}
    for option, value in given.items():
        name = names.get(option, option)
        if value is None or value is False or value == {}:  # not given
            continue
        if isinstance(value, dict) and isinstance(values.get(name, {}), dict):
            values[name] = {**values.get(name, {}), **value}
        else:
            values[name] = value
    with naming(description) if description else nullcontext():
        return Device.from_values(values)
