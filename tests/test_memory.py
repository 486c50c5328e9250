"""What comes back after a load: one test for each place and each verdict."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from etpack.memory import Place, Use, UseKind, Verdict, find_uses, group_uses, load_backends, weakest
from etpack.memory.fates import ANY_LOADER, BUFFER_ONLY, LOADERS_THAT_FREE
from etpack.pte import ModelFile, Range, read_blobs, read_model
from etpack.sources import BufferSource, open_source
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
from tests.make_xnnpack import NodeSpec, ValueSpec, build_blob

BLOB = b"a delegate's blob " * 10


def model_of(data: bytes) -> ModelFile:
    return read_model(BufferSource(data))


def uses_of(*methods: MethodSpec, named_data: Sequence[NamedSpec] = (), **fields: object) -> tuple[Use, ...]:
    spec = replace(PteSpec(methods=methods, named_data=named_data), **fields)  # type: ignore[arg-type]
    return find_uses(model_of(build_pte(spec)))


def only(uses: Sequence[Use], kind: UseKind) -> Use:
    (use,) = [use for use in uses if use.kind is kind]
    return use


def delegate_use(backend_id: str, *, inline: bool = False) -> Use:
    return only(uses_of(MethodSpec(delegates=[DelegateSpec(backend_id, BLOB, inline)])), UseKind.DELEGATE)


def named_use(*backend_ids: str) -> Use:
    delegates = [DelegateSpec(backend_id, BLOB + backend_id.encode()) for backend_id in backend_ids]
    return only(uses_of(MethodSpec(delegates=delegates), named_data=[NamedSpec("key", b"n" * 99)]), UseKind.NAMED_DATA)


# What a delegate's blob does, by id, if it is a segment.
BLOBS = {
    "XnnpackBackend": "always",
    "VulkanBackend": "on success",
    "QnnBackend": "conditional",
    "CoreMLBackend": "on success",
    "MPSBackend": "on success",
    "MetalBackend": "on success",
    "CudaBackend": "on success",
    "MLXBackend": "always",
    "OpenvinoBackend": "on success",
    "NeuropilotBackend": "never",
    "EthosUBackend": "never",
    "VgfBackend": "never",
    "NeutronBackend": "never",
    "EnnBackend": "never",
    "TOSABackend": "unknown",
    "NativeBackend": "unknown",
    "ExampleBackend": "unknown",
    "BackendWithCompilerDemo": "never",
    "BackendWithDelegateMappingDemo": "never",
    "ExecutorBackend": "never",
    "StubBackend": "conditional",
    "DemoBackend": "unknown",
    "BackendWithNamedDataMap": "unknown",
    "FirstBackendWithPreprocessAll": "unknown",
    "SecondBackendWithPreprocessAll": "unknown",
    "Backend1Demo": "unknown",
    "Backend2Demo": "unknown",
    "BackendWithCompilerExample": "unknown",
}


def test_the_table_has_every_backend() -> None:
    backends = load_backends()
    assert set(backends.runtimes) == set(BLOBS)
    assert {other.name for other in backends.not_delegates} == {"cadence", "cortex_m", "aoti"}


def test_every_record_says_why_where_and_of_which_version() -> None:
    for runtimes in load_backends().runtimes.values():
        for runtime in runtimes:
            assert runtime.reason.endswith(".")
            assert runtime.evidence
            assert all(re.fullmatch(r"[\w/.]+(:[\d,-]+)?", path) for path in runtime.evidence)
            assert re.fullmatch(r"\d+\.\d+\.\d+ \([0-9a-f]{7}\)", runtime.executorch)
            assert (runtime.verdict is Verdict.CONDITIONAL) == (runtime.condition is not None)
    assert load_backends().versions == ("1.5.0 (cff6f4d)",)


@pytest.mark.parametrize(("backend_id", "verdict"), BLOBS.items())
def test_blob_in_a_segment_goes_by_its_backend(backend_id: str, verdict: str) -> None:
    use = delegate_use(backend_id)
    assert use.place is Place.SEGMENT
    assert use.fate.verdict.value == verdict
    assert (use.methods, use.backends) == (("forward",), (backend_id,))
    assert not use.fate.inferred


@pytest.mark.parametrize("backend_id", BLOBS)
def test_inline_blob_never_comes_back(backend_id: str) -> None:
    use = delegate_use(backend_id, inline=True)
    assert (use.place, use.fate.verdict, use.method_frees) == (Place.FLATBUFFER, Verdict.NEVER, 0)
    assert use.inside_program
    assert "inline" in use.fate.why
    assert "gives back nothing" in use.fate.after_method_destroyed


def test_unknown_backend_is_unknown() -> None:
    use = delegate_use("SomebodysBackend")
    assert use.fate.verdict is Verdict.UNKNOWN
    assert use.method_frees == len(BLOB)


def test_one_id_of_two_runtimes_gets_the_weaker_verdict() -> None:
    assert {runtime.name: runtime.verdict for runtime in load_backends().find("VulkanBackend")} == {
        "Vulkan": Verdict.ALWAYS,
        "WebGPU": Verdict.ON_SUCCESS,
    }
    fate = delegate_use("VulkanBackend").fate
    assert fate.verdict is Verdict.ON_SUCCESS
    assert "Vulkan (always) or WebGPU (on success)" in fate.why
    assert named_use("VulkanBackend").fate.verdict is Verdict.CONDITIONAL


def test_weakest() -> None:
    order = [Verdict.ALWAYS, Verdict.ON_SUCCESS, Verdict.CONDITIONAL, Verdict.UNKNOWN, Verdict.NEVER]
    assert [weakest(order[: count + 1]) for count in range(5)] == order


@pytest.mark.parametrize(
    ("backend_id", "frees"), [("XnnpackBackend", 0), ("CoreMLBackend", 0), ("QnnBackend", 180), ("VgfBackend", 180)]
)
def test_what_destroying_the_method_gives_back(backend_id: str, frees: int) -> None:
    use = delegate_use(backend_id)
    assert use.size == len(BLOB) == 180
    assert use.method_frees == frees
    assert ("nothing" in use.fate.after_method_destroyed) == (frees == 0)


def test_the_condition_is_told() -> None:
    assert "Hexagon" in (delegate_use("QnnBackend").fate.condition or "")
    assert delegate_use("XnnpackBackend").fate.condition is None


def test_the_loader_is_told_where_it_matters() -> None:
    assert delegate_use("XnnpackBackend").fate.loader == LOADERS_THAT_FREE
    assert "BufferDataLoader frees nothing" in LOADERS_THAT_FREE
    assert delegate_use("VgfBackend").fate.loader == ANY_LOADER


@pytest.mark.parametrize(
    ("backend_ids", "verdict"),
    [
        (["XnnpackBackend"], "conditional"),
        (["CoreMLBackend"], "always"),
        (["CudaBackend"], "on success"),
        (["MLXBackend"], "never"),
        (["EthosUBackend"], "never"),
        (["SomebodysBackend"], "unknown"),
        (["CudaBackend", "MLXBackend"], "never"),
        (["CoreMLBackend", "SomebodysBackend"], "unknown"),
        (["CudaBackend", "QnnBackend"], "on success"),  # QNN asks for no named data
    ],
)
def test_named_data_goes_by_the_backends_that_may_ask(backend_ids: list[str], verdict: str) -> None:
    use = named_use(*backend_ids)
    assert use.fate.verdict.value == verdict
    assert use.fate.inferred
    assert use.methods == ("forward",)
    assert use.backends == tuple(sorted(set(backend_ids) - {"QnnBackend"}))


@pytest.mark.parametrize("backend_ids", [[], ["QnnBackend"]])
def test_named_data_that_no_delegate_asks_for_is_not_loaded(backend_ids: list[str]) -> None:
    use = named_use(*backend_ids)
    assert (use.fate.verdict, use.fate.inferred, use.methods, use.backends) == (Verdict.NOT_LOADED, True, (), ())


def test_named_data_of_a_methods_external_tensor_stays_with_the_method() -> None:
    tensor = TensorSpec(kind="external", name="w", sizes=[3, 5])
    uses = uses_of(MethodSpec(tensors=[tensor]), named_data=[NamedSpec("w", weights(15)), NamedSpec("x", b"x")])
    fates = {use.what: use for use in uses if use.kind is UseKind.NAMED_DATA}
    assert fates["w"].fate.verdict is Verdict.NEVER
    assert (fates["w"].methods, fates["w"].method_frees) == (("forward",), 60)
    assert fates["x"].fate.verdict is Verdict.NOT_LOADED


def test_external_tensor_is_held_by_the_method() -> None:
    use = only(uses_of(MethodSpec(tensors=[TensorSpec(kind="external", name="w", sizes=[3, 5])])), UseKind.EXTERNAL)
    assert (use.place, use.range, use.size) == (Place.OTHER_FILE, None, 60)
    assert (use.fate.verdict, use.method_frees) == (Verdict.NEVER, 60)


def test_size_of_an_external_tensor_is_bounded() -> None:
    spec = TensorSpec(kind="external", name="w", sizes=[2**31 - 1] * 20)
    assert only(uses_of(MethodSpec(tensors=[spec])), UseKind.EXTERNAL).size == 2**63 - 1


def test_program_and_constants_stay_with_the_program() -> None:
    uses = uses_of(MethodSpec(tensors=[TensorSpec(weights(100))]))
    for kind in (UseKind.PROGRAM, UseKind.CONSTANT):
        use = only(uses, kind)
        assert (use.fate.verdict, use.method_frees, use.fate.loader) == (Verdict.NEVER, 0, ANY_LOADER)
        assert "Program" in use.fate.why
    assert only(uses, UseKind.CONSTANT).size == 400


def test_inline_constants_are_part_of_the_program() -> None:
    uses = uses_of(MethodSpec(tensors=[TensorSpec(weights(100))]), inline_constants=True)
    assert not [use for use in uses if use.kind is UseKind.CONSTANT]


def test_mutable_data_is_copied_and_not_held() -> None:
    use = only(uses_of(MethodSpec(tensors=[TensorSpec(weights(10), kind="mutable")])), UseKind.MUTABLE)
    assert (use.fate.verdict, use.method_frees, use.methods) == (Verdict.NOT_HELD, 0, ("forward",))
    assert "load_into" in use.fate.loader


def test_unused_segment_padding_and_trailing_bytes_are_not_loaded() -> None:
    uses = uses_of(
        MethodSpec(delegates=[DelegateSpec(data=BLOB)]), unused_segments=[b"nobody's"], trailing=b"a signature"
    )
    assert only(uses, UseKind.UNUSED).size == 8
    assert only(uses, UseKind.TRAILING).size == 11
    kinds = (UseKind.UNUSED, UseKind.TRAILING, UseKind.PADDING)
    members = [use for use in uses if use.kind in kinds]
    assert len(members) >= 4
    assert {use.fate.verdict for use in members} == {Verdict.NOT_LOADED}


def test_each_use_of_a_shared_segment_is_a_use() -> None:
    methods = [MethodSpec(name, delegates=[DelegateSpec(data=BLOB)] * 2) for name in ("decode", "prefill")]
    uses = [use for use in uses_of(*methods) if use.kind is UseKind.DELEGATE]
    assert len(uses) == 4
    assert len({use.range for use in uses}) == 1
    assert [(group.methods, group.size) for group in group_uses(tuple(uses))] == [
        (("decode",), 2 * len(BLOB)),
        (("prefill",), 2 * len(BLOB)),
    ]


def test_each_key_of_a_shared_segment_is_a_use() -> None:
    named = [NamedSpec("a", b"same"), NamedSpec("b", b"same")]
    uses = [use for use in uses_of(MethodSpec(), named_data=named) if use.kind is UseKind.NAMED_DATA]
    assert [use.what for use in uses] == ["a", "b"]
    assert uses[0].range == uses[1].range


def test_ptd() -> None:
    model = model_of(build_ptd(PtdSpec([NamedSpec("w", weights(10), "float32"), NamedSpec("blob", b"b" * 70)])))
    uses = find_uses(model)
    named = [use for use in uses if use.kind is UseKind.NAMED_DATA]
    assert [(use.what, use.fate.verdict, use.fate.inferred) for use in named] == [
        ("w", Verdict.UNKNOWN, True),
        ("blob", Verdict.UNKNOWN, True),
    ]
    assert only(uses, UseKind.METADATA).fate.verdict is Verdict.NEVER
    assert_covers(model, uses)


def test_nothing_in_a_bundle_comes_back() -> None:
    nested = build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec(data=BLOB)])]))
    model = model_of(build_bpte(nested))
    uses = find_uses(model)
    assert {(use.fate.verdict, use.fate.loader) for use in uses} == {(Verdict.NEVER, BUFFER_ONLY)}
    assert_covers(model, uses)


def assert_covers(model: ModelFile, uses: Sequence[Use]) -> None:
    """Every byte of the file has a fate, and only one unless a segment is shared."""
    places = {use.range for use in uses if use.range and use.range.size and not use.inside_program}
    position = 0
    for place in sorted(places, key=lambda place: place.offset):
        assert place.offset == position
        position = place.end
    assert position == model.size


def test_every_byte_of_a_real_model_has_a_fate(real_model: Path) -> None:
    source = open_source(real_model)
    model = read_model(source)
    source.close()
    assert_covers(model, find_uses(model))


def test_every_byte_of_any_layout_has_a_fate() -> None:
    methods = [
        MethodSpec("a", [TensorSpec(weights(99)), TensorSpec(weights(7), kind="mutable")], [DelegateSpec(data=BLOB)]),
        MethodSpec("b", delegates=[DelegateSpec("QnnBackend", BLOB), DelegateSpec("VgfBackend", b"inline", True)]),
    ]
    spec = PteSpec(methods, [NamedSpec("k", b"1"), NamedSpec("l", b"1")], [b"unused"], trailing=b"end")
    model = model_of(build_pte(spec))
    assert_covers(model, find_uses(model))


def test_groups_keep_every_use(real_model: Path) -> None:
    source = open_source(real_model)
    uses = find_uses(read_model(source))
    source.close()
    groups = group_uses(uses)
    assert sorted(map(repr, uses)) == sorted(repr(use) for group in groups for use in group.uses)
    assert sum(group.size for group in groups) == sum(use.size for use in uses)


def test_many_keys_of_many_methods_are_quick() -> None:
    methods = [MethodSpec(f"m{number}", delegates=[DelegateSpec(data=BLOB)]) for number in range(300)]
    uses = uses_of(*methods, named_data=[NamedSpec(f"k{number}", b"1") for number in range(300)])
    named = [group for group in group_uses(uses) if group.kind is UseKind.NAMED_DATA]
    assert len(named) == 1
    assert len({id(use.methods) for use in named[0].uses}) == 1  # one tuple for all, not 90,000 names


def test_range_is_where_the_bytes_are() -> None:
    data = build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec(data=BLOB)])]))
    use = only(find_uses(model_of(data)), UseKind.DELEGATE)
    assert use.range == Range(data.index(BLOB), len(BLOB))


# What the blobs say


def blob_uses(*methods: MethodSpec, keys: Sequence[str] = ("filter", "slope")) -> dict[str, Use]:
    named = [NamedSpec(key, key.encode() * 8) for key in keys]
    source = BufferSource(build_pte(PteSpec(methods, named)))
    model = read_model(source)
    uses = find_uses(model, blobs=read_blobs(source, model))
    return {use.what: use for use in uses if use.kind is UseKind.NAMED_DATA}


XNNPACK_BLOB = build_blob([("filter", 48), ("slope", 40)], [ValueSpec(1), ValueSpec(2)], [NodeSpec(2, filter_id=0)])
OTHER_BLOB = build_blob([("slope", 40)], [ValueSpec(1)], [NodeSpec(2, filter_id=0)])


def test_named_data_that_a_blob_asks_for_is_its_backends_for_sure() -> None:
    uses = blob_uses(MethodSpec("m", delegates=[DelegateSpec(data=XNNPACK_BLOB)]), keys=("filter", "slope", "unasked"))
    assert {key: (use.fate.verdict.value, use.fate.inferred) for key, use in uses.items()} == {
        "filter": ("always", False),
        "slope": ("never", False),
        "unasked": ("not loaded", True),
    }
    assert (uses["filter"].backends, uses["filter"].methods) == (("XnnpackBackend",), ("m",))
    assert (uses["filter"].method_frees, uses["slope"].method_frees) == (0, 40)
    assert "packed a copy" in uses["filter"].fate.why
    assert "in place" in uses["slope"].fate.why


def test_named_data_of_several_methods_goes_by_the_one_that_keeps_it() -> None:
    methods = [MethodSpec("a", delegates=[DelegateSpec(data=OTHER_BLOB)])]
    assert blob_uses(*methods)["slope"].fate.verdict is Verdict.ALWAYS
    methods.append(MethodSpec("b", delegates=[DelegateSpec(data=XNNPACK_BLOB)]))
    uses = blob_uses(*methods)
    assert (uses["slope"].fate.verdict, uses["slope"].methods) == (Verdict.NEVER, ("a", "b"))
    assert uses["filter"].methods == ("b",)


def test_beside_a_backend_that_does_not_say_it_stays_inferred() -> None:
    delegates = [DelegateSpec(data=XNNPACK_BLOB), DelegateSpec("VulkanBackend", b"v")]
    uses = blob_uses(MethodSpec(delegates=delegates), keys=("filter", "other"))
    assert (uses["filter"].backends, uses["filter"].fate.inferred) == (("XnnpackBackend",), True)
    assert (uses["other"].backends, uses["other"].fate.inferred) == (("VulkanBackend",), True)


def test_a_blob_that_cannot_be_read_leaves_it_to_the_table() -> None:
    uses = blob_uses(MethodSpec(delegates=[DelegateSpec(data=XNNPACK_BLOB), DelegateSpec(data=BLOB)]))
    assert uses["filter"].fate.inferred
    assert uses["filter"].fate.verdict is Verdict.ALWAYS
    uses = blob_uses(MethodSpec(delegates=[DelegateSpec(data=BLOB)]))
    assert (uses["filter"].fate.verdict, uses["filter"].fate.inferred) == (Verdict.CONDITIONAL, True)


def test_a_table_in_which_xnnpack_asks_for_nothing_is_believed() -> None:
    source = BufferSource(
        build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec(data=XNNPACK_BLOB)])], [NamedSpec("filter", b"f" * 48)]))
    )
    model = read_model(source)
    own = replace(load_backends().find("XnnpackBackend")[0], named_data=None)
    uses = find_uses(model, load_backends().replaced_by([own]), read_blobs(source, model))
    assert only(uses, UseKind.NAMED_DATA).fate.verdict is Verdict.NOT_LOADED
