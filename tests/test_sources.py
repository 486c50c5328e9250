"""`etpack.sources`: every source gives the same bytes, keeps its bounds, and notices when it is cut."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from etpack.errors import SourceError
from etpack.sources import BufferSource, FileObjectSource, FileSource, Source, open_source

DATA = bytes(range(256)) * 40


class _Dribble(io.BytesIO):
    """A file object that never gives more than seven bytes at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, size if size and size > 0 else 7))


MAKERS: dict[str, Callable[[Path], Source]] = {
    "file": FileSource,
    "buffer": lambda path: BufferSource(path.read_bytes()),
    "file object": lambda path: FileObjectSource(path.open("rb")),
    "dribble": lambda path: FileObjectSource(_Dribble(path.read_bytes())),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with DATA in it."""
    path = tmp_path / "data"
    path.write_bytes(DATA)
    return path


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_reads(make: Callable[[Path], Source], path: Path) -> None:
    source = make(path)
    assert source.size == len(DATA)
    assert source.read_at(3, 500) == DATA[3:503]
    assert source.read_at(len(DATA), 0) == b""
    buffer = bytearray(100)
    source.read_into(1000, memoryview(buffer))
    assert buffer == DATA[1000:1100]
    for offset, size in ((-1, 1), (0, -1), (0, len(DATA) + 1), (len(DATA), 1)):
        with pytest.raises(ValueError, match="leaves"):
            source.read_at(offset, size)
    with pytest.raises(ValueError, match="leaves"):
        source.read_into(len(DATA) - 1, memoryview(bytearray(2)))
    source.close()


def test_a_file_that_is_cut_is_noticed(path: Path) -> None:
    source = FileSource(path)
    os.truncate(path, 10)
    with pytest.raises(SourceError, match="ended at 0xa") as caught:
        source.read_at(0, 20)
    assert caught.value.path == str(path)
    assert source.changed()


def test_a_file_object_that_is_cut_is_noticed() -> None:
    file = io.BytesIO(DATA)
    source = FileObjectSource(file)
    file.truncate(10)
    with pytest.raises(SourceError, match="ended"):
        source.read_at(0, 20)


def test_short_reads_are_made_up_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, honest_v = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: honest(fd, min(size, 5), offset))
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: honest_v(fd, [buffers[0][:5]], offset))
    assert FileSource(path).read_at(7, 100) == DATA[7:107]


def test_open_source_says_what_it_takes(path: Path) -> None:
    with pytest.raises(TypeError, match="int"):
        open_source(5)  # type: ignore[arg-type]
    with path.open("r", encoding="latin-1") as text, pytest.raises(TypeError, match="rb"):
        open_source(text)  # type: ignore[arg-type]
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe, pytest.raises(TypeError, match="seek"):
        open_source(pipe)
    os.close(writer)
    with pytest.raises(FileNotFoundError) as caught:
        open_source(path.parent / "absent")
    assert caught.value.filename == str(path.parent / "absent")


def test_a_closed_file_says_so(path: Path) -> None:
    source = FileSource(path)
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read_at(0, 1)


def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        with pytest.raises(OSError, match="at random"):
            open_source(place)


def test_a_close_during_a_read_is_no_fault_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread

    def close_first(fd: int, size: int, offset: int) -> bytes:
        source.close()
        return pread(fd, size, offset)

    source = FileSource(path)
    monkeypatch.setattr("etpack.sources.os.pread", close_first)
    with pytest.raises(ValueError, match="was closed"):
        source.read_at(0, 10)
