"""Models that ask for more work than they are worth are refused, and those that are merely large are not."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from etpack import LimitError, PteError
from etpack.check import verify_file
from etpack.cli import common
from etpack.describe.tables import MOST_FOLDED_ROWS
from etpack.describe.terminal import print_report
from etpack.plan import cut_model
from etpack.pte import FileKind, Method, ModelFile, NamedData, Range, Role, Segment, Tensor, read_model
from etpack.pte.model import Delegate
from etpack.report import inspect_file
from etpack.sources import BufferSource, FileSource
from tests.make_bombs import BOMBS, GUARD_BOMBS, LARGEST, methods
from tests.make_pte import DelegateSpec, MethodSpec, NamedSpec, PtdSpec, PteSpec, build_ptd, build_pte
from tests.test_cli import run

BLOCK = 4096


@pytest.mark.unmeasured
@pytest.mark.parametrize("data", list(BOMBS.values()), ids=list(BOMBS))
def test_a_bomb_is_refused(data: bytes) -> None:
    (finding,) = verify_file(data).findings
    assert (finding.rule, "steps" in finding.message) == ("flatbuffer-bounds", True)


@pytest.mark.unmeasured
@pytest.mark.parametrize("data", list(GUARD_BOMBS.values()), ids=list(GUARD_BOMBS))
def test_a_bomb_in_what_methods_do_is_refused(data: bytes) -> None:
    read_model(BufferSource(data))
    (finding,) = verify_file(data).findings
    assert (finding.rule, "steps" in finding.message) == ("flatbuffer-bounds", True)


@pytest.mark.unmeasured
@pytest.mark.parametrize("data", list(LARGEST.values()), ids=list(LARGEST))
def test_what_is_merely_large_is_read(data: bytes) -> None:
    assert "flatbuffer-bounds" not in {finding.rule for finding in verify_file(data).findings}


@pytest.mark.unmeasured
def test_a_large_file_may_cost_more(tmp_path: Path) -> None:
    data = methods(12_000, room=500_000)
    with pytest.raises(PteError, match="steps"):
        read_model(BufferSource(data))
    path = tmp_path / "large.pte"
    path.write_bytes(data)
    os.truncate(path, 400 << 20)
    with FileSource(path) as source:
        assert len(read_model(source).methods) == 12_000


def test_thousands_of_small_tensors_are_no_bomb() -> None:
    named = [NamedSpec(f"layers.{number}.lora_a.weight", b"w" * 8, "float32") for number in range(2_000)]
    assert len(read_model(BufferSource(build_ptd(PtdSpec(named_data=named)))).tensors) == 2_000


@pytest.mark.unmeasured
def test_thousands_of_small_segments_are_no_bomb() -> None:
    named = [NamedSpec(f"layers.{number}.scale", number.to_bytes(16, "little")) for number in range(9_000)]
    model = read_model(BufferSource(build_pte(PteSpec(named_data=named))))
    assert len(model.named_data) == 9_000


def _model(segments: list[Segment], methods: list[Method], tensors: list[Tensor], size: int = 1 << 22) -> ModelFile:
    keys = tuple(NamedData(key, segment.number) for segment in segments for key in segment.keys)
    return ModelFile(
        FileKind.PTE, size, Range(0, 1 << 20), 32, 1 << 20, None, tuple(segments), tuple(methods), keys, tuple(tensors),
        Range(0, size), Range(size, 0),
    )  # fmt: skip


def test_an_inline_blob_that_many_methods_share_is_one_extent() -> None:
    names = [f"method_{number:05}" for number in range(5_000)]
    blob = Range(1000, BLOCK)
    users = [Method(name, (Delegate("B", 0, blob, None, 0),), (), 0, 0, 0, 0) for name in names]
    extents = cut_model(_model([], users, []), BLOCK).extents
    assert [extent.methods for extent in extents if extent.role is Role.DELEGATE] == [tuple(names)]


@pytest.mark.parametrize("key", ["k", "k" * 50_000])
def test_a_segment_of_many_names_and_many_extents_hits_a_limit(key: str) -> None:
    keys = tuple(f"{number}{key}" for number in range(100_000 // len(key) + 4))
    place = Range(1 << 20, 2 << 20)
    segment = Segment(0, place, (Role.CONSTANT, Role.NAMED_DATA), keys=keys)
    starts = range(place.offset, place.end, BLOCK)
    tensors = [Tensor(None, "constant", "uint8", (BLOCK,), Range(s, BLOCK), 0, 1, ()) for s in starts]
    with pytest.raises(LimitError, match="overlap"):
        cut_model(_model([segment], [], tensors), BLOCK)


def test_a_long_table_is_printed_whole_in_plain_lines() -> None:
    count = MOST_FOLDED_ROWS + 100
    report = inspect_file(build_pte(PteSpec(unused_segments=[bytes([1, n % 256, n // 256]) for n in range(count)])))
    out = io.StringIO()
    print_report(report, Console(file=out, width=120, markup=False, highlight=False), everything=True)
    rows = [line for line in out.getvalue().splitlines() if " unused " in line and "0x" in line]
    assert len(rows) == count
    assert len({line.index("unused") for line in rows}) == 1


def test_groups_beyond_the_first_hundreds_get_a_line() -> None:
    delegates = [DelegateSpec(f"Backend{number:03}", b"%d" % number) for number in range(300)]
    report = inspect_file(build_pte(PteSpec(methods=[MethodSpec(delegates=delegates)])))
    out = io.StringIO()
    print_report(report, Console(file=out, width=120, markup=False, highlight=False), everything=True)
    told = out.getvalue().partition("What comes back")[2]
    assert all(name.id and told.count(name.id) >= 1 for name in delegates)


@pytest.mark.parametrize("value", [{}, {"a": [1, {"b": "ä"}], "c": None}, {"long": list(range(20_000))}])
def test_json_is_printed_in_pieces_and_is_whole(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    common.echo_json(value)
    assert capsys.readouterr().out == json.dumps(value, indent=2) + "\n"


def test_a_bomb_is_an_error_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pte"
    path.write_bytes(BOMBS["segments"])
    result = run("inspect", path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "fetch it again, or export it anew\n" in result.stderr


def test_smaller_groups_are_counted() -> None:
    delegates = [DelegateSpec(f"Backend{number:03}", b"%d" % number) for number in range(300)]
    report = inspect_file(build_pte(PteSpec(methods=[MethodSpec(delegates=delegates)])))
    out = io.StringIO()
    print_report(report, Console(file=out, width=120, markup=False, highlight=False))
    assert "smaller groups; --all shows them" in out.getvalue()
