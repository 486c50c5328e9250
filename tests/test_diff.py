"""`diff`: every change is seen, put in the right part, and counted in blocks; the same content is the same."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rich.console import Console

import etpack
from etpack import compare
from etpack.compare import Basis, Change, Diff, PartChange, PartKind, build, diff, survey
from etpack.describe.diff import print_diff
from etpack.errors import LimitError, PteError
from etpack.files import compress
from etpack.pte import read_blobs, read_model
from etpack.sources import BufferSource
from etpack.writer import Options
from tests.conftest import EXAMPLE_MODELS, ROOT
from tests.make_pte import (
    DelegateSpec,
    MethodSpec,
    NamedSpec,
    PtdSpec,
    PteSpec,
    TensorSpec,
    build_bpte,
    build_ptd,
    build_pte,
    tuned,
    weights,
)
from tests.serving import serving, skip_without_libraries
from tests.test_cli import run

LARGE = 20_000  # elements of a tensor that has blocks of its own


def changed(found: Diff) -> list[PartChange]:
    """Return what is neither unchanged nor moved."""
    return [part for part in found.parts if part.change not in (Change.UNCHANGED, Change.MOVED)]


def told(found: Diff) -> list[tuple[PartKind, Change, str | None]]:
    """Return kind, change and name of what is neither unchanged nor moved."""
    return [(part.kind, part.change, side.name) for part in changed(found) if (side := part.b or part.a)]


def only(found: Diff, kind: PartKind) -> PartChange:
    """Return the one part of a kind that is neither unchanged nor moved."""
    (part,) = [part for part in changed(found) if part.kind is kind]
    return part


def tensors(*specs: TensorSpec, **more: Any) -> bytes:
    """Return a model with one method that has these tensors."""
    return build_pte(PteSpec([MethodSpec(tensors=specs)], **more))


def several(count: int, size: int = 300) -> list[TensorSpec]:
    """Return tensors without names, all of one shape."""
    return [TensorSpec(weights(size, seed=number)) for number in range(count)]


# The same.


def test_a_model_is_the_same_as_itself(real_model: Path) -> None:
    found = diff(real_model, real_model, everything=True)
    assert found.same
    assert {part.change for part in found.parts} == {Change.UNCHANGED}
    assert found.methods == () or {method.change for method in found.methods} == {Change.UNCHANGED}
    assert (found.blocks.new_count, found.blocks.new_size) == (0, 0)
    assert diff(real_model, real_model).parts == ()


@pytest.mark.parametrize(
    "options",
    [Options(), Options(block_size=4096, codec="lz4"), Options(opaque=True)],
    ids=["default", "lz4", "opaque"],
)
def test_a_packed_model_is_the_same_as_the_plain_one(example_model: Path, tmp_path: Path, options: Options) -> None:
    compress(example_model, tmp_path / "x.etz", options)
    for a, b in ((example_model, tmp_path / "x.etz"), (tmp_path / "x.etz", example_model)):
        found = diff(a, b)
        assert found.same
        assert found.packing == ()
    assert (found.a.packing is None, found.b.packing is None) == (False, True)


def test_packing_is_told_and_makes_no_difference(digits: Path, packed_digits: Path, tmp_path: Path) -> None:
    compress(digits, tmp_path / "small.etz", Options(block_size=4096, codec="lz4"))
    found = diff(packed_digits, tmp_path / "small.etz")
    assert found.same
    assert [(each.field, each.a, each.b) for each in found.packing] == [
        ("block_size", 65536, 4096),
        ("codec", "auto", "lz4"),
    ]
    result = run("diff", packed_digits, tmp_path / "small.etz")
    assert result.returncode == 0
    assert result.stdout.startswith("Same content, packed differently\n")
    assert "block size 65,536 -> 4,096, codec auto -> lz4" in result.stdout


def test_any_source_will_do(digits: Path, packed_digits: Path) -> None:
    with etpack.open(packed_digits) as file, digits.open("rb") as plain:
        assert etpack.diff(file, plain).same
        assert file.read_at(0, 8) == digits.read_bytes()[:8]
        assert not plain.closed


# One change each.


def test_a_changed_tensor_is_told_by_name() -> None:
    old = weights(LARGE)
    new = old[:-4] + struct.pack("<f", struct.unpack("<f", old[-4:])[0] + 0.5)
    rest = TensorSpec(weights(LARGE, seed=1), name="b")
    a, b = (tensors(TensorSpec(data, name="a", sizes=[100, 200]), rest) for data in (old, new))
    found = diff(a, b)
    part = only(found, PartKind.CONSTANT)
    assert part.matched_by is Basis.NAME
    assert part.b is not None
    assert (part.b.name, part.b.dtype, part.b.sizes, part.b.segment) == ("a", "float32", (100, 200), 0)
    assert part.differing_size == sum(x != y for x, y in zip(old, new, strict=True))
    assert part.max_difference == pytest.approx(0.5)
    assert part.new_block_count == found.blocks.new_count == 1
    assert found.blocks.new_size == 4 * LARGE - 65536
    container = only(found, PartKind.CONSTANT_SEGMENT)
    assert container.differing_size == part.differing_size
    assert {part.kind for part in changed(found)} == {PartKind.CONSTANT, PartKind.CONSTANT_SEGMENT}


@pytest.mark.parametrize("size", [300, LARGE])
def test_a_changed_tensor_without_a_name_is_told_by_its_place(size: int) -> None:
    old = several(5, size)
    new = [*old[:2], TensorSpec(weights(size, seed=9)), *old[3:]]
    part = only(diff(tensors(*old), tensors(*new)), PartKind.CONSTANT)
    assert (part.change, part.matched_by) == (Change.CHANGED, Basis.POSITION)
    assert part.a is not None
    assert part.b is not None
    assert (part.a.number, part.b.number) == (2, 2)


def test_a_tensor_put_between_is_added_and_the_others_move() -> None:
    old = several(5)
    found = diff(tensors(*old), tensors(*old[:2], TensorSpec(weights(300, seed=9)), *old[2:]))
    assert [(p.kind, p.change) for p in changed(found) if p.kind is PartKind.CONSTANT] == [
        (PartKind.CONSTANT, Change.ADDED)
    ]
    totals = {total.change: total.count for total in found.totals if total.kind is PartKind.CONSTANT}
    assert totals[Change.MOVED] + totals.get(Change.UNCHANGED, 0) == 5


def test_a_removed_tensor_needs_no_block() -> None:
    old = several(3, LARGE)
    part = only(diff(tensors(*old), tensors(*old[:2])), PartKind.CONSTANT)
    assert (part.change, part.b, part.new_block_count) == (Change.REMOVED, None, 0)


def test_reordered_tensors_move_and_need_no_block_of_their_own() -> None:
    old = several(3, LARGE)
    found = diff(tensors(*old), tensors(*reversed(old)))
    moved = [part for part in found.parts if part.kind is PartKind.CONSTANT]
    assert {part.change for part in moved} == {Change.MOVED}
    assert {part.matched_by for part in moved} == {Basis.CONTENT}
    assert sum(part.new_block_count for part in moved) == 0


def test_a_resized_tensor() -> None:
    a, b = (tensors(TensorSpec(weights(count), name="w"), TensorSpec(b"last")) for count in (300, 400))
    part = only(diff(a, b), PartKind.CONSTANT)
    assert (part.change, part.differing_size, part.max_difference) == (Change.RESIZED, None, None)
    assert part.a is not None
    assert part.b is not None
    assert (part.a.size, part.b.size) == (1200, 1600)


def test_a_tensor_without_a_name_that_grows_is_resized_in_its_place() -> None:
    old = several(3)
    found = diff(tensors(*old), tensors(old[0], TensorSpec(weights(400, seed=9)), old[2]))
    part = only(found, PartKind.CONSTANT)
    assert (part.change, part.matched_by) == (Change.RESIZED, Basis.POSITION)


def test_the_same_bytes_as_another_shape_or_under_another_name() -> None:
    data = weights(600)
    a = tensors(TensorSpec(data, sizes=[20, 30], name="w"))
    assert only(diff(a, tensors(TensorSpec(data, sizes=[30, 20], name="w"))), PartKind.CONSTANT).change is (
        Change.RETYPED
    )
    assert only(diff(a, tensors(TensorSpec(data, sizes=[20, 30], name="v"))), PartKind.CONSTANT).change is (
        Change.RENAMED
    )


def test_a_type_that_only_one_file_tells_is_no_other_type() -> None:
    data = weights(600)
    a = build_ptd(PtdSpec([NamedSpec("w", data, "float32"), NamedSpec("v", b"x")]))
    b = build_ptd(PtdSpec([NamedSpec("w", data), NamedSpec("v", b"y")]))
    found = diff(a, b)
    assert (PartKind.NAMED_DATA, Change.RETYPED, "w") not in told(found)
    assert (PartKind.NAMED_DATA, Change.CHANGED, "v") in told(found)


def test_parts_of_one_shape_are_not_paired_far_apart_if_they_are_not_as_many() -> None:
    old, others = several(2), [TensorSpec(weights(50 + number, seed=number)) for number in range(3)]
    new = [TensorSpec(weights(300, seed=9))]
    found = diff(tensors(*old, *others), tensors(*others, *new))
    changes = [part.change for part in changed(found) if part.kind is PartKind.CONSTANT]
    assert sorted(change.value for change in changes) == ["added", "removed", "removed"]
    found = diff(tensors(old[0], *others), tensors(*others, *new))
    assert [part.change for part in changed(found) if part.kind is PartKind.CONSTANT] == [Change.CHANGED]


def test_other_names_and_other_bytes_are_another_tensor() -> None:
    a, b = (tensors(TensorSpec(weights(300, seed=seed), name=name)) for seed, name in enumerate("vw"))
    assert {(kind, change) for kind, change, _ in told(diff(a, b)) if kind is PartKind.CONSTANT} == {
        (PartKind.CONSTANT, Change.ADDED),
        (PartKind.CONSTANT, Change.REMOVED),
    }


def test_first_values_and_external_tensors() -> None:
    a = tensors(TensorSpec(weights(50), kind="mutable", name="cache"), TensorSpec(name="w", kind="external", sizes=[4]))
    b = tensors(
        TensorSpec(weights(50, seed=1), kind="mutable", name="cache"), TensorSpec(name="w", kind="external", sizes=[5])
    )
    found = diff(a, b)
    assert only(found, PartKind.MUTABLE).change is Change.CHANGED
    assert only(found, PartKind.MUTABLE_SEGMENT).change is Change.CHANGED
    external = only(found, PartKind.EXTERNAL)
    assert (external.change, external.differing_size) == (Change.RETYPED, None)


def test_delegates() -> None:
    blobs = [DelegateSpec("One", b"first" * 9), DelegateSpec("Two", b"second" * 9), DelegateSpec("One", b"third" * 9)]

    def model(*delegates: DelegateSpec) -> bytes:
        return build_pte(PteSpec([MethodSpec(delegates=delegates)]))

    found = diff(model(*blobs), model(blobs[0], replace(blobs[1], data=b"SECOND" * 9), blobs[2]))
    part = only(found, PartKind.DELEGATE)
    assert (part.backend, part.change, part.differing_size, part.only_keys) == ("Two", Change.CHANGED, 54, False)
    found = diff(model(*blobs), model(DelegateSpec("Two", b"new"), *blobs))
    added = only_change(found, PartKind.DELEGATE, Change.ADDED)
    assert added.b is not None
    assert added.b.name == "forward:0"
    assert [(p.a and p.a.name, p.b and p.b.name) for p in found.parts if p.change is Change.RENAMED] == [
        ("forward:0", "forward:1"),
        ("forward:1", "forward:2"),
        ("forward:2", "forward:3"),
    ]
    (method,) = found.methods
    assert [(each.field, each.a, each.b) for each in method.fields] == [("delegates", "2 One, 1 Two", "2 Two, 2 One")]


def only_change(found: Diff, kind: PartKind, change: Change) -> PartChange:
    (part,) = [part for part in found.parts if part.kind is kind and part.change is change]
    return part


def test_an_inline_delegate_is_a_part_of_its_own() -> None:
    a, b = (build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec(data=d, inline=True)])])) for d in (b"ab", b"ac"))
    found = diff(a, b)
    assert [(p.kind, p.change, p.differing_size) for p in changed(found)] == [
        (PartKind.PROGRAM, Change.CHANGED, 1),
        (PartKind.DELEGATE, Change.CHANGED, 1),
    ]


def test_methods() -> None:
    a = build_pte(PteSpec([MethodSpec("encode"), MethodSpec("decode")]))
    b = build_pte(PteSpec([MethodSpec("encode", planned_buffers=(64, 128), operators=3), MethodSpec("sample")]))
    found = diff(a, b)
    assert [(m.name, m.change, [(f.field, f.a, f.b) for f in m.fields]) for m in found.methods] == [
        ("encode", Change.CHANGED, [("operator_count", 1, 3), ("planned_buffers", "1024", "64 + 128")]),
        ("sample", Change.ADDED, []),
        ("decode", Change.REMOVED, []),
    ]


def test_named_data() -> None:
    digests = [f"{number:064x}" for number in range(4)]

    def model(*named: tuple[str, bytes]) -> bytes:
        return build_pte(PteSpec(named_data=[NamedSpec(*each) for each in named]))

    old = [("a", b"aaaa"), ("b", b"bbbb"), (digests[0], b"cccc")]
    found = diff(model(*old), model(old[0], ("B", b"bbbb"), (digests[1], b"CCCC")))
    assert [(p.change, p.matched_by) for p in changed(found) if p.kind is PartKind.NAMED_DATA] == [
        (Change.RENAMED, Basis.CONTENT),
        (Change.CHANGED, Basis.POSITION),
    ]
    found = diff(model(*old), model(old[0], ("B", b"beee"), old[2]))
    assert {p.change for p in changed(found) if p.kind is PartKind.NAMED_DATA} == {Change.ADDED, Change.REMOVED}


@pytest.mark.parametrize("size", [300, LARGE])
def test_a_constant_that_becomes_named_data_moves(size: int) -> None:
    old = several(3, size)
    delegate = MethodSpec(tensors=old[:1], delegates=[DelegateSpec()])
    found = diff(tensors(*old), build_pte(PteSpec([delegate], [NamedSpec("w", old[2].data)])))
    moved = only_change(found, PartKind.NAMED_DATA, Change.MOVED)
    assert moved.a is not None
    assert (moved.a.kind, moved.a.number, moved.matched_by) == (PartKind.CONSTANT, 2, Basis.CONTENT)
    assert moved.new_block_count == (0 if size == LARGE else 1)
    assert only_change(found, PartKind.CONSTANT, Change.REMOVED)


def test_a_pair_of_data_files() -> None:
    def model(seed: int, sizes: list[int]) -> bytes:
        named = [NamedSpec("w", weights(600, seed=seed), "float32", sizes), NamedSpec("v", b"same")]
        return build_ptd(PtdSpec(named))

    part = only(diff(model(0, [20, 30]), model(1, [20, 30])), PartKind.NAMED_DATA)
    assert part.b is not None
    assert (part.change, part.b.name, part.b.dtype, part.b.sizes) == (Change.CHANGED, "w", "float32", (20, 30))
    assert (part.max_difference or 0) > 0
    assert only(diff(model(0, [20, 30]), model(0, [30, 20])), PartKind.NAMED_DATA).change is Change.RETYPED


def test_a_bundled_program_against_the_program(digits: Path) -> None:
    plain = digits.read_bytes()
    found = diff(plain, build_bpte(plain))
    assert {(kind, change) for kind, change, _ in told(found)} == {(PartKind.METADATA, Change.ADDED)}
    assert found.blocks.new_size < 2000


def test_what_lies_around_the_parts() -> None:
    spec = PteSpec(unused_segments=[b"unused" * 50], trailing=b"trailing")
    a = build_pte(spec)
    assert told(diff(a, build_pte(replace(spec, trailing=b"TRAILING")))) == [(PartKind.TRAILING, Change.CHANGED, None)]
    unused = build_pte(replace(spec, unused_segments=[b"UNUSED" * 50]))
    assert told(diff(a, unused)) == [(PartKind.UNUSED, Change.CHANGED, None)]
    end = read_model(BufferSource(a)).program.end
    found = diff(a, build_pte(replace(spec, patches={end + 3: b"!"})))
    assert told(found) == [(PartKind.PADDING, Change.ADDED, None)]


def test_a_difference_that_is_no_number_has_no_size() -> None:
    a, b = (tensors(TensorSpec(struct.pack("<2f", 1.0, value), name="w")) for value in (1.0, float("nan")))
    part = only(diff(a, b), PartKind.CONSTANT)
    assert (part.change, part.max_difference) == (Change.CHANGED, None)


# The last element of each, in a and b, by dtype; all others are zero.
LAST = {
    "float16": (struct.pack("<e", 1), struct.pack("<e", 2)),
    "bfloat16": (struct.pack("<f", 1)[2:], struct.pack("<f", 2)[2:]),
    "float64": (struct.pack("<d", 1), struct.pack("<d", 2)),
    "int8": (b"\x7f", b"\x7e"),
    "uint8": (b"\x80", b"\x7f"),
}


@pytest.mark.parametrize("dtype", LAST)
def test_the_largest_difference_is_that_of_the_numbers(dtype: str) -> None:
    a, b = (tensors(TensorSpec(bytes(80) + last, dtype, name="w")) for last in LAST[dtype])
    assert only(diff(a, b), PartKind.CONSTANT).max_difference == 1


def test_what_is_no_number_has_no_largest_difference() -> None:
    a, b = (tensors(TensorSpec(bytes(80) + bytes([last]), "bool", name="w")) for last in (0, 1))
    assert only(diff(a, b), PartKind.CONSTANT).max_difference is None


# Models as ExecuTorch writes them.


def test_xnnpacks_constants_have_the_types_of_its_values(digits: Path) -> None:
    source = BufferSource(digits.read_bytes())
    model = read_model(source)
    (found,) = read_blobs(source, model).constants.values()
    sizes = {named.key: model.segments[named.segment].range.size for named in model.named_data}
    assert {constant.key for constant in found} == set(sizes)
    for constant in found:
        assert constant.dtype == "float32"
        assert 4 * prod(constant.sizes or ()) == sizes[constant.key or ""]


def test_a_fine_tuned_weight_of_xnnpack_is_found_although_its_key_changed(digits: Path) -> None:
    data = digits.read_bytes()
    new = tuned(data, 6)
    found = diff(data, new)
    assert [(p.kind, p.change, p.matched_by, p.only_keys) for p in changed(found)] == [
        (PartKind.PROGRAM, Change.CHANGED, Basis.NAME, True),
        (PartKind.DELEGATE, Change.CHANGED, Basis.POSITION, True),
        (PartKind.NAMED_DATA, Change.CHANGED, Basis.DELEGATE, False),
    ]
    weight = only(found, PartKind.NAMED_DATA)
    assert weight.b is not None
    assert (weight.b.segment, weight.b.dtype, weight.users) == (6, "float32", ("forward:0",))
    place = read_model(BufferSource(data)).segments[6].range
    pairs = zip(data[place.offset : place.end], new[place.offset : place.end], strict=True)
    assert weight.differing_size == sum(old != other for old, other in pairs)
    assert weight.max_difference == pytest.approx(1e-3, rel=1e-3)
    assert (weight.new_block_count, found.blocks.new_count) == (3, 5)


def test_blocks_to_send_are_counted_as_b_stores_them(digits: Path, packed_digits: Path, tmp_path: Path) -> None:
    (tmp_path / "tuned.pte").write_bytes(tuned(digits.read_bytes(), 6))
    compress(tmp_path / "tuned.pte", tmp_path / "tuned.etz")
    plain = diff(digits, tmp_path / "tuned.pte").blocks
    assert (plain.block_size, plain.block_count, plain.new_count, plain.new_stored_size) == (65536, 18, 5, None)
    packed = diff(packed_digits, tmp_path / "tuned.etz").blocks
    assert replace(packed, new_stored_size=None) == plain
    with etpack.open(packed_digits) as a, etpack.open(tmp_path / "tuned.etz") as b:
        known = {a.read_at(block.range.offset, block.range.size) for block in a.blocks()}
        new = [block for block in b.blocks() if b.read_at(block.range.offset, block.range.size) not in known]
        assert packed.new_stored_size == sum(block.entry.stored_size for block in new)
    small = diff(packed_digits, tmp_path / "tuned.etz", block_size=4096).blocks
    assert (small.block_size, small.new_stored_size) == (4096, None)
    assert small.block_count > plain.block_count


def test_threads_do_not_change_what_is_found(digits: Path) -> None:
    new = tuned(digits.read_bytes(), 8)
    assert diff(digits, new, jobs=1) == diff(digits, new, jobs=3)


@cache
def _digits() -> bytes:
    return (ROOT / "examples" / "models" / "digits_fp32_xnnpack.pte").read_bytes()


@given(st.integers(min_value=0, max_value=493_479), st.integers(min_value=1, max_value=255))
def test_any_byte_that_changes_is_found_in_its_part(at: int, flip: int) -> None:
    data = _digits()
    other = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
    try:
        found = diff(data, other)
    except PteError:
        assert at < read_model(BufferSource(data)).program.end
        return
    assert not found.same
    assert found.blocks.new_count == 1 or at < read_model(BufferSource(data)).program.end
    hit = [part for part in changed(found) if part.b and part.b.offset is not None]
    assert any((p.b.offset or 0) <= at < (p.b.offset or 0) + p.b.size for p in hit if p.b)


# What is not a model, and what is hostile.


def test_two_opaque_files(tmp_path: Path) -> None:
    for name, data in (("a", b"one" * 40_000), ("b", b"one" * 39_999 + b"ONE")):
        (tmp_path / name).write_bytes(data)
        compress(tmp_path / name, tmp_path / f"{name}.etz", Options(opaque=True))
    found = diff(tmp_path / "a.etz", tmp_path / "b.etz")
    assert told(found) == [(PartKind.OPAQUE, Change.CHANGED, None)]
    assert (found.blocks.new_count, found.blocks.block_count) == (1, 2)


def test_a_pte_against_a_ptd(digits: Path) -> None:
    found = diff(digits, build_ptd(PtdSpec([NamedSpec("w", b"data")])))
    assert (found.a.kind.value, found.b.kind.value) == ("pte", "ptd")
    assert only(found, PartKind.PROGRAM).change is Change.RESIZED
    assert (PartKind.NAMED_DATA, Change.ADDED, "w") in told(found)


def test_parts_that_overlap_without_end_are_refused() -> None:
    size, count = 60_000, 60
    specs = [TensorSpec(weights(size, "int8"), "int8")]
    specs += [TensorSpec(bytes([number]), "int8", sizes=[size - number]) for number in range(1, count)]
    lies = {number + 1: number for number in range(count)}
    a, b = (build_pte(PteSpec([MethodSpec(tensors=specs)], constant_offsets=lies, trailing=t)) for t in (b"a", b"b"))
    with pytest.raises(LimitError, match="overlap"):
        _shrunk(a, b)


def _shrunk(a: bytes, b: bytes) -> Diff:
    """Compare with so little to be read again that the parts of two small models are too much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "_CHUNK_SIZE", 4096)
        patch.setattr(survey, "_MOST_READS", 1)
        return diff(a, b)


