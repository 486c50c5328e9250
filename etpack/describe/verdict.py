"""Verdicts of `etpack.check` -> lines of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etpack.check import FileVerdict, Finding, Place
from etpack.describe.words import listed, plural, safe

# Named-data keys are often hashes; of each so many characters are shown.
_KEY_WIDTH = 24
# Lines may hold names from the file, and are cut in the middle beyond so many characters.
_LINE_WIDTH = 1000


def describe_verdict(verdict: FileVerdict) -> Iterator[str]:
    """Yield the lines on one file: that it is good, or one for each finding."""
    file = safe(verdict.file, _LINE_WIDTH)
    if verdict.ok:
        yield f"{file}: good, {_checked(verdict)}"
    for finding in verdict.findings:
        yield f"{file}: {finding.severity}: {describe_finding(finding)}"
    if verdict.omitted_count:
        yield f"{file}: and {verdict.omitted_count:,} more"


def describe_finding(finding: Finding) -> str:
    """Return message, place, rule and what to do next in one line."""
    place = describe_place(finding.place)
    message = finding.message + (f" ({place})" if place else "")
    return safe(f"{message} [{finding.rule}]" + (f"; {finding.hint}" if finding.hint else ""), _LINE_WIDTH)


def describe_place(place: Place) -> str:
    """Return where a fault lies, or an empty text if that is unknown."""
    parts = []
    if place.stored_offset is not None:
        parts.append(f"stored at {place.stored_offset:#x}")
    if place.content is not None:
        size = f"+{place.content.size:#x}" if place.content.size > 1 else ""
        parts.append(f"content {place.content.offset:#x}{size}")
    extent = place.extent
    if extent is not None:
        parts.append(extent.role.value)
        if extent.segments:
            parts.append("segment " + listed([str(number) for number in extent.segments]))
        if extent.delegate_ids:
            parts.append(listed(extent.delegate_ids))
        if extent.keys:
            parts.append("key " + listed(extent.keys, width=_KEY_WIDTH))
    return ", ".join(parts)


def describe_summary(verdicts: Sequence[FileVerdict]) -> str:
    """Return how many files are good, bad, and neither because they could not be judged."""
    codes = [verdict.exit_code for verdict in verdicts]
    parts = [f"{codes.count(0):,} good", f"{codes.count(1):,} bad"]
    parts += [f"{codes.count(3):,} not supported here"] if 3 in codes else []
    parts += [f"{codes.count(4):,} unreadable"] if 4 in codes else []
    return f"{plural(len(verdicts), 'file')}: {', '.join(parts)}"


def _checked(verdict: FileVerdict) -> str:
    if not verdict.packed:
        what = verdict.kind.value if verdict.kind else "file"
        return f"a .{what} of {plural(verdict.content_size or 0, 'byte')}"
    size = plural(verdict.bytes_checked, "byte")
    how = f"{size} stored, not decoded" if verdict.fast else f"{size} of content"
    return f"{plural(verdict.block_count, 'block')}, {how}"
