"""The inner loops in C, where they were built: they hold the GIL for no longer than it takes to hand over buffers.

`native` is None where they were not built; whoever uses them then does the same in numpy, bit for bit.
`schemas/DESIGN.md` says why they are there.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TypeAlias

BytesLike: TypeAlias = "bytes | bytearray | memoryview"

native: ModuleType | None = None
if sys.byteorder == "little":
    try:
        from etpack import _kernels

        native = _kernels
    except ImportError:
        pass
