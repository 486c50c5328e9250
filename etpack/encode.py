"""The choice of filter and codec for a block, from its bytes and the options alone.

A probe of a sample ranks the filters, the best one is tried, and what the block then gives is held against
what the probe promised. `schemas/DESIGN.md` says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from google_crc32c import value as crc32c

from etpack import blocks, filters
from etpack.codecs import BytesLike, Effort
from etpack.coders import (
    WORTH_A_LOOK,
    Parts,
    find_coder,
    find_streams,
    is_constant,
    size_at_a_glance,
    sizes_without_repeats,
)
from etpack.filters import Bytes
from etpack.layout import CodecId, FilterId, IndexEntry, needs_decoder
from etpack.probe import ONE_BIT, Probes

# Below this a plane shrinks for sure, by a few percent at least.
_CLEARLY_CODED = ONE_BIT * 750 // 100
# With effort max, the filters that do best at a quick look get all that there is.
_BEST_FILTERS = 3


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
    # Bytes of `stored`, which is empty where only its size was asked for.
    size: int
    stored: BytesLike


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
        # Each thread's, free again when blocks are encoded.
        self.scratch = filters.Scratch()
        self._code = find_coder(codec, use_filters)

    def encode_many(self, contents: Bytes) -> list[EncodedBlock]:
        """Return the smallest form found of each row of `contents`, uint8 of shape (blocks, n >= 1), C-contiguous."""
        constant = _are_constant(contents)
        varied = [number for number, found in enumerate(constant) if not found]
        if self._code is None or not varied:
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
        others = [_Try(number, FilterId.NONE) for number in _may_repeat(contents, best, probes)]
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
            part = np.ascontiguousarray(contents[:, : size // 32 * 8 if size >= WORTH_A_LOOK else size])
            turned = [_Try(number, _OTHER_ROTATION[kind]) for number, kind in doubtful]
            found = self._try(part, probes, [*doubtful, *turned], Effort.FAST, only_sizes=True)
            for one, other, as_is, as_turned in zip(
                doubtful, turned, found[: len(doubtful)], found[len(doubtful) :], strict=True
            ):
                tries[one.number] = other if _stored_size(as_turned) < _stored_size(as_is) else one
        return tries

    def _smallest_of_all(self, contents: Bytes, probes: Probes) -> list[_Candidate]:
        numbers = range(len(contents))
        tries = [_Try(number, kind) for number in numbers for kind in FilterId if contents.shape[1] >= kind.width]
        quick: list[list[_Candidate]] = [[] for _ in numbers]
        for (number, _), candidate in zip(
            tries, self._try(contents, probes, tries, Effort.FAST, only_sizes=True), strict=True
        ):
            quick[number].append(candidate)
        tries = []
        for number, candidates in enumerate(quick):
            candidates.sort(key=_stored_size)
            kinds = {candidate.kind for candidate in candidates[:_BEST_FILTERS]}
            if _is_near(size_at_a_glance(contents[number]), _stored_size(candidates[0])):
                kinds.add(FilterId.NONE)
            tries += [_Try(number, kind) for kind in sorted(kinds)]
        found: list[list[_Candidate]] = [[] for _ in numbers]
        for (number, _), candidate in zip(tries, self._try(contents, probes, tries, Effort.MAX), strict=True):
            found[number].append(candidate)
        return [min(candidates, key=_stored_size) for candidates in found]

    def _try(
        self, contents: Bytes, probes: Probes, tries: Sequence[_Try], effort: Effort, only_sizes: bool = False
    ) -> list[_Candidate]:
        """Return what each try gives, coding all blocks of one filter together."""
        found: list[_Candidate | None] = [None] * len(tries)
        by_kind: defaultdict[FilterId, list[int]] = defaultdict(list)
        for place, one in enumerate(tries):
            by_kind[one.kind].append(place)
        for kind, places in by_kind.items():
            numbers = [tries[place].number for place in places]
            entropies = [entropy for number in numbers for entropy in probes.planes(number, kind)]
            chosen = contents if numbers == list(range(len(contents))) else contents[numbers]
            for place, candidate in zip(
                places, self._filtered(chosen, kind, entropies, effort, only_sizes), strict=True
            ):
                found[place] = candidate
        return [candidate for candidate in found if candidate is not None]

    def _filtered(
        self, contents: Bytes, kind: FilterId, entropies: Sequence[int], effort: Effort, only_sizes: bool
    ) -> list[_Candidate]:
        """Return blocks, uint8 of shape (blocks, n), under one filter, given the entropies of all their planes."""
        assert self._code is not None
        if kind is FilterId.NONE:
            streams = find_streams(Parts(list(contents), entropies, True), effort, self._code)
            return [_Candidate(kind, (stream.codec,), len(stream.data), stream.data) for stream in streams]
        width = kind.width
        rows = zip(*filters.split(contents, width, kind.rotated, self.scratch), strict=True)
        planes = [plane for of_block in rows for plane in of_block]
        streams = find_streams(Parts(planes, entropies, False), effort, self._code)
        tails = contents[:, contents.shape[1] // width * width :]
        made = []
        for number, tail in enumerate(tails):
            of_block = streams[number * width : (number + 1) * width]
            ids = tuple([stream.codec for stream in of_block])
            if only_sizes:
                made.append(_Candidate(kind, ids, blocks.joined_size(of_block, len(tail), self._alignment), b""))
            else:
                stored = blocks.join_planes(of_block, tail.tobytes(), self._alignment)
                made.append(_Candidate(kind, ids, len(stored), stored))
        return made


_OTHER_ROTATION = {kind: FilterId(kind - 1 if kind.rotated else kind + 1) for kind in FilterId if kind.width > 1}


def _are_constant(contents: Bytes) -> list[bool]:
    suspects = (contents[:, 0] == contents[:, -1]).tolist()
    return [suspect and is_constant(block) for suspect, block in zip(suspects, contents, strict=True)]


def _constant(block: Bytes) -> EncodedBlock:
    entry = IndexEntry(int(block[0]), 0, 0, FilterId.NONE, CodecId.CONSTANT)
    return EncodedBlock(entry, b"", 0, frozenset())


def _may_repeat(contents: Bytes, best: Sequence[_Candidate], probes: Probes) -> list[int]:
    """Return the numbers of the blocks that may be smaller unfiltered, for they repeat themselves.

    A quick search in a quarter of a block tells.

    Args:
        contents: The blocks, uint8 of shape (blocks, n).
        best: The smallest form of each that was found.
        probes: What samples of the blocks say.
    """
    size = contents.shape[1]
    doubtful = []
    for number, (kind, _, stored_size, _) in enumerate(best):
        if kind is FilterId.NONE:
            continue
        planes = probes.planes(number, kind)
        promised = size * sum(planes) // (8 * ONE_BIT * len(planes))
        # As small as promised, and no smaller than weights become: then there is nothing else in it.
        if stored_size * 25 > promised * 26 or stored_size * 5 < size * 3:
            doubtful.append(number)
    left = sizes_without_repeats([contents[number, : size // 4] for number in doubtful])
    return [
        number
        for number, part in zip(doubtful, left, strict=True)
        if _is_near(4 * part * probes.planes(number, FilterId.NONE)[0] // (8 * ONE_BIT), best[number].size)
    ]


def _is_near(size: int, other: int) -> bool:
    """Whether a quick search made no more than a tenth over another size, so that a slow one may come below it."""
    return size * 10 < other * 11


def _raw(block: Bytes) -> _Candidate:
    return _Candidate(FilterId.NONE, (CodecId.RAW,), len(block), block.data)


def _finished(candidate: _Candidate, block: Bytes) -> EncodedBlock:
    """Return the block as `candidate` stores it, or raw if that gains nothing."""
    kind, ids, _, stored = candidate if candidate.size < len(block) else _raw(block)
    stored = bytes(stored)
    codec = ids[0] if kind is FilterId.NONE else CodecId.DIRECTORY
    entry = IndexEntry(0, len(stored), crc32c(stored), kind, codec)
    return EncodedBlock(entry, stored, *_needs(kind, ids, len(block)))


@lru_cache(maxsize=256)
def _needs(kind: FilterId, ids: tuple[int, ...], size: int) -> tuple[int, frozenset[int]]:
    """Return the scratch in bytes and the codecs that decoding a block of `size` bytes needs."""
    return blocks.scratch_size(kind, ids, size), frozenset(codec for codec in ids if needs_decoder(codec))


def _stored_size(candidate: _Candidate) -> int:
    return candidate.size
