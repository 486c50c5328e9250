"""What the tests of faults share: a folder to fail in, runs with faults in them, and what a user must be told."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import PATIENCE

ROOT = Path(__file__).parent.parent

# What a message says to do: one of these words is in each.
_REMEDY = re.compile(
    r"; .*\b(check|choose|give|make|raise|write|look|try|wait|start|redirect|close|use|fetch|name|removed?|pack)\b"
)


def unmeasured() -> dict[str, str]:
    """The environment, for a process that coverage does not measure.

    It traces, counts, forks, is shot or has little memory, or does what others do and takes no longer than coverage.
    """
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str
    # Steps, or lines, that were counted; None if the run was killed.
    count: int | None

    def check_told(self, code: int, *words: str) -> None:
        """The exit code, one line that has these words and says what to do, and no traceback."""
        assert self.code == code, self
        assert len(self.stderr.splitlines()) == 1, self
        assert self.stderr.startswith("etpack: error: "), self
        assert _REMEDY.search(self.stderr), self
        for word in words:
            assert word in self.stderr, self


class Faults:
    """A server of runs, and the folder that they run in: it holds `model.pte` and `model.etz`, and all may read it."""

    def __init__(self, folder: Path, model: Path, packed: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self._model, self._packed = model, packed
        command = [sys.executable, "-m", "tests.fault_server", str(folder), str(model)]
        env = {**unmeasured(), "OPENBLAS_NUM_THREADS": "1"}
        self._server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.fresh()

    def fresh(self) -> Path:
        """Empty the folder but for the two models, and return it."""
        if self.work.exists():
            self.work.chmod(0o777)
            shutil.rmtree(self.work)
        self.work.mkdir()
        self.work.chmod(0o777)
        shutil.copyfile(self._model, self.work / "model.pte")
        shutil.copyfile(self._packed, self.work / "model.etz")
        return self.work

    def listing(self) -> list[str]:
        """The names in the folder, but for the two models."""
        return sorted(set(os.listdir(self.work)) - {"model.pte", "model.etz"})

    def run(
        self,
        *args: str,
        steps: Sequence[str] = (),
        nth: int = 0,
        action: str = "",
        path: str = "",
        lines: str = "",
        streams: Sequence[str | None] = ("/dev/null", "stdout", "stderr"),
        limits: dict[str, int] | None = None,
        env: dict[str, str] | None = None,
        ignored: Sequence[str] = (),
        unprivileged: bool = False,
        no_threads: bool = False,
        remove_folder: bool = False,
        cwd: Path | None = None,
    ) -> Outcome:
        """Run etpack with one fault.

        Args:
            args: The command line.
            steps: Kinds of steps that are counted together, as `tests.fault_server.STEPS` names them.
            nth: At which of them, from 1, something is done; at none if 0.
            action: What is done: the name of an errno, MEMORY, a signal without SIG, KILL or KILL-after, "short" for
                every step, or one of `tests.fault_server.CHANGES` to the file `path`.
            lines: The end of a source file's name; its lines are the steps then.
            streams: Where stdin, stdout and stderr lead; None for a closed one.
            limits: Resource limits, without RLIMIT_.
            env: Environment variables.
            ignored: Signals that the run inherits as ignored.
            unprivileged: Run as nobody, where we are root.
            no_threads: The system gives no threads.
            remove_folder: Run in a folder that is not there any more.
            cwd: The folder to run in.
        """
        places = [path and str(self.folder / path) if path in ("stdout", "stderr") else path for path in streams]
        report = self.folder / "count"
        report.write_text("")
        report.chmod(0o666)
        request = {
            "args": args, "steps": steps, "nth": nth, "action": action, "lines": lines, "streams": places,
            "path": str(self.work / path), "limits": limits or {}, "env": env or {}, "ignored": ignored,
            "unprivileged": unprivileged, "no_threads": no_threads, "remove_folder": remove_folder,
            "folder": str(cwd or self.work), "report": str(report),
        }  # fmt: skip
        assert self._server.stdin
        assert self._server.stdout
        for name in ("stdout", "stderr"):
            (self.folder / name).write_bytes(b"")
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        told = [(self.folder / name).read_text(errors="replace") for name in ("stdout", "stderr")]
        assert "Traceback" not in told[1], told[1]
        assert "Exception ignored" not in told[1], told[1]
        counted = report.read_text()
        return Outcome(code, told[0], told[1], int(counted) if counted else None)

    def count(self, *args: str, steps: Sequence[str] = (), lines: str = "") -> int:
        """How many steps a run takes that nothing goes wrong in."""
        outcome = self.run(*args, steps=steps, lines=lines)
        assert outcome.code == 0, outcome
        assert outcome.count
        return outcome.count

    def close(self) -> None:
        """End the server."""
        self._server.communicate(timeout=PATIENCE)


@contextmanager
def faulty_place(model: Path, packed: Path) -> Iterator[Faults]:
    """Make the folder, where an ordinary user may go too, and the server."""
    folder = Path(tempfile.mkdtemp(prefix="etpack-faults-"))
    folder.chmod(0o755)
    faults = Faults(folder, model, packed)
    try:
        yield faults
    finally:
        faults.close()
        faults.fresh()
        shutil.rmtree(folder)
