"""`etpack verify`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import click

from etpack.check import FileVerdict, verify_file, worst_exit_code
from etpack.cli import common
from etpack.describe.github import to_annotations
from etpack.describe.junit import to_junit
from etpack.describe.verdict import describe_summary, describe_verdict
from etpack.limits import Limits
from etpack.output import Output


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=common.INPUT)
@click.option("--fast", is_flag=True, help="Check structure and stored checksums; decode nothing.")
@click.option("--against", type=common.INPUT, metavar="MODEL", help="A file that the content must be equal to.")
@click.option("--junit", type=common.OUTPUT, metavar="PATH", help="Write a JUnit report; - for stdout.")
@click.option("--github", is_flag=True, help="Print annotations for GitHub Actions.")
@common.limit_option
@common.jobs_option
@common.quiet_option
@common.json_option
@click.pass_context
def verify(
    ctx: click.Context,
    files: tuple[str, ...],
    fast: bool,
    against: str | None,
    junit: str | None,
    github: bool,
    limits: Limits,
    jobs: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Check packed files (.etz) and models (.pte, .ptd, .bpte): every rule, every block, the SHA-256 of the whole.

    Models, also those in an .etz, are held to more than ExecuTorch's loader checks; --fast leaves out those in an .etz.

    A FILE may be a URL, of which each byte is fetched once, into a temporary file.

    All files are looked at, whatever is wrong with one. The exit code is 0 if all are good; 1 if any is bad; else 3 if
    any is unsupported or over a limit; else 4: some could not be read.
    """
    _check_usage(len(files), fast, against, junit, as_json, github)
    verdicts = []
    with _open_junit(junit, (*files, against)) as report:
        for file in files:
            verdict = verify_file(file, fast=fast, against=against, jobs=jobs, limits=limits)
            verdicts.append(verdict)
            if not as_json and junit != common.STDOUT:
                _print(verdict, quiet, github)
        if as_json:
            common.echo_json(_to_json(verdicts))
        elif not quiet and junit != common.STDOUT:
            click.echo(describe_summary(verdicts))
        if junit == common.STDOUT:
            click.echo(to_junit(verdicts), nl=False)
        elif report:
            report.write(to_junit(verdicts).encode())
    ctx.exit(worst_exit_code([verdict.exit_code for verdict in verdicts]))


def _check_usage(
    file_count: int, fast: bool, against: str | None, junit: str | None, as_json: bool, github: bool
) -> None:
    if against and file_count > 1:
        raise click.UsageError("--against takes one FILE")
    if against and fast:
        raise click.UsageError("--against decodes the content, --fast does not: choose one")
    if as_json and junit == common.STDOUT:
        raise click.UsageError("--json and --junit - both go to stdout; name a file for --junit")
    if github and (as_json or junit == common.STDOUT):
        raise click.UsageError("annotations go to stdout: give --github without --json, and name a file for --junit")


def _open_junit(path: str | None, sources: Iterable[str | None]) -> AbstractContextManager[Output | None]:
    if path is None or path == common.STDOUT:
        return nullcontext()
    return common.open_report(path, sources, force=True, option="--junit")


def _print(verdict: FileVerdict, quiet: bool, github: bool) -> None:
    for line in to_annotations(verdict) if github else describe_verdict(verdict):
        if not verdict.ok or not quiet:
            click.echo(line)


def _to_json(verdicts: list[FileVerdict]) -> dict[str, object]:
    good = sum(verdict.ok for verdict in verdicts)
    return {
        "results": [verdict.to_json() for verdict in verdicts],
        "good_count": good,
        "bad_count": len(verdicts) - good,
    }
