"""What `etpack verify` checks: every rule of `.etz` files and of models, each with an id; errors are collected."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from etpack import layout
from etpack.check.agreement import check_claims, check_manifest
from etpack.check.content import Comparison, ContentPass, check_sha256
from etpack.check.model import check_guard
from etpack.check.parts import Parts, parts_of_etz, parts_of_model
from etpack.check.structure import check_entries, check_footer, check_sections, check_stored
from etpack.check.verdict import MAX_FINDINGS, FileVerdict, Finding, Findings, Place, worst_exit_code
from etpack.errors import EtpackError, SourceError
from etpack.limits import Limits
from etpack.loader import DataLoader
from etpack.pte import FileKind, read_model
from etpack.reader import EtzFile, is_etz
from etpack.sources import Source, SourceLike, open_source, steady
from etpack.sources.urls import source_name

__all__ = ["MAX_FINDINGS", "FileVerdict", "Finding", "Place", "verify_file", "worst_exit_code"]


def verify_file(
    source: SourceLike,
    *,
    fast: bool = False,
    against: SourceLike | None = None,
    jobs: int | None = None,
    limits: Limits | None = None,
) -> FileVerdict:
    """Check one file, `.etz` or plain model, and return everything that is wrong with it.

    Nothing about the file raises: what cannot be opened, read or understood is a finding too. An `.etz` is told by
    its first or last bytes, or by its name. Memory does not grow with the content.

    Args:
        source: A path, a URL, a buffer, a seekable binary file object, or a `Source`.
        fast: Check structure and stored checksums only; decode nothing.
        against: A file, packed or plain, that the content must be equal to.
        jobs: Threads; all processors by default.
        limits: What the file, and the one it is compared with, may ask for.

    Raises:
        ValueError: `fast` and `against` exclude each other.
        TypeError: `source` is nothing that can be read.
    """
    if fast and against is not None:
        raise ValueError("comparing contents takes decoding: choose either fast or against")
    run = _Run(_name(source), fast, against, jobs, limits)
    try:
        opened = open_source(source, limits=limits, whole=True)
        try:
            run.check_steady(opened)
        finally:
            if opened is not source:
                opened.close()
    except (EtpackError, OSError) as exc:
        run.findings.add_error(exc)
    return run.verdict()


def _name(source: SourceLike) -> str:
    if isinstance(source, (str, os.PathLike)):
        return source_name(source)
    return str(getattr(source, "name", "<buffer>"))


def _is_packed(source: Source) -> bool:
    if is_etz(source) or source.name.removesuffix("?...").endswith(".etz"):
        return True
    size = len(layout.FOOTER_MAGIC)
    return source.size >= size and source.read_at(source.size - size, size) == layout.FOOTER_MAGIC


@dataclass
class _Run:
    """The checking of one file, and what it has come to know."""

    name: str
    fast: bool
    against: SourceLike | None
    jobs: int | None
    limits: Limits | None
    findings: Findings = field(default_factory=Findings)
    packed: bool = False
    kind: FileKind | None = None
    stored_size: int | None = None
    content_size: int | None = None
    block_count: int = 0
    bytes_checked: int = 0
    sha256: str | None = None

    def check_steady(self, source: Source) -> None:
        """Check; of a file that changed meanwhile there is nothing else to say."""
        try:
            with steady(source):
                self.check(source)
        except SourceError:
            self.findings, self.sha256 = Findings(), None
            raise

    def check(self, source: Source) -> None:
        self.packed = _is_packed(source)
        self.stored_size = source.size
        if not self.packed:
            self._check_model(source)
            return
        with EtzFile(source, limits=self.limits, jobs=self.jobs) as file:
            self._check_etz(file, source)

    def _check_model(self, source: Source) -> None:
        self.content_size = source.size
        parts = Parts(())
        try:
            model = read_model(source)
            self.kind = model.kind
            parts = parts_of_model(model)
            check_guard(source, model, self.findings)
        except EtpackError as exc:
            self.findings.add_error(exc)
            if self.against is None:
                return
        if not self.fast:
            self._read_content(DataLoader(source), None, parts)

    def _check_etz(self, file: EtzFile, source: Source) -> None:
        findings = self.findings
        self.content_size = file.size
        self.block_count = file.block_count
        parts = parts_of_etz(file)
        check_sections(file, source, findings)
        if check_manifest(file, findings):
            self.kind = file.manifest.kind
        facts = check_entries(file, source, parts, findings)
        check_stored(file, source, facts, parts, findings, fast=self.fast)
        if self.fast:
            self.bytes_checked = facts.bytes_checked
        else:
            self._read_content(DataLoader(file), file, parts)
            check_sha256(file, self.sha256, findings)
        if findings.bad_blocks:
            return
        check_footer(file, facts, findings)
        if not self.fast and self.kind is not None:
            self._check_claims(file)

    def _check_claims(self, file: EtzFile) -> None:
        check_claims(file, self.findings)
        if self.kind is not FileKind.OPAQUE:
            try:
                check_guard(file, file.model, self.findings)
            except EtpackError as exc:
                self.findings.add_error(exc)

    def _read_content(self, loader: DataLoader, file: EtzFile | None, parts: Parts) -> None:
        comparison = None
        if self.against is not None:
            comparison = Comparison(_name(self.against), self.against, loader.size, parts, self.findings, self.limits)
        content = ContentPass(loader, parts, self.findings, comparison)
        try:
            content.run(file, self.jobs)
        finally:
            if comparison:
                comparison.close()
            self.bytes_checked, self.sha256 = content.bytes_checked, content.sha256

    def verdict(self) -> FileVerdict:
        return FileVerdict(
            file=self.name,
            packed=self.packed,
            kind=self.kind,
            fast=self.fast,
            against=None if self.against is None else _name(self.against),
            stored_size=self.stored_size,
            content_size=self.content_size,
            block_count=self.block_count,
            bytes_checked=self.bytes_checked,
            content_sha256=self.sha256,
            findings=tuple(self.findings.listed),
            omitted_count=self.findings.omitted_count,
        )
