"""Encodes a model, or a sample of it, under some options, and keeps the sizes only."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from etpack import layout
from etpack.encode import EncodedBlock, Encoder
from etpack.layout import ExtentEntry, IndexEntry
from etpack.output import Progress
from etpack.parallel import in_order
from etpack.plan import Row
from etpack.pte import Range, Role
from etpack.sources import Source
from etpack.tuning.blocks import BlockTable, Decoding, Ints, block_places, table_size
from etpack.tuning.sample import rows_in, stand_ins
from etpack.writer import Options, Outline, extent_entries, pack


@dataclass(frozen=True)
class Measured:
    """What some options make of a model."""

    # Bytes of the `.etz`.
    stored_size: int
    blocks: BlockTable


class _Nowhere:
    """An output that keeps nothing."""

    def write(self, data: bytes | memoryview) -> None:
        del data


@dataclass
class _Columns:
    """Blocks as they come."""

    decoding: Decoding
    stored_offsets: array[int] = field(default_factory=lambda: array("q"))
    stored_sizes: array[int] = field(default_factory=lambda: array("q"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    max_stored_block: int = 0
    max_plane_scratch: int = 0

    def add(self, row: Row, entries: Sequence[IndexEntry], encoded: Sequence[EncodedBlock]) -> None:
        """Note blocks and what is in the index of them."""
        for entry, block in zip(entries, encoded, strict=True):
            self.stored_offsets.append(entry.stored_offset if entry.stored_size else 0)
            self.stored_sizes.append(entry.stored_size)
            self.seconds.append(self.decoding.of_block(block, row.block_size))
            self.max_stored_block = max(self.max_stored_block, entry.stored_size)
            self.max_plane_scratch = max(self.max_plane_scratch, block.scratch)


def measure_whole(
    source: Source,
    options: Options,
    extents: Sequence[ExtentEntry],
    decoding: Decoding,
    jobs: int,
    progress: Progress,
) -> Measured:
    """Pack all of a model to nowhere, and return what came of it; errors as `etpack.writer.pack`.

    Args:
        source: The model.
        options: How to pack.
        extents: The extent table that these options give.
        decoding: What a block costs the device.
        jobs: Threads.
        progress: Called with the bytes of content done and their total.
    """
    columns = _Columns(decoding)
    result = pack(source, _Nowhere(), options, jobs=jobs, check=False, progress=progress, observe=columns.add)
    offsets, stored = np.frombuffer(columns.stored_offsets, np.int64), np.frombuffer(columns.stored_sizes, np.int64)
    return Measured(
        result.stored_size,
        BlockTable(
            *block_places(extents, options.block_size),
            offsets,
            stored,
            np.frombuffer(columns.seconds, np.float64),
            np.array([extent.content_offset for extent in extents], np.int64),
            int((offsets + stored).max(initial=layout.HEADER_SIZE)),
            columns.max_stored_block,
            columns.max_plane_scratch,
        ),
    )


def measure_sample(
    source: Source,
    options: Options,
    outline: Outline,
    pieces: Sequence[Range],
    decoding: Decoding,
    jobs: int,
    progress: Progress,
) -> Measured:
    """Encode the blocks that touch some pieces of a model, and return what the whole comes to if all are like them.

    Blocks that share the bytes of another are not looked for. The largest block is the largest of the sample, so what
    does not fit by a sample does not fit.

    Args:
        source: The model.
        options: How to pack.
        outline: Of the model, at this block size.
        pieces: Parts of the content, in order.
        decoding: What a block costs the device.
        jobs: Threads.
        progress: Called with the bytes of content done and their total.
    """
    extents = extent_entries(outline.extents, options.block_size)
    encoder = Encoder(options.codec, options.effort, options.filters, options.alignment)
    columns = _Columns(decoding)
    numbers: list[int] = []
    done, total = 0, sum(piece.size for piece in pieces)

    def encode(place: tuple[int, Row]) -> tuple[int, Row, list[EncodedBlock]]:
        first, row = place
        content = np.frombuffer(source.read_at(row.offset, row.end - row.offset), np.uint8)
        return first, row, encoder.encode_many(content.reshape(row.count, row.block_size))

    for first, row, encoded in in_order(encode, rows_in(extents, pieces, options.block_size), jobs):
        columns.add(row, [block.entry for block in encoded], encoded)
        numbers += range(first, first + row.count)
        done += row.end - row.offset
        progress(min(done, total), total)
    progress(total, total)
    table = _whole_table(columns, np.array(numbers, np.int64), outline, extents, options)
    rest = table_size(table.count) + table_size(len(extents)) + len(outline.manifest) + 3 * layout.SECTION_ENTRY_SIZE
    return Measured(table.blocks_end + rest + layout.FOOTER_SIZE, table)


def _whole_table(
    columns: _Columns, numbers: Ints, outline: Outline, extents: Sequence[ExtentEntry], options: Options
) -> BlockTable:
    """Return the table of all blocks, given those of some numbers."""
    starts, sizes = block_places(extents, options.block_size)
    ranks = {role: rank for rank, role in enumerate(Role)}
    counts = [-(-extent.range.size // options.block_size) for extent in outline.extents]
    roles = np.repeat(np.array([ranks[extent.role] for extent in outline.extents], np.int64), counts)
    places = np.full(len(starts), -1, np.int64)
    places[numbers] = np.arange(len(numbers))
    chosen = stand_ins(roles, numbers)
    stored = np.frombuffer(columns.stored_sizes, np.int64)[places[chosen]] * sizes // sizes[chosen]
    seconds = np.frombuffer(columns.seconds, np.float64)[places[chosen]] * sizes / sizes[chosen]
    offsets, end = _lay_out(stored, options.alignment)
    return BlockTable(
        starts,
        sizes,
        offsets,
        stored,
        seconds,
        np.array([extent.content_offset for extent in extents], np.int64),
        end,
        columns.max_stored_block,
        columns.max_plane_scratch,
    )


def _lay_out(stored: Ints, alignment: int) -> tuple[Ints, int]:
    """Return the stored offsets of blocks one behind the other, and where the last one ends."""
    room = -(-stored // alignment) * alignment
    first = layout.align_up(layout.HEADER_SIZE, alignment)
    offsets = first + np.cumsum(room) - room
    return offsets, int((offsets + stored)[stored > 0].max(initial=layout.HEADER_SIZE))
