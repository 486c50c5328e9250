"""How an `.etz` stores its content: what the index says, and, if asked, the directories of its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from etpack import layout
from etpack.layout import CodecId, FilterId, IndexEntry, SectionType
from etpack.reader import EtzFile
from etpack.report.values import BlockReport, Encoding, Packing, PlaneReport, SectionReport, StoredExtent
from etpack.sources import Source


def filter_name(number: int) -> str:
    """Return the name of a filter, "filter-N" if it is not of this format version."""
    try:
        return FilterId(number).name.lower().replace("_", "-")
    except ValueError:
        return f"filter-{number}"


def codec_name(number: int) -> str:
    """Return the name of a codec; "private-N" if others define it, "codec-N" if it is reserved."""
    if number == CodecId.DIRECTORY:
        return "per-plane"
    if layout.is_private(number):
        return f"private-{number}"
    try:
        return CodecId(number).name.lower().replace("_", "-")
    except ValueError:
        return f"codec-{number}"


@dataclass
class _Tally:
    """Blocks and stored bytes by filter and codec."""

    counts: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def add(self, filter_and_codec: tuple[int, int], blocks: int, stored_size: int) -> None:
        old_blocks, old_size = self.counts.get(filter_and_codec, (0, 0))
        self.counts[filter_and_codec] = old_blocks + blocks, old_size + stored_size

    def encodings(self) -> tuple[Encoding, ...]:
        """Return them, the most frequent first."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1][0], item[0]))
        return tuple(Encoding(filter_name(f), codec_name(c), *counted) for (f, c), counted in ordered)


def describe_storage(file: EtzFile) -> tuple[Packing, tuple[StoredExtent, ...]]:
    """Return how the file and each extent are stored; goes through the index once, and reads nothing."""
    seen: set[int] = set()
    whole = _Tally()
    extents = []
    for entry in file.extents:
        block_count = -(-entry.content_size // file.block_size)
        tally = _Tally()
        stored_size = shared_count = 0
        for number in range(entry.first_block, entry.first_block + block_count):
            block = file.entry(number)
            size = block.stored_size
            if size and block.stored_offset in seen:
                shared_count += 1
                size = 0
            elif size:
                seen.add(block.stored_offset)
            stored_size += size
            tally.add((block.filter, block.codec), 1, size)
        for key, counted in tally.counts.items():
            whole.add(key, *counted)
        extents.append(
            StoredExtent(
                entry.content_size, stored_size, entry.first_block, block_count, shared_count, tally.encodings()
            )
        )
    return _packing(file, extents, whole), tuple(extents)


def _packing(file: EtzFile, extents: list[StoredExtent], whole: _Tally) -> Packing:
    footer = file.footer
    blocks_size = sum(extent.stored_size for extent in extents)
    return Packing(
        content_size=file.size,
        stored_size=file.stored_size,
        header_size=layout.HEADER_SIZE,
        blocks_size=blocks_size,
        padding_size=max(0, file.sections[0].stored_offset - layout.HEADER_SIZE - blocks_size),
        sections=tuple(
            SectionReport(_section_name(section.type), section.required, section.stored_offset, section.size)
            for section in file.sections
        ),
        section_table_size=len(file.sections) * layout.SECTION_ENTRY_SIZE,
        footer_size=layout.FOOTER_SIZE,
        block_size=file.block_size,
        block_count=file.block_count,
        shared_count=sum(extent.shared_count for extent in extents),
        encodings=whole.encodings(),
        alignment=footer.alignment,
        max_stored_block=footer.max_stored_block,
        max_plane_scratch=footer.max_plane_scratch,
        codecs=tuple(map(codec_name, footer.codecs)),
        content_sha256=footer.content_sha256.hex(),
        tool=file.manifest.tool,
        options=file.manifest.options,
    )


def _section_name(number: int) -> str:
    try:
        return SectionType(number).name.lower()
    except ValueError:
        return f"section-{number}"


def describe_blocks(file: EtzFile, source: Source) -> Iterator[BlockReport]:
    """Yield every block; reads the directory of each block of several planes from `source`, the `.etz` itself."""
    seen: set[int] = set()
    for number, _ in enumerate(file.extents):
        for block in file.blocks(number):
            entry = block.entry
            shared = bool(entry.stored_size) and entry.stored_offset in seen
            if entry.stored_size:
                seen.add(entry.stored_offset)
            yield BlockReport(
                number=block.number,
                extent=number,
                offset=block.range.offset,
                size=block.range.size,
                stored_offset=entry.stored_offset if entry.stored_size else None,
                stored_size=entry.stored_size,
                filter=filter_name(entry.filter),
                codec=codec_name(entry.codec),
                planes=_planes(entry, source),
                shared=shared,
            )


def _planes(entry: IndexEntry, source: Source) -> tuple[PlaneReport, ...]:
    """Return what a block's directory says; nothing if it has none, or lies where no block can."""
    try:
        size = 4 * FilterId(entry.filter).width
    except ValueError:
        return ()
    if entry.codec != CodecId.DIRECTORY or entry.stored_size < size or entry.stored_offset + size > source.size:
        return ()
    directory = layout.unpack_directory(source.read_at(entry.stored_offset, size), size // 4)
    return tuple(PlaneReport(codec_name(plane.codec), plane.stream_size) for plane in directory)
