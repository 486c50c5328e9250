"""etpack: ExecuTorch models in compressed blocks that can be read at random.

Who imports whom is drawn, and held, in `tests/test_architecture.py`.
"""

from __future__ import annotations

# True for a type checker. `typing` is not imported, since this is all that runs before signals are listened to.
TYPE_CHECKING = False

__version__ = "0.1.0"

__all__ = [
    "BackendsError",
    "CodecMissingError",
    "CorruptError",
    "DataLoader",
    "Device",
    "DeviceError",
    "Diff",
    "Effort",
    "EtpackError",
    "EtzFile",
    "FormatError",
    "FreeableBuffer",
    "LimitError",
    "Limits",
    "LoadSetup",
    "ModelFile",
    "NotEtzError",
    "Options",
    "OutputError",
    "PackResult",
    "PickError",
    "PteError",
    "SegmentInfo",
    "SegmentType",
    "SelfCheckError",
    "SourceError",
    "Speeds",
    "TruncatedError",
    "UnsupportedError",
    "bench_file",
    "compress",
    "decompress",
    "diff",
    "inspect_file",
    "open",
    "read_backends",
    "read_data_file",
    "read_model",
    "register_codec",
    "runtime_dir",
    "tune",
    "verify_file",
]

if TYPE_CHECKING:
    from typing import Any

    from etpack.bench import bench_file
    from etpack.check import verify_file
    from etpack.codecs import Effort
    from etpack.codecs import register as register_codec
    from etpack.compare import Diff, diff
    from etpack.errors import (
        BackendsError,
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
    from etpack.loader import DataLoader, FreeableBuffer, SegmentInfo, SegmentType
    from etpack.memory import Speeds
    from etpack.memory.own_backends import read_backends
    from etpack.output import OutputError
    from etpack.pick import PickError
    from etpack.pte import ModelFile, read_model
    from etpack.reader import EtzFile
    from etpack.report import LoadSetup, inspect_file, read_data_file
    from etpack.runtime_files import runtime_dir
    from etpack.selfcheck import SelfCheckError
    from etpack.tuning import Device, DeviceError, tune
    from etpack.writer import Options, PackResult

# Public names are imported when they are used, so that `etpack --version` does not wait for numpy.
_HOMES = {
    "bench_file": "bench",
    "verify_file": "check",
    "Effort": "codecs",
    "register_codec": "codecs",
    "Diff": "compare",
    "diff": "compare",
    "compress": "files",
    "decompress": "files",
    "open": "files",
    "Limits": "limits",
    "DataLoader": "loader",
    "FreeableBuffer": "loader",
    "SegmentInfo": "loader",
    "SegmentType": "loader",
    "Speeds": "memory",
    "read_backends": "memory.own_backends",
    "OutputError": "output",
    "PickError": "pick",
    "ModelFile": "pte",
    "read_model": "pte",
    "EtzFile": "reader",
    "LoadSetup": "report",
    "inspect_file": "report",
    "read_data_file": "report",
    "runtime_dir": "runtime_files",
    "SelfCheckError": "selfcheck",
    "Device": "tuning",
    "DeviceError": "tuning",
    "tune": "tuning",
    "Options": "writer",
    "PackResult": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'etpack' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"etpack.{_HOMES.get(name, 'errors')}")
    return getattr(module, {"open": "open_etz", "register_codec": "register"}.get(name, name))
