"""Writes the generated parts of the specification anew: `python -m tests.update_spec`.

They are the worked example of `schemas/etz-v1.md` and the byte map of `schemas/DESIGN.md`; the sentences around the
byte map have figures of their own, which `tests/test_spec.py` checks.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from tests.test_spec import ROOT, byte_map, worked_example


def _replace(path: Path, pattern: str, text: str) -> None:
    old = path.read_text(encoding="utf-8")
    path.write_text(re.sub(pattern, lambda _: text, old, count=1, flags=re.DOTALL), encoding="utf-8")


def main() -> None:
    """Replace both parts in place."""
    schemas = ROOT / "schemas"
    with tempfile.TemporaryDirectory() as name:
        example, table = worked_example(Path(name)), byte_map(Path(name))
    _replace(schemas / "etz-v1.md", r"(?<=<!-- worked-example -->\n```\n).*?(?=\n```)", example)
    _replace(schemas / "DESIGN.md", r"(?<=<!-- byte-map -->\n\n).*?(?=\n\n)", table)


if __name__ == "__main__":
    main()
