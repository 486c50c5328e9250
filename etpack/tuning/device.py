"""A device in a few numbers, all of them its owner's: etpack knows none of any hardware."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from etpack import codecs
from etpack.errors import CodecMissingError, EtpackError
from etpack.layout import MAX_ALIGNMENT_LOG2
from etpack.memory import is_speed
from etpack.settings import read_settings

# What `decode_mb_s` may have beside the names of codecs.
PLANES = "planes"
_LONGEST_WAIT_US = 1e9
_LARGEST_SIZE = 1 << 48


class DeviceError(EtpackError, ValueError):
    """The description of a device lacks a number, or has one that cannot be."""

    slug = "bad-device"
    exit_code = 2
    default_hint = "examples/guide.md says what a description holds"


@dataclass(frozen=True)
class Device:
    """What reads the packed model. MB/s are 10^6 bytes a second.

    Raises:
        DeviceError: A number is missing, or cannot be; or a codec is not known here.
    """

    # Bytes that storage delivers in a second, in MB/s.
    storage_mb_s: float
    # Content that comes out of each codec in a second, in MB/s: "lz4", "zstd", the name of a registered codec; a codec
    # that is not here cannot be decoded. "planes": putting byte planes together, and transposing bits back. "raw":
    # copying; no time if left out.
    decode_mb_s: Mapping[str, float]
    # Bytes of RAM that decoding may take, or None for any.
    scratch_size: int | None = None
    # Storage is read in whole sectors of so many bytes, a power of two.
    sector_size: int = 1
    # Microseconds before storage begins to answer a read.
    request_us: float = 0.0
    # A decoder in silicon: it takes bare streams, and nothing puts planes together.
    fixed_function: bool = False
    # Bytes of RAM that the decoder of a codec needs for itself, by name.
    workspace: Mapping[str, int] = field(default_factory=dict)
    # What to call it.
    name: str = "device"

    def __post_init__(self) -> None:
        object.__setattr__(self, "decode_mb_s", dict(self.decode_mb_s))
        object.__setattr__(self, "workspace", dict(self.workspace))
        _check_speed("storage_mb_s", self.storage_mb_s)
        for codec, speed in self.decode_mb_s.items():
            _check_speed(f"decode_mb_s: {codec!s:.40}", speed)
            if codec not in (PLANES, *codecs.BUILT_IN_NAMES[1:]):
                _check_installed(codec)
        for codec, size in self.workspace.items():
            _check_size(f"workspace: {codec!s:.40}", size)
            if codec not in self.codecs:
                raise DeviceError(f"workspace: {codec!s:.40} is no codec of decode_mb_s")
        if self.scratch_size is not None:
            _check_size("scratch_size", self.scratch_size)
        _check_size("sector_size", self.sector_size)
        if self.sector_size.bit_count() != 1 or self.sector_size > 1 << MAX_ALIGNMENT_LOG2:
            raise DeviceError(f"sector_size: {self.sector_size:,} is not a power of two up to 4M")
        if not 0 <= _number(self.request_us) <= _LONGEST_WAIT_US:
            raise DeviceError(f"request_us: {self.request_us!r:.40} is not a number of microseconds")
        if not isinstance(self.fixed_function, bool):
            raise DeviceError(f"fixed_function: {self.fixed_function!r:.40} is neither true nor false")
        if not isinstance(self.name, str):
            raise DeviceError(f"name: {self.name!r:.40} is not a text")
        if not self.codecs:
            raise DeviceError("decode_mb_s: it decodes no codec", hint="name one with --decode lz4=MB/S or zstd=MB/S")
        if not self.fixed_function and PLANES not in self.decode_mb_s:
            raise DeviceError(
                "decode_mb_s: it is not said how fast byte planes are put together",
                hint="say so with --decode planes=MB/S, or that nothing does it with --fixed-function",
            )

    @property
    def codecs(self) -> tuple[str, ...]:
        """The codecs that it decodes, raw blocks apart."""
        return tuple(name for name in self.decode_mb_s if name not in (PLANES, "raw"))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Device:
        """Return the device that has these values, by the names of the fields; errors as the class."""
        names = {each.name for each in fields(cls)}
        for name in values:
            if name not in names:
                raise DeviceError(f"there is no {str(name)[:40]!r}", hint=f"choose from {', '.join(sorted(names))}")
        for name in ("decode_mb_s", "workspace"):
            if not isinstance(values.get(name, {}), Mapping):
                raise DeviceError(f"{name}: {values[name]!r:.40} is not a table of codecs")
        if "storage_mb_s" not in values:
            raise DeviceError("storage_mb_s: it is not said how fast storage is", hint="say so with --storage MB/S")
        return cls(**{"decode_mb_s": {}, **values})


def read_values(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file says of a device, by the names of the fields of `Device`; see `etpack.settings`.

    Raises:
        DeviceError: It is neither TOML nor JSON, or too large.
        OSError: It cannot be read.
    """
    return read_settings(path, DeviceError)


def _check_installed(codec: str) -> None:
    try:
        codecs.by_name(codec)
    except CodecMissingError:  # which would offer auto, too
        hint = f"choose from lz4, zstd, raw, {PLANES}, or install the codec"
        raise DeviceError(f"decode_mb_s: there is no codec {str(codec)[:40]!r}", hint=hint) from None


def _number(value: object) -> float:
    """Return a number as a float, or NaN for what is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer that is more than a float holds
        return math.inf


def _check_speed(name: str, value: object) -> None:
    if not is_speed(_number(value)):
        raise DeviceError(f"{name}: {value!r:.40} is not a speed in MB/s")


def _check_size(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LARGEST_SIZE:
        raise DeviceError(f"{name}: {value!r:.40} is not a number of bytes")
