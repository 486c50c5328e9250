"""A comparison on the terminal: the verdict first, then only what changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from etpack.compare import Basis, Change, ComparedFile, Diff, FieldChange, PartChange, PartKind, Side
from etpack.describe.tables import Rows
from etpack.describe.terminal import trimmed
from etpack.describe.words import both, human, listed, plural, safe

if TYPE_CHECKING:
    from rich.console import Console

# Rows that a table shows unless all are asked for.
_MOST_ROWS = 50
# Below, columns are left out.
_WIDE = 100
_NAME_WIDTH = 48
_DIGEST = re.compile(r"[0-9a-f]{64}")
_INFERRED = (Basis.DELEGATE, Basis.POSITION)
_NOTES = {
    "?": "? inferred: no name and no equal bytes; the same place, dtype and shape, or the same place in the delegate",
    "keys": "keys: nothing differs but the keys of named data that changed, which are made of its bytes",
}


def print_diff(diff: Diff, console: Console, *, everything: bool = False) -> None:
    """Print a comparison.

    Args:
        diff: What `compare.diff` found.
        console: Where it goes.
        everything: All rows, those of what moved or is unchanged included.
    """
    with trimmed(console):
        _print_summary(diff, console)
        if diff.same and not everything:
            return
        _print_totals(diff, console)
        _print_methods(diff, console)
        _print_parts(diff, console, everything)


def _print_summary(diff: Diff, console: Console) -> None:
    from rich.table import Table

    console.print(_verdict(diff), style="bold")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("a", _file(diff.a))
    grid.add_row("b", _file(diff.b))
    if diff.packing:
        grid.add_row("packing", ", ".join(map(_field, diff.packing)))
    elif (diff.a.packing is None) != (diff.b.packing is None):
        grid.add_row("packing", f"only {'b' if diff.b.packing else 'a'} is packed")
    if not diff.same:
        grid.add_row("to send", _blocks(diff))
    console.print(grid)


def _verdict(diff: Diff) -> str:
    if diff.same:
        return "Same content" + (", packed differently" if diff.packing else "")
    counts = {change: sum(total.count for total in diff.totals if total.change is change) for change in Change}
    shown = [
        f"{count:,} {change.value}" for change, count in counts.items() if count and change is not Change.UNCHANGED
    ]
    shown.append(f"{counts[Change.UNCHANGED]:,} unchanged")
    return f"Different: {', '.join(shown)}"


def _file(file: ComparedFile) -> str:
    kind = "not a model" if file.kind.value == "opaque" else f".{file.kind.value}"
    stored = f", packed into {both(file.stored_size)}" if file.packing else ""
    return f"{safe(file.file, 1000)}: {kind}, {both(file.content_size)}{stored}"


def _field(field: FieldChange) -> str:
    return f"{field.field.replace('_', ' ')} {_value(field.a)} -> {_value(field.b)}"


def _value(value: str | int | bool | None) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else safe(value or "none", 120)


def _blocks(diff: Diff) -> str:
    blocks = diff.blocks
    stored = "" if blocks.new_stored_size is None else f", stored as {both(blocks.new_stored_size)}"
    of = f"{blocks.new_count:,} of {plural(blocks.block_count, 'block')} of up to {human(blocks.block_size)}"
    return f"{of}: {both(blocks.new_size)} of content{stored}"


def _print_totals(diff: Diff, console: Console) -> None:
    changes = [change for change in Change if any(total.change is change for total in diff.totals)]
    table = Rows(console, "By kind", "kind", *(f">{change.value}" for change in changes), ">bytes that differ")
    for kind in PartKind:
        totals = {total.change: total for total in diff.totals if total.kind is kind}
        if totals:
            counts = [f"{totals[change].count:,}" if change in totals else "" for change in changes]
            table.add(kind.value, *counts, f"{sum(total.differing_size for total in totals.values()):,}")
    table.print()


def _print_methods(diff: Diff, console: Console) -> None:
    if not diff.methods:
        return
    table = Rows(console, f"Methods ({len(diff.methods):,})", "~method", "change", "~what")
    for method in diff.methods[:_MOST_ROWS]:
        table.add(safe(method.name, 60), method.change.value, "; ".join(map(_field, method.fields)))
    table.print()
    _print_rest(console, len(diff.methods) - _MOST_ROWS)


def _print_parts(diff: Diff, console: Console, everything: bool) -> None:
    quiet = (Change.UNCHANGED, Change.MOVED)
    chosen = [part for part in diff.parts if everything or part.change not in quiet]
    moved = sum(part.change is Change.MOVED for part in diff.parts)
    if chosen:
        wide = console.width >= _WIDE
        shown = chosen if everything else chosen[:_MOST_ROWS]
        columns = ["change", "kind", "~what", ">size", ">differ", ">blocks"]
        if wide:
            columns = ["change", "kind", ">seg", "~what", "~type", ">size", ">differ", ">by up to", ">blocks"]
        table = Rows(console, f"What changed ({len(chosen):,})", *columns)
        for part in shown:
            table.add(*_row(part, wide))
        table.print()
        _print_rest(console, len(chosen) - len(shown))
        for note in _notes(shown):
            console.print(note, style="dim")
    if moved and not everything:
        console.print(
            f"\n{plural(moved, 'part')} moved, the same bytes at another offset; --all shows them", style="dim"
        )


def _print_rest(console: Console, count: int) -> None:
    if count > 0:
        console.print(f"+ {count:,} more; --all shows them", style="dim")


def _notes(parts: Sequence[PartChange]) -> Iterator[str]:
    if any(part.matched_by in _INFERRED for part in parts):
        yield _NOTES["?"]
    if any(part.only_keys for part in parts):
        yield _NOTES["keys"]


def _row(part: PartChange, wide: bool) -> list[str]:
    side = part.b or part.a
    assert side is not None
    size = _arrow(part, lambda each: f"{each.size:,}")
    differ = f"{part.differing_size:,}" if part.differing_size else ""
    if part.only_keys:
        differ += " keys"
    cells = [part.change.value, _arrow(part, lambda each: each.kind.value)]
    if wide:
        cells.append("" if side.segment is None else str(side.segment))
    cells.append(_what(part))
    if wide:
        cells.append(_arrow(part, _type))
    cells += [size, differ]
    if wide:
        cells.append("" if part.max_difference is None else f"{part.max_difference:.3g}")
    return [*cells, f"{part.new_block_count:,}" if part.new_block_count else ""]


def _arrow(part: PartChange, text: Callable[[Side], str]) -> str:
    """Return what is said of the part, in both files where that is not the same."""
    said = [text(side) for side in (part.a, part.b) if side]
    return "→".join(filter(None, dict.fromkeys(said)))


def _what(part: PartChange) -> str:
    """Return what tells a part from others of its kind; of named data also which delegate wants it."""
    words = [_arrow(part, _name)]
    if part.backend:
        words.insert(0, safe(part.backend, _NAME_WIDTH))
    if part.kind is PartKind.NAMED_DATA:
        words.insert(0, listed(part.users, 1, 24))
    if part.matched_by in _INFERRED:
        words.append("?")
    return " ".join(filter(None, words))


def _name(side: Side) -> str:
    if side.name is None:
        return "" if side.number is None else f"#{side.number}"
    return safe(_DIGEST.sub(lambda match: match[0][:7], side.name), _NAME_WIDTH)


def _type(side: Side) -> str:
    sizes = None if side.sizes is None else "x".join(map(str, side.sizes[:8])) or "scalar"
    return " ".join(filter(None, (side.dtype, sizes)))
