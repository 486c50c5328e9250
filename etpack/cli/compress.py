"""`etpack compress`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import click

from etpack import codecs
from etpack.cli import common
from etpack.codecs import Effort
from etpack.describe.words import safe
from etpack.errors import CodecMissingError, PteError
from etpack.files import packed_path
from etpack.limits import Limits
from etpack.output import refuse_input
from etpack.sources import open_source
from etpack.sources.urls import local_path
from etpack.writer import Options, PackResult, pack


def _known_codec(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Refuse a codec that is not there before any file is looked at."""
    try:
        return name if name in codecs.BUILT_IN_NAMES else codecs.by_name(name).name
    except CodecMissingError as exc:
        raise click.BadParameter(f"{exc}; {exc.hint}") from exc


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="MODEL...", type=common.INPUT)
@common.output_options
@click.option("--block-size", **common.SIZE, default="64K", help="Bytes in a block, 4K to 4M.")
@click.option(
    "--codec", default="auto", show_default=True, callback=_known_codec, help="auto, zstd, lz4, raw, or one installed."
)
@click.option(
    "--effort",
    type=click.Choice([effort.value for effort in Effort]),
    default=Effort.DEFAULT.value,
    show_default=True,
    help="How hard to look for a smaller file.",
)
@click.option(
    "--no-filter", is_flag=True, help="No byte planes: each block is one bare stream. Gains little on weights."
)
@click.option("--align", **common.SIZE, default="1", help="Alignment of each stream in the file.")
@click.option("--opaque", is_flag=True, help="Pack any file, without looking into it.")
@click.option("--no-check", is_flag=True, help="Do not decode and compare each block before it is written.")
@common.limit_option
@common.jobs_option
@common.quiet_option
@common.verbose_option
@common.json_option
def compress(
    files: tuple[str, ...],
    output: str | None,
    force: bool,
    block_size: int,
    codec: str,
    effort: str,
    no_filter: bool,
    align: int,
    opaque: bool,
    no_check: bool,
    limits: Limits,
    jobs: int | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Pack models (.pte, .ptd, .bpte) into .etz files; MODEL.pte gives MODEL.etz beside it.

    A MODEL may be a URL; MODEL.etz then goes into the current folder.
    """
    if output and len(files) > 1:
        raise click.UsageError("-o takes one MODEL; give one, or leave -o out")
    try:
        options = Options(block_size, codec, Effort(effort), not no_filter, align, opaque)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    with common.json_results(as_json, err=output == common.STDOUT) as results:
        for file in files:
            start = time.perf_counter()
            with closing(open_source(file, limits=limits, whole=True)) as source:
                target = output or str(packed_path(local_path(file)))
                refuse_input(target, file)
                file = source.name
                with (
                    common.open_output(target, force=force) as out,
                    common.progress_bar(file, quiet=quiet) as progress,
                    _offering_opaque(),
                ):
                    result = pack(source, out, options, jobs=jobs, check=not no_check, progress=progress)
            results.append(_to_json(file, target, result))
            if result.stored_size > result.content_size and not quiet:
                hint = "small files do not gain, and --align costs most in them"
                click.echo(f"etpack: warning: {safe(target)} is larger than {safe(file)}: {hint}", err=True)
            if verbose:
                common.echo_speed(file, result.content_size, time.perf_counter() - start, jobs)
            if not quiet and not as_json:
                click.echo(_describe(file, target, result), err=target == common.STDOUT)


@contextmanager
def _offering_opaque() -> Iterator[None]:
    """Say with what is no model that it can be packed all the same."""
    try:
        yield
    except PteError as exc:
        if exc.hint == PteError.default_hint:
            exc.hint = f"{exc.hint}; to pack any file, use --opaque"
        raise


def _describe(file: str, target: str, result: PackResult) -> str:
    shared = f", {result.shared_count:,} of them shared" if result.shared_count else ""
    return (
        f"{safe(file)}: {result.content_size:,} bytes -> {safe(target)}: {result.stored_size:,} bytes, "
        f"ratio {result.ratio:.3f}, {result.block_count:,} blocks{shared}"
    )


def _to_json(file: str, target: str, result: PackResult) -> dict[str, object]:
    return {
        "file": file,
        "output": target,
        "kind": result.kind.value,
        "content_size": result.content_size,
        "stored_size": result.stored_size,
        "ratio": round(result.ratio, 6),
        "block_count": result.block_count,
        "shared_count": result.shared_count,
        "content_sha256": result.content_sha256,
    }
