"""The manifest section: what tools want to know of a packed model without decoding it (`schemas/etz.fbs`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etpack._flatbuffers import etz
from etpack.errors import CorruptError
from etpack.flatbuffer import MAX_WORK_LIMIT, Flatbuffer, Table
from etpack.plan import Extent
from etpack.pte import FileKind, Range, Role
from etpack.sources import BufferSource

if TYPE_CHECKING:
    from flatbuffers import Builder

_RULE = "manifest-valid"


@dataclass(frozen=True)
class PackOptions:
    """The options that a file was packed with, beside what the footer has."""

    codec: str = "auto"
    effort: str = "default"
    filters: bool = True


# What a file means that does not say.
_DEFAULTS = PackOptions()


@dataclass(frozen=True)
class Manifest:
    """What the packer noted. `extents` runs beside the extent table; there, their ranges are empty."""

    kind: FileKind
    # Name and version of the packer.
    tool: str
    options: PackOptions
    extents: tuple[Extent, ...]

    def to_bytes(self) -> bytes:
        """Return the flatbuffer."""
        from flatbuffers import Builder

        builder = Builder(1024)
        extents = _offsets(builder, [_build_extent(builder, extent) for extent in self.extents])
        tool = builder.CreateString(self.tool)
        options = _build_options(builder, self.options)
        builder.StartObject(4)
        builder.PrependUint8Slot(etz.Manifest.KIND, etz.FileKind[self.kind.name], 0)
        builder.PrependUOffsetTRelativeSlot(etz.Manifest.TOOL, tool, 0)
        builder.PrependUOffsetTRelativeSlot(etz.Manifest.OPTIONS, options, 0)
        builder.PrependUOffsetTRelativeSlot(etz.Manifest.EXTENTS, extents, 0)
        builder.Finish(builder.EndObject(), etz.IDENTIFIER)
        return bytes(builder.Output())

    @classmethod
    def from_bytes(cls, data: bytes, extent_count: int, where: int) -> Manifest:
        """Parse the section, whose bytes nobody has checked.

        Args:
            data: The section's bytes.
            extent_count: Entries of the extent table.
            where: Stored offset of the section.

        Raises:
            CorruptError: It is no valid flatbuffer, or does not have one entry for each extent.
        """

        def fail(message: str, at: int) -> CorruptError:
            return CorruptError(f"manifest: {message}", rule=_RULE, where=where + at)

        if data[4:8] != etz.IDENTIFIER:
            raise fail("it does not have its identifier", 4)
        root = Flatbuffer(BufferSource(data), fail, work_limit=MAX_WORK_LIMIT).root()
        options = root.table(etz.Manifest.OPTIONS)
        extents = root.tables(etz.Manifest.EXTENTS)
        if options is None or len(extents) != extent_count:
            raise fail(f"it describes {len(extents)} extents of {extent_count}", 0)
        try:
            return cls(
                FileKind[etz.FileKind(root.u8(etz.Manifest.KIND)).name],
                root.string(etz.Manifest.TOOL) or "",
                _parse_options(options),
                tuple(map(_parse_extent, extents)),
            )
        except ValueError as exc:
            if isinstance(exc, CorruptError):
                raise
            raise fail(str(exc), 0) from exc


def _offsets(builder: Builder, items: Sequence[int]) -> int:
    """Write a vector of offsets; 0, which no slot stores, if there are none."""
    if not items:
        return 0
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    offset: int = builder.EndVector()
    return offset


def _strings(builder: Builder, items: Sequence[str]) -> int:
    return _offsets(builder, [builder.CreateSharedString(item) for item in items])


def _build_extent(builder: Builder, extent: Extent) -> int:
    numbers = 0
    if extent.segments:
        builder.StartVector(4, len(extent.segments), 4)
        for number in reversed(extent.segments):
            builder.PrependUint32(number)
        numbers = builder.EndVector()
    delegates, keys, methods = (_strings(builder, s) for s in (extent.delegate_ids, extent.keys, extent.methods))
    builder.StartObject(5)
    builder.PrependUint8Slot(etz.Extent.ROLE, etz.Role[extent.role.name], 0)
    builder.PrependUOffsetTRelativeSlot(etz.Extent.SEGMENTS, numbers, 0)
    builder.PrependUOffsetTRelativeSlot(etz.Extent.DELEGATES, delegates, 0)
    builder.PrependUOffsetTRelativeSlot(etz.Extent.KEYS, keys, 0)
    builder.PrependUOffsetTRelativeSlot(etz.Extent.METHODS, methods, 0)
    offset: int = builder.EndObject()
    return offset


def _parse_extent(table: Table) -> Extent:
    return Extent(
        Range(0, 0),
        Role[etz.Role(table.u8(etz.Extent.ROLE)).name],
        table.scalars(etz.Extent.SEGMENTS, "I"),
        tuple(table.strings(etz.Extent.DELEGATES)),
        tuple(table.strings(etz.Extent.KEYS)),
        tuple(table.strings(etz.Extent.METHODS)),
    )


def _build_options(builder: Builder, options: PackOptions) -> int:
    codec = 0 if options.codec == _DEFAULTS.codec else builder.CreateString(options.codec)
    effort = 0 if options.effort == _DEFAULTS.effort else builder.CreateString(options.effort)
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(etz.Options.CODEC, codec, 0)
    builder.PrependUOffsetTRelativeSlot(etz.Options.EFFORT, effort, 0)
    builder.PrependBoolSlot(etz.Options.FILTERS, options.filters, etz.Options.FILTERS_DEFAULT)
    offset: int = builder.EndObject()
    return offset


def _parse_options(table: Table) -> PackOptions:
    return PackOptions(
        table.string(etz.Options.CODEC) or _DEFAULTS.codec,
        table.string(etz.Options.EFFORT) or _DEFAULTS.effort,
        table.flag(etz.Options.FILTERS, etz.Options.FILTERS_DEFAULT),
    )
