"""`etpack.writer`: round trips, the same bytes for any threads, sharing, alignment, overhead, and its own check."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

import numpy as np
import pytest

import etpack
from etpack import Effort, Options, layout
from etpack.codecs import ZSTD, BytesLike
from etpack.errors import CodecMissingError, EtpackError, LimitError, PteError, SourceError
from etpack.output import FileOutput
from etpack.plan import SPAN_SIZE, cut_model
from etpack.pte import FileKind, Role
from etpack.sources import BufferSource, FileSource
from etpack.writer import pack

ALL_OPTIONS = [
    Options(4096),
    Options(16384, "zstd", Effort.FAST),
    Options(1 << 20, "zstd", Effort.DEFAULT, False),
    Options(4096, "lz4"),
    Options(65536, "lz4", Effort.FAST, False, 4096),
    Options(65536, "raw"),
    Options(4 << 20, "auto", Effort.DEFAULT, True, 512),
    Options(opaque=True),
]


def _round_trip(source: Path, folder: Path, options: Options, **kwargs: object) -> Path:
    packed, restored = folder / "packed.etz", folder / "restored"
    result = etpack.compress(source, packed, options, **kwargs)  # type: ignore[arg-type]
    etpack.decompress(packed, restored)
    assert filecmp.cmp(source, restored, shallow=False)
    assert (result.content_size, result.stored_size) == (source.stat().st_size, packed.stat().st_size)
    return packed


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_real_models_come_back(real_model: Path, tmp_path: Path, options: Options) -> None:
    packed = _round_trip(real_model, tmp_path, options)
    with etpack.open(packed) as file:
        assert (file.footer.block_size, file.footer.alignment) == (options.block_size, options.alignment)
        for block in file.blocks():
            assert block.entry.stored_size == 0 or block.entry.stored_offset % options.alignment == 0


def test_more_effort_is_never_larger(tmp_path: Path, digits: Path) -> None:
    sizes = []
    for effort in Effort:
        folder = tmp_path / effort.value
        folder.mkdir()
        sizes.append(_round_trip(digits, folder, Options(effort=effort)).stat().st_size)
    assert sizes[0] >= sizes[1] >= sizes[2]


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, SPAN_SIZE, SPAN_SIZE + 1, 5_000_001])
def test_opaque_contents_of_any_size_come_back(tmp_path: Path, size: int) -> None:
    source = tmp_path / "any.bin"
    source.write_bytes(np.random.default_rng(size).integers(0, 5, size, dtype=np.uint8).tobytes())
    _round_trip(source, tmp_path, Options(4096, opaque=True))


@pytest.mark.parametrize("jobs", [2, 5])
def test_neither_threads_nor_spans_change_the_bytes(
    real_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """A model in the repository is one span; in small ones, threads take turns."""
    alone, together = tmp_path / "1.etz", tmp_path / "n.etz"
    etpack.compress(real_model, alone, Options(4096), jobs=1)
    monkeypatch.setattr("etpack.plan.SPAN_SIZE", 8192)
    etpack.compress(real_model, together, Options(4096), jobs=jobs)
    assert filecmp.cmp(alone, together, shallow=False)


def test_the_check_does_not_change_the_bytes(digits: Path, tmp_path: Path) -> None:
    etpack.compress(digits, tmp_path / "a.etz")
    etpack.compress(digits, tmp_path / "b.etz", check=False)
    assert filecmp.cmp(tmp_path / "a.etz", tmp_path / "b.etz", shallow=False)


def test_equal_blocks_share_what_is_stored(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(4096)
    source = tmp_path / "twice.bin"
    source.write_bytes((noise + bytes(4096)) * 3 + noise[:100])
    result = etpack.compress(source, tmp_path / "x.etz", Options(4096, opaque=True))
    assert (result.block_count, result.shared_count) == (7, 2)
    with etpack.open(tmp_path / "x.etz") as file:
        offsets = [file.entry(number).stored_offset for number in (0, 2, 4)]
        assert offsets == [16, 16, 16]
        assert file.read_at(0, file.size) == source.read_bytes()


def test_a_chance_hit_of_checksums_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etpack.body._key", lambda entry: entry.stored_size)
    content = np.random.default_rng(1).bytes(4096 * 4)
    source = tmp_path / "x.bin"
    source.write_bytes(content)
    result = etpack.compress(source, tmp_path / "x.etz", Options(4096, opaque=True))
    assert result.shared_count == 0
    with etpack.open(tmp_path / "x.etz") as file:
        assert file.read_at(0, file.size) == content


def test_a_large_index_waits_on_disk(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etpack.compress(digits, tmp_path / "a.etz", Options(4096))
    monkeypatch.setattr("etpack.body._INDEX_IN_MEMORY", 100)
    monkeypatch.setattr("etpack.body._ROWS_AT_ONCE", layout.ENTRIES_PER_PAGE * layout.ENTRY_SIZE)
    etpack.compress(digits, tmp_path / "b.etz", Options(4096))
    assert filecmp.cmp(tmp_path / "a.etz", tmp_path / "b.etz", shallow=False)


def test_only_so_many_blocks_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etpack.body._MAX_REMEMBERED", 2)
    blocks = [np.random.default_rng(seed).bytes(4096) for seed in (1, 2, 3)]
    (tmp_path / "x.bin").write_bytes(b"".join(blocks * 2))
    result = etpack.compress(tmp_path / "x.bin", tmp_path / "x.etz", Options(4096, opaque=True))
    assert result.shared_count == 2


def test_the_overhead_is_small(tmp_path: Path) -> None:
    small = Path(__file__).parent / "data" / "models" / "add_apple.pte"
    etpack.compress(small, tmp_path / "x.etz")
    with etpack.open(tmp_path / "x.etz") as file:
        assert file.stored_size - sum(block.entry.stored_size for block in file.blocks()) <= 400


def test_padding_that_is_not_zero_is_kept(digits: Path, tmp_path: Path) -> None:
    data = bytearray(digits.read_bytes())
    gap = cut_model(etpack.read_model(FileSource(digits)), 65536).gaps[0]
    data[gap.offset + 1] = 7
    odd = tmp_path / "odd.pte"
    odd.write_bytes(data)
    with etpack.open(_round_trip(odd, tmp_path, Options())) as file:
        assert [e.role for e in file.manifest.extents].count(Role.PADDING) == 1


def test_the_manifest_says_what_was_packed(packed_digits: Path) -> None:
    with etpack.open(packed_digits) as file:
        manifest = file.manifest
        assert manifest.kind is FileKind.PTE
        assert manifest.tool == f"etpack {etpack.__version__}"
        assert (manifest.options.codec, manifest.options.effort, manifest.options.filters) == ("auto", "default", True)
        (delegate,) = [e for e in manifest.extents if e.role is Role.DELEGATE]
        assert (delegate.segments, delegate.delegate_ids, delegate.methods) == ((1,), ("XnnpackBackend",), ("forward",))
        keys = [e.keys for e in manifest.extents if e.role is Role.NAMED_DATA]
        assert sorted(keys) == sorted((entry.key,) for entry in file.model.named_data)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "x.pte"
    source.write_bytes(b"not a model, not at all, by no means")
    with pytest.raises(PteError) as caught:
        etpack.compress(source)
    assert caught.value.path == str(source)
    assert os.listdir(tmp_path) == ["x.pte"]


def test_an_etz_is_not_packed_again(packed_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(PteError, match="already"):
        etpack.compress(packed_digits, tmp_path / "x.etz")


def test_an_unknown_codec_is_refused(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecMissingError, match="brotli"):
        etpack.compress(digits, tmp_path / "x.etz", Options(codec="brotli"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("values", [{"block_size": 1000}, {"block_size": 8 << 20}, {"alignment": 0}, {"alignment": 3}])
def test_options_have_bounds(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Options(**values)  # type: ignore[arg-type]


def test_a_codec_that_lies_is_caught_before_anything_appears(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ZSTD.encode_at_level

    def lie(data: BytesLike, level: int) -> bytes:
        return honest(bytes(len(data)), level)

    monkeypatch.setattr(ZSTD, "encode_at_level", lie)
    with pytest.raises(EtpackError, match="did not decode"):
        etpack.compress(digits, tmp_path / "x.etz")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_source_that_changes_is_noticed(digits: Path, tmp_path: Path, jobs: int) -> None:
    source = tmp_path / "x.pte"
    source.write_bytes(digits.read_bytes())

    def touch(done: int, total: int) -> None:
        if done == total:
            os.utime(source, ns=(1, 1))

    with pytest.raises(SourceError, match="changed"):
        etpack.compress(source, jobs=jobs, progress=touch)
    assert os.listdir(tmp_path) == ["x.pte"]


def test_a_source_that_shrinks_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "x.bin"
    source.write_bytes(os.urandom(5 << 20))
    with pytest.raises(SourceError):
        etpack.compress(source, options=Options(opaque=True), jobs=1, progress=lambda *_: os.truncate(source, 100))
    assert os.listdir(tmp_path) == ["x.bin"]


def test_progress_adds_up(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etpack.plan.SPAN_SIZE", 8192)
    seen: list[tuple[int, int]] = []
    etpack.compress(digits, tmp_path / "x.etz", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (digits.stat().st_size, digits.stat().st_size)
    assert len(seen) > 10
    assert sorted(seen) == seen


def test_the_footer_has_the_maxima(packed_digits: Path) -> None:
    with etpack.open(packed_digits) as file:
        footer = file.footer
        assert footer.max_stored_block == max(block.entry.stored_size for block in file.blocks())
        assert footer.codecs == (layout.CodecId.ZSTD,)
        assert 0 < footer.max_plane_scratch <= footer.block_size


class _Endless(BufferSource):
    """Says that it is larger than any `.etz` may be."""

    size = 1 << 48


def test_a_content_has_a_largest_size(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="256 TiB"), FileOutput(tmp_path / "x.etz") as output:
        pack(_Endless(b""), output, Options(opaque=True))