@pytest.mark.parametrize("block_size", [0, 2048, 5000, 8 << 20])
def test_impossible_block_sizes(digits: Path, block_size: int) -> None:
    with pytest.raises(ValueError, match="block size"):
        diff(digits, digits, block_size=block_size)
    assert run("diff", digits, digits, "--block-size", block_size).returncode == 2


# The command.


@pytest.fixture(scope="session")
def validator() -> Draft202012Validator:
    schema = json.loads((ROOT / "schemas" / "diff.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_schema_knows_every_word(validator: Draft202012Validator) -> None:
    words = validator.schema["$defs"]
    assert words["kind"]["enum"] == [kind.value for kind in PartKind]
    assert words["change"]["enum"] == [change.value for change in Change]
    assert words["part"]["properties"]["matched_by"]["enum"] == [*(basis.value for basis in Basis), None]


def test_json_follows_its_schema(packed_digits: Path, validator: Draft202012Validator) -> None:
    for a in EXAMPLE_MODELS:
        for b in (packed_digits, *EXAMPLE_MODELS):
            for words in ((), ("--all",)):
                result = run("diff", a, b, "--json", *words)
                value = json.loads(result.stdout)
                validator.validate(value)
                (found,) = value["results"]
                assert (result.returncode, result.stderr) == (0 if found["same"] else 1, "")
                assert sum(total["count"] for total in found["totals"]) >= len(found["parts"])


def test_exit_codes(digits: Path, packed_digits: Path, tmp_path: Path) -> None:
    """1 says that the files differ, and nothing else."""
    other = tmp_path / "other.pte"
    other.write_bytes(tuned(digits.read_bytes(), 6))
    broken = tmp_path / "broken.etz"
    broken.write_bytes(packed_digits.read_bytes()[:-1])
    no_model = tmp_path / "notes.txt"
    no_model.write_bytes(b"not a model" * 20)
    block = bytearray(packed_digits.read_bytes())
    block[200_000] ^= 1
    damaged = tmp_path / "damaged.etz"
    damaged.write_bytes(block)
    assert [run("diff", "-q", digits, b).returncode for b in (packed_digits, other)] == [0, 1]
    assert run("diff", "-q", digits, other).stdout == ""
    assert run("diff", digits).returncode == 2
    for bad in (broken, no_model, damaged):
        for pair in ((digits, bad), (bad, digits), (bad, bad)):
            result = run("diff", *pair)
            assert result.returncode == 3
            assert result.stderr.startswith(f"etpack: error: {bad}: ")
            assert result.stdout == ""
    assert "--opaque" not in run("diff", no_model, digits).stderr
    assert run("diff", digits, packed_digits, "--limit", "content-size=1K").returncode == 3
    result = run("diff", digits, tmp_path / "absent.pte")
    assert result.returncode == 4
    assert result.stderr.startswith(f"etpack: error: {tmp_path / 'absent.pte'}: ")


def test_the_command_prints_what_changed(digits: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pte"
    other.write_bytes(tuned(digits.read_bytes(), 6))
    result = run("diff", digits, other)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "Different: 3 changed, 10 unchanged"
    assert "5 of 18 blocks of up to 64 KiB" in result.stdout
    assert "forward:0 71c977b→" in result.stdout
    assert "? inferred" in result.stdout
    assert "\x1b" not in result.stdout
    assert max(map(len, lines[1:])) <= max(120, len(str(other)) + 60)
    assert sum(line.startswith("unchanged ") for line in run("diff", digits, other, "--all").stdout.splitlines()) == 10


def test_moved_parts_and_long_tables_are_put_together(tmp_path: Path) -> None:
    old = several(70)
    new = [TensorSpec(weights(300, seed=100 + number)) for number in range(70)]
    pairs = {"a": tensors(*old), "b": tensors(*new), "c": tensors(TensorSpec(b"first", "uint8", name="x"), *old)}
    for name, data in pairs.items():
        (tmp_path / name).write_bytes(data)
    long = run("diff", tmp_path / "a", tmp_path / "b").stdout
    assert "+ 21 more; --all shows them" in long
    assert long.count("changed  constant ") < 60
    moved = run("diff", tmp_path / "a", tmp_path / "c").stdout
    assert "70 parts moved, the same bytes at another offset; --all shows them" in moved
    assert "methods" not in moved.lower() or "value count" in moved


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    evil = "\x1b[31mred"
    a = build_pte(PteSpec([MethodSpec(evil, delegates=[DelegateSpec(evil, b"one")])], [NamedSpec(evil, b"x")]))
    b = build_pte(PteSpec([MethodSpec(evil, delegates=[DelegateSpec(evil, b"two")])], [NamedSpec(evil, b"y")]))
    print_diff(diff(a, b), console)
    print_diff(diff(_digits(), tuned(_digits(), 8)), console, everything=True)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert all(len(line) <= width and not line.endswith(" ") for line in text.splitlines())


def test_a_file_that_changes_meanwhile_is_an_error(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pte"
    path.write_bytes(digits.read_bytes())

    def touched(*_: object) -> bool:
        path.write_bytes(digits.read_bytes())
        return True

    monkeypatch.setattr(build, "_are_same", touched)
    result = run("diff", digits, path)
    assert result.returncode == 4
    assert f"{path}: changed while it was read" in result.stderr


def test_urls_are_fetched_once(digits: Path, packed_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_libraries()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = {"a.etz": packed_digits.read_bytes(), "b.pte": tuned(digits.read_bytes(), 6)}
    with serving(files) as site:
        result = run("diff", f"{site.url}a.etz", f"{site.url}b.pte")
        assert (result.returncode, result.stderr) == (1, "")
        assert result.stdout.startswith("Different: 3 changed, 10 unchanged\n")
        assert site.bytes_sent == sum(map(len, files.values()))
        assert run("diff", f"{site.url}absent.pte", digits).returncode == 4


def test_the_library_gives_what_the_command_prints(digits: Path, packed_digits: Path) -> None:
    assert etpack.diff is compare.diff
    assert isinstance(etpack.diff(digits, packed_digits), etpack.Diff)
