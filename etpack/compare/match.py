"""Finds for each part of one file its like in the other: by name, by content, and then by what can be inferred.

Parts are told apart in passes, the surest first; each pass pairs what is left and has equal keys, in file order. A
change in one weight then leaves one of each file over, and what the neighbours are says that they belong together.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from etpack.compare.parts import Part
from etpack.compare.values import Basis, PartKind

# The digest of a part of the first or of the second file (0 or 1).
Digest = Callable[[int, Part], bytes]
# What parts are paired by; None leaves a part out.
_Key = Callable[[int, Part], Hashable]


class Pair(NamedTuple):
    """A part of each file, or of one."""

    a: Part | None
    b: Part | None
    basis: Basis | None


# Kinds whose parts are told apart by nothing but what they are.
_ALONE = (PartKind.PROGRAM, PartKind.CONSTANT_SEGMENT, PartKind.MUTABLE_SEGMENT, PartKind.TRAILING, PartKind.OPAQUE)
# A key that is made of the bytes says nothing of what they are.
_DIGEST = re.compile("[0-9a-f]{32}")
_WEIGHTS = (PartKind.CONSTANT, PartKind.MUTABLE, PartKind.NAMED_DATA, PartKind.UNUSED)
_TENSORS = (PartKind.CONSTANT, PartKind.MUTABLE, PartKind.EXTERNAL)


def match_parts(a: Sequence[Part], b: Sequence[Part], digest: Digest) -> list[Pair]:
    """Return all parts of both files in pairs: in the order of b, each that only a has after its last predecessor.

    Args:
        a: Parts of the first file.
        b: Parts of the second file.
        digest: Gives equal values for equal bytes; asked only for parts that have a range.
    """
    pairs: list[Pair] = []
    delegates: list[Pair] = []
    for kind in PartKind:
        matcher = _Matcher([part for part in a if part.kind is kind], [part for part in b if part.kind is kind])
        if kind in _ALONE:
            matcher.pair(Basis.NAME, lambda _, part: part.kind)
        elif kind is PartKind.DELEGATE:
            _match_delegates(matcher, digest)
        elif kind is PartKind.NAMED_DATA:
            _match_named_data(matcher, digest, delegates)
        elif kind in _TENSORS:
            _match_tensors(matcher, digest)
        else:
            _match_others(matcher, digest)
        found = matcher.pairs()
        if kind is PartKind.DELEGATE:
            delegates = found
        pairs += found
    return _match_kinds(pairs, digest)


def _match_kinds(pairs: list[Pair], digest: Digest) -> list[Pair]:
    """Pair what was added and removed with the same bytes: a weight that a delegate takes over becomes named data."""
    removed: dict[bytes, deque[Part]] = defaultdict(deque)
    for part in (pair.a for pair in pairs if pair.b is None):
        if part and part.kind in _WEIGHTS and part.size:
            removed[digest(0, part)].append(part)
    taken = set()
    for number, (a, b, _) in enumerate(pairs):
        if a is None and b and b.kind in _WEIGHTS and b.size and (found := removed.get(digest(1, b))):
            taken.add(id(found[0]))
            pairs[number] = Pair(found.popleft(), b, Basis.CONTENT)
    return [pair for pair in pairs if pair.b or id(pair.a) not in taken]


class _Matcher:
    """The parts of one kind, and who belongs to whom so far."""

    def __init__(self, a: Sequence[Part], b: Sequence[Part]) -> None:
        self._parts = a, b
        # For each part of a and of b, the number of its partner among the other's.
        self._partners: tuple[list[int | None], list[int | None]] = ([None] * len(a), [None] * len(b))
        self._bases: dict[int, Basis] = {}

    def pair(self, basis: Basis, key: _Key, *, if_as_many: bool = False) -> None:
        """Pair what is left and has equal keys, in order; if asked, only keys that as many parts of a as of b have."""
        groups = self._groups(0, key), self._groups(1, key)
        for value, numbers in groups[1].items():
            others = groups[0].get(value, [])
            if not if_as_many or len(others) == len(numbers):
                for a, b in zip(others, numbers, strict=False):
                    self.join(a, b, basis)

    def _groups(self, side: int, key: _Key) -> dict[Hashable, list[int]]:
        """Return the numbers of the parts that are left, by key."""
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for number in self._left(side):
            if (value := key(side, self._parts[side][number])) is not None:
                groups[value].append(number)
        return groups

    def pair_between(self, basis: Basis, key: _Key) -> None:
        """The same, but only of parts that follow on parts that belong together."""
        anchors = {id(part): place for side in (0, 1) for part, place in self._places(side)}
        self.pair(basis, lambda side, part: None if (k := key(side, part)) is None else (anchors[id(part)], k))

    def join(self, a: int, b: int, basis: Basis) -> None:
        """Note that two parts, by number, belong together."""
        self._partners[0][a] = b
        self._partners[1][b] = a
        self._bases[b] = basis

    def left_by_name(self, side: int) -> dict[str, int]:
        """Return the numbers of the parts that have no partner yet, by name."""
        names = ((self._parts[side][number].name, number) for number in self._left(side))
        return {name: number for name, number in names if name is not None}

    def _left(self, side: int) -> list[int]:
        return [number for number, partner in enumerate(self._partners[side]) if partner is None]

    def _places(self, side: int) -> list[tuple[Part, int]]:
        """Return the parts of a side, each with the number in b of the last part before it that has a partner."""
        place, found = -1, []
        for number, (part, partner) in enumerate(zip(self._parts[side], self._partners[side], strict=True)):
            if partner is not None:
                place = number if side else partner
            found.append((part, place))
        return found

    def pairs(self) -> list[Pair]:
        """Return all parts, in pairs where they have a partner."""
        alone: dict[int, list[Pair]] = defaultdict(list)
        for (part, place), partner in zip(self._places(0), self._partners[0], strict=True):
            if partner is None:
                alone[place].append(Pair(part, None, None))
        found = alone[-1]
        for number, (part, partner) in enumerate(zip(self._parts[1], self._partners[1], strict=True)):
            other = None if partner is None else self._parts[0][partner]
            found.append(Pair(other, part, self._bases.get(number)))
            found += alone[number]
        return found


def _match_delegates(matcher: _Matcher, digest: Digest) -> None:
    matcher.pair(Basis.NAME, lambda side, part: (part.name, part.backend, digest(side, part)))
    matcher.pair(Basis.CONTENT, lambda side, part: (part.users, part.backend, digest(side, part)))
    matcher.pair(Basis.CONTENT, lambda side, part: (part.backend, digest(side, part)))
    matcher.pair_between(Basis.POSITION, lambda _, part: (part.users, part.backend))
    matcher.pair(Basis.POSITION, lambda _, part: (part.users, part.backend), if_as_many=True)


def _match_named_data(matcher: _Matcher, digest: Digest, delegates: Sequence[Pair]) -> None:
    matcher.pair(Basis.NAME, lambda _, part: part.name)
    matcher.pair(Basis.CONTENT, lambda side, part: digest(side, part))
    _match_by_delegate(matcher, delegates)
    _match_by_position(matcher, lambda part: _DIGEST.search(part.name or "") is not None)


def _match_by_position(matcher: _Matcher, is_nameless: Callable[[Part], bool]) -> None:
    """Pair what has the same type, shape and neighbours, then what has other dimensions; never what has a name."""

    def shape(_: int, part: Part) -> Hashable:
        return (part.dtype, part.sizes, part.size) if is_nameless(part) else None

    def rank(_: int, part: Part) -> Hashable:
        return (part.dtype, len(part.sizes)) if is_nameless(part) and part.sizes else None

    matcher.pair_between(Basis.POSITION, shape)
    matcher.pair(Basis.POSITION, shape, if_as_many=True)
    matcher.pair_between(Basis.POSITION, rank)


def _match_by_delegate(matcher: _Matcher, delegates: Sequence[Pair]) -> None:
    """Pair the keys that stand at the same place in the lists of delegates that belong together."""
    both = [(pair.a, pair.b) for pair in delegates if pair.a and pair.b]
    lists = {(a.range, b.range): (a.keys, b.keys) for a, b in both}
    left = matcher.left_by_name(0), matcher.left_by_name(1)
    for keys in lists.values():
        if len(keys[0]) == len(keys[1]):
            for a, b in zip(*keys, strict=True):
                if a in left[0] and b in left[1]:
                    matcher.join(left[0].pop(a), left[1].pop(b), Basis.DELEGATE)


def _match_tensors(matcher: _Matcher, digest: Digest) -> None:
    def content(side: int, part: Part) -> bytes | None:
        return digest(side, part) if part.range else None

    def content_and_type(side: int, part: Part) -> Hashable:
        return (content(side, part), part.dtype, part.sizes) if part.range else None

    matcher.pair(Basis.NAME, lambda _, part: part.name)
    matcher.pair(Basis.CONTENT, content_and_type)
    matcher.pair(Basis.CONTENT, content)
    _match_by_position(matcher, lambda part: part.name is None)


def _match_others(matcher: _Matcher, digest: Digest) -> None:
    matcher.pair(Basis.NAME, lambda _, part: part.name)
    matcher.pair(Basis.CONTENT, lambda side, part: digest(side, part))
    matcher.pair_between(Basis.POSITION, lambda _, part: part.size)
    matcher.pair_between(Basis.POSITION, lambda _, part: part.kind)
