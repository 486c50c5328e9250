"""What several commands share: options, the progress bar, stdout as an output."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import click

from etpack.describe.words import plural, safe
from etpack.disk import write_all
from etpack.errors import naming_file
from etpack.limits import Limits, option_name, written
from etpack.output import OPTION, FileOutput, Output, OutputError, Progress, refuse_input
from etpack.sources.urls import as_path

F = TypeVar("F", bound=Callable[..., Any])

STDOUT = "-"

_SIZE = re.compile(r"(?P<hex>0x[0-9a-f]{1,16})|(?P<number>[0-9]{1,18})(?P<unit>[kmgt]?)(i?b)?", re.IGNORECASE)


class _Input(click.Path):
    """A file to read at random, or a URL; files are completed by the shell."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == STDOUT:
            self.fail("stdin cannot be read at random; give a file", param, ctx)
        return _not_empty(self, super().convert(as_path(value), param, ctx), param, ctx)


class _Output(click.Path):
    """A file to write, completed by the shell."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _not_empty(self, super().convert(value, param, ctx), param, ctx)


def _not_empty(kind: click.Path, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
    if not value:
        kind.fail("an empty name; name a file", param, ctx)
    return value


INPUT = _Input(readable=False)
OUTPUT = _Output(readable=False)


def parse_size(text: str) -> int:
    """Return a number of bytes written as 65536, 0x10000, 64K, 1M or 2GiB."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size; write for instance 64K or 0x10000")
    if match["hex"]:
        return int(match["hex"], 16)
    return int(match["number"]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match["unit"].upper()]


# The type of an option that takes a number of bytes.
SIZE: dict[str, Any] = {"type": parse_size, "metavar": "SIZE", "show_default": True}


def output_options(command: F) -> F:
    """Add -o and -f."""
    command = click.option("-f", "--force", is_flag=True, help="Overwrite an output that is there.")(command)
    return click.option("-o", "--output", type=OUTPUT, metavar="PATH", help="Where the result goes; - for stdout.")(
        command
    )


def limit_option(command: F) -> F:
    """Add --limit."""
    names = ", ".join(f"{option_name(name)} ({written(value)})" for name, value in asdict(Limits()).items())
    text = f"Set how much a file may ask for, content-size=128G for instance; any of {names}. May be repeated."
    return click.option("--limit", "limits", multiple=True, metavar="NAME=SIZE", callback=_to_limits, help=text)(
        command
    )


def _to_limits(_context: click.Context, _parameter: click.Parameter, texts: Sequence[str]) -> Limits:
    names = {option_name(field.name): field.name for field in fields(Limits)}
    values = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in names:
            raise click.BadParameter(f"there is no limit {name!r}; choose from {', '.join(names)}")
        values[names[name]] = parse_size(value)
    return Limits(**values)


def jobs_option(command: F) -> F:
    """Add -j."""
    return click.option("-j", "--jobs", type=click.IntRange(1), help="Threads; all processors by default.")(command)


def quiet_option(command: F) -> F:
    """Add -q."""
    return click.option("-q", "--quiet", is_flag=True, callback=_hush, help="Print nothing but errors.")(command)


def _hush(context: click.Context, _parameter: click.Parameter, quiet: bool) -> bool:
    """Keep the library's warnings from stderr until the command ends."""
    if quiet:
        import logging

        logger = logging.getLogger("etpack")
        context.call_on_close(partial(logger.setLevel, logger.level))
        logger.setLevel(logging.ERROR)
    return quiet


def verbose_option(command: F) -> F:
    """Add -v."""
    return click.option("-v", "--verbose", is_flag=True, help="Say on stderr how long it took.")(command)


def echo_speed(name: str, size: int, seconds: float, jobs: int | None) -> None:
    """Say on stderr how long `size` bytes of content took with `jobs` threads, None for all processors."""
    from etpack.reader import available_processors

    threads = jobs or available_processors()
    speed = size / max(seconds, 1e-9) / 1e6
    click.echo(f"etpack: {safe(name)}: {seconds:.2f} s, {speed:,.0f} MB/s, {plural(threads, 'thread')}", err=True)


