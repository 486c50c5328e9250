"""`etpack.reader`: any range, from any source and many threads; few reads; nothing of a bad block gets out."""

from __future__ import annotations

import gc
import io
import mmap
import os
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import etpack
from etpack import CorruptError, EtzFile, LimitError, Limits, NotEtzError, Options, layout
from etpack.pte import Role
from etpack.sources import BufferSource, FileSource, Source, SourceLike
from tests import PATIENCE
from tests.counting import CountingSource, count_decodes


def _packed(content: bytes, options: Options, folder: Path) -> Path:
    (folder / "content.bin").write_bytes(content)
    etpack.compress(folder / "content.bin", folder / "x.etz", options, overwrite=True)
    return folder / "x.etz"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A content of several extents and gaps, and its packed bytes."""
    folder = tmp_path_factory.mktemp("small")
    model = Path(__file__).parent / "data" / "models" / "add_arduino.pte"
    etpack.compress(model, folder / "x.etz", Options(4096))
    return model.read_bytes(), (folder / "x.etz").read_bytes()


def test_every_range_of_a_small_file(small: tuple[bytes, bytes]) -> None:
    content, packed = small
    with etpack.open(packed) as file:
        for offset in range(0, len(content) + 1, 7):
            for size in range(0, len(content) - offset + 1, 5):
                assert file.read_at(offset, size) == content[offset : offset + size]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_random_ranges_of_a_real_model(packed_digits: Path, digits: Path, data: st.DataObject) -> None:
    content = digits.read_bytes()
    with etpack.open(packed_digits) as file:
        for _ in range(5):
            offset = data.draw(st.integers(0, len(content)))
            size = data.draw(st.integers(0, len(content) - offset))
            assert file.read_at(offset, size) == content[offset : offset + size]


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "bytearray", "memoryview", "mmap", "file", "source"])
def test_any_kind_of_source(packed_digits: Path, digits: Path, kind: str) -> None:
    with packed_digits.open("rb") as raw:
        data = packed_digits.read_bytes()
        sources: dict[str, SourceLike] = {
            "path": packed_digits,
            "str": str(packed_digits),
            "bytes": data,
            "bytearray": bytearray(data),
            "memoryview": memoryview(data),
            "mmap": mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ),
            "file": raw,
            "source": BufferSource(data),
        }
        with etpack.open(sources[kind]) as file:
            assert file.read_at(0, file.size) == digits.read_bytes()


def test_many_threads_read_one_file(packed_digits: Path, digits: Path) -> None:
    content = digits.read_bytes()
    rng = np.random.default_rng(3)
    ranges = [
        (int(o), int(s)) for o, s in zip(rng.integers(0, 400_000, 300), rng.integers(1, 90_000, 300), strict=True)
    ]
    with etpack.open(packed_digits) as file, ThreadPoolExecutor(8) as pool:
        for (offset, size), read in zip(ranges, pool.map(lambda r: file.read_at(*r), ranges), strict=True):
            assert read == content[offset : offset + size]


def test_large_reads_use_threads(tmp_path: Path) -> None:
    content = np.random.default_rng(5).normal(0, 1, 3 << 20).astype(np.float32).tobytes()
    path = _packed(content, Options(opaque=True), tmp_path)
    for jobs in (1, 4):
        with etpack.open(path, jobs=jobs) as file:
            assert file.read_at(1, len(content) - 2) == content[1:-1]


class _FailingSource(CountingSource):
    """Fails to read the first block while it reads others, which takes a while."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.begun = threading.Event()
        self.under_way = 0

    def read_at(self, offset: int, size: int) -> bytes:
        if offset == layout.HEADER_SIZE:
            assert self.begun.wait(PATIENCE)
            raise OSError("the first block is not there")
        self.under_way += 1
        self.begun.set()
        time.sleep(0.3)
        data = super().read_at(offset, size)
        self.under_way -= 1
        return data


def test_after_an_error_no_thread_writes_to_the_buffer(tmp_path: Path) -> None:
    path = _packed(np.random.default_rng(5).bytes(6 << 20), Options(opaque=True), tmp_path)
    source = _FailingSource(BufferSource(path.read_bytes()))
    with etpack.open(source, jobs=2) as file:
        source.begun.clear()
        with pytest.raises(OSError, match="the first block"):
            file.read_at(0, file.size)
        assert source.under_way == 0


def test_after_an_error_nothing_keeps_the_buffer(tmp_path: Path) -> None:
    path = _packed(np.random.default_rng(5).bytes(6 << 20), Options(opaque=True), tmp_path)
    broken = bytearray(path.read_bytes())
    broken[layout.HEADER_SIZE] ^= 1
    buffer = bytearray(6 << 20)
    gc.disable()
    try:
        with etpack.open(bytes(broken), jobs=2) as file, pytest.raises(CorruptError):
            file.read_into(0, memoryview(buffer))
        buffer.clear()
    finally:
        gc.enable()


