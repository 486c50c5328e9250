"""Model files of every layout give the right ModelFile; those that lie give a PteError with the right rule."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpack._flatbuffers.program import ScalarType
from etpack.errors import PteError
from etpack.pte import RULES, FileKind, ModelFile, Range, Role, bundled_program, header, read_model, sniff
from etpack.pte.dtypes import ITEM_SIZES, dtype_name
from etpack.pte.rules import broken
from etpack.sources import BufferSource, FileSource
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
    weights,
)

MODELS = Path(__file__).parent / "data" / "models"
PACKAGE = Path(__file__).resolve().parents[1] / "etpack"


def parse(data: bytes) -> ModelFile:
    return read_model(BufferSource(data))


def cut(data: bytes, part: Range | None) -> bytes:
    assert part is not None
    return data[part.offset : part.end]


def full_spec() -> PteSpec:
    """A program with everything that a program can have."""
    shared = TensorSpec(weights(40), name="layer.weight")
    return PteSpec(
        methods=[
            MethodSpec(
                "prefill",
                [shared, TensorSpec(weights(8, "bfloat16"), "bfloat16"), TensorSpec(kind="planned", sizes=[4])],
                [DelegateSpec("XnnpackBackend", b"shared blob"), DelegateSpec("QnnBackend", b"own blob")],
                planned_buffers=(1024, 64),
            ),
            MethodSpec(
                "decode",
                [shared, TensorSpec(b"\x01\0\0\0", "int32", kind="mutable", name="cache_position")],
                [DelegateSpec("XnnpackBackend", b"shared blob"), DelegateSpec("Inlined", b"inline blob", inline=True)],
            ),
        ],
        named_data=[NamedSpec("key b", b"named"), NamedSpec("key a", b"named"), NamedSpec("key c", b"other")],
        unused_segments=[b"nobody's"],
    )


# --- layouts -------------------------------------------------------------------------------------------------------


def test_everything_in_one_program() -> None:
    data = build_pte(full_spec())
    model = parse(data)
    assert model.kind is FileKind.PTE
    assert model.size == len(data)
    assert model.nested == Range(0, len(data))
    assert model.trailing == Range(len(data), 0)
    assert [segment.roles for segment in model.segments] == [
        (Role.CONSTANT,),
        (Role.MUTABLE,),
        (Role.DELEGATE,),
        (Role.DELEGATE,),
        (Role.NAMED_DATA,),
        (Role.NAMED_DATA,),
        (Role.UNUSED,),
    ]
    assert [segment.number for segment in model.segments] == list(range(7))
    contents = [cut(data, segment.range) for segment in model.segments[1:]]
    assert contents == [b"\x01\0\0\0", b"shared blob", b"own blob", b"named", b"other", b"nobody's"]
    assert all(segment.range.offset % 128 == 0 for segment in model.segments)


def test_segments_know_their_users() -> None:
    segments = parse(build_pte(full_spec())).segments
    assert segments[0].methods == ("decode", "prefill")
    assert segments[1].methods == ("decode",)
    assert (segments[2].delegate_ids, segments[2].methods) == (("XnnpackBackend",), ("decode", "prefill"))
    assert (segments[3].delegate_ids, segments[3].methods) == (("QnnBackend",), ("prefill",))
    assert segments[4].keys == ("key a", "key b")
    assert (segments[6].delegate_ids, segments[6].keys, segments[6].methods) == ((), (), ())


def test_methods_and_delegates() -> None:
    data = build_pte(full_spec())
    prefill, decode = parse(data).methods
    assert (prefill.name, prefill.planned_buffers, prefill.value_count) == ("prefill", (1024, 64), 5)
    assert (prefill.operator_count, prefill.input_count, prefill.output_count) == (1, 1, 1)
    assert [(each.id, each.number, each.segment, each.inline_index) for each in decode.delegates] == [
        ("XnnpackBackend", 0, 2, None),
        ("Inlined", 1, None, 0),
    ]
    assert cut(data, prefill.delegates[1].blob) == b"own blob"
    assert cut(data, decode.delegates[1].blob) == b"inline blob"


def test_named_data_keeps_the_order_of_the_program() -> None:
    named = parse(build_pte(full_spec())).named_data
    assert [(entry.key, entry.segment) for entry in named] == [("key b", 4), ("key a", 4), ("key c", 5)]


def test_tensors_are_merged_over_methods_and_have_exact_bytes() -> None:
    data = build_pte(full_spec())
    first, second, third = parse(data).tensors
    assert (first.name, first.kind, first.dtype, first.sizes) == ("layer.weight", "constant", "float32", (40,))
    assert (first.segment, first.buffer_index, first.methods) == (0, 1, ("decode", "prefill"))
    assert cut(data, first.data) == weights(40)
    assert (second.name, second.dtype, second.methods) == (None, "bfloat16", ("prefill",))
    assert cut(data, second.data) == weights(8, "bfloat16")
    assert (third.kind, third.name, third.segment) == ("mutable", "cache_position", 1)
    assert cut(data, third.data) == b"\x01\0\0\0"


def test_no_header_means_the_program_is_the_whole_file() -> None:
    data = build_pte(PteSpec())
    model = parse(data)
    assert model.program == Range(0, len(data))
    assert (model.header_length, model.segment_base, model.segment_data_size) == (0, None, None)
    assert [(each.range, each.roles) for each in model.segments] == [(Range(0, 0), (Role.CONSTANT,))]


@pytest.mark.parametrize("length", [24, 32, 40, 56])
def test_header_lengths(length: int) -> None:
    spec = full_spec()
    spec.header_length = length
    model = parse(build_pte(spec))
    assert model.header_length == length
    assert model.segment_base == model.segments[0].range.offset
    assert (model.segment_data_size is None) == (length < 32)
    assert model.program.end <= model.segments[0].range.offset


def test_header_without_segments() -> None:
    data = build_pte(PteSpec(header_length=32))
    model = parse(data)
    assert (model.program, model.segment_base, model.segment_data_size) == (Range(0, len(data)), 0, 0)


def test_inline_constants() -> None:
    tensors = [TensorSpec(weights(4), sizes=[2, 2]), TensorSpec(weights(4, seed=1), sizes=[2, 2])]
    data = build_pte(PteSpec([MethodSpec(tensors=tensors)], inline_constants=True))
    model = parse(data)
    assert model.segments == ()
    assert sorted(cut(data, tensor.data) for tensor in model.tensors) == sorted([weights(4), weights(4, seed=1)])
    assert {(tensor.segment, tensor.kind) for tensor in model.tensors} == {(None, "constant")}
    assert [tensor.data.offset % 16 for tensor in model.tensors if tensor.data] == [0, 0]


@pytest.mark.parametrize("alignment", [1, 16, 4096, 65536])
def test_any_segment_alignment(alignment: int) -> None:
    spec = full_spec()
    spec.segment_alignment = alignment
    model = parse(build_pte(spec))
    assert [segment.range.offset % alignment for segment in model.segments] == [0] * 7
    assert model.tensors == tuple(sorted(model.tensors, key=lambda tensor: tensor.data.offset if tensor.data else 0))


def test_empty_segments_may_share_an_offset() -> None:
    model = parse(build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec()])], unused_segments=[b"", b""])))
    constant, delegate, *empty = model.segments
    assert constant.range == Range(delegate.range.offset, 0)
    assert {each.range for each in empty} == {Range(delegate.range.end, 0)}
    roles = [role for segment in model.segments for role in segment.roles]
    assert roles == [Role.CONSTANT, Role.DELEGATE, Role.UNUSED, Role.UNUSED]


def test_overlapping_segments_are_accepted() -> None:
    spec = full_spec()
    spec.segment_entries = {3: (0, 100), 5: (50, 100)}
    model = parse(build_pte(spec))
    base = model.segments[0].range.offset
    assert (model.segments[3].range, model.segments[5].range) == (Range(base, 100), Range(base + 50, 100))


def test_a_segment_of_several_roles_lists_them_all() -> None:
    spec = full_spec()
    spec.named_data = [NamedSpec("key", b"named", segment=2), NamedSpec("weights", b"named", segment=0)]
    model = parse(build_pte(spec))
    assert model.segments[0].roles == (Role.CONSTANT, Role.NAMED_DATA)
    assert model.segments[2].roles == (Role.DELEGATE, Role.NAMED_DATA)


def test_trailing_bytes() -> None:
    spec = full_spec()
    spec.trailing = b"a signature"
    data = build_pte(spec)
    assert cut(data, parse(data).trailing) == b"a signature"


def test_trailing_bytes_begin_after_the_declared_segment_data() -> None:
    spec = full_spec()
    plain = parse(build_pte(spec))
    assert plain.segment_data_size is not None
    spec.segment_data_size = plain.segment_data_size + 4
    spec.trailing = b"dataTRAIL"
    data = build_pte(spec)
    assert cut(data, parse(data).trailing) == b"TRAIL"


def test_a_base_after_the_end_matters_only_with_segments() -> None:
    data = build_pte(PteSpec(header_length=24, segment_base=0))
    model = parse(build_pte(PteSpec(header_length=24, segment_base=len(data))))
    assert model.trailing == Range(len(data), 0)


def test_external_tensors_come_last_and_have_no_bytes() -> None:
    tensors = [
        TensorSpec(kind="external", name="z", sizes=[2, 3]),
        TensorSpec(kind="external", name="a", sizes=[4]),
        TensorSpec(weights(4)),
    ]
    model = parse(build_pte(PteSpec([MethodSpec("m", tensors), MethodSpec("n", tensors[:1])])))
    assert [(tensor.kind, tensor.name) for tensor in model.tensors] == [
        ("constant", None),
        ("external", "a"),
        ("external", "z"),
    ]
    assert model.tensors[2].methods == ("m", "n")
    assert (model.tensors[2].data, model.tensors[2].segment, model.tensors[2].buffer_index) == (None, None, None)


def test_a_view_of_part_of_a_buffer_does_not_hide_the_rest() -> None:
    part, whole = TensorSpec(weights(8), sizes=[2]), TensorSpec(weights(8))
    (tensor,) = parse(build_pte(PteSpec([MethodSpec(tensors=[part, whole, part])]))).tensors
    assert tensor.sizes == (8,)


def test_a_tensor_of_unknown_type_goes_to_the_next_one() -> None:
    tensors = [TensorSpec(weights(5), scalar_type=99), TensorSpec(weights(3, seed=1), scalar_type=99)]
    first, second = parse(build_pte(PteSpec([MethodSpec(tensors=tensors)]))).tensors
    assert first.dtype == "scalar_type_99"
    assert first.data is not None
    assert second.data is not None
    assert (first.data.size, second.data.size) == (32, 12)  # with padding, since nobody can tell
    inline = parse(build_pte(PteSpec([MethodSpec(tensors=tensors)], inline_constants=True))).tensors
    assert sorted(tensor.data.size for tensor in inline if tensor.data) == [12, 20]


def test_scalars_and_empty_tensors() -> None:
    tensors = [TensorSpec(b"abcd", "float32", sizes=[]), TensorSpec(b"abcdefgh", "int64", sizes=[0, 5])]
    model = parse(build_pte(PteSpec([MethodSpec(tensors=tensors)])))
    assert [(tensor.sizes, tensor.data.size) for tensor in model.tensors if tensor.data] == [((), 4), ((0, 5), 0)]


def test_a_program_without_methods() -> None:
    assert parse(build_pte(PteSpec(methods=[], header_length=32))).methods == ()


def test_ptd() -> None:
    spec = PtdSpec(
        [
            NamedSpec("b", weights(6), "float32", [2, 3]),
            NamedSpec("a", weights(6), "float32"),
            NamedSpec("blob", b"no tensor"),
        ],
        trailing=b"tail",
    )
    data = build_ptd(spec)
    model = parse(data)
    assert (model.kind, model.header_length, model.methods) == (FileKind.PTD, 40, ())
    assert [(each.roles, each.keys) for each in model.segments] == [
        ((Role.NAMED_DATA,), ("a", "b")),
        ((Role.NAMED_DATA,), ("blob",)),
    ]
    assert [(each.name, each.sizes, each.segment, each.buffer_index) for each in model.tensors] == [
        ("a", (6,), 0, None),
        ("b", (2, 3), 0, None),
    ]
    assert {cut(data, each.data) for each in model.tensors} == {weights(6)}
    assert {(each.kind, each.dtype) for each in model.tensors} == {("constant", "float32")}
    assert cut(data, model.trailing) == b"tail"
    assert model.program.end <= model.segments[0].range.offset


@pytest.mark.parametrize("header_length", [0, 24, 32])
def test_bpte_offsets_are_those_of_the_outer_file(header_length: int) -> None:
    spec = PteSpec() if header_length == 0 else full_spec()
    spec.header_length, spec.trailing = header_length, b"" if header_length == 0 else b"tail"
    inner = build_pte(spec)
    data = build_bpte(inner)
    model, alone = parse(data), parse(inner)
    start = data.index(inner)
    assert model.kind is FileKind.BPTE
    assert model.size == len(data)
    assert model.nested == Range(start, len(inner))
    assert model.program == Range(start, alone.program.size)
    assert model.trailing == Range(start + alone.trailing.offset, alone.trailing.size)
    assert [each.range.offset - start for each in model.segments] == [each.range.offset for each in alone.segments]
    assert [cut(data, each.data) for each in model.tensors] == [cut(inner, each.data) for each in alone.tensors]
    blobs = [cut(data, each.blob) for method in model.methods for each in method.delegates]
    assert blobs == [cut(inner, each.blob) for method in alone.methods for each in method.delegates]
    if alone.segment_base is not None:
        assert model.segment_base == start + alone.segment_base


def test_sniff_needs_16_bytes_and_no_name() -> None:
    assert sniff(build_pte(PteSpec())[:16]) is FileKind.PTE
    assert sniff(build_ptd(PtdSpec())[:16]) is FileKind.PTD
    assert sniff(build_bpte(b"")[:16]) is FileKind.BPTE
    assert sniff(b"ET12") is None
    assert sniff(b"") is None


def test_every_scalar_type_has_a_size() -> None:
    assert {dtype_name(number) for number in ScalarType} == set(ITEM_SIZES)
    assert sorted(int(number) for number in ScalarType) == list(range(30))


# --- real files ----------------------------------------------------------------------------------------------------
# Expected values were read off hex dumps.


def real(name: str) -> tuple[bytes, ModelFile]:
    return (MODELS / name).read_bytes(), read_model(FileSource(MODELS / name))


def test_real_program_without_header() -> None:
    _, model = real("add_apple.pte")
    assert (model.size, model.program, model.header_length) == (728, Range(0, 728), 0)
    (method,) = model.methods
    assert (method.name, method.planned_buffers, method.value_count, method.operator_count) == ("forward", (48,), 4, 1)
    assert model.tensors == ()


def test_real_program_with_one_constant() -> None:
    data, model = real("add_arduino.pte")
    assert (model.program, model.segment_base, model.segment_data_size) == (Range(0, 0x410), 0x480, 4)
    (tensor,) = model.tensors
    assert (tensor.dtype, tensor.sizes, tensor.data) == ("float32", (), Range(0x480, 4))
    assert struct.unpack("<f", cut(data, tensor.data)) == (1.0,)


def test_real_program_with_inline_constants() -> None:
    data, model = real("module_linear_no_constant_segment.pte")
    assert (model.header_length, model.segments) == (0, ())
    assert [tensor.data for tensor in model.tensors] == [Range(0x70, 16), Range(0x90, 16)]
    assert [tensor.buffer_index for tensor in model.tensors] == [2, 1]
    assert struct.unpack("<4f", cut(data, model.tensors[0].data)) == (2.0,) * 4
    assert struct.unpack("<4f", cut(data, model.tensors[1].data)) == (3.0,) * 4


def test_real_bundle() -> None:
    data, model = real("bundled_program.bpte")
    assert (model.kind, model.header_length, model.segment_data_size) == (FileKind.BPTE, 24, None)
    assert (model.nested, model.program, model.segment_base) == (Range(0x40, 0x6A0), Range(0x40, 0x630), 0x6C0)
    assert [tensor.data for tensor in model.tensors] == [Range(0x6C0, 16), Range(0x6D0, 16)]
    assert [struct.unpack("<4i", cut(data, tensor.data)) for tensor in model.tensors] == [(3,) * 4, (2,) * 4]


def test_real_microcontroller_model() -> None:
    _, model = real("keyword_spotting_cortex_m.pte")
    (segment,) = model.segments
    assert (model.program.size, segment.range) == (14904, Range(14976, 39216))
    assert segment.range.end == model.size
    assert len(model.tensors) == 63
    assert model.tensors[0].data == Range(14976, 256)
    assert sum(tensor.data.size for tensor in model.tensors if tensor.data) <= segment.range.size


# --- lies ----------------------------------------------------------------------------------------------------------


def lying(**lies: object) -> Callable[[], bytes]:
    """A program with everything, and some fields of its spec replaced."""

    def build() -> bytes:
        spec = full_spec()
        for name, value in lies.items():
            assert hasattr(spec, name)
            setattr(spec, name, value)
        return build_pte(spec)

    return build


def with_tensor(**fields: object) -> Callable[[], bytes]:
    return lambda: build_pte(PteSpec([MethodSpec(tensors=[TensorSpec(**{"data": weights(4), **fields})])]))  # type: ignore[arg-type]


def with_delegate(**fields: object) -> Callable[[], bytes]:
    return lambda: build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec(**fields)])]))  # type: ignore[arg-type]


def inline_tensor(**fields: object) -> Callable[[], bytes]:
    tensor = TensorSpec(**{"data": weights(4), **fields})  # type: ignore[arg-type]
    return lambda: build_pte(PteSpec([MethodSpec(tensors=[tensor])], inline_constants=True))


def ptd(*named: NamedSpec, **lies: object) -> Callable[[], bytes]:
    entries = named or (NamedSpec("key", weights(4), "float32"),)
    return lambda: build_ptd(PtdSpec(entries, **lies))  # type: ignore[arg-type]


# Each: the rule, and a file that breaks it and no rule before it.
LIES: list[tuple[str, Callable[[], bytes]]] = [
    ("file-size", lambda: b""),
    ("file-size", lambda: b"E"),
    ("file-size", lambda: build_pte(PteSpec())[:63]),
    ("file-size", lambda: build_ptd(PtdSpec())[:40]),
    ("file-size", lambda: build_bpte(b"")[:40]),
    ("file-size", lambda: build_bpte(build_pte(PteSpec())[:60])),
    ("identifier", lambda: b"PK\x03\x04" + bytes(100)),
    ("identifier", lying(identifier=b"ET13")),
    ("identifier", ptd(identifier=b"FT02")),
    ("identifier", lambda: build_bpte(build_pte(full_spec()), identifier=b"BP09")),
    ("identifier", lambda: build_bpte(bytes(100))),
    ("identifier", lambda: build_bpte(build_ptd(PtdSpec([NamedSpec("key", weights(4))])))),
    ("header-magic", ptd(magic=b"FH02")),
    ("header-length", lying(header_length=23)),
    ("header-length", lambda: build_pte(PteSpec(header_length=32, patches={12: struct.pack("<I", 8)}))),
    ("header-length", ptd(header_length=39)),
    ("program-size", lying(program_size=0)),
    ("program-size", lying(program_size=31)),
    ("program-size", lying(program_size=2**64 - 1)),
    ("program-size", lambda: lying(header_length=24)()[:200]),
    ("program-size", ptd(program_size=2**64 - 1)),
    ("segment-data-size", lying(segment_data_size=10**6)),
    ("segment-data-size", lying(segment_data_size=2**64 - 1)),
    ("segment-data-size", lying(segment_base=2**64 - 1)),
    ("segment-data-size", ptd(segment_data_size=2**64 - 1)),
    ("schema-version", lying(version=1)),
    ("schema-version", ptd(version=1)),
    ("flatbuffer-bounds", lying(patches={0: b"\xff\xff\xff\xff"})),
    ("flatbuffer-bounds", lying(program_size=64)),
    ("required-field", lying(methods=[MethodSpec(None)])),
    ("required-field", with_delegate(id=None)),
    ("required-field", with_delegate(data=None)),
    ("required-field", lying(named_data=[NamedSpec(None, b"x")])),
    ("required-field", ptd(NamedSpec(None, b"x"))),
    ("required-field", lambda: build_bpte(None).ljust(64, b"\0")),
    ("segment-base", lying(header_length=0)),
    ("segment-base", lying(segment_base=0)),
    ("segment-range", lying(segment_entries={3: (0, 10**6)})),
    ("segment-range", lying(segment_entries={3: (2**64 - 1, 2**64 - 1)})),
    ("segment-range", lying(segment_entries={0: (10**6, 0)})),
    ("segment-range", lying(header_length=24, segment_base=10**6)),
    ("segment-range", ptd(segment_entries={0: (0, 10**6)})),
    ("segment-range", lambda: build_bpte(lying(segment_entries={6: (0, 10**4)})()) + bytes(10**6)),
    ("constant-segment", lying(constant_segment=7)),
    ("mutable-segment", lying(mutable_segment=7)),
    ("subsegment-offset", lying(constant_offsets={2: 10**6})),
    ("subsegment-offset", lying(constant_offsets={1: 2**64 - 1})),
    ("delegate-location", with_delegate(location=2)),
    ("delegate-location", with_delegate(location=-1)),
    ("delegate-index", with_delegate(index=2)),
    ("delegate-index", with_delegate(index=2**32 - 1)),
    ("delegate-index", with_delegate(inline=True, index=1)),
    ("named-data-index", lying(named_data=[NamedSpec("key", b"x", segment=99)])),
    ("named-data-index", ptd(NamedSpec("key", b"x", segment=99))),
    ("tensor-size", with_tensor(sizes=[-1])),
    ("tensor-size", with_tensor(sizes=[2**31 - 1] * 3)),
    ("tensor-size", with_tensor(sizes=[2**31 - 1] * 10_000)),
    ("tensor-size", ptd(NamedSpec("key", weights(4), "float32", [-4]))),
    ("tensor-buffer-index", with_tensor(buffer_index=2)),
    ("tensor-buffer-index", with_tensor(buffer_index=2**32 - 1)),
    ("tensor-buffer-index", inline_tensor(buffer_index=2)),
    ("tensor-buffer-index", with_tensor(kind="mutable-without-table", buffer_index=2)),
    ("tensor-range", with_tensor(sizes=[5])),
    ("tensor-range", with_tensor(sizes=[2**31 - 1, 2**31 - 1])),
    ("tensor-range", with_tensor(kind="mutable", sizes=[5])),
    ("tensor-range", inline_tensor(sizes=[5])),
    ("tensor-range", ptd(NamedSpec("key", weights(4), "float32", [5]))),
]


@pytest.mark.parametrize(("rule", "build"), LIES, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(LIES)])
def test_lie(rule: str, build: Callable[[], bytes]) -> None:
    data = build()
    with pytest.raises(PteError) as caught:
        parse(data)
    assert caught.value.rule == rule
    assert caught.value.where is None or 0 <= caught.value.where <= len(data)
    assert len(str(caught.value)) < 200


def test_every_rule_has_a_lie() -> None:
    assert {rule for rule, _ in LIES} == set(RULES)


def test_rules_are_sentences_and_all_of_them_are_used() -> None:
    for sentence in RULES.values():
        assert re.match(r"A reader refuses a (file|\.ptd|\.pte) in which .*\.$", sentence)
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((PACKAGE / "pte").glob("*.py")))
    for rule in RULES:
        assert text.count(f'"{rule}"') >= 2, f"{rule} is in the table only"


@pytest.mark.parametrize("build", [build_pte, lambda spec: build_bpte(build_pte(spec))])
def test_flatbuffers_beyond_their_own_offsets_are_refused(
    build: Callable[[PteSpec], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = build(PteSpec())
    for module in (header, bundled_program):
        monkeypatch.setattr(module, "MAX_PROGRAM_SIZE", len(data) - 1)
    with pytest.raises(PteError, match="program-size"):
        parse(data)


def test_an_error_without_a_rule_cannot_be_made() -> None:
    with pytest.raises(KeyError):
        broken("no-such-rule", "message")


def test_a_newer_executorch_is_named_as_the_cause() -> None:
    for build in (lying(identifier=b"ET13"), lying(version=1)):
        with pytest.raises(PteError) as caught:
            parse(build())
        assert caught.value.hint is not None
        assert "ExecuTorch" in caught.value.hint


def test_a_long_name_does_not_flood_the_message() -> None:
    with pytest.raises(PteError) as caught:
        parse(build_pte(PteSpec(named_data=[NamedSpec("k" * 100_000, b"x", segment=9)])))
    assert len(str(caught.value)) < 200


def test_a_directory_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        read_model(FileSource(tmp_path))


# --- hostile -------------------------------------------------------------------------------------------------------


def small_files() -> list[bytes]:
    pte = build_pte(full_spec())
    return [pte, build_ptd(PtdSpec([NamedSpec("key", weights(4), "float32")])), build_bpte(pte)]


def check(data: bytes) -> None:
    """Parse; whatever is not refused must lie inside the file."""
    try:
        model = parse(data)
    except PteError as exc:
        assert exc.rule in RULES  # noqa: PT017  (either outcome is right)
        return
    ranges = [model.program, model.nested, model.trailing]
    ranges += [segment.range for segment in model.segments]
    ranges += [delegate.blob for method in model.methods for delegate in method.delegates]
    ranges += [tensor.data for tensor in model.tensors if tensor.data]
    for part in ranges:
        assert part.offset >= 0
        assert part.size >= 0
        assert part.end <= len(data)


@pytest.mark.parametrize("number", range(3))
def test_truncated_at_every_length(number: int) -> None:
    data = small_files()[number]
    for length in range(len(data)):
        check(data[:length])


@pytest.mark.unmeasured
@pytest.mark.parametrize("number", range(3))
def test_every_byte_changed(number: int) -> None:
    """To one of four values each, in turn; `make sweep` flips every bit."""
    data = bytearray(small_files()[number])
    for at, old in enumerate(data):
        data[at] = (0, 0xFF, old ^ 1, old ^ 0x80)[(at + at // 4) % 4]
        check(bytes(data))
        data[at] = old


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    check(data)


@given(st.sampled_from([b"ET12eh00", b"ET12", b"FT01FH01", b"BP08"]), st.binary(min_size=60, max_size=300))
def test_arbitrary_bytes_after_an_identifier(identifier: bytes, data: bytes) -> None:
    check(data[:4] + identifier + data[4:])


# --- cost ----------------------------------------------------------------------------------------------------------


class CountingSource(BufferSource):
    """Counts the bytes that are read."""

    total = 0

    def read_at(self, offset: int, size: int) -> bytes:
        self.total += size
        return super().read_at(offset, size)


def test_segments_are_not_read() -> None:
    data = build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec(data=bytes(4 << 20))])]))
    for whole in (data, build_bpte(data)):
        source = CountingSource(whole)
        read_model(source)
        assert source.total < 1 << 20


def test_inline_blobs_are_not_read_either() -> None:
    blob = DelegateSpec(data=bytes(4 << 20), inline=True)
    source = CountingSource(build_pte(PteSpec([MethodSpec(delegates=[blob])])))
    read_model(source)
    assert source.total < 1 << 20


@pytest.mark.unmeasured
def test_twenty_thousand_values_take_a_moment() -> None:
    planned = [TensorSpec(kind="planned", sizes=[1, 128, 384])] * 16_000
    constants = [TensorSpec(struct.pack("<f", number)) for number in range(4_000)]
    data = build_pte(PteSpec([MethodSpec(tensors=planned + constants)]))
    started = time.process_time()
    assert len(parse(data).tensors) == 4_000
    assert time.process_time() - started < 10  # a thirtieth of that on an idle machine
