"""What `inspect` says of the less common parts of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from etpack.files import compress
from etpack.memory.sequence import load_sequence
from etpack.pte import read_model
from etpack.report import inspect_file
from etpack.sources import BufferSource
from etpack.writer import Options
from tests.make_pte import DelegateSpec, MethodSpec, NamedSpec, PtdSpec, PteSpec, TensorSpec, build_ptd, build_pte
from tests.test_inspect import render
from tests.test_vectors import FOLDER


@pytest.mark.parametrize(
    ("planned", "words"),
    [
        ((), "none"),
        ((2048,), "2 KiB (2,048)"),
        ((1, 2), "3 bytes (1 + 2)"),
        ((1, 2, 3, 4, 5), "15 bytes (1 + 2 + 3 + 4 + …)"),
    ],
)
def test_planned_buffers(planned: tuple[int, ...], words: str) -> None:
    report = inspect_file(build_pte(PteSpec([MethodSpec(planned_buffers=planned)])))
    assert words in render(report, 200)


def test_an_inline_blob_and_the_head_of_a_ptd_are_called_what_they_are() -> None:
    delegates = [DelegateSpec(data=b"in", inline=True)]
    assert "inline in the flatbuffer" in render(inspect_file(build_pte(PteSpec([MethodSpec(delegates=delegates)]))))
    assert "the flatbuffer" in render(inspect_file(build_ptd(PtdSpec(named_data=[NamedSpec("a", b"a" * 9)]))))


def test_several_codings_and_shared_blocks_of_an_extent_are_counted(tmp_path: Path) -> None:
    noise = bytes(range(256)) * 16
    (tmp_path / "content").write_bytes(bytes(4096) + noise + noise + b"\1" * 4096)
    compress(tmp_path / "content", tmp_path / "x.etz", Options(4096, opaque=True))
    words = render(inspect_file(tmp_path / "x.etz"), 200)
    assert "constant 2" in words
    assert "shared 1" in words


def test_blocks_beyond_the_first_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(bytes(30 * 4096))
    compress(tmp_path / "content", tmp_path / "x.etz", Options(4096, opaque=True))
    report = inspect_file(tmp_path / "x.etz", blocks=True)
    assert "+ 10 more blocks; --all shows them" in render(report)
    assert "more blocks" not in render(report, everything=True)


def test_an_unknown_section_is_listed_by_its_number() -> None:
    report = inspect_file(FOLDER / "ok_unknown_section.etz")
    assert report.packing is not None
    assert any(section.type.startswith("section-") for section in report.packing.sections)


def test_loading_copies_mutable_tensors_and_all_of_a_ptd() -> None:
    state = TensorSpec(b"s" * 64, kind="mutable")
    loads = list(load_sequence(read_model(BufferSource(build_pte(PteSpec([MethodSpec(tensors=[state])]))))))
    assert [load.range.size for load in loads if load.into] == [64]
    data = build_ptd(PtdSpec(named_data=[NamedSpec("a", b"a" * 9), NamedSpec("b", b"b" * 7)]))
    sizes = [load.range.size for load in load_sequence(read_model(BufferSource(data)))]
    assert sizes[2:] == [9, 7]
