"""From the bytes of a whole block, or of one plane of it, to the smallest stream that was found for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from etpack import codecs
from etpack.blocks import Stream
from etpack.codecs import LZ4, LZ4_BITPLANES, SLOW_ENTROPY, ZSTD, BytesLike, Effort
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


class Parts(NamedTuple):
    """What becomes a stream each: some blocks, or their planes; all of one size."""

    # Arrays of uint8 of shape (n,).
    data: Sequence[Bytes]
    # Bits of each one's bytes, in units of ONE_BIT, by the probe.
    entropies: Sequence[int]
    # Whole blocks, or planes of them.
    whole: bool

    def take(self, numbers: Sequence[int]) -> Parts:
        """Return some of them."""
        if len(numbers) == len(self.data):
            return self
        return Parts([self.data[one] for one in numbers], [self.entropies[one] for one in numbers], self.whole)

    @property
    def size(self) -> int:
        """Bytes of each."""
        return len(self.data[0])


# Returns the smallest stream for each part, of which there is one at least; it may be larger than the part.
Coder: TypeAlias = "Callable[[Parts, Effort], list[Stream]]"


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
    return lambda parts, effort: [Stream(other.id, other.encode(data.data, effort)) for data in parts.data]


def find_streams(parts: Parts, effort: Effort, code: Coder) -> list[Stream]:
    """Return how each part is stored: constant, coded, or raw where that gains nothing."""
    streams = _uncoded(parts, effort)
    todo = [number for number, stream in enumerate(streams) if stream is None]
    if todo:
        size = parts.size
        for number, coded in zip(todo, code(parts.take(todo), effort), strict=True):
            streams[number] = coded if len(coded.data) < size else _raw(parts.data[number])
    return [stream for stream in streams if stream is not None]


def _raw(data: Bytes) -> Stream:
    return Stream(CodecId.RAW, data.data)


def _uncoded(parts: Parts, effort: Effort) -> list[Stream | None]:
    """Return how the parts are stored that no codec needs to see, and None for the others."""
    # With effort max nothing counts as noise: no entropy is above 8 bits.
    most = 8 * ONE_BIT if effort is Effort.MAX else NOISE
    noise = [number for number, entropy in enumerate(parts.entropies) if entropy > most]
    if parts.whole and noise:
        # A whole block may repeat itself and look like noise byte by byte.
        left = sizes_without_repeats(parts.take(noise).data)
        noise = [number for number, size in zip(noise, left, strict=True) if size * 100 >= parts.size * 98]
    is_noise = set(noise)
    streams: list[Stream | None] = []
    for number, (data, entropy) in enumerate(zip(parts.data, parts.entropies, strict=True)):
        if entropy < _RUNS and is_constant(data):
            streams.append(Stream(CodecId.CONSTANT, b"", int(data[0])))
        elif number in is_noise or len(data) <= _SMALLEST_STREAM:
            streams.append(_raw(data))
        else:
            streams.append(None)
    return streams


def _code_with_zstd(parts: Parts, effort: Effort) -> list[Stream]:
    contents = [data.data for data in parts.data]
    coded = ZSTD.encode_many(contents, 0)
    if effort is Effort.MAX:
        coded = [_smallest(*one) for one in zip(contents, parts.entropies, coded, strict=True)]
    elif effort is Effort.DEFAULT:
        matching = _with_matches(parts, coded)
        for number, other in zip(matching, ZSTD.encode_many([contents[one] for one in matching], _QUICK), strict=True):
            found = [coded[number], other]
            if parts.whole and _is_structured(min(map(len, found)), parts.size):
                found.append(ZSTD.encode_at_level(contents[number], _SLOW))
            coded[number] = min(found, key=len)
    return [Stream(CodecId.ZSTD, one) for one in coded]


def _smallest(content: BytesLike, entropy: int, coded: BytesLike) -> BytesLike:
    """Return the smallest frame that any level makes of a part, given that of level 0."""
    found = [coded, ZSTD.encode_at_level(content, _QUICK)]
    # What is noise to the probe may repeat itself; if a quick search sees nothing, a slow one does not.
    if entropy <= NOISE or len(min(found, key=len)) * 100 < len(content) * 98:
        found += [ZSTD.encode_at_level(content, level) for level in (SLOW_ENTROPY, _SLOWEST)]
    return min(found, key=len)


def _code_with_lz4(parts: Parts, effort: Effort, *, bitplanes: bool) -> list[Stream]:
    level = 12 if effort is Effort.MAX else 0
    streams = []
    for data, entropy in zip(parts.data, parts.entropies, strict=True):
        found = [Stream(CodecId.LZ4, LZ4.encode_at_level(data.data, level))]
        if effort is Effort.DEFAULT and parts.whole and _is_structured(len(found[0].data), len(data)):
            found.append(Stream(CodecId.LZ4, LZ4.encode_at_level(data.data, 9)))
        if bitplanes and entropy <= _BITPLANES_NOISE:
            found.append(Stream(CodecId.LZ4_BITPLANES, LZ4_BITPLANES.encode_at_level(data.data, level)))
        streams.append(min(found, key=lambda stream: len(stream.data)))
    return streams


def _with_matches(parts: Parts, coded: Sequence[BytesLike]) -> list[int]:
    """Return the numbers of the parts of which a match finder may make less than `coded`, an entropy coder's frames."""
    found = [
        number
        for number, entropy in enumerate(parts.entropies)
        if entropy < _RUNS or (parts.whole and not _MAY_REPEAT < entropy <= NOISE)
    ]
    if not found or parts.size < WORTH_A_LOOK:
        return found
    eighth = parts.size // 8
    quick = ZSTD.encode_many([parts.data[number][eighth : 2 * eighth].data for number in found], _QUICK)
    return [number for number, part in zip(found, quick, strict=True) if len(part) * 8 < len(coded[number])]


def _is_structured(stored_size: int, size: int) -> bool:
    """Whether a block shrank so much that it is a flatbuffer or text, worth a slow search: there is little of it."""
    return stored_size * 3 < size or (size <= 4096 and stored_size * 4 < size * 3)


def is_constant(data: Bytes) -> bool:
    """Whether all bytes are the same."""
    # The ends differ in nearly all data that varies.
    if data[0] != data[-1]:
        return False
    content = data.tobytes()
    return content == content[:1] * len(content)


def sizes_without_repeats(parts: Sequence[Bytes]) -> list[int]:
    """Return how many bytes of each part, all of one size, are left without the repeats that a quick search finds."""
    return [len(stream) for stream in ZSTD.encode_many([part.data for part in parts], _REPEATS_ONLY)]


def size_at_a_glance(data: Bytes) -> int:
    """Return how many bytes a quick match finder and entropy coder make of `data`."""
    return len(ZSTD.encode_at_level(data.data, _QUICK))
