"""The tables of a report: extents, roles, methods, tensors, blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from etpack.describe.words import coding, human, listed, plural, ratio, safe

if TYPE_CHECKING:
    from rich.console import Console

    from etpack.pte import Tensor
    from etpack.report import BlockReport, ExtentReport, MethodReport, Report

# Rows that a table shows unless all are asked for.
MOST_ROWS = 20
# Rows of a table that folds its cells to the width of the terminal.
MOST_FOLDED_ROWS = 500
# Below, columns are put together.
WIDE = 100

T = TypeVar("T")


class Rows:
    """A table under a heading.

    A column is right-aligned if its name begins with ">", and folded if with "~". A long table is printed in plain
    lines: one that measures and folds every cell would take a hundred times as long.
    """

    def __init__(self, console: Console, title: str, *columns: str) -> None:
        self._console = console
        self._columns = columns
        self._rows: list[tuple[Sequence[str], str | None]] = []
        console.print(f"\n{title}", style="bold")

    def add(self, *cells: str, style: str | None = None) -> None:
        """Add a row."""
        self._rows.append((cells, style))

    def print(self) -> None:
        """Print the rows."""
        if len(self._rows) > MOST_FOLDED_ROWS:
            self._print_plain()
            return
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
        for column in self._columns:
            name = column.lstrip(">~")
            if column[0] == "~":
                table.add_column(name, overflow="fold", min_width=8)
            else:
                table.add_column(name, justify="right" if column[0] == ">" else "left", no_wrap=True)
        for cells, style in self._rows:
            table.add_row(*cells, style=style)
        self._console.print(table)

    def _print_plain(self) -> None:
        names = [column.lstrip(">~") for column in self._columns]
        lines = [names, *(cells for cells, _ in self._rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        signs = [">" if column[0] == ">" else "<" for column in self._columns]
        form = "  ".join(f"{{:{sign}{width}}}" for sign, width in zip(signs, widths, strict=True))
        self._console.out("\n".join(form.format(*cells) for cells in lines), highlight=False)


def _largest(items: Sequence[T], sizes: Sequence[int], everything: bool) -> tuple[list[T], int, int]:
    """Return the largest items in their order, how many are left out, and the sum of their sizes."""
    if everything or len(items) <= MOST_ROWS + 1:
        return list(items), 0, 0
    chosen = sorted(sorted(range(len(items)), key=lambda number: -sizes[number])[:MOST_ROWS])
    return [items[number] for number in chosen], len(items) - MOST_ROWS, sum(sizes) - sum(sizes[n] for n in chosen)


def _print_rest(console: Console, count: int, size: int) -> None:
    if count:
        console.print(f"+ {count:,} smaller ones, {human(size)} in all; --all shows them", style="dim")


def print_extents(report: Report, console: Console, *, everything: bool) -> None:
    """Print where the content is cut, and how each part is stored."""
    wide = console.width >= WIDE
    columns = [">offset", ">size", "role"]
    columns += [">seg", "~what", "~methods"] if wide else ["~what"]
    if report.packing:
        columns += ["~coding", ">stored", ">ratio"]
    table = Rows(console, f"Extents ({len(report.extents):,})", *columns)
    sizes = [extent.size for extent in report.extents]
    extents, count, size = _largest(report.extents, sizes, everything)
    rows = _ExtentRows(report, wide)
    for extent in extents:
        table.add(*rows.row(extent))
    table.print()
    _print_rest(console, count, size)
    for note in rows.notes:
        console.print(note, style="dim")


class _ExtentRows:
    """Turns extents into cells, and notes what needs a word below the table."""

    def __init__(self, report: Report, wide: bool) -> None:
        self.notes: dict[str, None] = {}
        self._wide = wide
        self._methods = _all_methods(report)
        groups = report.memory.groups if report.memory else ()
        named = (group for group in groups if group.kind.value == "named data" and group.methods)
        # Who asks for a key, or may ask.
        self._askers = {use.what: group for group in named for use in group.uses}

    def row(self, extent: ExtentReport) -> list[str]:
        """Return the cells of one row."""
        asker = self._askers.get(extent.keys[0]) if extent.keys and not extent.methods else None
        delegates = extent.delegate_ids
        if asker and not asker.fate.inferred:
            delegates = asker.backends
        elif asker:
            delegates = tuple(f"{name}?" for name in asker.backends)
            self.notes["? inferred: the file does not record which delegate asks for named data"] = None
        what = [listed(delegates), what_of(extent)]
        methods = _users(asker.methods if asker else extent.methods, self._methods)
        if self._wide:
            cells = [f"{extent.offset:#x}", f"{extent.size:,}", extent.role.value]
            cells += [", ".join(map(str, extent.segments[:3])), " ".join(filter(None, what)), methods]
        else:
            cells = [f"{extent.offset:#x}", human(extent.size), extent.role.value]
            cells.append(what[0] or what[1] or methods)
        return cells + self._stored(extent)

    def _stored(self, extent: ExtentReport) -> list[str]:
        stored = extent.stored
        if stored is None:
            return []
        labels = [coding(e.filter, e.codec, e.plane_codecs) for e in stored.encodings]
        if any(label.startswith("planes") for label in labels):
            self.notes[
                "planesN: byte k of every N-byte element is coded by itself; r: each is rotated by a bit first"
            ] = None
        size = f"{stored.stored_size:,}" if self._wide else human(stored.stored_size)
        if not self._wide:
            return [
                " ".join([*labels[:1], *([f"+{len(labels) - 1}"] if labels[1:] else [])]),
                size,
                ratio(stored.ratio),
            ]
        if len(labels) > 1:
            counts = (f"{encoding.block_count:,}" for encoding in stored.encodings)
            labels = [f"{label} {count}" for label, count in zip(labels, counts, strict=True)]
        if stored.shared_count:
            labels.append(f"shared {stored.shared_count:,}")
        return [", ".join(labels), size, ratio(stored.ratio)]


def _all_methods(report: Report) -> tuple[str, ...]:
    return tuple(sorted(method.name for method in report.methods or ()))


def _users(methods: tuple[str, ...], all_methods: tuple[str, ...]) -> str:
    if len(methods) > 1 and methods == all_methods:
        return f"all {len(methods):,}"
    return listed(methods, 2, 24)


def what_of(extent: ExtentReport) -> str:
    """Return what tells an extent from others of its role."""
    if extent.keys:
        key = extent.keys[0]
        digest = len(key) >= 64 and key.isalnum()
        return (f"{key[:7]}…" if digest else safe(key, 24)) + _more(extent.keys)
    if extent.tensor:
        return " ".join(filter(None, (safe(extent.tensor.name or "", 30), _shape(extent.tensor))))
    return ""


def _more(items: Sequence[str]) -> str:
    return f" +{len(items) - 1:,}" if len(items) > 1 else ""


def _shape(tensor: Tensor) -> str:
    sizes = [*map(str, tensor.sizes[:6]), *(["…"] if len(tensor.sizes) > 6 else [])]
    return f"{tensor.dtype} {'x'.join(sizes) or 'scalar'}"


def print_roles(report: Report, console: Console) -> None:
    """Print what each role takes; the rows add up to the content, and to the stored size."""
    packing = report.packing
    wide = console.width >= WIDE
    sizes, stored = ([">size", ">"], [">stored", ">"]) if wide else ([">size"], [">stored"])
    columns = ["role", ">extents", *sizes, ">share", *([*stored, ">ratio"] if packing else [])]
    table = Rows(console, "By role", *columns)

    def cells(size: int) -> list[str]:
        return [f"{size:,}", human(size)] if wide else [human(size)]

    whole = report.content_size or 1
    for role in report.roles:
        row = [role.role.value, f"{role.count:,}", *cells(role.size), f"{role.size / whole:.1%}"]
        if role.stored_size is not None:
            row += [*cells(role.stored_size), ratio(role.ratio)]
        table.add(*row)
    if report.gaps.count:
        label = "zeros between" if packing else "between"
        size = report.gaps.size
        table.add(label, f"{report.gaps.count:,}", *cells(size), f"{size / whole:.1%}")
    row = ["all", "", *cells(report.content_size), "100.0%"]
    if packing:
        table.add("index etc.", "", *[""] * len(sizes), "", *cells(packing.overhead + packing.padding_size))
        row += [*cells(packing.stored_size), ratio(packing.ratio)]
    table.add(*row, style="bold")
    table.print()


def print_methods(methods: Sequence[MethodReport], console: Console, *, everything: bool) -> None:
    """Print the methods, and the buffers that each wants."""
    table = Rows(
        console, f"Methods ({len(methods):,})", "~method", ">in", ">out", ">operators", "~planned buffers", "~delegates"
    )
    shown, count, size = _largest(methods, [method.planned_size for method in methods], everything)
    for method in shown:
        delegates = [
            f"{delegate.count:,} {safe(delegate.id, 40)} ({human(delegate.size)}"
            + (f", {delegate.inline_count:,} inline)" if delegate.inline_count else ")")
            for delegate in method.delegates[:4]
        ]
        if len(method.delegates) > 4:
            delegates.append(f"{len(method.delegates) - 4:,} more")
        counts = method.input_count, method.output_count, method.operator_count
        planned = _planned(method)
        table.add(safe(method.name, 60), *(f"{n:,}" for n in counts), planned, ", ".join(delegates) or "none")
    table.print()
    _print_rest(console, count, size)


def _planned(method: MethodReport) -> str:
    sizes = method.planned_buffers
    if not sizes:
        return "none"
    if len(sizes) == 1:
        return f"{human(sizes[0])} ({sizes[0]:,})" if sizes[0] >= 1024 else human(sizes[0])
    more = " + …" if len(sizes) > 4 else ""
    return f"{human(method.planned_size)} ({' + '.join(f'{size:,}' for size in sizes[:4])}{more})"


def print_tensors(report: Report, console: Console, *, everything: bool) -> None:
    """Print the tensors that have bytes in the file, the largest first, and then those in a .ptd."""
    tensors = sorted(report.tensors or (), key=lambda tensor: -tensor.data.size if tensor.data else 0)
    if not tensors:
        console.print("\nTensors (0)", style="bold")
        return
    table = Rows(
        console, f"Tensors ({len(tensors):,})", ">offset", ">size", "kind", "dtype", "~sizes", "~name", "~methods"
    )
    sizes = [tensor.data.size if tensor.data else 0 for tensor in tensors]
    shown, count, size = _largest(tensors, sizes, everything)
    all_methods = _all_methods(report)
    for tensor in shown:
        offset, exact = (f"{tensor.data.offset:#x}", f"{tensor.data.size:,}") if tensor.data else ("in a .ptd", "")
        shape = "x".join(map(str, tensor.sizes[:8])) or "scalar"
        methods = _users(tensor.methods, all_methods)
        table.add(offset, exact, tensor.kind, tensor.dtype, shape, safe(tensor.name or "", 64), methods)
    table.print()
    _print_rest(console, count, size)


def print_blocks(blocks: Sequence[BlockReport], console: Console, *, everything: bool) -> None:
    """Print blocks, a line each: there may be many thousands, too many for a table that measures every cell."""
    shown = blocks if everything else blocks[:MOST_ROWS]
    console.print(f"\nBlocks ({len(blocks):,})", style="bold")
    console.print(f"{'block':>8} {'offset':>12} {'size':>9} {'stored at':>12} {'stored':>9}  coding", style="dim")
    if shown:
        console.out("\n".join(map(_block_line, shown)), highlight=False)
    if len(shown) < len(blocks):
        rest = plural(len(blocks) - len(shown), "more block")
        console.print(f"+ {rest}; --all shows them", style="dim")


def _block_line(block: BlockReport) -> str:
    place = "" if block.stored_offset is None else f"{block.stored_offset:#x}"
    how = coding(block.filter, block.codec) + (": " if block.planes else "")
    how += ", ".join(f"{plane.codec} {plane.stored_size:,}" for plane in block.planes)
    shared = " (shared)" if block.shared else ""
    return f"{block.number:8} {block.offset:#12x} {block.size:9,} {place:>12} {block.stored_size:9,}  {how}{shared}"