def test_segments_and_extents(packed_digits: Path, digits: Path) -> None:
    content = digits.read_bytes()
    with etpack.open(packed_digits) as file:
        for segment in file.model.segments:
            assert file.segment(segment.number) == content[segment.range.offset : segment.range.end]
        assert len(file.manifest.extents) == len(file.extents)
        assert file.manifest.extents[0].role is Role.PROGRAM
        assert [block.number for block in file.blocks()] == list(range(file.block_count))
        assert [block.number for block in file.blocks(1)] == [file.extents[1].first_block]
        with pytest.raises(ValueError, match="segment 99"):
            file.segment(99)
        with pytest.raises(ValueError, match="block"):
            file.entry(file.block_count)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1), (0, 1 << 40), (493_480, 1)])
def test_ranges_outside_the_content_are_refused(packed_digits: Path, offset: int, size: int) -> None:
    with etpack.open(packed_digits) as file, pytest.raises(ValueError, match="leaves"):
        file.read_at(offset, size)


def test_opening_a_small_file_takes_one_read(small: tuple[bytes, bytes]) -> None:
    source = CountingSource(BufferSource(small[1]))
    with etpack.open(source):
        assert source.reads == [(0, len(small[1]))]


def test_opening_a_large_file_takes_three_reads_and_no_block(tmp_path: Path) -> None:
    path = _packed(os.urandom(8 << 20), Options(4096, opaque=True), tmp_path)
    source = CountingSource(FileSource(path))
    with etpack.open(source) as file:
        assert len(source.reads) == 3
        assert source.bytes_read <= layout.TAIL_SIZE + layout.HEADER_SIZE + sum(s.size for s in file.sections)
        first_section = file.sections[0].stored_offset
        assert all(offset >= first_section or size == layout.HEADER_SIZE for offset, size in source.reads)


def test_a_read_inside_one_block_takes_one_read_and_then_none(packed_digits: Path) -> None:
    source = CountingSource(FileSource(packed_digits))
    with etpack.open(source) as file:
        extent = file.extents[-4]
        entry = file.entry(extent.first_block)
        source.reads.clear()
        file.read_at(extent.content_offset + 10, 100)
        assert source.reads == [(entry.stored_offset, entry.stored_size)]
        file.read_at(extent.content_offset + 50, 200)
        assert len(source.reads) == 1, "the block was not kept"


def test_neighbours_are_read_together(packed_digits: Path) -> None:
    source = CountingSource(FileSource(packed_digits))
    with etpack.open(source) as file:
        extent = max(file.extents, key=lambda e: e.content_size)
        source.reads.clear()
        file.read_at(extent.content_offset, extent.content_size)
        assert len(source.reads) == 1


def test_the_runtimes_first_reads_decode_the_program_once(packed_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decodes(monkeypatch)
    with etpack.open(packed_digits) as file:
        file.read_at(0, 64)
        file.read_at(0, file.extents[0].content_size)
    assert decoded == [0]


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    path = _packed(os.urandom(40 << 16), Options(65536, opaque=True), tmp_path)
    with etpack.open(path) as file:
        for number in range(40):
            file.read_at(number << 16, 10)
        assert len(file._blocks._cache) * file.block_size <= 1 << 20


def test_a_damaged_block_gives_no_byte(packed_digits: Path) -> None:
    data = bytearray(packed_digits.read_bytes())
    with etpack.open(bytes(data)) as file:
        victim = next(b for b in file.blocks() if b.entry.stored_size > 1000)
    data[victim.entry.stored_offset + 500] ^= 1
    with etpack.open(bytes(data)) as file:
        buffer = bytearray(victim.range.size)
        with pytest.raises(CorruptError, match="block-crc"):
            file.read_into(victim.range.offset, memoryview(buffer))
        assert not any(buffer)
        others = [b for b in file.blocks() if b.number != victim.number]
        for block in others:
            file.read_at(block.range.offset, block.range.size)


def test_the_file_object_is_one_that_python_takes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "random access " * 10_000)
    path = _packed(buffer.getvalue(), Options(4096, opaque=True), tmp_path)
    with etpack.open(path) as file, file.open_file() as content:
        assert content.seekable()
        assert not content.writable()
        assert zipfile.ZipFile(content).read("a.txt") == b"random access " * 10_000
        assert content.seek(-5, io.SEEK_END) == file.size - 5
        assert content.read() == buffer.getvalue()[-5:]
        assert content.read() == b""
        content.seek(3)
        content.seek(2, io.SEEK_CUR)
        assert (content.tell(), content.read(4)) == (5, buffer.getvalue()[5:9])
        with pytest.raises(ValueError, match="-1"):
            content.seek(-1)


def test_other_files_are_refused(digits: Path) -> None:
    with pytest.raises(NotEtzError) as caught:
        etpack.open(digits)
    assert caught.value.path == str(digits)
    with pytest.raises(NotEtzError):
        etpack.open(b"")


@pytest.mark.parametrize(
    "limits", [Limits(content_size=100), Limits(blocks=1), Limits(extents=1), Limits(manifest_size=9)]
)
def test_limits_are_kept(packed_digits: Path, limits: Limits) -> None:
    with pytest.raises(LimitError, match="over the limit"):
        EtzFile(packed_digits, limits=limits)


def test_a_closed_file_is_closed(packed_digits: Path) -> None:
    source = packed_digits.open("rb")
    etpack.open(source).close()
    assert not source.closed, "a file object of the caller's stays open"
    source.close()
