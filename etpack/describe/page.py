"""A self-contained HTML page with plots: no network, light or dark as the reader's system has it.

    page = Page("Title")
    page.add_heading("Where the bytes are")
    page.add_text("A paragraph; markup in it is shown as it is written.")
    page.add_figure({"data": [...], "layout": {...}}, about="What a reader who sees no plots is told.")
    page.add_table(["name", ">bytes"], [["program", "2,152"]])
    text = page.to_html()

A figure is what plotly takes: a dictionary with `data`, `layout` and perhaps `config`. Leave the colours of text, paper
and grid out; the page sets them. `SERIES` are colours that are told apart on both grounds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from etpack.errors import UnsupportedError

INSTALL = "install it with pip install 'etpack[html]'"

# Colours of Okabe and Ito that stand out on white and on black.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

_FIGURE_HEIGHT = 420

_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --text: #1f2328; --faint: #59636e; --line: #d1d9e0; --mark: #eef4fb;
}
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171c; --text: #e6e9ee; --faint: #9aa4b0; --line: #3a424d; --mark: #1f2b3a; }
}
body { background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
       max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
h1, p, li, pre, td { overflow-wrap: anywhere; }
pre { background: var(--mark); border-radius: 6px; padding: .8rem 1rem; white-space: pre-wrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { color: var(--faint); font-weight: 600; text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .8rem .2rem 0; white-space: nowrap; }
td:last-child:not(.right) { min-width: 11rem; white-space: normal; }
.right { text-align: right; } tr.mark { background: var(--mark); } tr.faint { color: var(--faint); }
.figure { margin: 1rem 0; }
"""

# Draws the figures, and anew when the system turns to light or dark.
_SCRIPT = """
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function merge(base, own) {
  const merged = {...base, ...own};
  for (const key of Object.keys(base)) {
    if (own && own[key] && typeof base[key] === "object") merged[key] = merge(base[key], own[key]);
  }
  return merged;
}
function draw() {
  document.querySelectorAll('script[type="application/json"]').forEach(source => {
    const figure = JSON.parse(source.textContent);
    const line = color("--line");
    const axis = {gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true};
    const axes = {};
    for (const key of new Set(["xaxis", "yaxis", ...Object.keys(figure.layout || {})])) {
      if (/^[xy]axis[0-9]*$/.test(key)) axes[key] = axis;
    }
    const layout = merge({
      ...axes, paper_bgcolor: color("--ground"), plot_bgcolor: color("--ground"), font: {color: color("--text")},
      hoverlabel: {bgcolor: color("--mark"), bordercolor: line, font: {color: color("--text")}},
      margin: {t: 48, r: 16}, autosize: true,
    }, figure.layout || {});
    // Newer versions of plotly have a button that uploads the plot, and show it unless told not to.
    const offline = {displaylogo: false, showSendToCloud: false, plotlyServerURL: ""};
    const config = {responsive: true, ...offline, ...figure.config};
    Plotly.react(document.getElementById(source.dataset.figure), figure.data, layout, config);
  });
}
draw();
dark.addEventListener("change", draw);
"""

# The page may run its own script and nothing else, and may fetch nothing.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


class Page:
    """A page that grows downwards. All text is escaped."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []
        self._figure_count = 0

    def add_heading(self, text: str) -> None:
        """Add a heading of the second level."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def add_text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def add_list(self, items: Iterable[str]) -> None:
        """Add a list."""
        self._parts.append("<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>")

    def add_code(self, text: str) -> None:
        """Add lines to be copied."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    def add_table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], classes: Mapping[int, str] | None = None
    ) -> None:
        """Add a table.

        Args:
            columns: Their names; one that begins with ">" is right-aligned.
            rows: The cells.
            classes: By the number of a row: "mark" for one that stands out, "faint" for one that steps back.
        """
        sides = [' class="right"' if name.startswith(">") else "" for name in columns]
        names = zip(sides, columns, strict=True)
        head = "".join(f"<th{side}>{escape(name.removeprefix('>'))}</th>" for side, name in names)
        body = []
        for number, row in enumerate(rows):
            cells = "".join(f"<td{side}>{escape(cell)}</td>" for side, cell in zip(sides, row, strict=True))
            kind = (classes or {}).get(number)
            body.append(f"<tr{f' class={json.dumps(kind)}' if kind else ''}>{cells}</tr>")
        self._parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        )

    def add_figure(self, figure: Mapping[str, Any], *, about: str) -> None:
        """Add a plot.

        Args:
            figure: `data`, `layout` and perhaps `config`, as plotly has them, of what JSON can hold.
            about: What is said of it to a reader who cannot see it.
        """
        self._figure_count += 1
        name = f"figure-{self._figure_count}"
        height = int(figure.get("layout", {}).get("height", _FIGURE_HEIGHT))
        self._parts.append(
            f'<div class="figure" id="{name}" role="img" aria-label="{escape(about)}" style="height: {height}px"></div>'
            f'<script type="application/json" data-figure="{name}">{_embedded(figure)}</script>'
        )

    def to_html(self) -> str:
        """Return the page.

        Raises:
            UnsupportedError: It has a figure, and plotly is not installed.
        """
        plotting = f"<script>{_plotly()}</script>" if self._figure_count else ""
        drawing = f"<script>{_SCRIPT}</script>" if self._figure_count else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self._title)}</title>\n<style>{_STYLE}</style>\n{plotting}\n</head>\n<body>\n"
            f"<h1>{escape(self._title)}</h1>\n" + "\n".join(self._parts) + f"\n{drawing}\n</body>\n</html>\n"
        )


def check_plotly() -> None:
    """Raise UnsupportedError, with what to do about it, unless plotly is installed: before work that it would lose."""
    from importlib.util import find_spec

    if find_spec("plotly") is None:
        raise UnsupportedError("an HTML page takes plotly, which is not installed", hint=INSTALL)


def _plotly() -> str:
    """Return plotly's script."""
    check_plotly()
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def _embedded(value: object) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
