"""`etpack decompress`."""

from __future__ import annotations

import time
from contextlib import closing

import click

from etpack.cli import common
from etpack.describe.words import safe
from etpack.files import unpacked_path
from etpack.limits import Limits
from etpack.output import refuse_input
from etpack.reader import EtzFile
from etpack.sources import Source, open_source, steady
from etpack.sources.urls import local_path
from etpack.unpack import unpack


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE.etz...", type=common.INPUT)
@common.output_options
@common.limit_option
@common.jobs_option
@common.quiet_option
@common.verbose_option
@common.json_option
def decompress(
    files: tuple[str, ...],
    output: str | None,
    force: bool,
    limits: Limits,
    jobs: int | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Restore packed models, byte for byte; every block and the SHA-256 of the whole are checked.

    A FILE may be a URL; the model then goes into the current folder.
    """
    if output and len(files) > 1:
        raise click.UsageError("-o takes one FILE; give one, or leave -o out")
    with common.json_results(as_json, err=output == common.STDOUT) as results:
        for name in files:
            start = time.perf_counter()
            with closing(open_source(name, limits=limits, whole=True)) as source:
                with steady(source):
                    file = EtzFile(source, limits=limits, jobs=jobs)
                    target = output or str(unpacked_path(local_path(name), file.manifest.kind))
                with file:
                    refuse_input(target, name)
                    name = file.name
                    sha256 = _restore(source, file, target, force, jobs, quiet)
            results.append({"file": name, "output": target, "content_size": file.size, "content_sha256": sha256})
            if verbose:
                common.echo_speed(name, file.size, time.perf_counter() - start, jobs)
            if not quiet and not as_json:
                click.echo(f"{safe(name)} -> {safe(target)}: {file.size:,} bytes", err=target == common.STDOUT)


def _restore(source: Source, file: EtzFile, target: str, force: bool, jobs: int | None, quiet: bool) -> str:
    with (
        common.open_output(target, force=force, size=file.size) as out,
        common.progress_bar(file.name, quiet=quiet) as progress,
        steady(source),
    ):
        return unpack(file, out, jobs=jobs, progress=progress)