def json_option(command: F) -> F:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def echo_json(value: object, *, err: bool = False) -> None:
    """Print a value as JSON on stdout, or on stderr where stdout has the data."""
    chunks = json.JSONEncoder(indent=2).iterencode(value)
    while text := "".join(islice(chunks, 1 << 14)):  # the text may be many times as large as the value
        click.echo(text, nl=False, err=err)
    click.echo(err=err)


@contextlib.contextmanager
def json_results(as_json: bool, *, err: bool) -> Iterator[list[dict[str, object]]]:
    """Yield a list to collect results in; print it at the end if asked, also when a later file gave an error."""
    results: list[dict[str, object]] = []
    try:
        yield results
    finally:
        if as_json:
            echo_json({"results": results}, err=err)


@contextlib.contextmanager
def open_output(path: str, *, force: bool, size: int = 0, option: str = OPTION) -> Iterator[Output]:
    """Open an output file, or stdout for "-"; a disk that has no room for `size` bytes is refused.

    What errors say of it names the option.

    Raises:
        click.UsageError: stdout is a terminal.
        OSError: stdout is closed.
    """
    if path == STDOUT:
        with naming_file("stdout", option=option):
            _refuse_terminal(option)
        yield _Stdout(option)
        return
    with FileOutput(path, overwrite=force, size=size, option=option) as file:
        yield file


@contextlib.contextmanager
def open_report(path: str, sources: Iterable[str | None], *, force: bool, option: str) -> Iterator[Output]:
    """Open a report's file, or stdout for "-", before the work that the report is about.

    A report never replaces a file that it is made from, nor any other model or `.etz`: where the report's name was
    forgotten, that of a model stands in its place.

    Args:
        path: Where the report shall be.
        sources: The files that are read; None for one that was not given.
        force: Replace a file that is there.
        option: That of the command line which names `path`.

    Raises:
        OutputError: There is something that is kept.
        click.UsageError: stdout is a terminal.
        OSError: The place cannot be written to.
    """
    if path != STDOUT:
        for source in filter(None, sources):
            refuse_input(path, source, option)
        _refuse_model(path, option)
    with open_output(path, force=force, option=option) as out:
        yield out


def _refuse_model(path: str, option: str) -> None:
    from etpack.pte.header import sniff
    from etpack.reader import is_etz
    from etpack.sources import FileSource

    if not os.path.isfile(path):
        return
    with contextlib.suppress(OSError), contextlib.closing(FileSource(path)) as file:
        if is_etz(file) or sniff(file.read_at(0, min(16, file.size))):
            hint = f"name another file with {option}, or remove this one first"
            raise OutputError("is a model or an .etz, which no report replaces", hint=hint, path=path)


def _refuse_terminal(option: str) -> None:
    """Raise click.UsageError if binary data would go to a terminal, OSError if it would go nowhere."""
    if sys.__stdout__ is None:
        raise OSError(errno.EBADF, "is closed")
    if sys.stdout.isatty():
        raise click.UsageError(f"such output does not go to a terminal; redirect stdout or name a file with {option}")


def _write_stdout(data: bytes | memoryview) -> int:
    """Write what fits: with PYTHONUNBUFFERED that may be less than all."""
    return sys.stdout.buffer.write(data)


class _Stdout:
    """stdout as an `Output` that is written as it goes."""

    def __init__(self, option: str) -> None:
        self._option = option

    def write(self, data: bytes | memoryview) -> None:
        with naming_file("stdout", option=self._option):
            write_all(_write_stdout, data)


@contextlib.contextmanager
def progress_bar(label: str, *, quiet: bool) -> Iterator[Progress | None]:
    """Show a progress bar on stderr, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(safe(label))
        yield lambda done, total: bar.update(task, completed=done, total=total)
