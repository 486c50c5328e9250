"""`python -m etpack`, and what the script `etpack` runs: it listens for signals before it imports anything large."""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130
_IO_FAILED = 4


def main() -> None:
    """Run the command line and exit, whatever comes while it is still being imported."""
    try:
        from etpack import interrupts
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)
    try:
        interrupts.listen()
        # Nothing here multiplies matrices, and each of its threads would take memory.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from etpack.cli import run

        code = run(sys.argv[1:])
        interrupts.ignore()
    except KeyboardInterrupt:
        os._exit(128 + interrupts.received() if interrupts.received() else _INTERRUPTED)
    except (ImportError, MemoryError, OSError) as exc:
        os.write(2, f"etpack: error: cannot start: {exc!r}; install it again, or raise ulimit -n and -v\n".encode())
        os._exit(_IO_FAILED)
    sys.exit(code)


if __name__ == "__main__":
    main()
