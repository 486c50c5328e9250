"""The views of `inspect` on the terminal: a map to scale, a tree that adds up, and memory step by step."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from etpack.cli import cli
from etpack.describe.map import extents_by_cell, print_map
from etpack.memory import Loader
from etpack.pte import Role
from etpack.report import Node, Report, folded, inspect_file, method_tree, role_tree, with_loaders
from etpack.writer import Options
from tests.conftest import ROOT
from tests.make_pte import DelegateSpec, MethodSpec, NamedSpec, PteSpec, TensorSpec, build_pte, weights
from tests.test_inspect import packed, render

TWO_METHODS = build_pte(
    PteSpec(
        [
            MethodSpec(
                "a", tensors=[TensorSpec(weights(4096), name="first")], delegates=[DelegateSpec(data=b"x" * 300)]
            ),
            MethodSpec("b", tensors=[TensorSpec(weights(4096), name="first")]),
        ],
        [NamedSpec("key", b"k" * 200)],
    )
)


def inspect(*args: str | Path) -> Result:
    result = CliRunner().invoke(cli, ["inspect", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result


def mapped(report: Report, *, color: bool = False, width: int = 80) -> list[str]:
    kind = "truecolor" if color else None
    console = Console(file=io.StringIO(), width=width, force_terminal=color, color_system=kind)  # type: ignore[arg-type]
    print_map(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()[1:]


def nodes(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in nodes(child))]


def assert_adds_up(node: Node) -> None:
    for each in nodes(node):
        if each.children:
            assert sum(child.size for child in each.children) == each.size, each.name


def test_the_map_is_to_scale(digits: Path) -> None:
    title, cells, legend, *rest = mapped(inspect_file(digits))
    assert rest == []
    assert title == "Map, 6 KiB a cell"
    assert len(cells) == 80
    # 262,144 of 493,480 bytes are one extent, and take that share of the cells.
    assert "N" + "-" * (80 * 262_144 // 493_480 - 1) in cells
    assert legend == "D delegate  N named data  less than a cell: program"


def test_each_cell_is_of_the_extent_that_has_most_of_it(real_model: Path) -> None:
    report = inspect_file(real_model)
    for count in (1, 7, 80):
        cells = extents_by_cell(report, count)
        assert len(cells) == count
        for number, cell in enumerate(cells):
            start, end = number * report.content_size // count, (number + 1) * report.content_size // count
            parts = {
                extent.number: min(end, extent.offset + extent.size) - max(start, extent.offset)
                for extent in report.extents
                if extent.offset < end and extent.offset + extent.size > start
            }
            gaps = end - start - sum(parts.values())
            assert max(gaps, *parts.values(), 0) == (parts[cell.number] if cell else gaps)


def test_the_map_is_coloured_and_says_the_same_without() -> None:
    report = inspect_file(TWO_METHODS)
    with_colours, without = "\n".join(mapped(report, color=True)), mapped(report)
    assert "\x1b[" in with_colours
    assert {"P", "C", "D", "N"} <= set(without[1])
    for name in ("P program", "C constant", "D delegate", "N named data"):
        assert name in without[2]


def test_a_tiny_file_has_a_cell_for_each_byte(tmp_path: Path) -> None:
    path = tmp_path / "tiny.bin"
    path.write_bytes(b"abc")
    assert mapped(inspect_file(packed(path, tmp_path, Options(opaque=True)))) == [
        "Map, 1 byte a cell",
        "O--",
        "O opaque",
    ]
    path.write_bytes(b"")
    assert mapped(inspect_file(ROOT / "schemas" / "vectors" / "ok_empty.etz")) == []


def test_a_tree_adds_up(real_model: Path) -> None:
    report = inspect_file(real_model, tensors=True, tree=True)
    assert report.tree == method_tree(report)
    for tree in (method_tree(report), role_tree(report)):
        assert tree.size == real_model.stat().st_size
        assert_adds_up(tree)
        assert_adds_up(folded(tree, 3))
        assert all(len(node.children) <= 3 for node in nodes(folded(tree, 3)))
        ends = [node for node in nodes(tree) if node.kind == "extent"]
        assert sorted(node.offset or 0 for node in ends) == [extent.offset for extent in report.extents]
        for node in nodes(tree):
            assert list(node.children) == sorted(node.children, key=lambda child: -child.size)


def test_a_tree_goes_by_method_and_delegate() -> None:
    tree = inspect_file(TWO_METHODS, tree=True).tree
    assert tree
    found = {child.name: child for child in tree.children}
    assert set(found) == {"shared by a, b", "a", "program", "between the parts"}
    assert [(child.kind, child.name) for child in found["a"].children] == [("backend", "XnnpackBackend")]
    (tensor,) = [node for node in nodes(tree) if node.dtype]
    assert (tensor.name, tensor.size, tensor.shape) == ("first", 16_384, (4096,))


def test_tensors_that_overlap_count_once() -> None:
    data = weights(4096)
    views = [TensorSpec(data, name="whole"), TensorSpec(data, sizes=[10], name="part")]
    assert_adds_up(method_tree(inspect_file(build_pte(PteSpec([MethodSpec(tensors=views)])), tensors=True)))


def test_the_tree_is_shown_in_words(digits: Path) -> None:
    lines = inspect("--tree", digits).stdout.splitlines()
    start = lines.index("Tree by method and delegate")
    assert lines[start + 1].startswith("  481.9 KiB  100.0%  ")
    assert "479.7 KiB   99.5%  ├── forward" in lines[start + 2]
    assert any("smaller ones" in line for line in lines[start:])
    assert "smaller ones" not in inspect("--tree", "--all", digits).stdout


def test_a_tree_with_long_or_evil_names_stays_in_its_place() -> None:
    evil = "\x1b[31mred" + "x" * 500
    spec = PteSpec([MethodSpec(evil, delegates=[DelegateSpec(evil)])], [NamedSpec(evil, b"x")])
    text = render(inspect_file(build_pte(spec), tree=True), 80)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_tensors_come_by_size() -> None:
    tensors = [TensorSpec(weights(size), name=f"t{size}") for size in (400, 4000, 40, 400_000)]
    text = render(inspect_file(build_pte(PteSpec([MethodSpec(tensors=tensors)])), tensors=True))
    table = text[text.index("Tensors (4)") :]
    assert [table.index(f"t{size} ") for size in (400_000, 4000, 400, 40)] == sorted(
        table.index(f"t{size} ") for size in (400_000, 4000, 400, 40)
    )


def test_a_bar_for_each_step_tells_what_it_loads(digits: Path) -> None:
    text = inspect("--memory", "--loader", "file", digits).stdout
    line = next(line for line in text.splitlines() if line.startswith("forward: delegate 0 "))
    assert line.split("  ")[-1].strip() == "479.7 KiB"
    assert "3.2 KiB delegate, 476.5 KiB named data" in line
    # At the peak all bars are full, and half of it goes when the weights are packed.
    assert "█" * 12 + "░" * 12 in line


def test_loaders_are_chosen(digits: Path) -> None:
    args = ("--loader", "etz", "--loader", "mmap-mlock", digits)
    text = inspect("--memory", *args).stdout
    assert "Step by step with EtzDataLoader" in text
    assert "Step by step with MmapDataLoader with mlock" in text
    assert "Step by step with FileDataLoader" not in text
    report = json.loads(inspect("--json", *args).stdout)["results"][0]
    names = [each["loader"] for each in report["memory"]["simulation"]["loaders"]]
    assert names == ["MmapDataLoader with mlock", "EtzDataLoader"]


def test_a_bundled_program_keeps_its_one_loader() -> None:
    path = next((ROOT / "tests" / "data" / "models").glob("*.bpte"))
    report = with_loaders(inspect_file(path), [Loader.ETZ])
    assert report.memory
    assert report.memory.simulation
    assert [each.loader for each in report.memory.simulation.loaders] == [Loader.BUFFER]


def test_json_has_the_tree_if_asked_for(digits: Path) -> None:
    report = json.loads(inspect("--json", "--tree", digits).stdout)["results"][0]
    assert (report["tree"]["kind"], report["tree"]["size"]) == ("file", 493_480)
    assert json.loads(inspect("--json", digits).stdout)["results"][0]["tree"] is None


@pytest.mark.parametrize("role", Role)
def test_every_role_has_a_letter_of_its_own(role: Role) -> None:
    from etpack.describe.map import _MARKS

    assert [mark[0] for mark in _MARKS.values()].count(_MARKS[role][0]) == 1
