"""Runs one command and writes its wall seconds and peak memory as JSON: `python launch.py DESCRIPTOR COMMAND...`.

Linux counts the peak of a process from the moment when it is still a copy of its parent. So the parent has to be
small, as this one is: it imports nothing but the standard library. What it says is never below its own 12 MB.
A command that takes longer than 20 minutes is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time


def main() -> int:
    """Run the command and return its exit code."""
    report, *command = sys.argv[1:]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.alarm(1200)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    os.write(int(report), json.dumps({"seconds": seconds, "peak": peak}).encode())
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
