"""A report of `inspect` as an HTML page: where the bytes are, how well each block packs, and memory while loading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etpack.describe.heat import heat_map
from etpack.describe.loading import caveats, freed_by, step_name, traffic
from etpack.describe.page import SERIES, Page
from etpack.describe.terminal import summary_lines
from etpack.describe.tree import tensor_type
from etpack.describe.words import both, human, markup, ratio, safe
from etpack.memory import LoaderMemory, Simulation
from etpack.pte import Role
from etpack.report import Node, Report, folded, role_tree

# Enough to find a tensor in, and few enough that the page stays small and quick.
_MOST_NODES = 1500
_MOST_STEPS = 200

_GRAY = "#6e7781"
_COLORS = {
    Role.PROGRAM.value: SERIES[1],
    Role.CONSTANT.value: SERIES[0],
    Role.MUTABLE.value: SERIES[3],
    Role.DELEGATE.value: SERIES[4],
    Role.NAMED_DATA.value: SERIES[2],
}
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def inspect_page(report: Report) -> str:
    """Return the page of a report with tensors and details of memory, and of blocks if the file is packed.

    Raises:
        UnsupportedError: plotly is not installed.
    """
    page = Page(safe(report.file, 2000))
    page.add_table(("file", ""), summary_lines(report))
    page.add_heading("Where the bytes are")
    if report.content_size:
        page.add_figure(_treemap(report), about="A treemap of the file by role, method, and tensor; areas are sizes.")
        page.add_text("A click on a part shows it alone; the bar above the plot leads back.")
    _add_roles(page, report)
    if report.blocks:
        page.add_heading("How well each block packs")
        page.add_figure(heat_map(report), about="The share of each block that is stored, in the order of the file.")
    if report.memory and report.memory.simulation:
        _add_loading(page, report.memory.simulation)
    elif report.memory:
        page.add_text(f"Memory while loading is not shown: {report.memory.unsimulated}.")
    if report.missing:
        page.add_text(f"Methods, tensors and what comes back are not shown: {safe(report.missing, 2000)}.")
    return page.to_html()


def _add_roles(page: Page, report: Report) -> None:
    whole = report.content_size or 1
    columns = ["role", ">extents", ">size", ">share", *([">stored", ">ratio"] if report.packing else [])]
    rows = []
    for role in report.roles:
        row = [role.role.value, f"{role.count:,}", human(role.size), f"{role.size / whole:.1%}"]
        if report.packing:
            row += [human(role.stored_size or 0), ratio(role.ratio)]
        rows.append(row)
    page.add_table(columns, rows)


def _treemap(report: Report) -> dict[str, Any]:
    tree = _small_enough(role_tree(report))
    columns: dict[str, list[Any]] = {name: [] for name in ("ids", "labels", "parents", "values", "text", "hovertext")}
    colors: list[str] = []
    waiting = [(tree, "", _GRAY, [safe(report.file.rpartition("/")[2], 60)])]
    while waiting:
        node, parent, color, names = waiting.pop()
        number = str(len(colors))
        size = human(node.size)
        colors.append(color)
        row = (number, markup(names[-1]), parent, node.size, size, _node_hover(node, names, tree.size))
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
        for child in node.children:
            own = _COLORS.get(child.name, _GRAY) if child.kind in ("role", "extent") and node is tree else color
            waiting.append((child, number, own, [*names, _short(child)]))
    inks = [_ink(color) for color in colors]
    trace = {
        **columns, "type": "treemap", "branchvalues": "total", "textinfo": "label+text", "hoverinfo": "text",
        "marker": {"colors": colors, "line": {"width": 1, "color": "#d0d7de"}}, "tiling": {"pad": 1}, "maxdepth": 5,
        "textfont": {"color": inks}, "pathbar": {"thickness": 28, "textfont": {"color": inks}},
    }  # fmt: skip
    return {"data": [trace], "layout": {"height": 560, "margin": {"t": 36, "l": 0, "r": 0, "b": 8}}}


def _ink(color: str) -> str:
    """Return black or white: what stands out more on a colour, by the relative luminance of WCAG 2."""
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return "#000000" if luminance > 0.179 else "#ffffff"


def _small_enough(tree: Node) -> Node:
    """Return the tree with the smallest parts put together, so that it has few enough."""
    for most in (1000, 300, 100, 30, 10):
        shown = folded(tree, most)
        if _count(shown) <= _MOST_NODES:
            return shown
    return folded(tree, 3)


def _count(node: Node) -> int:
    return 1 + sum(map(_count, node.children))


def _short(node: Node) -> str:
    digest = len(node.name) >= 64 and node.name[:64].isalnum()
    return f"{node.name[:10]}…" if digest else safe(node.name, 60)


def _node_hover(node: Node, names: Sequence[str], whole: int) -> str:
    lines = [" / ".join(names[1:]) or names[0], f"{both(node.size)}, {node.size / (whole or 1):.1%}"]
    if node.dtype:
        lines.append(tensor_type(node))
    if node.offset is not None:
        lines.append(f"from {node.offset:#x}")
    return markup(*lines)


def _add_loading(page: Page, simulation: Simulation) -> None:
    page.add_heading("Memory while loading")
    page.add_figure(
        _timeline(simulation), about="Memory in use at each step of loading and destroying, by data loader."
    )
    page.add_text("A click on a loader's name hides or shows its line; a double click shows it alone.")
    rows = [
        [
            loader.loader.value,
            human(loader.peak.footprint.total),
            step_name(simulation.steps[loader.peak.step], backend=False),
            human(loader.after_init.footprint.total),
            freed_by(loader.after_init),
        ]
        for loader in simulation.loaders
    ]
    page.add_table(("loader", ">peak", "when", ">stays after init", "and is freed by"), rows)
    page.add_list(caveats(simulation))


def _timeline(simulation: Simulation) -> dict[str, Any]:
    steps = [step_name(step) for step in simulation.steps]
    asked = traffic(simulation)
    what = [
        (f"loads {step.loads}", f"frees {human(step.freed)}" if step.freed else "")
        if step.by_kind
        else ("", f"frees {human(step.freed)}" if step.freed else "")
        for step in asked
    ]
    data = []
    for number, loader in enumerate(simulation.loaders):
        xs, ys, texts = _points(loader, steps, what)
        color, dash = SERIES[number % len(SERIES)], _DASHES[number % len(_DASHES)]
        data.append({
            "type": "scatter", "mode": "lines", "name": loader.loader.value, "x": xs, "y": ys, "text": texts,
            "hoverinfo": "text", "line": {"shape": "hv", "color": color, "dash": dash, "width": 2},
        })  # fmt: skip
    ticks = _ticks(max((loader.peak.footprint.total for loader in simulation.loaders), default=0))
    loaded = sum(step.is_loading for step in simulation.steps)
    layout = {
        "xaxis": {"title": {"text": "step"}, "range": [0, len(steps)], "tickformat": "d"},
        "yaxis": {"title": {"text": "in memory"}, "rangemode": "tozero", "tickvals": ticks,
                  "ticktext": [human(size) for size in ticks]},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top"},
        "hovermode": "closest",
        "height": 520,
        "shapes": [{
            "type": "line", "x0": loaded, "x1": loaded, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": "#888888", "dash": "dot", "width": 1},
        }],
        "annotations": [{
            "x": loaded, "y": 1, "yref": "paper", "text": "loaded; then destroyed", "showarrow": False,
            "xanchor": "right", "yanchor": "bottom",
        }],
    }  # fmt: skip
    return {"data": data, "layout": layout}


def _ticks(highest: int) -> list[int]:
    """Return sizes to label an axis with: some multiples of a power of two, up to the highest."""
    step = 1
    while highest > 6 * step:
        step *= 2
    return list(range(0, highest + step, step))


def _points(
    loader: LoaderMemory, steps: Sequence[str], what: Sequence[tuple[str, str]]
) -> tuple[list[float], list[int], list[str]]:
    """Return what a line goes through: of each step its peak, and then what is left; of many steps the highest."""
    memory = loader.steps or ()
    width = -(-len(memory) // _MOST_STEPS) or 1
    xs: list[float] = []
    ys: list[int] = []
    texts: list[str] = []
    for first in range(0, len(memory), width):
        last = min(first + width, len(memory)) - 1
        number = max(range(first, last + 1), key=lambda each: memory[each].peak.total)
        for at, place, footprint, when in (
            (first, number, memory[number].peak, "at most"),
            (first + width / 2, last, memory[last].after, "after it"),
        ):
            xs.append(at)
            ys.append(footprint.total)
            lines = [
                loader.loader.value,
                f"step {place}, {steps[place]}",
                *what[place],
                f"{when} {both(footprint.total)}",
            ]
            texts.append(markup(*filter(None, lines)))
    xs.append(float(len(memory)))
    ys.append(ys[-1])
    texts.append(texts[-1])
    return xs, ys, texts
