"""The choice of filter and codec for a block, from its bytes and the options alone.

A probe of a sample ranks the filters, the best one is tried, and what the block then gives is held against
what the probe promised. `schemas/DESIGN.md` says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from google_crc32c import value as crc32c

from etpack import blocks, codecs, filters
from etpack.blocks import Stream
from etpack.codecs import LZ4, LZ4_BITPLANES, SLOW_ENTROPY, ZSTD, BytesLike, Effort
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
# Smaller parts are tried whole.
_WORTH_A_LOOK = 4096
# A plane of so few bits per byte often has runs, which a match finder sees and an entropy coder does not.
_RUNS = 2 * _BIT


class EncodedBlock(NamedTuple):
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
    stored: BytesLike


class _Try(NamedTuple):
    """A filter to be tried on the block of this number."""

    number: int
    kind: FilterId


class _Part(NamedTuple):
    """What becomes one stream."""

    data: Bytes
    # A whole block, or one plane of it.
    whole: bool
    # Bits of each byte, in units of _BIT, by the probe.
    entropy: int


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
        self._scratch = filters.Scratch()
        self._code: Callable[[Sequence[_Part], Effort], list[Stream]] | None
        if codec in ("auto", ZSTD.name):
            self._code = self._code_zstd
        elif codec == LZ4.name:
            self._code = self._code_lz4
        elif codec == "raw":
            self._code = None
        else:
            self._other = codecs.by_name(codec)
            self._code = self._code_with_other

    def encode(self, block: Bytes) -> EncodedBlock:
        """Return the smallest form found of `block`, uint8 of shape (n,), n >= 1."""
        return self.encode_many(block[np.newaxis])[0]

    def encode_many(self, contents: Bytes) -> list[EncodedBlock]:
        """Return what `encode` gives of each row of `contents`, uint8 of shape (blocks, n), C-contiguous; faster."""
        constant = _are_constant(contents)
        varied = [number for number, found in enumerate(constant) if not found]
        if self._code is None:
            best = [_raw(contents[number]) for number in varied]
        else:
            best = self._best_candidates(contents[varied] if any(constant) else contents)
        made = [_constant(block) if found else None for block, found in zip(contents, constant, strict=True)]
        for number, candidate in zip(varied, best, strict=True):
            made[number] = _finished(candidate, contents[number])
        return [block for block in made if block is not None]

    def _best_candidates(self, contents: Bytes) -> list[_Candidate]:
        """Return the smallest candidate for each block."""
        probes = Probes(contents, thorough=self._effort is Effort.MAX)
        if not self._filters:
            tries = [_Try(number, FilterId.NONE) for number in range(len(contents))]
            return self._try(contents, probes, tries, self._effort)
        if self._effort is Effort.MAX:
            return self._smallest_of_all(contents, probes)
        best = self._try(contents, probes, self._better_rotations(contents, probes), self._effort)
        others = []
        for number, (kind, _, stored) in enumerate(best):
            planes = probes.planes(number, kind)
            entropy = probes.planes(number, FilterId.NONE)[0]
            if kind is not FilterId.NONE and self._may_repeat(contents[number], len(stored), planes, entropy):
                others.append(_Try(number, FilterId.NONE))
        for (number, _), candidate in zip(others, self._try(contents, probes, others, self._effort), strict=True):
            best[number] = min(best[number], candidate, key=_stored_size)
        return best

    def _better_rotations(self, contents: Bytes, probes: Probes) -> list[_Try]:
        """Return the best filter of each block by its probe, with the rotation that does better on a quarter of it.

        Rotation moves the sign to another plane; where several shrink, a sample cannot tell which bears it better.
        """
        tries = [_Try(number, kind) for number, kind in enumerate(probes.best)]
        doubtful = [
            one
            for one in tries
            if one.kind is not FilterId.NONE
            and sum([0 < entropy <= _CLEARLY_CODED for entropy in probes.planes(*one)]) > 1
        ]
        if doubtful:
            size = contents.shape[1]
            part = np.ascontiguousarray(contents[:, : size // 32 * 8 if size >= _WORTH_A_LOOK else size])
            turned = [_Try(number, _OTHER_ROTATION[kind]) for number, kind in doubtful]
            found = self._try(part, probes, [*doubtful, *turned], Effort.FAST)
            for one, other, as_is, as_turned in zip(
                doubtful, turned, found[: len(doubtful)], found[len(doubtful) :], strict=True
            ):
                tries[one.number] = other if _stored_size(as_turned) < _stored_size(as_is) else one
        return tries

    def _smallest_of_all(self, contents: Bytes, probes: Probes) -> list[_Candidate]:
        numbers = range(len(contents))
        tries = [_Try(number, kind) for number in numbers for kind in FilterId if contents.shape[1] >= kind.width]
        quick: list[list[_Candidate]] = [[] for _ in numbers]
        for (number, _), candidate in zip(tries, self._try(contents, probes, tries, Effort.FAST), strict=True):
            quick[number].append(candidate)
        tries = []
        for number, candidates in enumerate(quick):
            candidates.sort(key=_stored_size)
            kinds = {candidate.kind for candidate in candidates[:3]}
            if _is_near(len(ZSTD.encode_at_level(contents[number].data, 3)), _stored_size(candidates[0])):
                kinds.add(FilterId.NONE)
            tries += [_Try(number, kind) for kind in sorted(kinds)]
        found: list[list[_Candidate]] = [[] for _ in numbers]
        for (number, _), candidate in zip(tries, self._try(contents, probes, tries, Effort.MAX), strict=True):
            found[number].append(candidate)
        return [min(candidates, key=_stored_size) for candidates in found]

    def _try(self, contents: Bytes, probes: Probes, tries: Sequence[_Try], effort: Effort) -> list[_Candidate]:
        """Return what each try gives, coding all blocks of one filter together."""
        found: dict[_Try, _Candidate] = {}
        by_kind: defaultdict[FilterId, list[int]] = defaultdict(list)
        for number, kind in tries:
            by_kind[kind].append(number)
        for kind, numbers in by_kind.items():
            entropies = [probes.planes(number, kind) for number in numbers]
            chosen = contents if len(numbers) == len(contents) else contents[numbers]
            made = self._filtered(chosen, kind, entropies, effort)
            found.update(zip([_Try(number, kind) for number in numbers], made, strict=True))
        return [found[one] for one in tries]

    def _filtered(
        self, contents: Bytes, kind: FilterId, entropies: Sequence[Sequence[int]], effort: Effort
    ) -> list[_Candidate]:
        """Return blocks, uint8 of shape (blocks, n), under one filter, given the entropies of each block's planes."""
        if kind is FilterId.NONE:
            parts = [_Part(block, True, *pair) for block, pair in zip(contents, entropies, strict=True)]
            return [_Candidate(kind, (stream.codec,), stream.data) for stream in self._streams(parts, effort)]
        width = kind.width
        rows = zip(*filters.split(contents, width, kind.rotated, self._scratch), strict=True)
        parts = [
            _Part(plane, False, entropy)
            for planes, of_planes in zip(rows, entropies, strict=True)
            for plane, entropy in zip(planes, of_planes, strict=True)
        ]
        streams = self._streams(parts, effort)
        tails = contents[:, contents.shape[1] // width * width :]
        made = []
        for number, tail in enumerate(tails):
            of_block = streams[number * width : (number + 1) * width]
            stored = blocks.join_planes(of_block, tail.tobytes(), self._alignment)
            made.append(_Candidate(kind, tuple([stream.codec for stream in of_block]), stored))
        return made

    def _streams(self, parts: Sequence[_Part], effort: Effort) -> list[Stream]:
        """Return how each part is stored: constant, coded, or raw where that gains nothing."""
        assert self._code is not None
        streams = [_uncoded(part, effort) for part in parts]
        todo = [number for number, stream in enumerate(streams) if stream is None]
        for number, coded in zip(todo, self._code([parts[number] for number in todo], effort), strict=True):
            data = parts[number].data
            streams[number] = coded if len(coded.data) < len(data) else Stream(CodecId.RAW, data.data)
        return [stream for stream in streams if stream is not None]

    @staticmethod
    def _may_repeat(block: Bytes, stored_size: int, planes: list[int], whole: int) -> bool:
        """Whether a block may be smaller unfiltered, for it repeats itself: a quick search for repeats tells.

        Args:
            block: The block.
            stored_size: Bytes that it takes in planes.
            planes: The entropies of its planes.
            whole: The entropy of its bytes.
        """
        promised = len(block) * sum(planes) // (8 * _BIT * len(planes))
        if stored_size * 25 <= promised * 26 and stored_size * 5 >= len(block) * 3:
            return False
        quarter = block[: len(block) // 4]
        return _is_near(4 * _without_repeats(quarter) * whole // (8 * _BIT), stored_size)

    # The coders below return the smallest stream for each part.

    @staticmethod
    def _code_zstd(parts: Sequence[_Part], effort: Effort) -> list[Stream]:
        streams = []
        for part, quick in zip(parts, ZSTD.encode_many([part.data.data for part in parts]), strict=True):
            found = [quick]
            if effort is Effort.MAX:
                found.append(ZSTD.encode_at_level(part.data.data, 3))
                # What is noise to the probe may repeat itself; else no search finds anything in it.
                if part.entropy <= _NOISE or len(min(found, key=len)) * 100 < len(part.data) * 98:
                    found += [ZSTD.encode_at_level(part.data.data, level) for level in (SLOW_ENTROPY, 19)]
            if effort is Effort.DEFAULT and _may_have_runs(part) and _has_runs(part.data, len(quick)):
                found.append(ZSTD.encode_at_level(part.data.data, 3))
                if part.whole and _is_structured(min(map(len, found)), len(part.data)):
                    found.append(ZSTD.encode_at_level(part.data.data, 17))
            streams.append(Stream(CodecId.ZSTD, min(found, key=len)))
        return streams

    def _code_lz4(self, parts: Sequence[_Part], effort: Effort) -> list[Stream]:
        return [self._code_one_with_lz4(part, effort) for part in parts]

    def _code_one_with_lz4(self, part: _Part, effort: Effort) -> Stream:
        data, whole, entropy = part
        level = 12 if effort is Effort.MAX else 0
        found = [Stream(CodecId.LZ4, LZ4.encode_at_level(data.data, level))]
        if effort is Effort.DEFAULT and whole and _is_structured(len(found[0].data), len(data)):
            found.append(Stream(CodecId.LZ4, LZ4.encode_at_level(data.data, 9)))
        if self._filters and entropy <= _BITPLANES_NOISE:
            found.append(Stream(CodecId.LZ4_BITPLANES, LZ4_BITPLANES.encode_at_level(data.data, level)))
        return min(found, key=lambda stream: len(stream.data))

    def _code_with_other(self, parts: Sequence[_Part], effort: Effort) -> list[Stream]:
        return [Stream(self._other.id, self._other.encode(part.data.data, effort)) for part in parts]


_OTHER_ROTATION = {kind: FilterId(kind - 1 if kind.rotated else kind + 1) for kind in FilterId if kind.width > 1}


def _is_constant(data: Bytes) -> bool:
    # The ends differ in nearly all data that varies.
    return bool(data[0] == data[-1] and (data == data[0]).all())


def _are_constant(contents: Bytes) -> list[bool]:
    suspects = (contents[:, 0] == contents[:, -1]).tolist()
    return [suspect and _is_constant(block) for suspect, block in zip(suspects, contents, strict=True)]


def _constant(block: Bytes) -> EncodedBlock:
    entry = IndexEntry(int(block[0]), 0, 0, FilterId.NONE, CodecId.CONSTANT)
    return EncodedBlock(entry, b"", 0, frozenset())


def _uncoded(part: _Part, effort: Effort) -> Stream | None:
    """Return how a part is stored that no codec needs to see, else None."""
    noise = part.entropy > _NOISE and effort is not Effort.MAX
    if noise and not (part.whole and _has_repeats(part.data)):
        return Stream(CodecId.RAW, part.data.data)
    if part.entropy < _RUNS and _is_constant(part.data):
        return Stream(CodecId.CONSTANT, b"", int(part.data[0]))
    return None


def _may_have_runs(part: _Part) -> bool:
    """Whether a match finder may see in a part what an entropy coder does not."""
    return part.entropy < _RUNS or (part.whole and not _MAY_REPEAT < part.entropy <= _NOISE)


def _has_runs(data: Bytes, coded_size: int) -> bool:
    """Whether a match finder is ahead on an eighth of `data`; an entropy coder makes `coded_size` bytes of all."""
    if len(data) < _WORTH_A_LOOK:
        return True
    eighth = len(data) // 8
    return len(ZSTD.encode_at_level(data[eighth : 2 * eighth].data, 3)) * 8 < coded_size


def _is_near(size: int, other: int) -> bool:
    """Whether a quick search made no more than a tenth over another size, so that a slow one may come below it."""
    return size * 10 < other * 11


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


def _stored_size(candidate: _Candidate) -> int:
    return len(candidate.stored)


def _has_repeats(block: Bytes) -> bool:
    """Whether a quick search finds repeats in what looks like noise byte by byte."""
    return _without_repeats(block) * 100 < len(block) * 98


def _without_repeats(block: Bytes) -> int:
    """Return the size of a block with the repeats that a quick search finds taken out, and nothing else coded."""
    return len(ZSTD.encode_at_level(block.data, -5))


def _is_structured(stored_size: int, size: int) -> bool:
    """Whether a block shrank so much that it is a flatbuffer or text, worth a slow search: there is little of it."""
    return stored_size * 3 < size or (size <= 4096 and stored_size * 4 < size * 3)
