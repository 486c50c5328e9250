"""The inner loops in C, where they were built: they hold the GIL for no longer than it takes to hand over buffers.

numpy's calls on blocks are so short that threads spend their time on passing the GIL on; see `benchmarks/README.md`.
"""

from __future__ import annotations

import sys
from types import ModuleType

native: ModuleType | None = None
if sys.byteorder == "little":
    try:
        from etpack import _kernels

        native = _kernels
    except ImportError:
        pass
