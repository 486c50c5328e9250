"""How an `.etz` stores its content: what the index says, and, if asked, the directories of its blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from etpack import layout
from etpack.layout import CodecId, FilterId, IndexEntry, PlaneEntry, SectionType
from etpack.reader import EtzFile
from etpack.report.values import BlockReport, Encoding, Packing, PlaneReport, SectionReport, StoredExtent
from etpack.sources import Source

# Bytes of the directory of a block of several planes, by filter.
_DIRECTORY_SIZES = {int(kind): 4 * kind.width for kind in FilterId if kind is not FilterId.NONE}


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
class _Count:
    """Blocks of one filter and codec, their stored bytes, and the codecs of their planes."""

    blocks: int = 0
    stored_size: int = 0
    plane_codecs: set[int] = field(default_factory=set)


class _Tally(dict[tuple[int, int], _Count]):
    """Counts by filter and codec."""

    def add(self, key: tuple[int, int], other: _Count) -> None:
        count = self.setdefault(key, _Count())
        count.blocks += other.blocks
        count.stored_size += other.stored_size
        count.plane_codecs |= other.plane_codecs

    def encodings(self) -> tuple[Encoding, ...]:
        """Return them, the most frequent first."""
        ordered = sorted(self.items(), key=lambda item: (-item[1].blocks, item[0]))
        return tuple(
            Encoding(
                filter_name(kind),
                codec_name(codec),
                tuple(map(codec_name, sorted(count.plane_codecs))),
                count.blocks,
                count.stored_size,
            )
            for (kind, codec), count in ordered
        )


def describe_storage(file: EtzFile, source: Source) -> tuple[Packing, tuple[StoredExtent, ...]]:
    """Return how the file and each extent are stored.

    Goes through the index once, and reads from `source`, the `.etz`, one directory for each filter in each extent.
    """
    import numpy as np  # a model that is not packed needs none of it

    block_counts = [-(-extent.content_size // file.block_size) for extent in file.extents]
    offsets, sizes, kinds = layout.index_columns(file.index)
    # Each stored block counts where it comes first; where nothing is stored, the offset is a value.
    _, firsts = np.unique(np.where(sizes > 0, offsets, -1), return_index=True)
    own_sizes = np.zeros(len(sizes), np.int64)
    own_sizes[firsts] = sizes[firsts]
    owners = np.repeat(np.arange(len(block_counts), dtype=np.int64), block_counts)
    shared_counts = np.bincount(owners[(sizes > 0) & (own_sizes == 0)], minlength=len(block_counts)).tolist()

    # Counts by extent, filter and codec, and a block of each.
    groups, examples, members = np.unique(owners << 16 | kinds, return_index=True, return_inverse=True)
    stored_sizes = np.bincount(members, own_sizes, len(groups))
    blocks = np.bincount(members, minlength=len(groups))
    tallies = [_Tally() for _ in file.extents]
    whole = _Tally()
    for group, example, stored_size, count in zip(
        groups.tolist(), examples.tolist(), stored_sizes.tolist(), blocks.tolist(), strict=True
    ):
        # One directory stands for all of its kind in the extent: reading each would touch every page of the file.
        planes = {plane.codec for plane in _directory(file.entry(example), source)}
        key = group & 0xFF, group >> 8 & 0xFF
        found = _Count(count, int(stored_size), planes)
        tallies[group >> 16].add(key, found)
        whole.add(key, found)
    extents = tuple(
        StoredExtent(
            extent.content_size,
            sum(count.stored_size for count in tally.values()),
            extent.first_block,
            block_count,
            shared_count,
            tally.encodings(),
        )
        for extent, tally, block_count, shared_count in zip(
            file.extents, tallies, block_counts, shared_counts, strict=True
        )
    )
    return _packing(file, extents, whole), extents


def _packing(file: EtzFile, extents: Sequence[StoredExtent], whole: _Tally) -> Packing:
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


def describe_blocks(file: EtzFile, source: Source, *, planes: bool) -> Iterator[BlockReport]:
    """Yield every block; for the planes, reads the directory of each from `source`, the `.etz` itself."""
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
                planes=_planes(entry, source) if planes else (),
                shared=shared,
            )


def _planes(entry: IndexEntry, source: Source) -> tuple[PlaneReport, ...]:
    return tuple(PlaneReport(codec_name(plane.codec), plane.stream_size) for plane in _directory(entry, source))


def _directory(entry: IndexEntry, source: Source) -> list[PlaneEntry]:
    """Return what a block's directory says; nothing if it has none, or lies where no block can."""
    size = _DIRECTORY_SIZES.get(entry.filter, 0) if entry.codec == CodecId.DIRECTORY else 0
    if size == 0 or entry.stored_size < size or entry.stored_offset + size > source.size:
        return []
    return layout.unpack_directory(source.read_at(entry.stored_offset, size), size // 4)
