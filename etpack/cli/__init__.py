"""The command line: each command opens, makes one library call and prints; only this package prints."""

from __future__ import annotations

import errno
import os
import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from etpack import __version__
from etpack.describe.words import safe
from etpack.errors import REMEDIES, EtpackError

_COMMANDS = ("compress", "decompress", "extract", "inspect", "verify")

INTERNAL_ERROR = 70

_LONGEST_MESSAGE = 4000


class _Commands(click.Group):
    """Imports a command when it is called, so that no command waits for what another one needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"etpack.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as exc:
            raise _ReaderGoneError from exc  # click would exit with 1, which says that a file is bad


class _ReaderGoneError(Exception):
    """Whoever read our output has had enough."""


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="etpack %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback with errors.")
def cli(debug: bool) -> None:
    """Pack ExecuTorch models into compressed blocks that can be read at random, and look into them.

    Exit codes: 0 good, 1 a file is bad, 2 wrong usage, 3 unsupported or over a limit, 4 input or output failed.
    """
    del debug


def main() -> NoReturn:
    """Run the command line and exit; errors become one line on stderr and the right exit code."""
    _open_closed_streams()
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background has it ignored
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = cli.main(prog_name="etpack", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        code = _fail("interrupted; an output that was not complete was removed", 130)
    except click.ClickException as exc:
        exc.show()
        code = exc.exit_code
    except (_ReaderGoneError, BrokenPipeError):
        # What is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 4
    except Exception as exc:
        if "--debug" in sys.argv:
            raise
        code = report_error(exc)
    sys.exit(code)


def _open_closed_streams() -> None:
    """Put the null device where stdin, stdout or stderr is closed, so that no output file gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (lives as long as the process)
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def report_error(exc: Exception) -> int:
    """Print the one-line message for an error on stderr and return its exit code."""
    if isinstance(exc, EtpackError):
        where = f"{exc.path}: " if exc.path else ""
        return _fail(f"{where}{exc}" + (f"; {exc.hint}" if exc.hint else ""), exc.exit_code)
    if isinstance(exc, OSError):
        where = f"{exc.filename}: " if exc.filename else "stdout: " if exc.errno == errno.ENOSPC else ""
        remedy = REMEDIES.get(exc.errno or 0)
        return _fail(f"{where}{exc.strerror or exc}" + (f"; {remedy}" if remedy else ""), 4)
    if isinstance(exc, ImportError):
        return _fail(f"a library does not load: {exc}; install etpack again, or give it more memory", 4)
    if isinstance(exc, MemoryError):
        return _fail("out of memory; use fewer threads (-j 1) or a smaller --block-size", 3)
    return _fail(f"internal error: {type(exc).__name__}: {exc}; please report it, with --debug", INTERNAL_ERROR)


def _fail(message: str, code: int) -> int:
    click.echo(f"etpack: error: {safe(message, _LONGEST_MESSAGE)}", err=True)
    return code


def _terminate(_number: int, _frame: object) -> NoReturn:
    _end_requests()
    sys.exit(143)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    _end_requests()
    raise KeyboardInterrupt


def _end_requests() -> None:
    """Let no thread wait for a server any more; it would keep the process from ending."""
    web = sys.modules.get("etpack.sources.web")
    if web is not None:
        web.interrupt()
