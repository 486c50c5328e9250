"""`etpack diff`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from etpack import compare, layout
from etpack.cli import common
from etpack.errors import EtpackError, PteError
from etpack.limits import Limits

# 1 says that the files differ, so what is wrong with a file must not.
_BAD_FILE = 3


@click.command()
@click.argument("a", metavar="A", type=common.INPUT)
@click.argument("b", metavar="B", type=common.INPUT)
@click.option("--all", "everything", is_flag=True, help="Show all rows of long tables, and what is unchanged.")
@click.option(
    "--block-size", **{**common.SIZE, "show_default": False}, default=None, help="For new blocks; that of B, or 64K."
)
@common.limit_option
@common.jobs_option
@common.quiet_option
@common.json_option
@click.pass_context
def diff(
    ctx: click.Context,
    a: str,
    b: str,
    everything: bool,
    block_size: int | None,
    limits: Limits,
    jobs: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Show what changed from model A to model B, by part, and how many blocks of B would have to be sent anew.

    Each is a .pte, .ptd, .bpte or .etz, or the URL of one. What counts is the content, however it is packed. Parts are
    matched by name or content; where the file has neither, by their place, and the row says so.

    The exit code is 0 if the contents are the same, byte for byte, and 1 if they differ. It is never 1 for anything
    else: 2 is wrong usage, 3 a file that is bad, unsupported or over a limit, 4 a file that cannot be read.
    """
    if block_size is not None and block_size not in layout.BLOCK_SIZES:
        raise click.UsageError("--block-size takes a power of two from 4K to 4M")
    with _never_1():
        found = compare.diff(a, b, everything=everything, block_size=block_size, jobs=jobs, limits=limits)
    if as_json:
        common.echo_json({"results": [found.to_json()]})
    elif not quiet:
        from etpack.describe.diff import print_diff
        from etpack.describe.terminal import make_console

        print_diff(found, make_console(), everything=everything)
    ctx.exit(0 if found.same else 1)


@contextmanager
def _never_1() -> Iterator[None]:
    """Give a bad file an exit code of its own."""
    try:
        yield
    except EtpackError as exc:
        if exc.exit_code == 1:
            exc.exit_code = _BAD_FILE
        if isinstance(exc, PteError) and exc.hint == PteError.default_hint:
            exc.hint = f"{exc.hint}; cmp compares any files"
        raise
