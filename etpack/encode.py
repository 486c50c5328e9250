"""The choice of filter and codec for a block, from its bytes and the options alone.

A probe of a sample ranks the filters, the best one is tried, and what the block then gives is held against
what the probe promised. `schemas/DESIGN.md` says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from google_crc32c import value as crc32c

from etpack import blocks, codecs, filters
from etpack.blocks import Stream
from etpack.codecs import LZ4, LZ4_BITPLANES, ZSTD, Effort
from etpack.filters import Bytes
from etpack.layout import CodecId, FilterId, IndexEntry, needs_decoder
from etpack.probe import Probes

_BIT = Probes.ONE_BIT
# A plane with more bits per byte than this is stored raw untried: no codec here would gain on it.
_NOISE = _BIT * 785 // 100
# Bit transposition and LZ4 gain nothing above this.
_BITPLANES_NOISE = _BIT * 750 // 100
# Below this a plane shrinks for sure, by a few percent at least.
_CLEARLY_CODED = _BIT * 750 // 100
# Bytes of so few bits may come in patterns that a match finder sees; denser ones are numbers without repeats.
_MAY_REPEAT = _BIT * 675 // 100
# A plane of so few bits per byte often has runs, which a match finder sees and an entropy coder does not.
_RUNS = 2 * _BIT


@dataclass(frozen=True)
class EncodedBlock:
    """A block as it will be stored."""

    # The index entry, with the stored offset still 0 (for a constant block: the value).
    entry: IndexEntry
    stored: bytes
    # Bytes of scratch that decoding needs, and the ids of the codecs that it needs.
    scratch: int
    codecs: frozenset[int]


class _Candidate(NamedTuple):
    kind: FilterId
    codecs: tuple[int, ...]
    stored: bytes | memoryview


class _Try(NamedTuple):
    """A filter to be tried on the block of this number."""

    number: int
    kind: FilterId


class Encoder:
    """Encodes blocks under one set of options; safe to call from many threads.

    Args:
        codec: "auto", "zstd", "lz4", "raw", or the name of a codec that someone registered.
        effort: How hard to look for a smaller block.
        use_filters: Whether blocks may be split into planes; without, each block is one bare stream.
        alignment: What each stream's stored offset must be a multiple of, a power of two.

    Raises:
        CodecMissingError: There is no codec of that name.
    """

    def __init__(self, codec: str, effort: Effort, use_filters: bool, alignment: int) -> None:
        self._effort = effort
        self._filters = use_filters
        self._alignment = alignment
        self._plane_coder: Callable[[Bytes, Effort, bool, int], Stream] | None
        if codec in ("auto", ZSTD.name):
            self._plane_coder = self._zstd_coder
        elif codec == LZ4.name:
            self._plane_coder = self._lz4_coder
        elif codec == "raw":
            self._plane_coder = None
        else:
            self._other = codecs.by_name(codec)
            self._plane_coder = self._other_coder

    def encode(self, block: Bytes) -> EncodedBlock:
        """Return the smallest form found of `block`, uint8 of shape (n,), n >= 1."""
        return self.encode_many([block])[0]

    def encode_many(self, contents: Sequence[Bytes]) -> list[EncodedBlock]:
        """Return what `encode` gives of each block, faster; it is held in memory several times over meanwhile."""
        made = [_constant(block) for block in contents]
        varied = [number for number, found in enumerate(made) if found is None]
        if self._plane_coder is None:
            best = [_raw(contents[number]) for number in varied]
        else:
            best = self._best_candidates([contents[number] for number in varied])
        for number, candidate in zip(varied, best, strict=True):
            made[number] = _finished(candidate, contents[number])
        return [block for block in made if block is not None]

    def _best_candidates(self, contents: Sequence[Bytes]) -> list[_Candidate]:
        """Return the smallest candidate for each block."""
        numbers = range(len(contents))
        probes = Probes(contents, thorough=self._effort is Effort.MAX)
        if not self._filters:
            return self._try(contents, probes, [_Try(number, FilterId.NONE) for number in numbers], self._effort)
        if self._effort is Effort.MAX:
            return self._smallest_of_all(contents, probes)
        best = self._try(contents, probes, [_Try(*pair) for pair in enumerate(probes.best)], self._effort)
        others = []
        for number, (kind, _, stored) in enumerate(best):
            if kind is FilterId.NONE:
                continue
            planes = probes.planes(number, kind)
            if sum([entropy <= _CLEARLY_CODED for entropy in planes]) > 1:
                # Rotation moves the sign to another plane that shrinks; a sample cannot tell which bears it better.
                others.append(_Try(number, _OTHER_ROTATION[kind]))
            if _is_suspicious(len(stored), planes, len(contents[number])):
                others.append(_Try(number, FilterId.NONE))
        for (number, _), candidate in zip(others, self._try(contents, probes, others, self._effort), strict=True):
            best[number] = min(best[number], candidate, key=_stored_size)
        return best

    def _smallest_of_all(self, contents: Sequence[Bytes], probes: Probes) -> list[_Candidate]:
        tries = [_Try(n, kind) for n, block in enumerate(contents) for kind in FilterId if len(block) >= kind.width]
        quick: list[list[_Candidate]] = [[] for _ in contents]
        for (number, _), candidate in zip(tries, self._try(contents, probes, tries, Effort.FAST), strict=True):
            quick[number].append(candidate)
        tries = []
        for number, candidates in enumerate(quick):
            kinds = {candidate.kind for candidate in sorted(candidates, key=_stored_size)[:2]}
            tries += [_Try(number, kind) for kind in sorted({FilterId.NONE, *kinds})]
        found: list[list[_Candidate]] = [[] for _ in contents]
        for (number, _), candidate in zip(tries, self._try(contents, probes, tries, Effort.MAX), strict=True):
            found[number].append(candidate)
        return [min(candidates, key=_stored_size) for candidates in found]

    def _try(
        self, contents: Sequence[Bytes], probes: Probes, tries: Sequence[_Try], effort: Effort
    ) -> list[_Candidate]:
        """Return what each try gives, splitting all blocks of one filter at once."""
        found: dict[_Try, _Candidate] = {}
        by_kind: defaultdict[FilterId, list[_Try]] = defaultdict(list)
        for one in tries:
            by_kind[one.kind].append(one)
        for kind, those in by_kind.items():
            parts = [contents[number] for number, _ in those]
            if kind is FilterId.NONE:
                for one, block in zip(those, parts, strict=True):
                    found[one] = self._code_whole(block, probes.planes(one.number, kind)[0], effort)
                continue
            for one, block, planes in zip(those, parts, filters.split_many(parts, *_SHAPES[kind]), strict=True):
                found[one] = self._code_planes(block, kind, planes, probes.planes(one.number, kind), effort)
        return [found[one] for one in tries]

    def _code_whole(self, block: Bytes, entropy: int, effort: Effort) -> _Candidate:
        assert self._plane_coder is not None
        if entropy > _NOISE and not _has_repeats(block):
            return _raw(block)
        stream = self._plane_coder(block, effort, True, entropy)
        return _Candidate(FilterId.NONE, (stream.codec,), stream.data)

    def _code_planes(
        self, block: Bytes, kind: FilterId, planes: list[Bytes], entropies: list[int], effort: Effort
    ) -> _Candidate:
        assert self._plane_coder is not None
        streams = []
        for plane, entropy in zip(planes, entropies, strict=True):
            if entropy > _NOISE:
                streams.append(Stream(CodecId.RAW, plane.data))
            elif entropy < _RUNS and _is_constant(plane):
                streams.append(Stream(CodecId.CONSTANT, b"", int(plane[0])))
            else:
                stream = self._plane_coder(plane, effort, False, entropy)
                streams.append(stream if len(stream.data) < len(plane) else Stream(CodecId.RAW, plane.data))
        tail = block[len(planes[0]) * len(planes) :].tobytes()
        stored = blocks.join_planes(streams, tail, self._alignment)
        return _Candidate(kind, tuple([stream.codec for stream in streams]), stored)

    # The coders below return the smallest stream for `data`, a whole block or one plane of it, whose
    # bytes have about `entropy` bits each.

    @staticmethod
    def _zstd_coder(data: Bytes, effort: Effort, whole: bool, entropy: int) -> Stream:
        found = [ZSTD.encode_at_level(data.data, 0)]
        if effort is Effort.MAX:
            found.append(ZSTD.encode_at_level(data.data, 19))
        if effort is Effort.DEFAULT and (entropy < _RUNS or (whole and not _MAY_REPEAT < entropy <= _NOISE)):
            found.append(ZSTD.encode_at_level(data.data, 3))
            if whole and _is_structured(min(map(len, found)), len(data)):
                found.append(ZSTD.encode_at_level(data.data, 17))
        return Stream(CodecId.ZSTD, min(found, key=len))

    def _lz4_coder(self, data: Bytes, effort: Effort, whole: bool, entropy: int) -> Stream:
        level = 12 if effort is Effort.MAX else 0
        found = [Stream(CodecId.LZ4, LZ4.encode_at_level(data.data, level))]
        if effort is Effort.DEFAULT and whole and _is_structured(len(found[0].data), len(data)):
            found.append(Stream(CodecId.LZ4, LZ4.encode_at_level(data.data, 9)))
        if self._filters and entropy <= _BITPLANES_NOISE:
            found.append(Stream(CodecId.LZ4_BITPLANES, LZ4_BITPLANES.encode_at_level(data.data, level)))
        return min(found, key=lambda stream: len(stream.data))

    def _other_coder(self, data: Bytes, effort: Effort, _whole: bool, _entropy: int) -> Stream:
        return Stream(self._other.id, self._other.encode(data.data, effort))


# Width, and whether elements are rotated, by filter.
_SHAPES = {kind: (kind.width, kind.rotated) for kind in FilterId}
_OTHER_ROTATION = {kind: FilterId(kind - 1 if kind.rotated else kind + 1) for kind in FilterId if kind.width > 1}


def _is_constant(data: Bytes) -> bool:
    # The ends differ in nearly all data that varies.
    return bool(data[0] == data[-1] and (data == data[0]).all())


def _constant(block: Bytes) -> EncodedBlock | None:
    if not _is_constant(block):
        return None
    entry = IndexEntry(int(block[0]), 0, 0, FilterId.NONE, CodecId.CONSTANT)
    return EncodedBlock(entry, b"", 0, frozenset())


def _raw(block: Bytes) -> _Candidate:
    return _Candidate(FilterId.NONE, (CodecId.RAW,), block.data)


def _finished(candidate: _Candidate, block: Bytes) -> EncodedBlock:
    """Return the block as `candidate` stores it, or raw if that gains nothing."""
    kind, ids, stored = candidate if len(candidate.stored) < len(block) else _raw(block)
    stored = bytes(stored)
    codec = ids[0] if kind is FilterId.NONE else CodecId.DIRECTORY
    entry = IndexEntry(0, len(stored), crc32c(stored), kind, codec)
    return EncodedBlock(entry, stored, *_needs(kind, ids, len(block)))


@lru_cache(maxsize=256)
def _needs(kind: FilterId, ids: tuple[int, ...], size: int) -> tuple[int, frozenset[int]]:
    """Return the scratch in bytes and the codecs that decoding a block of `size` bytes needs."""
    return blocks.scratch_size(kind, ids, size), frozenset(codec for codec in ids if needs_decoder(codec))


def _is_suspicious(stored_size: int, planes: list[int], size: int) -> bool:
    """Whether the result is far from what the entropies promised, or so small that repeats are likely."""
    promised = size * sum(planes) // (8 * _BIT * len(planes))
    return stored_size * 25 > promised * 26 or stored_size * 5 < size * 3


def _stored_size(candidate: _Candidate) -> int:
    return len(candidate.stored)


def _has_repeats(block: Bytes) -> bool:
    """Whether a quick search finds repeats in what looks like noise byte by byte."""
    return len(ZSTD.encode_at_level(block.data, -5)) * 100 < len(block) * 98


def _is_structured(stored_size: int, size: int) -> bool:
    """Whether a block shrank so much that it is a flatbuffer or text, worth a slow search: there is little of it."""
    return stored_size * 3 < size or (size <= 4096 and stored_size * 4 < size * 3)
