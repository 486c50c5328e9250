"""Damaged files: what a flipped bit, a cut or a changed field may come to. `make sweep` does the same at length."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

import etpack
from etpack import NotEtzError, TruncatedError
from etpack.layout import HEADER_MAGIC
from tests import damage, make_etz
from tests.test_vectors import FOLDER, GOOD

SMALL = 2048


def kinds(at_most: int) -> list[Path]:
    """Return one good vector of each filter, codec and layout, none larger than `at_most` bytes."""
    by_kind = {path.stem.split("_tail_")[0]: path for path in GOOD if path.stat().st_size <= at_most}
    return list(by_kind.values())


KINDS = kinds(SMALL)


def content_of(data: bytes) -> bytes:
    """Return the content of a good file."""
    with etpack.open(data) as file:
        return file.read_at(0, file.size)


def test_there_is_a_vector_of_each_kind() -> None:
    names = {path.stem.split("_tail_")[0].removeprefix("ok_") for path in KINDS}
    widths = {f"planes_{width}{rotated}" for width in (2, 4, 8) for rotated in ("", "_rotated")}
    assert names >= {"raw", "constant", "zstd", "lz4", "lz4_bitplanes", "empty", "aligned"} | widths


@pytest.mark.unmeasured
@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)
def test_no_flipped_bit_gives_a_wrong_byte(path: Path) -> None:
    data = path.read_bytes()
    content = content_of(data)
    for damaged in damage.flips(data):
        damage.judge_reading(damaged, content)


@pytest.mark.unmeasured
@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)
def test_verify_finds_any_damaged_byte(path: Path) -> None:
    for damaged in islice(damage.flips(path.read_bytes(), one_a_byte=True), 0, None, 5):
        assert not damage.judge_verdict(damaged).ok
        damage.judge_report(damaged)


@pytest.mark.unmeasured
@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)
def test_every_truncation_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for size, cut in enumerate(damage.truncations(data)):
        error = damage.judge_reading(cut, None)
        assert isinstance(error, NotEtzError if size < len(HEADER_MAGIC) else TruncatedError)
        assert size % 5 or not damage.judge_verdict(cut).ok


@pytest.mark.unmeasured
@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)
def test_rules_hold_behind_good_checksums(path: Path) -> None:
    """With checksums made right again, content may differ; then verify says so, or the SHA-256 was changed too."""
    for damaged in islice(damage.flips(path.read_bytes(), one_a_byte=True), 3, None, 5):
        sealed = damage.reseal(damaged)
        damage.judge_reading(sealed, None)
        damage.judge_verdict(sealed)
        damage.judge_report(sealed)


def test_resealing_changes_no_good_file() -> None:
    for path in GOOD:
        assert damage.reseal(path.read_bytes()) == path.read_bytes()


@pytest.mark.parametrize("size", range(1, 32))
def test_a_block_that_ends_in_its_directory_is_refused(size: int) -> None:
    data = (FOLDER / "ok_planes_8_tail_7.etz").read_bytes()
    spec = make_etz.to_spec(data)
    spec.blocks[0].stored_size = size
    spec.footer.max_stored_block = len(data)
    verdict = damage.judge_verdict(damage.reseal(make_etz.build_etz(spec)))
    assert "block-directory" in {finding.rule for finding in verdict.findings}, verdict.findings
