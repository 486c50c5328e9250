"""Whether the manifest of an `.etz` tells the truth about the model in the content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etpack.check.structure import corrupt
from etpack.check.verdict import Findings, Place
from etpack.errors import EtpackError
from etpack.layout import SectionType
from etpack.plan import Extent, cut_model, cut_opaque
from etpack.pte import FileKind, Range, Role
from etpack.reader import EtzFile

_RULE = "manifest-agrees"


def check_manifest(file: EtzFile, findings: Findings) -> bool:
    """Check that the manifest can be read, and return whether it can."""
    try:
        _ = file.manifest
    except EtpackError as exc:
        findings.add_error(exc)
        return False
    return True


def check_claims(file: EtzFile, findings: Findings) -> None:
    """Parse the content anew and compare what the manifest says of each extent with what is there.

    A packer may cut finer or coarser than this etpack would: compared is what is said of each byte. Decodes the
    blocks of the model's flatbuffer; every block must have been found good.
    """
    try:
        expected = _expected_extents(file, findings)
        if expected is None:
            return
        for piece, said, true in _overlay(file.described_extents, expected):
            message = _difference(said, true or Extent(piece, Role.PADDING))
            if message:
                _disagree(file, findings, f"content {piece.offset:#x}+{piece.size:#x}: {message}", piece, true)
    except EtpackError as exc:
        findings.add_error(exc)


def _expected_extents(file: EtzFile, findings: Findings) -> Sequence[Extent] | None:
    kind = file.manifest.kind
    if kind is FileKind.OPAQUE:
        return cut_opaque(file.size).extents
    if file.model.kind is not kind:
        _disagree(file, findings, f"the manifest calls the content a {kind.value}, and it is a {file.model.kind.value}")
        return None
    return cut_model(file.model, file.block_size).extents


def _overlay(said: Sequence[Extent], true: Sequence[Extent]) -> Iterator[tuple[Range, Extent, Extent | None]]:
    """Yield each piece of an extent in which what is true does not change, with both; both are sorted and disjoint."""
    position = 0
    for extent in said:
        start = extent.range.offset
        while start < extent.range.end:
            while position < len(true) and true[position].range.end <= start:
                position += 1
            here = true[position] if position < len(true) else None
            inside = here is not None and here.range.offset <= start
            end = extent.range.end
            if here is not None:
                end = min(end, here.range.end if inside else here.range.offset)
            yield Range(start, end - start), extent, here if inside else None
            start = end


def _difference(said: Extent, true: Extent) -> str | None:
    """Return what is wrong with what the manifest says of a piece, or None."""
    for name in ("role", "segments", "delegate_ids", "keys", "methods"):
        value, true_value = getattr(said, name), getattr(true, name)
        if value != true_value:
            return f"the manifest has {name.replace('_', ' ')} {_shown(value)}, the model {_shown(true_value)}"
    return None


def _shown(value: object) -> str:
    text = value.value if isinstance(value, Role) else str(list(value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _disagree(
    file: EtzFile, findings: Findings, message: str, content: Range | None = None, extent: Extent | None = None
) -> None:
    section = next(section for section in file.sections if section.type == SectionType.MANIFEST)
    findings.add(corrupt(_RULE, message, Place(section.stored_offset, content, None, extent)))
