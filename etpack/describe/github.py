"""Verdicts of `etpack.check` -> workflow commands of GitHub Actions, which become annotations: one for each finding."""

from __future__ import annotations

from collections.abc import Iterator

from etpack.check import FileVerdict
from etpack.describe.verdict import describe_finding
from etpack.describe.words import safe


def to_annotations(verdict: FileVerdict) -> Iterator[str]:
    """Yield a line for each finding of a file; none for a good one without warnings.

    Every line is a command, and no text from a file or its name can begin another.
    """
    for finding in verdict.findings:
        title = f"etpack {finding.rule}"
        yield _annotation(finding.severity, verdict.file, title, describe_finding(finding))
    if verdict.omitted_count:
        severity = "warning" if verdict.ok else "error"
        yield _annotation(severity, verdict.file, "etpack", f"and {verdict.omitted_count:,} more")


def _annotation(severity: str, file: str, title: str, message: str) -> str:
    return f"::{severity} file={_property(file)},title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """Escape a message: a percent sign first, since the others become one."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property; control characters that have no escape are shown as such."""
    escaped = _data(text).replace(":", "%3A").replace(",", "%2C")
    return safe(escaped, len(escaped) or 1)
