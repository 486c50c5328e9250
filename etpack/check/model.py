"""Whether a model that can be read is fit to be run: the rules of `etpack.guard` as findings."""

from __future__ import annotations

from etpack.check.verdict import Finding, Findings, Place
from etpack.errors import EtpackError, PteError
from etpack.guard import check_model
from etpack.pte import ModelFile, Range
from etpack.sources import Source

_HINT = "do not deploy it: fetch it again, or export it anew"


def check_guard(source: Source, model: ModelFile, findings: Findings) -> None:
    """Check the whole program of a model that was read from `source`; reads its flatbuffer alone."""
    try:
        faults = check_model(source, model)
    except EtpackError as exc:
        findings.add_error(exc)
        return
    for fault in (*faults.errors, *faults.warnings):
        place = Place(content=Range(fault.where, 0))
        hint = _HINT if fault.severity == "error" else None
        findings.add(Finding(fault.rule, PteError.slug, fault.message, place, severity=fault.severity, hint=hint))
    findings.omitted_count += faults.omitted_count
