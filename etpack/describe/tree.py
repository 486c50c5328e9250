"""A tree of a report in words: a line for each part, its size and share in front."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etpack.describe.words import human, safe
from etpack.report import Node, folded

if TYPE_CHECKING:
    from rich.console import Console

# Children that are shown of a node, unless all are asked for.
MOST_CHILDREN = 8
_SHORTEST_NAME = 20


def print_tree(tree: Node, console: Console, *, everything: bool) -> None:
    """Print the tree; of many children only the largest, unless all are asked for."""
    console.print("\nTree by method and delegate", style="bold")
    shown = tree if everything else folded(tree, MOST_CHILDREN)
    console.out("\n".join(_lines(shown, tree.size or 1, console.width)), highlight=False)
    if shown != tree:
        console.print("--all shows the smaller ones too", style="dim")


def _lines(tree: Node, whole: int, width: int) -> Iterator[str]:
    waiting = [(tree, "", "")]
    while waiting:
        node, branch, below = waiting.pop()
        front = f"{human(node.size):>11}  {node.size / whole:6.1%}  {branch}"
        yield front + label(node, max(_SHORTEST_NAME, width - len(front)))
        last = len(node.children) - 1
        for number, child in reversed(list(enumerate(node.children))):
            ends = number == last
            waiting.append((child, below + ("└── " if ends else "├── "), below + ("    " if ends else "│   ")))


def label(node: Node, width: int) -> str:
    """Return what a node is, in no more than `width` letters: its name, dtype and shape."""
    kind = f" {tensor_type(node)}" if node.dtype else ""
    name = safe(node.name)  # first: a control character takes four letters
    if len(kind) > width - _SHORTEST_NAME // 2:
        return safe(name + kind, width)
    return safe(name, width - len(kind)) + kind


def tensor_type(node: Node) -> str:
    """Return dtype and shape of a tensor: float32 64x128."""
    shape = node.shape or ()
    sizes = [*map(str, shape[:6]), *(["…"] if len(shape) > 6 else [])]
    return f"{node.dtype} {'x'.join(sizes) or 'scalar'}"
