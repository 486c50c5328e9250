"""Every test vector, every way that a reader can read."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import etpack
from etpack import EtpackError, EtzFile, Options
from etpack.check import verify_file
from tests import make_vectors
from tests.test_spec import ROOT, spec_rules

FOLDER = ROOT / "schemas" / "vectors"
VECTORS = sorted(FOLDER.glob("*.etz"))
GOOD = [path for path in VECTORS if path.name.startswith("ok_")]
BAD = [path for path in VECTORS if path not in GOOD]


def sidecar(path: Path) -> dict[str, str]:
    """Return the `key: value` lines beside a vector."""
    lines = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_all_vectors_are_there() -> None:
    assert {path.stem for path in VECTORS} == {vector.name for vector in make_vectors.VECTORS}
    assert len(BAD) >= 60
    assert f"{len(VECTORS)} files" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_rule_has_a_vector() -> None:
    assert {sidecar(path)["rule"] for path in BAD} == set(spec_rules())


def test_sidecars_are_those_of_the_builder() -> None:
    for vector in make_vectors.VECTORS:
        assert (FOLDER / f"{vector.name}.txt").read_text(encoding="utf-8") == vector.text()


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_vectors_are_read_every_way(path: Path) -> None:
    said = sidecar(path)
    with etpack.open(path) as file:
        content = file.read_at(0, file.size)
        assert (str(len(content)), hashlib.sha256(content).hexdigest()) == (
            said["content_size"],
            said["content_sha256"],
        )
        for block in file.blocks():
            assert file.read_at(block.range.offset, block.range.size) == content[block.range.offset : block.range.end]
        rng = np.random.default_rng(0)
        for _ in range(200):
            start, end = sorted(rng.integers(0, len(content) + 1, 2).tolist())
            assert file.read_at(start, end - start) == content[start:end]
        step = max(1, len(content) // 500)
        assert all(file.read_at(n, 1) == content[n : n + 1] for n in range(0, len(content), step))
        with ThreadPoolExecutor(2) as pool:
            assert set(pool.map(lambda _: file.read_at(0, file.size), range(4))) == {content}
    with path.open("rb") as raw, EtzFile(raw) as file:
        assert file.read_at(0, file.size) == content
    with EtzFile(path.read_bytes()) as file:
        assert file.read_at(0, file.size) == content


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_vectors_verify_and_pack_again(path: Path, tmp_path: Path) -> None:
    assert verify_file(path).findings == ()
    assert verify_file(path, fast=True).findings == ()
    plain = etpack.decompress(path, tmp_path / "plain")
    etpack.compress(plain, tmp_path / "again.etz", Options(4096, opaque=True))
    with etpack.open(tmp_path / "again.etz") as file:
        assert file.read_at(0, file.size) == plain.read_bytes()


def read_until_error(path: Path) -> tuple[str, bytes, EtpackError | None]:
    """Return the moment of the first error, the content given out before it, and the error."""
    try:
        file = etpack.open(path)
    except EtpackError as exc:
        return "open", b"", exc
    with file:
        released = b""
        for block in file.blocks():
            try:
                gap = bytes(block.range.offset - len(released))
                released += gap + file.read_at(block.range.offset, block.range.size)
            except EtpackError as exc:
                return "use", released, exc
        return "verify", released + bytes(file.size - len(released)), None


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_vectors_are_refused_as_they_must_be(path: Path) -> None:
    said = sidecar(path)
    moment, released, error = read_until_error(path)
    assert moment == said["moment"], error
    if moment == "use":  # what lies before the bad block, without the gap that leads to it
        released = released[: int(said["content_size"])].ljust(int(said["content_size"]), b"\0")
    assert hashlib.sha256(released).hexdigest() == said["content_sha256"]
    if error is not None:
        assert (error.slug, getattr(error, "rule", None)) == (said["expect"], said["rule"])
    verdict = verify_file(path)
    assert {(finding.slug, finding.rule) for finding in verdict.findings} == {(said["expect"], said["rule"])}
    assert verdict.exit_code == (3 if said["expect"] in ("unsupported", "codec-missing") else 1)


UNREADABLE = [path for path in BAD if sidecar(path)["moment"] != "verify" or sidecar(path)["rule"] == "content-sha256"]


@pytest.mark.parametrize("path", UNREADABLE, ids=lambda path: path.stem)
def test_a_bad_vector_gives_no_output(path: Path, tmp_path: Path) -> None:
    with pytest.raises(EtpackError):
        etpack.decompress(path, tmp_path / "plain")
    assert list(tmp_path.iterdir()) == []
