"""What a check found: findings with a rule and a place, and the verdict on a file; no wording beyond the messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from etpack.errors import EtpackError, PteError, remedy
from etpack.plan import Extent
from etpack.pte import FileKind, Range

# Findings that a verdict lists; further ones are counted.
MAX_FINDINGS = 100

# Which of several exit codes says most: a bad file, then what is unsupported, then what could not be read.
_EXIT_CODES = (1, 3, 4)


@dataclass(frozen=True)
class Place:
    """Where in a file a fault lies; None where a field does not apply."""

    # Bytes from the start of the file itself.
    stored_offset: int | None = None
    # The part of the content that is affected.
    content: Range | None = None
    # Number of the block.
    block: int | None = None
    # What the content is for there, by the manifest of an `.etz` or by the model itself.
    extent: Extent | None = None

    def to_json(self) -> dict[str, object]:
        """Return the place as `schemas/verify.schema.json` has it."""
        extent = self.extent
        return {
            "stored_offset": self.stored_offset,
            "content_offset": self.content.offset if self.content else None,
            "content_size": self.content.size if self.content else None,
            "block": self.block,
            "role": extent.role.value if extent else None,
            "segments": list(extent.segments) if extent else [],
            "delegates": list(extent.delegate_ids) if extent else [],
            "keys": list(extent.keys) if extent else [],
        }


@dataclass(frozen=True)
class Finding:
    """One broken rule."""

    # Id of the rule, of the specification or of `etpack.guard`; "readable" or "against-..." where none is broken.
    rule: str
    # The kind of error, as `EtpackError.slug`.
    slug: str
    message: str
    place: Place = Place()
    severity: str = "error"
    exit_code: int = 1
    # What to do next.
    hint: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return the finding as `schemas/verify.schema.json` has it."""
        return {
            "severity": self.severity,
            "rule": self.rule,
            "slug": self.slug,
            "message": self.message,
            **self.place.to_json(),
            "exit_code": self.exit_code,
            "hint": self.hint,
        }


@dataclass(frozen=True)
class FileVerdict:
    """What `verify_file` found in one file, and what it looked at. The same file gives the same verdict."""

    file: str
    # Whether the file is an `.etz`.
    packed: bool
    # What the content is; None if that could not be told.
    kind: FileKind | None
    # Whether blocks were left undecoded.
    fast: bool
    # The file the content was compared with.
    against: str | None
    # Bytes of the file, and of its content; None if they could not be told.
    stored_size: int | None
    content_size: int | None
    # Blocks of an `.etz`, and bytes of content or, with `fast`, of stored blocks that were checked.
    block_count: int
    bytes_checked: int
    # In hexadecimal; None with `fast`, and where a part of the content could not be read.
    content_sha256: str | None
    findings: tuple[Finding, ...]
    # Findings beyond those listed.
    omitted_count: int = 0

    @property
    def ok(self) -> bool:
        """Whether the file is good: no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 for a good file; else 1 if it is bad, 3 if only unsupported, 4 if it could not be read."""
        return worst_exit_code([finding.exit_code for finding in self.findings if finding.severity == "error"])

    def to_json(self) -> dict[str, object]:
        """Return the verdict as `schemas/verify.schema.json` has it."""
        return {
            "file": self.file,
            "ok": self.ok,
            "exit_code": self.exit_code,
            "packed": self.packed,
            "kind": self.kind.value if self.kind else None,
            "fast": self.fast,
            "against": self.against,
            "stored_size": self.stored_size,
            "content_size": self.content_size,
            "block_count": self.block_count,
            "bytes_checked": self.bytes_checked,
            "content_sha256": self.content_sha256,
            "findings": [finding.to_json() for finding in self.findings],
            "omitted_count": self.omitted_count,
        }


def worst_exit_code(codes: Sequence[int]) -> int:
    """Return the exit code that says most: 1 (bad) before 3 (unsupported) before 4 (unreadable) before 0."""
    return next((code for code in _EXIT_CODES if code in codes), max(codes, default=0))


@dataclass
class Findings:
    """Collects findings, each broken rule once for each block, and lists the first hundred."""

    listed: list[Finding] = field(default_factory=list)
    omitted_count: int = 0
    # Numbers of the blocks that some finding is about.
    bad_blocks: set[int] = field(default_factory=set)
    _seen: set[tuple[str, int | Place]] = field(default_factory=set)

    def add(self, finding: Finding) -> None:
        """Note a finding, unless the same rule was broken there before."""
        place = finding.place
        key = (finding.rule, place if place.block is None else place.block)
        if key in self._seen:
            return
        self._seen.add(key)
        if place.block is not None:
            self.bad_blocks.add(place.block)
        if len(self.listed) == MAX_FINDINGS:
            self.omitted_count += 1
            if not self._drop_warning(finding):
                return
        self.listed.append(finding)

    def add_error(self, exc: EtpackError | OSError, place: Place | None = None) -> None:
        """Note an error that was raised; `place` says what its message does not."""
        self.add(to_finding(exc, place or Place()))

    def _drop_warning(self, finding: Finding) -> bool:
        """Make room for an error by leaving out the last warning; return whether there is room."""
        warnings = [number for number, each in enumerate(self.listed) if each.severity == "warning"]
        if finding.severity == "warning" or not warnings:
            return False
        del self.listed[warnings[-1]]
        return True

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self.listed) + self.omitted_count


def to_finding(exc: EtpackError | OSError, place: Place) -> Finding:
    """Return the finding for an error; its offset goes into the place, unless that has one."""
    if not isinstance(exc, EtpackError):
        return Finding("readable", "io", exc.strerror or str(exc), place, exit_code=4, hint=remedy(exc))
    rule = getattr(exc, "rule", None) or exc.slug
    where: int | None = getattr(exc, "where", None)
    message = str(exc).removesuffix(f" [{rule}]")
    if where is not None:
        message = message.removesuffix(f" at {where:#x}")
        if isinstance(exc, PteError):
            place = replace(place, content=Range(where, 0))
        elif place.stored_offset is None:
            place = replace(place, stored_offset=where)
    return Finding(rule, exc.slug, message, place, exit_code=exc.exit_code, hint=exc.hint)
