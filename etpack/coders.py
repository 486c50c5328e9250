"""From the bytes of a whole block, or of one plane of it, to the smallest stream that was found for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from etpack import codecs
from etpack.blocks import Stream
from etpack.codecs import LZ4, LZ4_BITPLANES, SLOW_ENTROPY, ZSTD, Effort
from etpack.filters import Bytes
from etpack.layout import CodecId
from etpack.probe import ONE_BIT

# More bits per byte than this are noise: zstd codes nothing that shrinks by less than 1/64, which is 7.875 bits.
NOISE = ONE_BIT * 785 // 100
# Bit transposition and LZ4 gain nothing above this.
_BITPLANES_NOISE = ONE_BIT * 750 // 100
# Whole blocks of so few bits may hold patterns that a match finder sees; denser ones are numbers without repeats.
_MAY_REPEAT = ONE_BIT * 675 // 100
# Bytes of so few bits often come in runs, which a match finder sees and an entropy coder does not.
_RUNS = 2 * ONE_BIT
# No codec makes less than this of anything that is not constant.
_SMALLEST_STREAM = 10
# From this size in bytes on, a part is looked at before all of it is coded.
WORTH_A_LOOK = 4096

# Levels of zstd beside level 0, which is the entropy coder alone: a quick search for matches, and slow ones.
_QUICK = 3
_SLOW = 17
_SLOWEST = 19
# A level that finds long repeats and does nothing else, at more than 1 GB/s.
_REPEATS_ONLY = -5


class Part(NamedTuple):
    """What becomes one stream."""

    data: Bytes
    # A whole block, or one plane of it.
    whole: bool
    # Bits of each byte, in units of ONE_BIT, by the probe.
    entropy: int


# Returns the smallest stream for each part; it may be larger than the part.
Coder: TypeAlias = "Callable[[Sequence[Part], Effort], list[Stream]]"


def find_coder(codec: str, use_filters: bool) -> Coder | None:
    """Return the coder for "auto", "zstd", "lz4" or the name of a registered codec; None for "raw".

    Raises:
        CodecMissingError: There is no codec of that name.
    """
    if codec == "raw":
        return None
    if codec in ("auto", ZSTD.name):
        return _code_with_zstd
    if codec == LZ4.name:
        return partial(_code_with_lz4, bitplanes=use_filters)
    other = codecs.by_name(codec)
    return lambda parts, effort: [Stream(other.id, other.encode(part.data.data, effort)) for part in parts]


def find_streams(parts: Sequence[Part], effort: Effort, code: Coder) -> list[Stream]:
    """Return how each part is stored: constant, coded, or raw where that gains nothing."""
    streams = [_uncoded(part, effort) for part in parts]
    todo = [number for number, stream in enumerate(streams) if stream is None]
    for number, coded in zip(todo, code([parts[number] for number in todo], effort), strict=True):
        data = parts[number].data
        streams[number] = coded if len(coded.data) < len(data) else Stream(CodecId.RAW, data.data)
    return [stream for stream in streams if stream is not None]


def _uncoded(part: Part, effort: Effort) -> Stream | None:
    """Return how a part is stored that no codec needs to see, else None."""
    if part.entropy > NOISE and effort is not Effort.MAX:
        # A whole block may repeat itself and look like noise byte by byte.
        if not part.whole or size_without_repeats(part.data) * 100 >= len(part.data) * 98:
            return Stream(CodecId.RAW, part.data.data)
    elif part.entropy < _RUNS and is_constant(part.data):
        return Stream(CodecId.CONSTANT, b"", int(part.data[0]))
    return Stream(CodecId.RAW, part.data.data) if len(part.data) <= _SMALLEST_STREAM else None


def _code_with_zstd(parts: Sequence[Part], effort: Effort) -> list[Stream]:
    all_coded = ZSTD.encode_many([part.data.data for part in parts])
    if effort is Effort.FAST:
        return [Stream(CodecId.ZSTD, coded) for coded in all_coded]
    streams = []
    for part, coded in zip(parts, all_coded, strict=True):
        found = [coded]
        if effort is Effort.MAX:
            found.append(ZSTD.encode_at_level(part.data.data, _QUICK))
            # What is noise to the probe may repeat itself; if a quick search sees nothing, a slow one does not.
            if part.entropy <= NOISE or len(min(found, key=len)) * 100 < len(part.data) * 98:
                found += [ZSTD.encode_at_level(part.data.data, level) for level in (SLOW_ENTROPY, _SLOWEST)]
        elif _may_have_matches(part, len(coded)):
            found.append(ZSTD.encode_at_level(part.data.data, _QUICK))
            if part.whole and _is_structured(min(map(len, found)), len(part.data)):
                found.append(ZSTD.encode_at_level(part.data.data, _SLOW))
        streams.append(Stream(CodecId.ZSTD, min(found, key=len)))
    return streams


def _code_with_lz4(parts: Sequence[Part], effort: Effort, *, bitplanes: bool) -> list[Stream]:
    level = 12 if effort is Effort.MAX else 0
    streams = []
    for data, whole, entropy in parts:
        found = [Stream(CodecId.LZ4, LZ4.encode_at_level(data.data, level))]
        if effort is Effort.DEFAULT and whole and _is_structured(len(found[0].data), len(data)):
            found.append(Stream(CodecId.LZ4, LZ4.encode_at_level(data.data, 9)))
        if bitplanes and entropy <= _BITPLANES_NOISE:
            found.append(Stream(CodecId.LZ4_BITPLANES, LZ4_BITPLANES.encode_at_level(data.data, level)))
        streams.append(min(found, key=lambda stream: len(stream.data)))
    return streams


def _may_have_matches(part: Part, coded_size: int) -> bool:
    """Whether a match finder may do better than an entropy coder, which makes `coded_size` bytes of the part."""
    if part.entropy >= _RUNS and not (part.whole and not _MAY_REPEAT < part.entropy <= NOISE):
        return False
    if len(part.data) < WORTH_A_LOOK:
        return True
    eighth = len(part.data) // 8
    return len(ZSTD.encode_at_level(part.data[eighth : 2 * eighth].data, _QUICK)) * 8 < coded_size


def _is_structured(stored_size: int, size: int) -> bool:
    """Whether a block shrank so much that it is a flatbuffer or text, worth a slow search: there is little of it."""
    return stored_size * 3 < size or (size <= 4096 and stored_size * 4 < size * 3)


def is_constant(data: Bytes) -> bool:
    """Whether all bytes are the same."""
    # The ends differ in nearly all data that varies.
    return bool(data[0] == data[-1] and (data == data[0]).all())


def size_without_repeats(data: Bytes) -> int:
    """Return how many bytes are left when the repeats that a quick search finds are taken out."""
    return len(ZSTD.encode_at_level(data.data, _REPEATS_ONLY))


def size_at_a_glance(data: Bytes) -> int:
    """Return how many bytes a quick match finder and entropy coder make of `data`."""
    return len(ZSTD.encode_at_level(data.data, _QUICK))
