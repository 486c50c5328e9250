"""The command line: each command opens, makes one library call and prints; only this package prints."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

import click

from etpack import __version__, interrupts
from etpack.describe.words import safe
from etpack.errors import EtpackError, remedy

# Each with a line for the list of commands, which is shown without importing them.
_COMMANDS = {
    "bench": "Measure how fast a packed file is read here.",
    "compress": "Pack models into .etz files.",
    "decompress": "Restore packed models, byte for byte.",
    "diff": "Compare two models, packed or plain.",
    "extract": "Write a part of a model, packed or plain, to a file.",
    "inspect": "Show what a model holds, and how it is stored.",
    "runtime": "Say where the C reader and the ExecuTorch loader are, for a build system.",
    "tune": "Find the block size and codec for a device.",
    "verify": "Check packed files and models.",
}

INTERNAL_ERROR = 70

_LONGEST_MESSAGE = 4000

# Bytes of address space; more than numpy takes with one thread.
_NUMPY_MEMORY = 96 << 20

_PRINTING_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class _Commands(click.Group):
    """Imports a command when it is called, so that no command waits for what another one needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        _check_memory()
        command: click.Command = getattr(import_module(f"etpack.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        # click would exit with 1 for the first, which says that a file is bad, and print an empty line for the second.
        try:
            return super().invoke(ctx)
        except BrokenPipeError as exc:
            raise _ReaderGoneError from exc
        except KeyboardInterrupt as exc:
            raise _InterruptedError from exc


def _check_memory() -> None:
    """Raise OSError if there is no address space for numpy, whose OpenBLAS would end the process itself."""
    with mmap.mmap(-1, _NUMPY_MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
        pass


class _ReaderGoneError(Exception):
    """Whoever read our output has had enough."""


class _InterruptedError(Exception):
    """A signal ends the run."""


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="etpack %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback with errors.")
def cli(debug: bool) -> None:
    """Pack ExecuTorch models into compressed blocks that can be read at random, and look into them.

    Exit codes: 0 good, 1 a file is bad, 2 wrong usage, 3 unsupported or over a limit, 4 input or output failed.
    """
    del debug


def run(args: list[str]) -> int:
    """Run the command line and return its exit code; errors become one line on stderr."""
    _open_closed_streams()
    debug = "--debug" in args
    code = _attempt(lambda: cli.main(args, prog_name="etpack", standalone_mode=False), debug)
    # Once an error was told, that what is left cannot be printed either is not worth another.
    left = _attempt(sys.stdout.flush, debug, silent=code != 0)
    if left:
        _drop(sys.stdout)
    try:
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)
    return code or left


def _attempt(call: Callable[[], int | None], debug: bool, *, silent: bool = False) -> int:
    """Return what `call` does, or 0; if it fails, tell why unless `silent`, and return the exit code for that."""
    try:
        return call() or 0
    except (_ReaderGoneError, BrokenPipeError):
        return 128 + signal.SIGPIPE  # as if it had ended us, as it does most programs
    except click.ClickException as exc:
        with contextlib.suppress(OSError):
            exc.show()
        return exc.exit_code
    except (Exception, KeyboardInterrupt) as exc:
        if debug:
            traceback.print_exc()
        if interrupts.received() or isinstance(exc, (KeyboardInterrupt, click.Abort, _InterruptedError)):
            number = signal.Signals(interrupts.received() or signal.SIGINT)
            by = "" if number == signal.SIGINT else f" by {number.name}"
            return _fail(f"interrupted{by}; an output that was not complete was removed", 128 + number)
        return 4 if silent else report_error(exc)


def _drop(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere, so that the interpreter does not stumble over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed_streams() -> None:
    """Put the null device where stdin, stdout or stderr is closed, so that no output file gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (lives as long as the process)
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def report_error(exc: BaseException) -> int:
    """Print the one-line message for an error on stderr and return its exit code."""
    if isinstance(exc, EtpackError):
        where = f"{exc.path}: " if exc.path else ""
        return _fail(f"{where}{exc}" + (f"; {exc.hint}" if exc.hint else ""), exc.exit_code)
    if isinstance(exc, OSError):
        # Whoever opens a file names it; what has no name is what is printed to.
        where = f"{exc.filename}: " if exc.filename else "stdout: " if exc.errno in _PRINTING_FAILED else ""
        hint = remedy(exc)
        return _fail(f"{where}{exc.strerror or exc}" + (f"; {hint}" if hint else ""), 4)
    if isinstance(exc, ImportError):
        return _fail(f"a library does not load: {exc}; install etpack again, or raise ulimit -n and -v", 4)
    if isinstance(exc, MemoryError):
        return _fail("out of memory; use fewer threads (-j 1), a smaller --block-size, or raise ulimit -v", 4)
    if isinstance(exc, RuntimeError) and "start new thread" in str(exc):
        return _fail("the system gives no more threads; use fewer (-j 1), or raise ulimit -u and -v", 4)
    return _fail(f"internal error: {type(exc).__name__}: {exc}; please report it, with --debug", INTERNAL_ERROR)


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        click.echo(f"etpack: error: {safe(message, _LONGEST_MESSAGE)}", err=True)
    return code
