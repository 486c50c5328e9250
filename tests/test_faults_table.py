"""`tests/FAULTS.md` names every test of a fault, and no test that is not there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in (HERE / "FAULTS.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and "::" in line
]


def _tests() -> set[str]:
    found = set()
    for path in HERE.glob("test_faults_*.py"):
        if path != Path(__file__):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
            found |= {f"`{path.name}::{name}`" for name in names if name.startswith("test_")}
    return found


def test_the_table_and_the_tests_are_the_same() -> None:
    listed = [row[-1] for row in ROWS]
    assert len(listed) == len(set(listed)) > 50
    assert set(listed) == _tests()


def test_every_row_is_whole() -> None:
    for row in ROWS:
        assert len(row) == 5, row
        assert row[0], row


def test_no_fault_is_skipped() -> None:
    for path in HERE.glob("test_faults_*.py"):
        if path != Path(__file__):
            assert not re.search(r"skip|xfail", path.read_text(encoding="utf-8")), path
