"""One of the two files: the content that is compared, whether it is packed or not, and how it is cut."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from etpack.compare.parts import Part, list_parts, opaque_part
from etpack.compare.values import ComparedFile, FilePacking
from etpack.errors import PteError, naming
from etpack.limits import Limits
from etpack.padding import with_padding
from etpack.plan import Extent, cut_model, cut_opaque
from etpack.pte import FileKind, ModelFile, read_model
from etpack.reader import EtzFile, is_etz
from etpack.sources import Source, SourceLike, open_source, steady


@dataclass(frozen=True)
class Content:
    """An open file, and what it holds."""

    # The content: of the `.etz` if it is one, else the file.
    source: Source
    packed: EtzFile | None
    # None if an `.etz` was packed without looking into it, and is no model.
    model: ModelFile | None
    # Bytes of the file itself.
    stored_size: int

    def extents(self, block_size: int) -> tuple[Extent, ...]:
        """Return where it is cut, or would be if it were packed with blocks of that size."""
        if self.packed and self.packed.block_size == block_size:
            return self.packed.described_extents
        with naming(self.source.name):
            cut = cut_model(self.model, block_size) if self.model else cut_opaque(self.source.size)
        return with_padding(cut, self.source)

    def parts(self, extents: Sequence[Extent]) -> list[Part]:
        """Return what of it is compared."""
        return list_parts(self.model, self.source, extents) if self.model else opaque_part(self.source.size)

    def describe(self) -> ComparedFile:
        """Return what a report says of the file."""
        kind = self.model.kind if self.model else FileKind.OPAQUE
        packing = None
        if self.packed:
            options = self.packed.manifest.options
            packing = FilePacking(
                self.packed.block_size,
                options.codec,
                options.effort,
                options.filters,
                self.packed.footer.alignment,
                self.packed.manifest.tool,
            )
        return ComparedFile(self.source.name, kind, self.source.size, self.stored_size, packing)


def open_content(thing: SourceLike, stack: ExitStack, jobs: int | None, limits: Limits | None) -> Content:
    """Open one of the files; it is closed, and asked whether it changed meanwhile, when `stack` ends."""
    source = open_source(thing, limits=limits, whole=True)
    if source is not thing:
        stack.callback(source.close)
    stack.enter_context(steady(source))
    if isinstance(source, EtzFile):
        packed: EtzFile | None = source
    else:
        packed = stack.enter_context(EtzFile(source, limits=limits, jobs=jobs)) if is_etz(source) else None
    content = packed or source
    with naming(content.name):
        return Content(content, packed, _model(content, packed), packed.stored_size if packed else source.size)


def _model(content: Source, packed: EtzFile | None) -> ModelFile | None:
    try:
        return read_model(content)
    except PteError:
        if packed and packed.manifest.kind is FileKind.OPAQUE:
            return None
        raise
