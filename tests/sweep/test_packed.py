"""Every flipped bit, cut and changed field of packed files."""

from __future__ import annotations

from pathlib import Path

import pytest

import etpack
from etpack import Options
from etpack.layout import CodecId, FilterId
from tests import damage, make_etz
from tests.conftest import ROOT
from tests.make_etz import ExtentSpec
from tests.sweep.conftest import Tally
from tests.test_damage import content_of, kinds

LARGE = 8192
KINDS = kinds(LARGE)
MODEL = ROOT / "examples" / "models" / "digits_int8_xnnpack.pte"


@pytest.fixture(scope="session", params=["auto", "lz4"])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A trained model, packed in small blocks, so that it has many."""
    path: Path = tmp_path_factory.mktemp("packed") / "model.etz"
    etpack.compress(MODEL, path, Options(4096, codec=request.param))
    return path.read_bytes()


def test_flipped_bits_of_vectors_when_read(tally: Tally) -> None:
    for path in KINDS:
        data = path.read_bytes()
        content = content_of(data)
        for damaged in tally.each(damage.flips(data)):
            tally.accepted += damage.judge_reading(damaged, content) is None


def test_damaged_bytes_of_vectors_when_verified_and_inspected(tally: Tally) -> None:
    for path in KINDS:
        for damaged in tally.each(damage.flips(path.read_bytes(), one_a_byte=True)):
            assert not damage.judge_verdict(damaged).ok
            damage.judge_report(damaged)


def test_damaged_bytes_of_vectors_behind_good_checksums(tally: Tally) -> None:
    for path in KINDS:
        for damaged in tally.each(damage.flips(path.read_bytes(), one_a_byte=True)):
            sealed = damage.reseal(damaged)
            damage.judge_reading(sealed, None)
            damage.judge_report(sealed)
            tally.accepted += damage.judge_verdict(sealed).ok


def test_every_truncation_of_a_small_packed_model(tally: Tally, tmp_path: Path) -> None:
    model = ROOT / "tests" / "data" / "models" / "bundled_program.bpte"
    etpack.compress(model, tmp_path / "x.etz", Options(4096))
    for cut in tally.each(damage.truncations((tmp_path / "x.etz").read_bytes())):
        assert damage.judge_reading(cut, None) is not None
        assert not damage.judge_verdict(cut).ok
        damage.judge_report(cut)


def test_flipped_bits_of_a_model_when_read(packed: bytes, tally: Tally) -> None:
    content = MODEL.read_bytes()
    for damaged in tally.each(damage.random_flips(packed, 2000, seed=1)):
        tally.accepted += damage.judge_reading(damaged, content) is None


def test_edits_of_a_model(packed: bytes, tally: Tally) -> None:
    content = MODEL.read_bytes()
    for damaged in tally.each(damage.random_edits(packed, 2000, seed=2)):
        tally.accepted += damage.judge_reading(damaged, content) is None
    assert tally.accepted < tally.tried // 5, "files that are whole prove nothing"


def test_edits_of_a_model_when_verified_and_inspected(packed: bytes, tally: Tally) -> None:
    for damaged in tally.each(damage.random_edits(packed, 200, seed=3)):
        damage.judge_report(damaged)
        good = damage.judge_verdict(damaged).ok
        assert good == (damaged == packed)
        tally.accepted += good


def test_edits_of_a_model_behind_good_checksums(packed: bytes, tally: Tally) -> None:
    for damaged in tally.each(damage.random_edits(packed, 500, seed=4, in_tail=0.8)):
        sealed = damage.reseal(damaged)
        damage.judge_reading(sealed, None)
        damage.judge_report(sealed)
        tally.accepted += damage.judge_verdict(sealed).ok


def test_every_range_of_a_small_file(tally: Tally) -> None:
    """Every offset with every size, over extents of one block each, gaps between, and gaps at both ends."""
    content = bytearray(800)
    spec = make_etz.EtzSpec(bytes(content), [])
    for offset, size, kind in ((10, 200, "raw"), (210, 1, "raw"), (217, 300, "planes"), (530, 220, "constant")):
        piece = _piece(size, kind)
        content[offset : offset + size] = piece
        spec.extents.append(ExtentSpec(offset, [_block(piece, kind)]))
    spec.content = bytes(content)
    with etpack.open(make_etz.build_etz(spec)) as file:
        for offset in range(len(content) + 1):
            for size in range(len(content) - offset + 1):
                assert file.read_at(offset, size) == content[offset : offset + size]
            tally.tried += len(content) - offset + 1


def _piece(size: int, kind: str) -> bytes:
    """Return content that differs everywhere, or in every other byte, or nowhere."""
    odd = range(size) if kind == "raw" else range(0, size, 2) if kind == "planes" else ()
    return bytes(number % 251 if number in odd else 7 for number in range(size))


def _block(piece: bytes, kind: str) -> make_etz.BlockSpec:
    if kind == "planes":
        return make_etz.plane_block(piece, FilterId.PLANES_2, (CodecId.RAW, CodecId.CONSTANT))
    return make_etz.constant_block(piece[0], len(piece)) if kind == "constant" else make_etz.raw_block(piece)


def test_every_offset_of_three_blocks_to_their_edges(tally: Tally) -> None:
    """Every offset of 15 KB in three and a half blocks; sizes of a few bytes, and up to each edge, one off included."""
    block_size = 4096
    content = bytes(number * number % 253 for number in range(3 * block_size + 2000))
    spec = make_etz.opaque_spec(content + bytes(500))
    spec.extents[0].blocks[3:] = [make_etz.raw_block(content[3 * block_size :])]
    content += bytes(500)
    edges = [*range(block_size, len(content), block_size), len(content) - 500, len(content)]
    ends = sorted({edge + off for edge in edges for off in (-1, 0, 1)} & set(range(len(content) + 1)))
    with etpack.open(make_etz.build_etz(spec)) as file:
        for offset in range(len(content) + 1):
            sizes = {0, 1, 2, 15, *(end - offset for end in ends)}
            for size in sizes:
                if 0 <= size <= len(content) - offset:
                    assert file.read_at(offset, size) == content[offset : offset + size]
                    tally.tried += 1
