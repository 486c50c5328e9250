"""`etpack.loader`: the same bytes from an .etz and from the plain file, by load, load_into and in chunks."""

from __future__ import annotations

import gc
import random
import weakref
from pathlib import Path

import pytest

import etpack
from etpack import CorruptError, DataLoader
from etpack.loader import SegmentInfo, SegmentType
from etpack.memory.sequence import load_sequence
from etpack.pte import read_model
from etpack.sources import BufferSource
from tests.counting import count_decodes
from tests.make_pte import DelegateSpec, MethodSpec, PteSpec, build_pte


@pytest.fixture(params=["etz", "plain"])
def loader(request: pytest.FixtureRequest, packed_digits: Path, digits: Path) -> DataLoader:
    """A loader over the packed model, and one over the plain file."""
    return DataLoader(packed_digits if request.param == "etz" else digits)


def test_load_gives_the_bytes_until_they_are_freed(loader: DataLoader, digits: Path) -> None:
    buffer = loader.load(100, 5000, SegmentInfo(SegmentType.PROGRAM))
    assert (buffer.size, bytes(buffer.data)) == (5000, digits.read_bytes()[100:5100])
    assert buffer.data.readonly
    buffer.free()
    buffer.free()
    assert buffer.freed
    with pytest.raises(ValueError, match="freed"):
        _ = buffer.data


def test_a_with_block_frees(loader: DataLoader) -> None:
    with loader.load(0, 64) as buffer:
        assert not buffer.freed
    assert buffer.freed


def test_load_into_fills_the_callers_buffer(loader: DataLoader, digits: Path) -> None:
    buffer = bytearray(b"x" * 20)
    loader.load_into(7, 10, SegmentInfo(SegmentType.MUTABLE, 2), memoryview(buffer))
    assert buffer == digits.read_bytes()[7:17] + b"x" * 10
    with pytest.raises(ValueError, match="buffer"):
        loader.load_into(0, 21, None, memoryview(buffer))


def test_size_and_bounds(loader: DataLoader, digits: Path) -> None:
    assert loader.size == digits.stat().st_size
    assert loader.load(loader.size, 0).size == 0
    with pytest.raises(ValueError, match="leaves"):
        loader.load(loader.size, 1)
    with pytest.raises(ValueError, match="leaves"):
        loader.iter_chunks(1, loader.size)
    with pytest.raises(ValueError, match="chunks"):
        loader.iter_chunks(chunk_size=0)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("chunk_size", [1000, 65536, 100_000, 1 << 22])
@pytest.mark.parametrize(("offset", "size"), [(0, None), (0, 0), (5, 300_000), (490_000, 3480)])
def test_chunks_add_up(loader: DataLoader, digits: Path, jobs: int, chunk_size: int, offset: int, size: int) -> None:
    chunks = [bytes(chunk) for chunk in loader.iter_chunks(offset, size, chunk_size, jobs)]
    end = loader.size if size is None else offset + size
    assert b"".join(chunks) == digits.read_bytes()[offset:end]
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)


@pytest.mark.parametrize("chunk_size", [100_000, 1 << 20])
def test_chunks_decode_no_block_twice(packed_digits: Path, monkeypatch: pytest.MonkeyPatch, chunk_size: int) -> None:
    decoded = count_decodes(monkeypatch)
    for _ in DataLoader(packed_digits).iter_chunks(chunk_size=chunk_size):
        pass
    assert sorted(decoded) == list(range(len(decoded)))


def test_chunks_can_be_left_early(loader: DataLoader) -> None:
    for chunk in loader.iter_chunks(chunk_size=4096):
        assert len(chunk) > 0
        break


def test_a_bad_block_ends_the_chunks_after_the_good_ones(packed_digits: Path) -> None:
    data = bytearray(packed_digits.read_bytes())
    with etpack.open(bytes(data)) as file:
        victim = list(file.blocks())[-1]
        good = victim.range.offset
    data[victim.entry.stored_offset] ^= 1
    seen = 0
    chunks = DataLoader(bytes(data)).iter_chunks(chunk_size=4096)
    with pytest.raises(CorruptError, match="block-crc"):  # noqa: PT012
        for chunk in chunks:
            seen += len(chunk)
    assert seen <= good


def test_the_runtimes_sequence_gives_the_models_bytes(example_model: Path, tmp_path: Path) -> None:
    etpack.compress(example_model, tmp_path / "x.etz", etpack.Options(4096))
    content = example_model.read_bytes()
    with DataLoader(tmp_path / "x.etz") as packed, etpack.open(tmp_path / "x.etz") as file:
        loads = list(load_sequence(file.model))
        assert loads[0].range.size == 64
        for load in loads:
            with packed.load(load.range.offset, load.range.size, load.info) as buffer:
                assert buffer.data == content[load.range.offset : load.range.end]


def test_loads_decode_no_block_of_another_segment(packed_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decodes(monkeypatch)
    with etpack.open(packed_digits) as file:
        loader = DataLoader(file)
        loads = [load for load in load_sequence(file.model) if load.range.size]
        for load in loads:
            decoded.clear()
            loader.load(load.range.offset, load.range.size).free()
            wanted = {
                b.number for b in file.blocks() if b.range.offset < load.range.end and load.range.offset < b.range.end
            }
            assert set(decoded) <= wanted
            assert len(decoded) == len(set(decoded))


def test_blobs_inside_the_program_are_not_loaded_for_themselves() -> None:
    delegates = [DelegateSpec(data=b"inside" * 9, inline=True), DelegateSpec(data=b"outside" * 9)]
    model = read_model(BufferSource(build_pte(PteSpec([MethodSpec(delegates=delegates)]))))
    loads = [load for load in load_sequence(model) if load.info.type == SegmentType.BACKEND]
    assert [load.range for load in loads] == [segment.range for segment in model.segments if segment.range.size]


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_threads_are_too_few(packed_digits: Path, jobs: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        etpack.open(packed_digits, jobs=jobs)


def test_chunks_that_failed_are_let_go_of_at_once(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(random.Random(5).randbytes(3 << 20))
    etpack.compress(tmp_path / "content", tmp_path / "packed", etpack.Options(opaque=True))
    packed = bytearray((tmp_path / "packed").read_bytes())
    packed[5 << 19] ^= 1  # in the last chunk
    gc.disable()
    try:
        with DataLoader(bytes(packed)) as loader, pytest.raises(CorruptError) as caught:
            list(loader.iter_chunks(jobs=2))
        error = weakref.ref(caught.value)
        del caught
        assert error() is None
    finally:
        gc.enable()
