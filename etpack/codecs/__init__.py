"""Stream codecs: zstd, LZ4, LZ4 over bit planes, and codecs that others register; no offsets in here.

A codec turns bytes into one stream and back. Raw and constant need no codec; `etpack.blocks` handles them.
This is the only package that sees a codec library, and the only one that catches its exceptions.

Others add a codec by an entry point in the group `etpack.codecs` that names a `Codec` object, or by calling
`register`. Its id lies in the private range, 128 to 254.
"""

from __future__ import annotations

import threading

from etpack.codecs.contract import Codec, Effort, StreamError
from etpack.codecs.lz4 import Lz4, Lz4Bitplanes
from etpack.codecs.zstd import SLOW_ENTROPY, Zstd
from etpack.errors import CodecMissingError, EtpackError, UnsupportedError
from etpack.kernels import BytesLike
from etpack.layout import is_private

__all__ = (
    "BUILT_IN_NAMES",
    "ENTRY_POINT_GROUP",
    "LZ4",
    "LZ4_BITPLANES",
    "SLOW_ENTROPY",
    "ZSTD",
    "BytesLike",
    "Codec",
    "Effort",
    "StreamError",
    "by_id",
    "by_name",
    "register",
)

ENTRY_POINT_GROUP = "etpack.codecs"
# What a user may choose besides the codecs of others.
BUILT_IN_NAMES = ("auto", "zstd", "lz4", "raw")

ZSTD = Zstd()
LZ4 = Lz4()
LZ4_BITPLANES = Lz4Bitplanes()

_by_id: dict[int, Codec] = {codec.id: codec for codec in (ZSTD, LZ4, LZ4_BITPLANES)}
_lock = threading.Lock()
_entry_points_loaded = False
# What is wrong with installed codecs that do not load.
_broken_plugins: list[str] = []


class _Guarded:
    """A codec of someone else's: whatever it raises, and whatever it returns, becomes an error that names it."""

    def __init__(self, codec: Codec) -> None:
        self.id = codec.id
        self.name = codec.name
        self.codec = codec

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        try:
            return bytes(memoryview(self.codec.encode(data, effort)))
        except Exception as exc:
            raise EtpackError(f"the codec {self.name!r} failed: {exc!r}", hint="ask its vendor") from exc

    def decode(self, stream: BytesLike, size: int) -> BytesLike:
        try:
            return memoryview(self.codec.decode(stream, size)).cast("B")
        except StreamError:
            raise
        except Exception as exc:
            raise StreamError(f"the codec {self.name!r} failed: {exc!r}") from exc


def register(codec: Codec) -> None:
    """Make a private codec known to this process.

    Raises:
        ValueError: Its id is not in 128 to 254, or its id or name is taken by another codec.
    """
    if not is_private(codec.id):
        raise ValueError(f"codec {codec.name!r} has id {codec.id}; codecs outside etpack take 128 to 254")
    with _lock:
        for other in _by_id.values():
            same = isinstance(other, _Guarded) and other.codec is codec
            if (other.id == codec.id or other.name == codec.name) and not same:
                raise ValueError(f"codec {codec.name!r} ({codec.id}) clashes with {other.name!r} ({other.id})")
        _by_id[codec.id] = _Guarded(codec)


def _load_entry_points() -> None:
    """Register the codecs of installed packages, once; one that does not load is noted and does not stop the others."""
    global _entry_points_loaded
    if _entry_points_loaded:
        return
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            register(entry_point.load())
        except Exception as exc:
            _broken_plugins.append(f"{entry_point.value} does not load: {exc}")
    _entry_points_loaded = True


def by_id(codec_id: int) -> Codec:
    """Return the codec with this id.

    Raises:
        CodecMissingError: The id is private and no installed package provides it.
        UnsupportedError: The id is reserved for later versions of the format.
    """
    codec = _by_id.get(codec_id)
    if codec is None and is_private(codec_id):
        _load_entry_points()
        codec = _by_id.get(codec_id)
        if codec is None:
            raise CodecMissingError(
                f"nothing installed here provides the private codec {codec_id}",
                rule="codec-known",
                hint="; ".join(["install its vendor's etpack plugin", *_broken_plugins]),
            )
    if codec is None:
        raise UnsupportedError(f"codec {codec_id} is not known here", rule="codec-known", hint="use a newer etpack")
    return codec


def by_name(name: str) -> Codec:
    """Return the private codec with this name.

    Raises:
        CodecMissingError: No installed package provides it.
    """
    _load_entry_points()
    private = [codec for codec in list(_by_id.values()) if is_private(codec.id)]
    for codec in private:
        if codec.name == name:
            return codec
    known = ", ".join([*BUILT_IN_NAMES, *sorted(codec.name for codec in private)])
    raise CodecMissingError(f"there is no codec {name!r}", hint="; ".join([f"choose from {known}", *_broken_plugins]))
