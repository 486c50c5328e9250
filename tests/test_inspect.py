"""`inspect`: what the report says, that it adds up, what is read for it, and how it is told."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from rich.console import Console

from etpack import layout, reader
from etpack.cli import cli
from etpack.codecs import Effort
from etpack.describe.terminal import print_report
from etpack.describe.words import coding, human, listed, safe
from etpack.errors import CodecMissingError, CorruptError, PteError
from etpack.files import compress
from etpack.pte import FileKind, Role
from etpack.reader import EtzFile
from etpack.report import Report, inspect_file
from etpack.report.packed import codec_name, filter_name
from etpack.sources import BufferSource, FileSource
from etpack.writer import Options
from tests.conftest import EXAMPLE_MODELS, REAL_MODELS, ROOT
from tests.counting import CountingSource, count_decodes
from tests.make_pte import DelegateSpec, MethodSpec, NamedSpec, PteSpec, TensorSpec, build_pte, weights

OPTIONS = [
    Options(),
    Options(block_size=4096, alignment=512),
    Options(codec="lz4", effort=Effort.FAST),
    Options(filters=False),
    Options(opaque=True),
]


@pytest.fixture(scope="session")
def validator() -> Draft202012Validator:
    schema = json.loads((ROOT / "schemas" / "inspect.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def packed(model: Path, folder: Path, options: Options) -> Path:
    path = folder / "packed.etz"
    compress(model, path, options)
    return path


def render(report: Report, width: int = 120, *, everything: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    print_report(report, console, everything=everything)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def assert_adds_up(report: Report) -> None:
    assert sum(extent.size for extent in report.extents) + report.gaps.size == report.content_size
    assert sum(role.size for role in report.roles) + report.gaps.size == report.content_size
    assert sum(role.count for role in report.roles) == len(report.extents)
    packing = report.packing
    if packing is None:
        return
    parts = packing.header_size, packing.blocks_size, packing.padding_size, packing.section_table_size
    assert sum(parts) + sum(s.size for s in packing.sections) + packing.footer_size == packing.stored_size
    stored = [extent.stored for extent in report.extents if extent.stored]
    assert sum(extent.stored_size for extent in stored) == packing.blocks_size
    assert sum(extent.block_count for extent in stored) == packing.block_count
    assert sum(encoding.stored_size for encoding in packing.encodings) == packing.blocks_size
    assert sum(encoding.block_count for encoding in packing.encodings) == packing.block_count


def test_plain_model_adds_up(real_model: Path) -> None:
    report = inspect_file(real_model)
    assert report.content_size == real_model.stat().st_size
    assert report.packing is None
    assert_adds_up(report)


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "aligned", "lz4", "bare", "opaque"])
def test_packed_model_adds_up(example_model: Path, tmp_path: Path, options: Options) -> None:
    path = packed(example_model, tmp_path, options)
    report = inspect_file(path, blocks=True)
    assert report.packing is not None
    assert report.packing.stored_size == path.stat().st_size
    assert report.content_size == example_model.stat().st_size
    assert_adds_up(report)
    assert report.blocks is not None
    distinct = {(b.stored_offset, b.stored_size) for b in report.blocks if b.stored_size}
    assert sum(size for _, size in distinct) == report.packing.blocks_size
    ends = [layout.HEADER_SIZE, *(offset + size for offset, size in sorted(distinct) if offset is not None)]
    starts = [
        *(offset for offset, _ in sorted(distinct) if offset is not None),
        report.packing.sections[0].stored_offset,
    ]
    assert sum(start - end for start, end in zip(starts, ends, strict=True)) == report.packing.padding_size


def test_packed_report_says_of_the_model_what_the_plain_one_does(example_model: Path, tmp_path: Path) -> None:
    plain = inspect_file(example_model, tensors=True)
    report = inspect_file(packed(example_model, tmp_path, Options()), tensors=True)
    for name in ("kind", "content_size", "gaps", "program", "methods", "tensors"):
        assert getattr(report, name) == getattr(plain, name), name
    assert report.memory is not None
    assert plain.memory is not None
    assert report.memory.groups == plain.memory.groups
    simulations = report.memory.simulation, plain.memory.simulation
    assert simulations[0] is not None
    assert simulations[1] is not None
    # What decoding takes depends on how it is packed; nothing else does.
    assert replace(simulations[0], loaders=()) == replace(simulations[1], loaders=())
    assert simulations[0].loaders[:-1] == simulations[1].loaders[:-1]
    assert [(e.offset, e.size, e.role, e.segments, e.delegate_ids, e.keys, e.methods) for e in report.extents] == [
        (e.offset, e.size, e.role, e.segments, e.delegate_ids, e.keys, e.methods) for e in plain.extents
    ]


@pytest.mark.parametrize("model", REAL_MODELS, ids=lambda path: path.name)
def test_json_follows_its_schema(model: Path, tmp_path: Path, validator: Draft202012Validator) -> None:
    etz, opaque = tmp_path / "model.etz", tmp_path / "opaque.etz"
    compress(model, etz)
    compress(model, opaque, Options(opaque=True))
    result = CliRunner().invoke(
        cli, ["inspect", "--json", "--blocks", "--tensors", "--tree", "--memory", *map(str, (model, etz, opaque))]
    )
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    validator.validate(value)
    assert [report["file"] for report in value["results"]] == [str(model), str(etz), str(opaque)]
    assert [report["packing"] is None for report in value["results"]] == [True, False, False]


def test_lists_that_were_not_asked_for_are_null(packed_digits: Path) -> None:
    report = inspect_file(packed_digits)
    assert report.tensors is None
    assert report.blocks is None


def test_inspecting_reads_the_blocks_of_program_and_blob_and_a_directory_an_extent(
    packed_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = CountingSource(FileSource(packed_digits))
    decoded = count_decodes(monkeypatch)
    report = inspect_file(source)
    stored = report.packing
    program = report.extents[0].stored
    assert stored is not None
    assert program is not None
    tail = stored.stored_size - layout.TAIL_SIZE
    blocks = [EtzFile(packed_digits).entry(number) for number in (0, 1)]
    assert (tail, layout.TAIL_SIZE) in source.reads
    places = {(0, 8), (0, layout.HEADER_SIZE), (tail, layout.TAIL_SIZE)}
    places |= {(block.stored_offset, block.stored_size) for block in blocks}
    directories = [read for read in source.reads if read not in places]
    assert all(size <= 4 * 8 for _, size in directories)
    assert len(directories) <= len(report.extents)
    assert set(decoded) == {0, 1}


def test_opening_reads_no_block(packed_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CountingSource(FileSource(packed_digits))
    decoded = count_decodes(monkeypatch)
    file = EtzFile(source)
    assert file.manifest.kind is FileKind.PTE
    assert decoded == []
    assert source.reads == [(source.size - layout.TAIL_SIZE, layout.TAIL_SIZE), (0, layout.HEADER_SIZE)]


def test_opaque_file_is_not_looked_into(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(digits, tmp_path, Options(opaque=True))
    decoded = count_decodes(monkeypatch)
    report = inspect_file(path)
    assert decoded == []
    assert [extent.role for extent in report.extents] == [Role.OPAQUE]
    assert (report.program, report.methods, report.memory) == (None, None, None)
    assert report.missing is not None
    assert "--opaque" in report.missing
    assert report.missing in render(report)


def test_missing_codec_leaves_the_manifest(packed_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_source: object) -> None:
        raise CodecMissingError("nothing installed here provides the private codec 200 [codec-known]")

    monkeypatch.setattr(reader, "read_model", missing)
    report = inspect_file(packed_digits)
    assert report.missing is not None
    assert "private codec 200" in report.missing
    assert report.methods is None
    assert {role.role for role in report.roles} == {Role.PROGRAM, Role.DELEGATE, Role.NAMED_DATA}
    assert_adds_up(report)
    assert "private codec 200" in render(report)


def test_damaged_program_is_an_error(packed_digits: Path) -> None:
    data = bytearray(packed_digits.read_bytes())
    data[layout.HEADER_SIZE] ^= 1
    with pytest.raises(CorruptError):
        inspect_file(bytes(data))


def test_other_files_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not a model" * 20)
    with pytest.raises(PteError) as caught:
        inspect_file(path)
    assert caught.value.path == str(path)


def test_blocks_tell_codec_and_size_of_each_plane(packed_digits: Path) -> None:
    report = inspect_file(packed_digits, blocks=True)
    assert report.blocks is not None
    planes = [block for block in report.blocks if block.planes]
    assert planes
    for block in planes:
        assert block.codec == "per-plane"
        width = int(block.filter.split("-")[1])
        assert len(block.planes) == width
        tail = block.size % width
        assert 4 * width + sum(plane.stored_size for plane in block.planes) + tail == block.stored_size


def test_shared_blocks_count_once(tmp_path: Path) -> None:
    blob = weights(40_000)
    model = tmp_path / "twice.pte"
    tensors = [TensorSpec(blob)]
    model.write_bytes(build_pte(PteSpec([MethodSpec(tensors=tensors)], [NamedSpec("k", blob)])))
    report = inspect_file(packed(model, tmp_path, Options()), blocks=True)
    assert_adds_up(report)
    assert report.packing is not None
    assert report.blocks is not None
    assert report.packing.shared_count == sum(block.shared for block in report.blocks) == 3
    by_role = {role.role: role.stored_size for role in report.roles}
    assert by_role[Role.NAMED_DATA] == 0
    assert (by_role[Role.CONSTANT] or 0) > 0


def test_methods_tell_planned_buffers_and_delegates() -> None:
    delegates = [DelegateSpec(data=b"one" * 9), DelegateSpec(data=b"in", inline=True), DelegateSpec("VgfBackend", b"v")]
    report = inspect_file(build_pte(PteSpec([MethodSpec("run", delegates=delegates, planned_buffers=(64, 2048))])))
    assert report.methods is not None
    (method,) = report.methods
    assert (method.planned_buffers, method.planned_size) == ((64, 2048), 2112)
    assert [(d.id, d.count, d.inline_count, d.size) for d in method.delegates] == [
        ("XnnpackBackend", 2, 1, 29),
        ("VgfBackend", 1, 0, 1),
    ]
    assert method.frees_at_most == 1


def test_tensor_is_named_with_the_extent_that_it_fills() -> None:
    tensor = TensorSpec(weights(20_000), sizes=[100, 200], name="embedding")
    report = inspect_file(build_pte(PteSpec([MethodSpec(tensors=[tensor])])))
    (extent,) = [extent for extent in report.extents if extent.role is Role.CONSTANT]
    assert extent.tensor is not None
    assert (extent.tensor.name, extent.tensor.sizes) == ("embedding", (100, 200))
    assert "embedding float32 100x200" in render(report)


def test_names_of_filters_and_codecs() -> None:
    assert [filter_name(n) for n in (0, 1, 4, 99)] == ["none", "planes-2", "planes-4-rotated", "filter-99"]
    assert [codec_name(n) for n in (0, 1, 4, 77, 200, 255)] == [
        "raw", "constant", "lz4-bitplanes", "codec-77", "private-200", "per-plane",
    ]  # fmt: skip


# The words.


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("path", EXAMPLE_MODELS, ids=lambda path: path.stem)
def test_no_line_is_wider_than_the_terminal(path: Path, tmp_path: Path, width: int) -> None:
    for file in (path, packed(path, tmp_path, Options())):
        lines = render(inspect_file(file, tensors=True), width).splitlines()
        assert max(len(line) for line in lines[1:]) <= width
        assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_numbers_and_verdicts_are_never_cut(packed_digits: Path, width: int) -> None:
    report = inspect_file(packed_digits)
    text = render(report, width)
    for extent in report.extents:
        assert f"{extent.offset:#x} " in text
        assert (f"{extent.size:,}" if width == 120 else human(extent.size)) in text
    for word in ("not loaded", "always", "never", "XnnpackBackend", "BufferDataLoader frees", "EtzDataLoader"):
        assert word in text
    assert report.packing is not None
    assert f"{report.packing.max_stored_block:,} bytes for the largest stored block" in " ".join(text.split())


def test_long_tables_show_the_largest() -> None:
    named = [NamedSpec(f"key{number}", bytes([number]) * (100 + number)) for number in range(60)]
    report = inspect_file(build_pte(PteSpec(named_data=named)))
    text = render(report)
    assert "key59" in text
    assert "key1 " not in text
    assert "smaller ones" in text
    assert "--all shows them" in text
    everything = render(report, everything=True)
    assert all(f"key{number}" in everything for number in range(60))
    assert "--all" not in everything


def test_blocks_are_listed(packed_digits: Path) -> None:
    report = inspect_file(packed_digits, blocks=True)
    text = render(report)
    assert "Blocks (18)" in text
    assert "zstd " in text


def test_names_cannot_write_to_the_terminal() -> None:
    evil = "\x1b[31mred\x07[bold]"
    spec = PteSpec([MethodSpec(evil, delegates=[DelegateSpec(evil)])], [NamedSpec(evil, b"x")])
    text = render(inspect_file(build_pte(spec)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\x1b[31mred\\x07[bold]" in text


def test_words() -> None:
    assert [human(n) for n in (0, 1, 1023, 1024, 1536, 65536, 10**9)] == [
        "0 bytes", "1 byte", "1,023 bytes", "1 KiB", "1.5 KiB", "64 KiB", "953.7 MiB",
    ]  # fmt: skip
    assert human(2**20 - 1) == "1 MiB"
    assert safe("a" * 30, 9) == "aaaa…aaaa"
    assert listed(["a", "b", "c", "d"]) == "a, b, c +1"
    assert [coding("none", "zstd"), coding("planes-4-rotated", "per-plane")] == ["zstd", "planes4r"]


def test_command_prints_every_file(digits: Path, packed_digits: Path) -> None:
    result = CliRunner().invoke(cli, ["inspect", str(digits), str(packed_digits)])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("What comes back after loading") == 2
    assert "\x1b" not in result.stdout


def test_command_needs_a_file() -> None:
    assert CliRunner().invoke(cli, ["inspect"]).exit_code == 2


def test_json_groups_have_words_once(digits: Path) -> None:
    value: dict[str, Any] = inspect_file(BufferSource(digits.read_bytes(), "digits")).to_json()
    groups = {group["kind"]: group for group in value["memory"]["groups"]}
    assert len(groups["named data"]["uses"]) == 10
    assert groups["named data"]["backends"] == ["XnnpackBackend"]
    assert groups["named data"]["inferred"] is False  # the delegate's blob says so
    assert groups["delegate"]["verdict"] == "always"
    assert {total["verdict"]: total["size"] for total in value["memory"]["totals"]}["always"] == 3248 + 487_976


def test_a_constant_is_not_taken_for_an_offset(tmp_path: Path) -> None:
    # The first stored block lies at offset 16, and so reads the entry of a constant block of sixteens.
    (tmp_path / "x.bin").write_bytes(bytes([layout.HEADER_SIZE]) * 4096 + bytes(range(256)) * 15 + b"end")
    compress(tmp_path / "x.bin", tmp_path / "x.etz", Options(4096, codec="raw", opaque=True))
    (extent,) = inspect_file(tmp_path / "x.etz").extents
    assert extent.stored is not None
    assert (extent.stored.stored_size, extent.stored.shared_count) == (15 * 256 + 3, 0)


def test_a_file_without_blocks_has_a_table_without_rows() -> None:
    report = inspect_file(ROOT / "schemas" / "vectors" / "ok_empty.etz", blocks=True)
    assert report.blocks == ()
    assert "Blocks (0)" in render(report)
