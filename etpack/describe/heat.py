"""The blocks of an `.etz` as a heat map: a cell for each, in file order; several to a cell where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etpack.describe.tables import what_of
from etpack.describe.words import both, coding, listed, markup, ratio

if TYPE_CHECKING:
    from etpack.report import BlockReport, ExtentReport, Report

_MOST_CELLS = 2048
_COLUMNS = 64
_ROW_HEIGHT, _LEAST_HEIGHT, _MOST_HEIGHT = 16, 220, 640


def heat_map(report: Report) -> dict[str, Any]:
    """Return the plot of a packed file that has blocks."""
    blocks = report.blocks or ()
    width = -(-len(blocks) // _MOST_CELLS)
    cells = [blocks[first : first + width] for first in range(0, len(blocks), width)]
    columns = min(_COLUMNS, len(cells))
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    names = _Names(report)
    shares = [[_share(cell) for cell in row] for row in rows]
    texts = [[_hover(cell, names) for cell in row] for row in rows]
    ticks = range(0, len(rows), -(-len(rows) // 12))
    gap = 1 if len(rows) == 1 else 0  # on a narrow screen, gaps would be as wide as cells
    trace = {
        "type": "heatmap", "z": shares, "text": texts, "hoverinfo": "text", "hoverongaps": False,
        "xgap": gap, "ygap": gap, "zmin": 0, "zmax": 1, "colorscale": "Cividis",
        "colorbar": {"title": {"text": "stored"}, "tickformat": ".0%", "thickness": 14},
    }  # fmt: skip
    layout = {
        "margin": {"t": 36, "b": 40},
        "height": max(_LEAST_HEIGHT, min(_MOST_HEIGHT, 90 + _ROW_HEIGHT * len(rows))),
        "xaxis": {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "",
                  "title": {"text": "block" if width == 1 else f"{width:,} blocks a cell"}},
        "yaxis": {"autorange": "reversed", "showgrid": False, "zeroline": False, "tickvals": list(ticks),
                  "ticktext": [f"{rows[row][0][0].offset:#x}" for row in ticks]},
    }  # fmt: skip
    return {"data": [trace], "layout": layout}


def _share(cell: Sequence[BlockReport]) -> float:
    """Return the stored bytes of blocks over their content; what blocks share counts for each."""
    return round(sum(block.stored_size for block in cell) / sum(block.size for block in cell), 4)


class _Names:
    """What extents, and codings of blocks, are called."""

    def __init__(self, report: Report) -> None:
        self.extents = [_who(extent) for extent in report.extents]
        self._planes = {
            (extent.number, each.filter, each.codec): each.plane_codecs
            for extent in report.extents
            if extent.stored
            for each in extent.stored.encodings
        }

    def coding(self, block: BlockReport) -> str:
        planes = self._planes.get((block.extent, block.filter, block.codec), ())
        return coding(block.filter, block.codec, planes) + (" (shared)" if block.shared else "")


def _who(extent: ExtentReport) -> str:
    what = " ".join(filter(None, (listed(extent.delegate_ids), what_of(extent))))
    return f"extent {extent.number}, {extent.role.value}" + (f": {what}" if what else "")


def _hover(cell: Sequence[BlockReport], names: _Names) -> str:
    first, last = cell[0], cell[-1]
    size, stored = sum(block.size for block in cell), sum(block.stored_size for block in cell)
    number = f"block {first.number:,}" if len(cell) == 1 else f"blocks {first.number:,} to {last.number:,}"
    codings = dict.fromkeys(names.coding(block) for block in cell)
    more = f" to extent {last.extent}" if last.extent != first.extent else ""
    return markup(
        f"{number}, from {first.offset:#x}",
        names.extents[first.extent] + more,
        listed(list(codings)),
        f"{both(size)} stored as {both(stored)}" + (f", ratio {ratio(size / stored)}" if stored else ""),
    )
