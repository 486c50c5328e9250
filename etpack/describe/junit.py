"""Verdicts of `etpack.check` -> JUnit XML, as CI servers read it: one test case for each file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from etpack.check import FileVerdict, Finding
from etpack.describe.verdict import describe_finding

# What XML 1.0 cannot hold, not even escaped; file names and keys may.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(verdicts: Sequence[FileVerdict], suite: str = "etpack verify") -> str:
    """Return the XML of a test suite: a file that is bad fails, one that could not be read or understood errs.

    It holds no times: what was checked gives the same text again.
    """
    failures = [verdict for verdict in verdicts if verdict.exit_code == 1]
    errors = [verdict for verdict in verdicts if verdict.exit_code > 1]
    counts = {"tests": str(len(verdicts)), "failures": str(len(failures)), "errors": str(len(errors))}
    root = ElementTree.Element("testsuites", {"name": suite, **counts})
    suite_element = ElementTree.SubElement(root, "testsuite", {"name": suite, "skipped": "0", "time": "0", **counts})
    for verdict in verdicts:
        _add_case(suite_element, suite, verdict)
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _add_case(suite_element: ElementTree.Element, suite: str, verdict: FileVerdict) -> None:
    name = _clean(verdict.file)
    case = ElementTree.SubElement(
        suite_element, "testcase", classname=suite.replace(" ", "."), name=name, file=name, time="0"
    )
    errors = [finding for finding in verdict.findings if finding.severity == "error"]
    if errors:
        # One element for each case: common parsers take the first only.
        tag = "failure" if verdict.exit_code == 1 else "error"
        rules = ", ".join(dict.fromkeys(finding.rule for finding in errors))
        element = ElementTree.SubElement(case, tag, type=_clean(rules), message=_summary(errors, verdict))
        element.text = "\n".join([_clean(describe_finding(finding)) for finding in errors])
        if verdict.omitted_count:
            element.text += f"\nand {verdict.omitted_count:,} more"
    warnings = [finding for finding in verdict.findings if finding.severity != "error"]
    if warnings:
        output = ElementTree.SubElement(case, "system-out")
        output.text = "\n".join(_clean(describe_finding(finding)) for finding in warnings)


def _summary(errors: Sequence[Finding], verdict: FileVerdict) -> str:
    count = len(errors) + verdict.omitted_count
    more = f" (and {count - 1:,} more)" if count > 1 else ""
    return _clean(describe_finding(errors[0])) + more


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
