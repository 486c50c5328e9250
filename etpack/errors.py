"""The error tree: one class for each thing a caller may want to do differently."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

# By number; where an output is at fault, {with_option} names the option that it was given with.
_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.ELOOP: "check the path: its links lead in a circle",
    errno.ENAMETOOLONG: "choose a shorter name{with_option}",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOSPC: "make room on the disk, or write elsewhere{with_option}",
    errno.EDQUOT: "make room in your quota, or write elsewhere{with_option}",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or write to another file system{with_option}",
    errno.EROFS: "write elsewhere{with_option}",
    errno.EIO: "the device or the network failed: look at the system's log, and try again with a copy elsewhere",
    errno.ESTALE: "the file server lost the file: try again",
    errno.EBUSY: "wait for the other one to finish, or write elsewhere{with_option}",
    errno.ENOLCK: "the file system has no locks: write elsewhere{with_option}",
    errno.ENXIO: "give a regular file",
    errno.EBADF: "redirect it to a file or a pipe, or write to a file{with_option}",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs: the system has too many open files",
    errno.ENOMEM: "use fewer threads (-j 1), or raise the limit on memory (ulimit -v)",
}
_OUTPUT_REMEDIES = _REMEDIES | {errno.ENXIO: "start the reader first, or write to a file{with_option}"}


def remedy(error: OSError) -> str | None:
    """Return what to do about an error of the system's, or None if there is nothing to say."""
    option = getattr(error, "output_option", None)
    text = (_OUTPUT_REMEDIES if option else _REMEDIES).get(error.errno or 0)
    return text and text.format(with_option=f" with {option}" if option else "")


class EtpackError(Exception):
    """Base of every error that etpack raises itself.

    Attributes:
        slug: Stable name of the kind of error, the same in the test vectors and in the C reader.
        exit_code: What the command line exits with.
        hint: What to do next: the one given, else the class's own, else None.
        path: The file at fault, given or filled in later by whoever knows it (`naming`), or None.
    """

    slug = "error"
    exit_code = 1
    default_hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint or self.default_hint
        self.path = path


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Make an EtpackError from inside say that the file at fault is `path`, unless it names one already."""
    try:
        yield
    except EtpackError as exc:
        exc.path = exc.path or path
        raise


@contextmanager
def naming_file(path: str, note: str = "", *, option: str | None = None) -> Iterator[None]:
    """Make an OSError from inside name `path`, not a temporary file or nothing, and say `note` if there is one.

    Args:
        path: The file at fault.
        note: What to add to the system's words.
        option: That of the command line which named `path`, if it is an output; for `remedy`.
    """
    try:
        yield
    except OSError as exc:
        exc.filename = path
        exc.filename2 = None
        if option:
            exc.output_option = option  # type: ignore[attr-defined]
        if note:
            exc.strerror = f"{exc.strerror} ({note})"
        raise


class FormatError(EtpackError, ValueError):
    """The bytes break a rule of the `.etz` specification.

    Attributes:
        rule: The rule's id in `schemas/etz-v1.md`.
        where: Stored offset in bytes of the fault, or None where it has no one place.
    """

    def __init__(self, message: str, *, rule: str, where: int | None = None, hint: str | None = None) -> None:
        place = "" if where is None else f" at {where:#x}"
        super().__init__(f"{message}{place} [{rule}]", hint=hint)
        self.rule = rule
        self.where = where


class NotEtzError(FormatError):
    """The magic is not there: this is some other kind of file."""

    slug = "not-etz"
    default_hint = "pack it with `etpack compress`; if it was an .etz, it was damaged: fetch it again"


class TruncatedError(FormatError):
    """The file ends before a part that it declares."""

    slug = "truncated"
    default_hint = "it was cut off: fetch it again"


class CorruptError(FormatError):
    """A checksum, a padding byte or a value is impossible."""

    slug = "corrupt"
    default_hint = "it was damaged, or written wrongly: fetch it again, or pack it anew"


class UnsupportedError(EtpackError):
    """The file is well formed and needs a newer etpack: an unknown version, feature, codec or filter.

    Attributes:
        rule: The rule's id in `schemas/etz-v1.md`, or None where no file is at fault.
    """

    slug = "unsupported"
    exit_code = 3

    def __init__(self, message: str, *, rule: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"{message} [{rule}]" if rule else message, hint=hint)
        self.rule = rule


class CodecMissingError(UnsupportedError, ImportError):
    """The file names a codec that is known, or private, and that nothing installed here provides."""

    slug = "codec-missing"


class LimitError(EtpackError):
    """Going on would exceed one of the caller's limits."""

    slug = "limit"
    exit_code = 3


class PteError(EtpackError, ValueError):
    """The file is not a `.pte`, `.ptd` or `.bpte` that can be read.

    Attributes:
        rule: Id of the check that failed, as `etpack verify` names it.
        where: Offset in the file in bytes, or None where the fault has no one place.
    """

    slug = "bad-model"
    default_hint = "fetch it again, or export it anew"

    def __init__(self, message: str, *, rule: str, where: int | None = None, hint: str | None = None) -> None:
        place = "" if where is None else f" at {where:#x}"
        super().__init__(f"{message}{place} [{rule}]", hint=hint)
        self.rule = rule
        self.where = where


class BackendsError(EtpackError, ValueError):
    """The file of backends (`--backends`) does not say what it must; the message has the place in it."""

    slug = "bad-backends"
    exit_code = 2


class SourceError(EtpackError, OSError):
    """The input could not be fetched, ended early, or changed while it was read."""

    slug = "source"
    exit_code = 4
