"""Runs etpack with faults in it: each line on stdin is a request in JSON, the line on stdout its exit status.

Everything is imported once; each run is a fork of that, so that a sweep over a hundred faults takes seconds. What a
request holds is in `tests.faults.Faults.run`.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

from etpack import __main__ as entry
from etpack.cli import run
from tests import PATIENCE

NOBODY = 65534

# The calls into the system that a step of each kind consists of.
STEPS: dict[str, list[tuple[ModuleType, str]]] = {
    "open": [(os, "open")],
    "read": [(os, "pread"), (os, "preadv")],
    "write": [(os, "write")],
    "lock": [(fcntl, "flock")],
    "truncate": [(os, "ftruncate")],
    "mode": [(os, "fchmod")],
    "sync": [(os, "fsync")],
    "link": [(os, "link")],
    "rename": [(os, "replace")],
    "unlink": [(os, "unlink")],
}


class _Fault:
    """Counts steps, and does something at one of them."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._nth: int = request["nth"]
        self._action: str = request["action"]
        self.count = 0

    def install(self) -> None:
        """Put the fault in front of the calls of all steps that the request names, or before lines of code."""
        if self._request["lines"]:
            sys.settrace(self._trace)
        for step in self._request["steps"]:
            for module, name in STEPS[step]:
                setattr(module, name, self._around(getattr(module, name), name))

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.endswith(self._request["lines"]):
            return None
        if event == "line":
            self.count += 1
            if self.count == self._nth:
                self._act()
        return self._trace

    def _around(self, honest: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._action == "short":
                return honest(*_shortened(name, args))
            self.count += 1
            if self.count != self._nth:
                return honest(*args, **kwargs)
            if self._action == "KILL-after":
                honest(*args, **kwargs)
            self._act()
            return honest(*args, **kwargs)

        return call

    def _act(self) -> None:
        action = self._action
        if action in errno.errorcode.values():
            number = getattr(errno, action)
            raise OSError(number, os.strerror(number))
        if action == "MEMORY":
            raise MemoryError
        if action.startswith("KILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif action in ("INT", "TERM", "HUP"):
            for _ in range(3):  # an impatient user
                os.kill(os.getpid(), signal.Signals[f"SIG{action}"])
        elif action in CHANGES:
            CHANGES[action](Path(self._request["path"]))


def _shortened(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments with which a call takes or gives fewer bytes, but at least one."""
    if name == "pread":
        return args[0], min(args[1], 1 + args[1] // 2), args[2]
    if name == "preadv":
        return args[0], [args[1][0][: 1 + len(args[1][0]) // 2]], args[2]
    return args[0], args[1][: 1 + len(args[1]) // 2]


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _rewrite_and_set_back(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        file.write(b"other bytes, the same size")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"another file")
    other.replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "append": _append,
    "rewrite": _rewrite_and_set_back,
    "cut": lambda path: os.truncate(path, 100),
    "replace": _replace,
    "create": lambda path: path.write_bytes(b"theirs"),
}


def _no_thread(_: threading.Thread) -> NoReturn:
    raise RuntimeError("can't start new thread")


def _become(request: dict[str, Any]) -> None:
    """Turn this process, a fork, into one that runs what the request asks for."""
    os.chdir(request["folder"])
    if request["remove_folder"]:
        os.rmdir(request["folder"])
    for number, path in enumerate(request["streams"]):
        if path is not None:
            os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
    for number, path in enumerate(request["streams"]):
        if path is None:
            os.close(number)
    if request["streams"][1] is None:
        sys.stdout = sys.__stdout__ = None  # type: ignore[misc]  # as the interpreter has it
    if request["streams"][2] is None:
        sys.stderr = None
    for name, value in request["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if request["unprivileged"] and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if request["no_threads"]:
        setattr(threading.Thread, "start", _no_thread)  # noqa: B010  (a type checker would object)
    os.environ.update(request["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup make test` ignores
    for name in request["ignored"]:
        signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)
    sys.argv = ["etpack", *request["args"]]


def _warm_up(folder: str, model: str) -> None:
    """Import whatever a command imports late."""
    for args in (
        ["compress", "-q", "-j1", model, "-o", f"{folder}/warm"],
        ["decompress", "-q", "-j1", f"{folder}/warm", "-o", f"{folder}/warm.pte"],
        ["verify", "-q", "-j1", f"{folder}/warm"],
        ["inspect", f"{folder}/warm", "--json"],
    ):
        assert run(args) == 0
    for name in ("extract", "inspect"):
        import_module(f"etpack.cli.{name}")
    import_module("etpack.describe.terminal")


def _run(request: dict[str, Any]) -> NoReturn:
    """Run etpack and exit as the interpreter would, but without taking it apart, which takes longer than all else."""
    _become(request)
    fault = _Fault(request)
    fault.install()
    try:
        entry.main()
    except SystemExit as exc:
        code = int(exc.code or 0)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120
    Path(request["report"]).write_text(str(fault.count))
    os._exit(code)


def _serve() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    _warm_up(*sys.argv[1:])
    gc.freeze()
    while line := os.read(0, 1 << 16):
        child = os.fork()
        if child == 0:
            signal.alarm(PATIENCE)
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
