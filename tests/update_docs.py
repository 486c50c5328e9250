"""Writes the generated parts of the documents anew: `python -m tests.update_docs`.

They are the worked example of `schemas/etz-v1.md`, the byte map of `schemas/DESIGN.md` (whose sentences around it have
figures of their own, which `tests/test_spec.py` checks), the rules of `schemas/model-rules.md`, what the commands of
README and guide print, and the README's table of goals.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from benchmarks import summary
from tests.test_device import SEGMENT, device_reads
from tests.test_docs import error_tree, prepare, run_console
from tests.test_guard import RULES_PAGE, rules_table
from tests.test_spec import ROOT, byte_map, worked_example


def _replace(path: Path, pattern: str, text: str) -> None:
    old = path.read_text(encoding="utf-8")
    path.write_text(re.sub(pattern, lambda _: text, old, count=1, flags=re.DOTALL), encoding="utf-8")


def _update_commands(folder: Path) -> None:
    readme, guide = ROOT / "README.md", ROOT / "examples" / "guide.md"
    prepare(folder)
    console = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
    for path in (readme, guide):
        text = path.read_text(encoding="utf-8")
        path.write_text(console.sub(lambda match: run_console(match[0], folder), text), encoding="utf-8")
    _replace(guide, r"(?<=```text\n)EtpackError.*?(?=\n```)", error_tree())
    _replace(readme, r"(?<=<!-- goals -->\n\n).*?(?=\n\n)", summary.overview(summary.load()))


def main() -> None:
    """Replace all parts in place."""
    schemas = ROOT / "schemas"
    with tempfile.TemporaryDirectory() as name:
        _update_commands(Path(name))
        example, table = worked_example(Path(name)), byte_map(Path(name))
        reads = device_reads(Path(name) / "d.etz", *SEGMENT)
    _replace(schemas / "etz-v1.md", r"(?<=<!-- worked-example -->\n```\n).*?(?=\n```)", example)
    _replace(schemas / "DESIGN.md", r"(?<=<!-- byte-map -->\n\n).*?(?=\n\n)", table)
    _replace(schemas / "DESIGN.md", r"(?<=<!-- device-reads -->\n\n).*?(?=\n\n)", reads)
    _replace(RULES_PAGE, r"(?<=<!-- rules -->\n\n).*?(?=\n\n)", rules_table())


if __name__ == "__main__":
    main()
