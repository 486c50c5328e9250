"""The `.etz` as it grows: header, blocks, sections, section table, footer; memory does not grow with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO

from google_crc32c import extend as crc32c_extend
from google_crc32c import value as crc32c

from etpack import layout
from etpack.encode import EncodedBlock
from etpack.errors import naming_file
from etpack.filters import Bytes
from etpack.layout import ENTRIES_PER_PAGE, ENTRY_SIZE, ExtentEntry, Footer, IndexEntry, Section, SectionType
from etpack.output import Output
from etpack.plan import Row
from etpack.sources import Source

# As many distinct blocks are remembered, the first of a file, for later ones to share: about 30 MB.
_MAX_REMEMBERED = 1 << 18
# An index of more bytes is kept in a temporary file until it is written.
_INDEX_IN_MEMORY = 16 << 20
# Index rows are turned into pages this many bytes at a time, whole pages.
_ROWS_AT_ONCE = 256 * ENTRIES_PER_PAGE * ENTRY_SIZE


def _new_index() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=_INDEX_IN_MEMORY, prefix="etpack-index-")


@dataclass
class Body:
    """What has been written to `output`; streams start at multiples of `alignment`, content is that of `source`."""

    output: Output
    alignment: int
    source: Source
    position: int = 0
    shared_count: int = 0
    block_count: int = 0
    _index: IO[bytes] = field(default_factory=_new_index)
    # Stored and content offset of each distinct stored block, by checksum, size, filter and codec, each in one number.
    _seen: dict[int, int] = field(default_factory=dict)
    _codecs: set[int] = field(default_factory=set)
    _max_stored: int = 0
    _max_scratch: int = 0

    def __post_init__(self) -> None:
        self._write(layout.header_bytes())

    def _write(self, data: bytes) -> None:
        self.output.write(data)
        self.position += len(data)

    def append(self, row: Row, contents: Bytes, encoded: Sequence[EncodedBlock]) -> list[IndexEntry]:
        """Store blocks and return their index entries; a block that was stored before is only pointed at.

        Args:
            row: Where the blocks lie in the content.
            contents: Their content, uint8 of shape (blocks, n).
            encoded: How each is stored.
        """
        parts: list[bytes] = []
        rows: list[IndexEntry] = []
        for number, (entry, stored, scratch, codecs) in enumerate(encoded):
            offset = self._find(entry, contents[number]) if stored else entry.stored_offset
            if offset is None:
                offset = layout.align_up(self.position, self.alignment)
                parts += [bytes(offset - self.position), stored]
                self.position = offset + len(stored)
                if len(self._seen) < _MAX_REMEMBERED:
                    self._seen.setdefault(_key(entry), offset | row.offset + number * row.block_size << 48)
            rows.append(IndexEntry(offset, entry.stored_size, entry.crc, entry.filter, entry.codec))
            self._codecs |= codecs
            self._max_stored = max(self._max_stored, len(stored))
            self._max_scratch = max(self._max_scratch, scratch)
        self.output.write(b"".join(parts))
        with _naming_temporary():
            self._index.write(b"".join([entry.to_bytes() for entry in rows]))
        self.block_count += len(rows)
        return rows

    def _find(self, entry: IndexEntry, content: Bytes) -> int | None:
        """Return where a block of the same content is stored, having compared them, or None."""
        places = self._seen.get(_key(entry))
        if places is None or self.source.read_at(places >> 48, len(content)) != content.tobytes():
            return None
        self.shared_count += 1
        return places & layout.U48_MAX

    def finish(
        self, extents: Iterable[ExtentEntry], manifest: bytes, block_size: int, content_size: int, sha256: bytes
    ) -> None:
        """Write sections, section table and footer; nothing can be appended after that.

        Args:
            extents: The extent table, by content offset.
            manifest: The bytes of the manifest.
            block_size: Bytes of content of a full block.
            content_size: Bytes of content, gaps included.
            sha256: Of the content, 32 bytes.
        """
        rows = b"".join(entry.to_bytes() for entry in extents)
        table = b""
        for kind, required, parts in (
            (SectionType.INDEX, True, self._index_pages()),
            (SectionType.EXTENTS, True, iter([layout.to_pages(rows, SectionType.EXTENTS)])),
            (SectionType.MANIFEST, False, iter([manifest])),
        ):
            start = self.position
            crc = crc32c(b"")
            for part in parts:
                crc = crc32c_extend(crc, part)
                self._write(part)
            table += Section(kind, required, crc, start, self.position - start).to_bytes()
        footer = Footer(
            content_sha256=sha256,
            content_size=content_size,
            section_table_crc=crc32c(table),
            section_count=len(table) // layout.SECTION_ENTRY_SIZE,
            block_size_log2=block_size.bit_length() - 1,
            alignment_log2=self.alignment.bit_length() - 1,
            max_stored_block=self._max_stored,
            max_plane_scratch=self._max_scratch,
            codecs=tuple(sorted(self._codecs)),
        )
        self._write(table + footer.to_bytes())

    def _index_pages(self) -> Iterator[bytes]:
        page = 0
        with _naming_temporary():
            self._index.seek(0)
        while rows := self._read_rows():
            yield layout.to_pages(rows, SectionType.INDEX, page)
            page += _ROWS_AT_ONCE // (ENTRIES_PER_PAGE * ENTRY_SIZE)

    def _read_rows(self) -> bytes:
        with _naming_temporary():
            return self._index.read(_ROWS_AT_ONCE)

    def close(self) -> None:
        """Let go of the temporary file, if there is one."""
        self._index.close()


def _key(entry: IndexEntry) -> int:
    return entry.crc | entry.stored_size << 32 | entry.filter << 64 | entry.codec << 72


def _naming_temporary() -> AbstractContextManager[None]:
    # Not TMPDIR where that leads nowhere.
    return naming_file(
        tempfile.gettempdir(), "a large index is kept there until it is written; TMPDIR names another folder"
    )
