"""etpack: ExecuTorch models in compressed blocks that can be read at random.

errors < filters < codecs, layout, sources < pte < plan, manifest < reader < loader, writer, unpack
< memory, check, report < describe < cli
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "CodecMissingError",
    "CorruptError",
    "DataLoader",
    "Effort",
    "EtpackError",
    "EtzFile",
    "FormatError",
    "FreeableBuffer",
    "LimitError",
    "Limits",
    "ModelFile",
    "NotEtzError",
    "Options",
    "OutputExistsError",
    "PackResult",
    "PteError",
    "SourceError",
    "TruncatedError",
    "UnsupportedError",
    "compress",
    "decompress",
    "open",
    "read_model",
]

if TYPE_CHECKING:
    from etpack.codecs import Effort
    from etpack.errors import (
        CodecMissingError,
        CorruptError,
        EtpackError,
        FormatError,
        LimitError,
        NotEtzError,
        PteError,
        SourceError,
        TruncatedError,
        UnsupportedError,
    )
    from etpack.files import compress, decompress
    from etpack.files import open_etz as open
    from etpack.limits import Limits
    from etpack.loader import DataLoader, FreeableBuffer
    from etpack.output import OutputExistsError
    from etpack.pte import ModelFile, read_model
    from etpack.reader import EtzFile
    from etpack.writer import Options, PackResult

# Public names are imported when they are used, so that `etpack --version` does not wait for numpy.
_HOMES = {
    "Effort": "codecs",
    "compress": "files",
    "decompress": "files",
    "open": "files",
    "Limits": "limits",
    "DataLoader": "loader",
    "FreeableBuffer": "loader",
    "OutputExistsError": "output",
    "ModelFile": "pte",
    "read_model": "pte",
    "EtzFile": "reader",
    "Options": "writer",
    "PackResult": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'etpack' has no attribute {name!r}")
    module = import_module(f"etpack.{_HOMES.get(name, 'errors')}")
    return getattr(module, "open_etz" if name == "open" else name)
