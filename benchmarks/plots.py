"""The three kinds of plot, drawn with matplotlib, which is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# etpack is blue, in different depths; peers are warm or grey. All differ in brightness, too.
_OURS = ("#1f4e9c", "#4a86d8", "#9cc2f0", "#16305c", "#74a9e6")
_PEERS = ("#d95f02", "#f0a860", "#7a7a7a", "#b9b9b9", "#8c510a", "#d8b365", "#4d4d4d")
_MARKERS = "osD^vP*X"


def _axes(width: float, height: float, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _colours(names: Sequence[str]) -> dict[str, str]:
    ours = [name for name in names if name.startswith("etpack")]
    peers = [name for name in names if name not in ours]
    return {
        **{name: _OURS[number % len(_OURS)] for number, name in enumerate(ours)},
        **{name: _PEERS[number % len(_PEERS)] for number, name in enumerate(peers)},
    }


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float | None]], what: str, start: float = 0.0) -> Figure:
    """Return horizontal bars: for each group one bar of each series, from `start` on; None leaves a bar out."""
    shown = {name: values for name, values in series.items() if any(value is not None for value in values)}
    figure, axes = _axes(9, 1.2 + 0.16 * len(groups) * (len(shown) + 1), what, "")
    colours = _colours(list(shown))
    thickness = 1 / (len(shown) + 1)
    for number, (name, values) in enumerate(shown.items()):
        places = [group + number * thickness for group, value in enumerate(values) if value is not None]
        lengths = [value - start for value in values if value is not None]
        axes.barh(places, lengths, 0.9 * thickness, left=start, color=colours[name], label=name)
    middle = (len(shown) - 1) / 2 * thickness
    axes.set_yticks([group + middle for group in range(len(groups))], groups)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x: str,
    y: str,
    *,
    logarithmic: str = "",
    limit: float | None = None,
) -> Figure:
    """Return one line with points for each series; `logarithmic` names axes, `limit` draws a dashed line across."""
    figure, axes = _axes(8, 4.5, x, y)
    for number, (name, points) in enumerate(series.items()):
        ordered = sorted(points)
        marker = _MARKERS[number % len(_MARKERS)]
        axes.plot([at for at, _ in ordered], [value for _, value in ordered], marker=marker, label=name)
    _finish(axes, logarithmic, limit)
    return figure


def points(series: Mapping[str, tuple[float, float]], x: str, y: str, *, logarithmic: str = "") -> Figure:
    """Return one point with its name for each series."""
    figure, axes = _axes(8, 4.5, x, y)
    colours = _colours(list(series))
    for number, (name, (at, value)) in enumerate(series.items()):
        axes.plot([at], [value], _MARKERS[number % len(_MARKERS)], color=colours[name], label=name, markersize=9)
    _finish(axes, logarithmic, None)
    return figure


def _finish(axes: Axes, logarithmic: str, limit: float | None) -> None:
    if "x" in logarithmic:
        axes.set_xscale("log", base=2 if "block" in axes.get_xlabel() else 10)
    if "y" in logarithmic:
        axes.set_yscale("log")
    if limit is not None:
        axes.axhline(limit, linestyle="--", color="#b00020", linewidth=1)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
