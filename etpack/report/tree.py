"""A report's extents as trees whose branches add up: by method and delegate, and by role."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from etpack.pte import Role, Tensor
from etpack.report.values import ExtentReport, Node, Report

_DELEGATED = (Role.DELEGATE, Role.NAMED_DATA)
# What belongs to the file, and to none of its methods more than to another.
_COMMON = (Role.PROGRAM, Role.METADATA)
_MOST_NAMES = 4

# What an extent's branches are of, outermost first: a kind of node, and the names that it is for.
_Path: TypeAlias = "tuple[tuple[str, tuple[str, ...]], ...]"


class _Owners:
    """Says which methods and backends an extent belongs to: as the file has it, or as the memory report found."""

    def __init__(self, report: Report) -> None:
        groups = report.memory.groups if report.memory else ()
        named = (group for group in groups if group.kind.value == "named data" and group.methods)
        self._askers = {use.what: group for group in named for use in group.uses}

    def of(self, extent: ExtentReport) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return names of methods and ids of backends."""
        asker = self._askers.get(extent.keys[0]) if extent.keys and not extent.methods else None
        if asker is None:
            return extent.methods, extent.delegate_ids
        return asker.methods, asker.backends


def method_tree(report: Report) -> Node:
    """Return the content by method, then by the backend or the role of each part; what methods share stands apart."""
    owners = _Owners(report)

    def path(extent: ExtentReport) -> _Path:
        methods, backends = owners.of(extent)
        role = ("role", (extent.role.value,))
        if extent.role in _COMMON:
            return ()
        owner = ("method", methods)
        if extent.role in _DELEGATED and backends:
            return (owner, ("backend", backends), role)
        return (owner, role)

    return _tree(report, path)


def role_tree(report: Report) -> Node:
    """Return the content by role, then by method and backend."""
    owners = _Owners(report)

    def path(extent: ExtentReport) -> _Path:
        methods, backends = owners.of(extent)
        role = ("role", (extent.role.value,))
        if extent.role in _COMMON:
            return ()
        owner = ("method", methods)
        return (role, owner, ("backend", backends)) if backends else (role, owner)

    return _tree(report, path)


def folded(node: Node, most: int) -> Node:
    """Return a node that has no more than `most` children, and neither has any below; the smallest are put together."""
    children = node.children
    if len(children) > most:
        rest = children[most - 1 :]
        size = sum(child.size for child in rest)
        children = (*children[: most - 1], Node("rest", f"{len(rest):,} smaller ones", size))
    return replace(node, children=tuple(folded(child, most) for child in children))


def _tree(report: Report, path: Callable[[ExtentReport], _Path]) -> Node:
    tensors = _tensors_by_extent(report)
    placed: list[tuple[_Path, Node]] = [
        (path(extent), _extent(extent, tensors[extent.number])) for extent in report.extents
    ]
    if report.gaps.size:
        placed.append(((), Node("gap", "between the parts", report.gaps.size)))
    return Node("file", report.file, report.content_size, 0, children=_branches(placed))


def _branches(placed: Iterable[tuple[_Path, Node]]) -> tuple[Node, ...]:
    """Return nodes by the first names of their paths, those below by the rest of them."""
    leaves: list[Node] = []
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[_Path, Node]]] = {}
    for path, node in placed:
        if path:
            groups.setdefault(path[0], []).append((path[1:], node))
        else:
            leaves.append(node)
    for (kind, names), members in groups.items():
        size = sum(node.size for _, node in members)
        name = f"shared by {_joined(names)}" if len(names) > 1 else names[0] if names else "of no method"
        leaves.append(Node(kind, name, size, children=_branches(members)))
    return _largest_first(leaves)


def _joined(names: Sequence[str]) -> str:
    more = f" +{len(names) - _MOST_NAMES:,}" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _largest_first(nodes: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(sorted(nodes, key=lambda node: -node.size))


def _tensors_by_extent(report: Report) -> dict[int, list[Tensor]]:
    """Return the tensors that lie in each extent, in order; both are in the order of the file."""
    found: dict[int, list[Tensor]] = {extent.number: [] for extent in report.extents}
    extents = iter(report.extents)
    extent = next(extents, None)
    for tensor in report.tensors or ():
        if tensor.data is None:
            continue
        while extent and extent.offset + extent.size <= tensor.data.offset:
            extent = next(extents, None)
        if extent and tensor.data.offset >= extent.offset:
            found[extent.number].append(tensor)
    return found


def _extent(extent: ExtentReport, tensors: Sequence[Tensor]) -> Node:
    whole = extent.tensor
    if whole:
        return Node("extent", _tensor_name(whole), extent.size, extent.offset, whole.dtype, whole.sizes)
    node = Node("extent", _extent_name(extent), extent.size, extent.offset)
    return replace(node, children=_largest_first(_inside(extent, tensors))) if tensors else node


def _inside(extent: ExtentReport, tensors: Sequence[Tensor]) -> list[Node]:
    """Return the tensors of an extent, and what lies between them; a byte of several counts for the first."""
    found = []
    between = extent.size
    position = extent.offset
    for tensor in tensors:
        if tensor.data is None:
            continue
        end = min(tensor.data.end, extent.offset + extent.size)
        begin = max(tensor.data.offset, position)
        if begin < end:
            found.append(Node("tensor", _tensor_name(tensor), end - begin, begin, tensor.dtype, tensor.sizes))
            between -= end - begin
            position = end
    if between:
        found.append(Node("gap", "other bytes", between))
    return found


def _tensor_name(tensor: Tensor) -> str:
    return tensor.name or f"buffer {tensor.buffer_index}"


def _extent_name(extent: ExtentReport) -> str:
    """Return what tells an extent from others of its branch."""
    if extent.keys:
        more = f" +{len(extent.keys) - 1:,}" if len(extent.keys) > 1 else ""
        return extent.keys[0] + more
    if extent.segments:
        return f"segment {extent.segments[0]}"
    return extent.role.value
