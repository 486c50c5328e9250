"""The choice of filter and codec for a block, from its bytes and the options alone.

A probe of a sample ranks the filters, the best one is tried, and what the block then gives is held against
what the probe promised. Measurements behind the thresholds are in `schemas/DESIGN.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google_crc32c import value as crc32c

from etpack import blocks, codecs, filters
from etpack.blocks import Stream
from etpack.codecs import LZ4, LZ4_BITPLANES, ZSTD, Effort
from etpack.filters import Bytes
from etpack.layout import CodecId, FilterId, IndexEntry, needs_decoder
from etpack.probe import Probe

_BIT = Probe.ONE_BIT
# A plane with more bits per byte than this is stored raw untried: no codec here would gain on it.
_NOISE = _BIT * 785 // 100
# Bit transposition and LZ4 gain nothing above this.
_BITPLANES_NOISE = _BIT * 750 // 100
# Below this a plane shrinks for sure, by a few percent at least.
_CLEARLY_CODED = _BIT * 750 // 100
# Bytes of so few bits may come in patterns that a match finder sees; denser ones are numbers without repeats.
_MAY_REPEAT = _BIT * 675 // 100
# A filter must promise this many bits per byte less than a narrower one, since a small sample flatters wide elements.
_MARGINS = (
    (FilterId.PLANES_2, _BIT * 12 // 100),
    (FilterId.PLANES_4, _BIT * 12 // 100),
    (FilterId.PLANES_8, _BIT * 30 // 100),
)
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


@dataclass(frozen=True)
class _Candidate:
    kind: FilterId
    streams: list[Stream]
    stored: bytes | memoryview


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
        if (block == block[0]).all():
            entry = IndexEntry(int(block[0]), 0, 0, FilterId.NONE, CodecId.CONSTANT)
            return EncodedBlock(entry, b"", 0, frozenset())
        best = self._best_candidate(block)
        if best is None or len(best.stored) >= len(block):
            best = _Candidate(FilterId.NONE, [Stream(CodecId.RAW, b"")], block.data)
        stored = bytes(best.stored)
        ids = [stream.codec for stream in best.streams]
        codec = ids[0] if best.kind is FilterId.NONE else CodecId.DIRECTORY
        entry = IndexEntry(0, len(stored), crc32c(stored), best.kind, codec)
        decoders = frozenset(codec for codec in ids if needs_decoder(codec))
        return EncodedBlock(entry, stored, blocks.scratch_size(best.kind, ids, len(block)), decoders)

    def _best_candidate(self, block: Bytes) -> _Candidate | None:
        if self._plane_coder is None:
            return None
        probe = Probe(block)
        if not self._filters:
            return self._try(block, FilterId.NONE, probe, self._effort)
        if self._effort is Effort.MAX:
            return self._smallest_of_all(block, probe)
        kind = self._promising(probe)
        best = self._try(block, kind, probe, self._effort)
        if kind is FilterId.NONE:
            return best
        others = []
        if sum(entropy <= _CLEARLY_CODED for entropy in probe.planes(kind)) > 1:
            # Rotation moves the sign to another plane that shrinks; the sample cannot tell which one bears it better.
            others.append(FilterId(kind - 1 if kind.rotated else kind + 1))
        if self._suspicious(len(best.stored), probe.planes(kind), len(block)):
            others.append(FilterId.NONE)
        return min([best, *(self._try(block, other, probe, self._effort) for other in others)], key=_stored_size)

    def _smallest_of_all(self, block: Bytes, probe: Probe) -> _Candidate:
        kinds = [kind for kind in FilterId if len(block) >= kind.width]
        quick = sorted((self._try(block, kind, probe, Effort.FAST) for kind in kinds), key=_stored_size)
        finalists = {FilterId.NONE, *(candidate.kind for candidate in quick[:2])}
        return min((self._try(block, kind, probe, Effort.MAX) for kind in sorted(finalists)), key=_stored_size)

    @staticmethod
    def _promising(probe: Probe) -> FilterId:
        """Return the filter under which the sample has the lowest entropy, the narrower one when in doubt."""
        best = FilterId.NONE
        for kind, margin in _MARGINS:
            if probe.mean(kind) + margin < probe.mean(best):
                best = kind
        if best is not FilterId.NONE:
            rotated = FilterId(best + 1)
            if probe.mean(rotated) < probe.mean(best):
                best = rotated
        return best

    @staticmethod
    def _suspicious(stored_size: int, planes: list[int], size: int) -> bool:
        """Whether the result is far from what the entropies promised, or so small that repeats are likely."""
        promised = size * sum(planes) // (8 * _BIT * len(planes))
        return stored_size * 25 > promised * 26 or stored_size * 5 < size * 3

    def _try(self, block: Bytes, kind: FilterId, probe: Probe, effort: Effort) -> _Candidate:
        assert self._plane_coder is not None
        entropies = probe.planes(kind)
        if kind is FilterId.NONE:
            worth = entropies[0] <= _NOISE or _has_repeats(block)
            stream = self._plane_coder(block, effort, True, entropies[0]) if worth else _raw(block)
            return _Candidate(kind, [stream], stream.data)
        streams = []
        for plane, entropy in zip(filters.split(block, kind.width, kind.rotated), entropies, strict=True):
            if entropy < _RUNS and (plane == plane[0]).all():
                streams.append(Stream(CodecId.CONSTANT, b"", int(plane[0])))
            elif entropy > _NOISE:
                streams.append(_raw(plane))
            else:
                stream = self._plane_coder(plane, effort, False, entropy)
                streams.append(stream if len(stream.data) < len(plane) else _raw(plane))
        tail = block[len(block) // kind.width * kind.width :].tobytes()
        return _Candidate(kind, streams, blocks.join_planes(streams, tail, self._alignment))

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


def _raw(plane: Bytes) -> Stream:
    return Stream(CodecId.RAW, plane.data)


def _stored_size(candidate: _Candidate) -> int:
    return len(candidate.stored)


def _has_repeats(block: Bytes) -> bool:
    """Whether a quick search finds repeats in what looks like noise byte by byte."""
    return len(ZSTD.encode_at_level(block.data, -5)) * 100 < len(block) * 98


def _is_structured(stored_size: int, size: int) -> bool:
    """Whether a block shrank so much that it is a flatbuffer or text, worth a slow search: there is little of it."""
    return stored_size * 3 < size or (size <= 4096 and stored_size * 4 < size * 3)
