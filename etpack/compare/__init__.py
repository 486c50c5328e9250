"""What changed between two models, as frozen values and JSON; no wording for people, and no terminal."""

from __future__ import annotations

from etpack.compare.build import diff
from etpack.compare.values import (
    Basis,
    Change,
    ChangeTotal,
    ComparedFile,
    Diff,
    FieldChange,
    FilePacking,
    MethodChange,
    NewBlocks,
    PartChange,
    PartKind,
    Side,
)

__all__ = [
    "Basis",
    "Change",
    "ChangeTotal",
    "ComparedFile",
    "Diff",
    "FieldChange",
    "FilePacking",
    "MethodChange",
    "NewBlocks",
    "PartChange",
    "PartKind",
    "Side",
    "diff",
]
