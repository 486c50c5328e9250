"""What a reader of model files refuses: every rule by its id, and the error for it."""

from __future__ import annotations

from typing import TypeVar

from etpack.errors import PteError

_T = TypeVar("_T")

RULES: dict[str, str] = {
    "file-size": "A reader refuses a file in which there are fewer bytes than a runtime reads first (64).",
    "identifier": "A reader refuses a file in which bytes 4 to 7 are not ET12, FT01 or BP08, or, of the program in a "
    ".bpte, not ET12.",
    "header-magic": "A reader refuses a .ptd in which bytes 8 to 11 are not FH01: its header is not optional.",
    "header-length": "A reader refuses a file in which the extended header is shorter than its fixed fields "
    "(24 bytes in a .pte, 40 in a .ptd).",
    "program-size": "A reader refuses a file in which the flatbuffer leaves the file, is too small for its own header, "
    "or is too large for flatbuffer offsets (2 GiB).",
    "segment-data-size": "A reader refuses a file in which the header declares more segment data than the file has.",
    "schema-version": "A reader refuses a file in which the schema version is newer than the one it knows (0).",
    "flatbuffer-bounds": "A reader refuses a file in which the flatbuffer points out of itself, has text that is not "
    "UTF-8, or has so many parts, or refers to the same ones so often, that to read it would take too long.",
    "required-field": "A reader refuses a file in which the name of a method, the id or the data of a delegate, the "
    "key of named data, or the program of a .bpte is absent.",
    "segment-base": "A reader refuses a .pte in which a segment has bytes, but no header says where segments start.",
    "segment-range": "A reader refuses a file in which a segment ends after the end of the file.",
    "constant-segment": "A reader refuses a file in which constants lie in a segment that is not there.",
    "mutable-segment": "A reader refuses a file in which mutable data lies in a segment that is not there.",
    "subsegment-offset": "A reader refuses a file in which a tensor starts after the end of its segment.",
    "delegate-location": "A reader refuses a file in which a delegate's data is neither inline nor a segment.",
    "delegate-index": "A reader refuses a file in which a delegate's data has a number that is not there.",
    "named-data-index": "A reader refuses a file in which named data lies in a segment that is not there.",
    "tensor-size": "A reader refuses a file in which a tensor has a negative size, or one beyond 64 bits.",
    "tensor-buffer-index": "A reader refuses a file in which a tensor's data has a number that is not there.",
    "tensor-range": "A reader refuses a file in which a tensor needs more bytes than its segment or buffer has left.",
}


def broken(rule: str, message: str, where: int | None = None, *, hint: str | None = None) -> PteError:
    """Return the error for a broken rule; `where` is an offset in the file in bytes."""
    if rule not in RULES:
        raise KeyError(rule)
    return PteError(message, rule=rule, where=where, hint=hint)


def out_of_bounds(message: str, where: int) -> PteError:
    """Return the error for a fault in a flatbuffer."""
    return broken("flatbuffer-bounds", message, where)


def check_version(version: int, where: int) -> None:
    """Raise PteError unless the schema version is the one that every ExecuTorch so far has written."""
    if version > 0:
        hint = "the file was made by an ExecuTorch newer than this etpack; update etpack"
        raise broken("schema-version", f"schema version {version} is unknown", where, hint=hint)


def required(value: _T | None, message: str, where: int) -> _T:
    """Return a field's value; raise PteError if it is absent."""
    if value is None:
        raise broken("required-field", message, where)
    return value


def shown(text: str) -> str:
    """Return text from a file as an error message may show it: quoted, and no longer than a line."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
