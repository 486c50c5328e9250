"""What can be said of a comparison without the bytes: methods, packing, and how many parts changed in what way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from etpack.compare.values import Change, ChangeTotal, FieldChange, FilePacking, MethodChange, PartChange, PartKind
from etpack.pte import Method

_METHOD_FIELDS = ("input_count", "output_count", "operator_count", "value_count", "planned_buffers", "delegates")


def count_changes(parts: Sequence[PartChange]) -> tuple[ChangeTotal, ...]:
    """Return how many parts of each kind changed in each way."""
    totals: dict[tuple[PartKind, Change], ChangeTotal] = {}
    for part in parts:
        key = part.kind, part.change
        old = totals.get(key, ChangeTotal(*key, 0, 0, 0))
        side = part.b or part.a
        size = side.size if side else 0
        totals[key] = replace(
            old,
            count=old.count + 1,
            size=old.size + size,
            differing_size=old.differing_size + (part.differing_size or 0),
        )
    kinds, changes = list(PartKind), list(Change)
    return tuple(sorted(totals.values(), key=lambda total: (kinds.index(total.kind), changes.index(total.change))))


def compare_methods(a: Sequence[Method], b: Sequence[Method]) -> Iterator[MethodChange]:
    """Yield the methods by name, in the order of b, then those that only a has."""
    old = {method.name: method for method in a}
    new = {method.name: method for method in b}
    for name in dict.fromkeys([*new, *old]):
        if name not in old or name not in new:
            yield MethodChange(name, Change.ADDED if name in new else Change.REMOVED, ())
            continue
        values = _method_values(old[name]), _method_values(new[name])
        found = tuple(FieldChange(f, x, y) for f, x, y in zip(_METHOD_FIELDS, *values, strict=True) if x != y)
        yield MethodChange(name, Change.CHANGED if found else Change.UNCHANGED, found)


def _method_values(method: Method) -> tuple[str | int, ...]:
    planned = " + ".join(map(str, method.planned_buffers))
    ids: dict[str, int] = {}
    for delegate in method.delegates:
        ids[delegate.id] = ids.get(delegate.id, 0) + 1
    delegates = ", ".join(f"{count} {name}" for name, count in ids.items())
    counts = method.input_count, method.output_count, method.operator_count, method.value_count
    return (*counts, planned, delegates)


def compare_packing(a: FilePacking | None, b: FilePacking | None) -> tuple[FieldChange, ...]:
    """Return in what the packing of two `.etz` differs; nothing unless both are packed."""
    if a is None or b is None:
        return ()
    names = [field.name for field in fields(FilePacking)]
    pairs = [(name, getattr(a, name), getattr(b, name)) for name in names]
    return tuple(FieldChange(name, x, y) for name, x, y in pairs if x != y)
