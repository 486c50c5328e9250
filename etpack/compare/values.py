"""The values of a comparison. Offsets are content offsets and sizes are bytes, unless a name says stored."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from etpack.pte import FileKind


class PartKind(Enum):
    """What is compared with its like."""

    PROGRAM = "program"  # the flatbuffer
    DELEGATE = "delegate"
    CONSTANT_SEGMENT = "constant segment"
    CONSTANT = "constant"
    MUTABLE_SEGMENT = "mutable segment"
    MUTABLE = "mutable"
    NAMED_DATA = "named data"
    EXTERNAL = "external"  # a tensor that lies in a .ptd
    UNUSED = "unused segment"
    METADATA = "metadata"  # what wraps the program in a .bpte
    PADDING = "padding"  # between the parts, where it is not all zeros
    TRAILING = "trailing"
    OPAQUE = "opaque"  # all of a content that is no model


class Change(Enum):
    """What became of a part; of several that are true, the last."""

    UNCHANGED = "unchanged"
    MOVED = "moved"  # the same bytes at another offset
    RENAMED = "renamed"  # the same bytes under another name
    RETYPED = "retyped"  # the same bytes as another dtype or shape
    CHANGED = "changed"  # other bytes, as many
    RESIZED = "resized"
    ADDED = "added"
    REMOVED = "removed"


class Basis(Enum):
    """Why a part of one file is held against a part of the other."""

    NAME = "name"  # a name, a key, or the only one of its kind
    CONTENT = "content"
    DELEGATE = "delegate"  # inferred: the same place in the constants of the same delegate
    POSITION = "position"  # inferred: the same dtype, shape and neighbours, or else order


@dataclass(frozen=True)
class Side:
    """A part in one of the two files."""

    # Not always that of the other side: a constant may have become named data.
    kind: PartKind
    # Name, key, or method and position of a delegate ("forward:3"); None where the file records none.
    name: str | None
    # Of a tensor: its position among all, in file order, as `etpack extract --tensor "#N"` takes it.
    number: int | None
    # None for what lies in a .ptd.
    offset: int | None
    size: int
    # Position of the segment; None outside of segments.
    segment: int | None
    # None where it is no tensor, or the file does not say.
    dtype: str | None
    sizes: tuple[int, ...] | None


@dataclass(frozen=True)
class PartChange:
    """A part of either file, and what became of it."""

    # In b, or in a if it was removed.
    kind: PartKind
    change: Change
    # None for what was added or removed.
    matched_by: Basis | None
    # Id of the backend, of a delegate.
    backend: str | None
    # Methods, or for named data the delegates, that are known to use it; of b, or of a if it was removed.
    users: tuple[str, ...]
    a: Side | None
    b: Side | None
    # Bytes that are not the same, of parts of equal size; None for others.
    differing_size: int | None
    # Of a delegate or the program that changed: whether nothing else differs than the keys of named data that changed.
    only_keys: bool
    # The largest difference of two elements; None unless the part has changed, and is numbers, all of them finite.
    max_difference: float | None
    # Blocks of b that hold bytes of it, and whose content is no block of a; 0 for what was removed.
    new_block_count: int


@dataclass(frozen=True)
class FieldChange:
    """A value that the files do not agree on."""

    field: str
    a: str | int | bool | None
    b: str | int | bool | None


@dataclass(frozen=True)
class MethodChange:
    """A method of either file; `fields` says what the program says differently of it."""

    name: str
    # Unchanged, changed, added or removed.
    change: Change
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True)
class ChangeTotal:
    """All parts of a kind of which the same became."""

    kind: PartKind
    change: Change
    count: int
    # Of b, or of a for what was removed.
    size: int
    differing_size: int


@dataclass(frozen=True)
class NewBlocks:
    """What of b would have to be sent to somebody who has the blocks of a; equal blocks are sent once."""

    # Bytes of content in a full block, in both files.
    block_size: int
    # Blocks of b in all.
    block_count: int
    new_count: int
    new_size: int
    # Bytes as b stores them; None if b is not packed in blocks of this size.
    new_stored_size: int | None


@dataclass(frozen=True)
class FilePacking:
    """How an `.etz` was packed."""

    block_size: int
    codec: str
    effort: str
    filters: bool
    alignment: int
    tool: str


@dataclass(frozen=True)
class ComparedFile:
    """One of the two files."""

    file: str
    kind: FileKind
    content_size: int
    # Bytes of the file itself.
    stored_size: int
    # None for a file that is not packed.
    packing: FilePacking | None


@dataclass(frozen=True)
class Diff:
    """What `diff` finds."""

    # Whether the contents are the same, byte for byte, however they are packed.
    same: bool
    a: ComparedFile
    b: ComparedFile
    # Of two packed files: in what their packing differs, which does not make them different.
    packing: tuple[FieldChange, ...]
    blocks: NewBlocks
    totals: tuple[ChangeTotal, ...]
    # Without those that are unchanged, unless asked for.
    methods: tuple[MethodChange, ...]
    parts: tuple[PartChange, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values, by `schemas/diff.schema.json`."""
        value: dict[str, Any] = _plain(self)
        return value


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value
