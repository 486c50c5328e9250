"""`etpack.guard`: a sound model breaks no rule, and each way to be broken is found by its rule and by nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import etpack
from etpack._flatbuffers.program import ExecutionPlan, InstructionArguments, KernelTypes
from etpack.check import MAX_FINDINGS, FileVerdict, Finding, verify_file
from etpack.check.verdict import Findings
from etpack.guard import MAX_FAULTS, MODEL_RULES, Faults, check_model
from etpack.pte import RULES, read_model
from etpack.sources import BufferSource
from tests.conftest import ROOT
from tests.make_pte import (
    ChainSpec,
    DelegateSpec,
    InstructionSpec,
    MethodSpec,
    NamedSpec,
    PtdSpec,
    PteSpec,
    TensorSpec,
    ValueSpec,
    build_bpte,
    build_ptd,
    build_pte,
    weights,
)

RULES_PAGE = ROOT / "schemas" / "model-rules.md"

CONSTANT, PLANNED, MUTABLE, NUMBER, FLAG = 0, 1, 2, 3, 5  # values of the sound method that others refer to

KERNEL = InstructionSpec(InstructionArguments.KERNEL_CALL, args=[CONSTANT, PLANNED, PLANNED])
DELEGATE = InstructionSpec(InstructionArguments.DELEGATE_CALL, args=[PLANNED])
MOVE = InstructionSpec(InstructionArguments.MOVE_CALL, [NUMBER, NUMBER + 1])
JUMP = InstructionSpec(InstructionArguments.JUMP_FALSE_CALL, [FLAG, 5])
FREE = InstructionSpec(InstructionArguments.FREE_CALL, [PLANNED])

TENSORS = [
    TensorSpec(weights(40), sizes=[2, 20], dim_order=[1, 0]),
    TensorSpec(kind="planned", sizes=[4], memory_offset=16),
    TensorSpec(weights(8, seed=1), kind="mutable", memory_id=2),
]
VALUES: list[ValueSpec | TensorSpec] = [
    ValueSpec(KernelTypes.BOOL),
    ValueSpec(KernelTypes.NULL, filled=False),
    ValueSpec(KernelTypes.INT_LIST, [3, 4], 8),
    ValueSpec(KernelTypes.TENSOR_LIST, [0, 1]),
    ValueSpec(KernelTypes.OPTIONAL_TENSOR_LIST, [-1, 0, 6]),
    ValueSpec(KernelTypes.DOUBLE_LIST, [0], 8),
    ValueSpec(KernelTypes.BOOL_LIST, [0, 1], 1),
    ValueSpec(KernelTypes.STRING, list(b"text")),
    ValueSpec(KernelTypes.DOUBLE),
]
SOUND = MethodSpec(
    tensors=TENSORS,
    more_values=VALUES,
    delegates=[
        DelegateSpec(data=b"blob" * 50, compile_specs=[("key", b"value")]),
        DelegateSpec(data=b"inlined", inline=True),
    ],
    planned_buffers=(32, 32),
    inputs=[PLANNED],
    outputs=[PLANNED],
    chains=[ChainSpec([KERNEL, DELEGATE, MOVE, JUMP, FREE], [PLANNED], [PLANNED])],
)
NAMED = [NamedSpec("one", b"named data 1"), NamedSpec("two", b"named data 2")]


def sound_spec(**changes: object) -> PteSpec:
    """Return a model with everything in it; `changes` replace fields of the spec."""
    return replace(PteSpec([SOUND, MethodSpec("other")], named_data=NAMED), **changes)  # type: ignore[arg-type]


def model(**changes: object) -> Callable[[], bytes]:
    return lambda: build_pte(sound_spec(**changes))


def method(**changes: object) -> Callable[[], bytes]:
    return model(methods=[replace(SOUND, **changes)])  # type: ignore[arg-type]


def tensor(number: int, **changes: object) -> Callable[[], bytes]:
    tensors = list(TENSORS)
    tensors[number] = replace(tensors[number], **changes)  # type: ignore[arg-type]
    return method(tensors=tensors)


def value(spec: ValueSpec) -> Callable[[], bytes]:
    return method(more_values=[*VALUES, spec])


def instruction(spec: InstructionSpec, **changes: object) -> Callable[[], bytes]:
    return method(chains=[ChainSpec([replace(spec, **changes)])])  # type: ignore[arg-type]


def delegate(**changes: object) -> Callable[[], bytes]:
    return method(delegates=[DelegateSpec(data=b"blob", **changes)])  # type: ignore[arg-type]


def ptd(*named: NamedSpec, **changes: object) -> Callable[[], bytes]:
    return lambda: build_ptd(PtdSpec(named or [NamedSpec("w", weights(4), "float32")], **changes))  # type: ignore[arg-type]


def odd_bundle() -> bytes:
    """Return a bundle whose program starts at a multiple of 8 but not of 16."""
    nested = build_pte(PteSpec())
    bundles = (build_bpte(nested + bytes(more), alignment=4) for more in range(0, 64, 4))
    return next(data for data in bundles if data.index(nested) % 16)


def two_constants(offset: int) -> Callable[[], bytes]:
    """A model in which the first of two constants starts at `offset` in its segment."""
    tensors = [*TENSORS[:1], TensorSpec(weights(80, seed=2))]
    return lambda: build_pte(PteSpec([MethodSpec(tensors=tensors)], constant_offsets={1: offset}))


def shifted(room: int) -> Callable[[], bytes]:
    """A model of which the header takes `room` bytes, so that all behind it is shifted."""
    return model(methods=[replace(SOUND, delegates=[], chains=[ChainSpec()])], header_room=room)


# Each: the rule, and a model that breaks it and no other.
FAULTS: list[tuple[str, Callable[[], bytes]]] = [
    ("program-alignment", odd_bundle),
    ("segment-in-program", lambda: build_pte(sound_spec(segment_base=1024))),
    ("segment-overlap", model(segment_entries={3: (128, 20)})),
    ("segment-overlap", ptd(NamedSpec("a", b"x" * 99), NamedSpec("b", b"y"), segment_entries={1: (96, 1)})),
    ("segment-beyond-data", model(segment_data_size=200)),
    ("segment-beyond-data", ptd(segment_data_size=15)),
    ("segment-alignment", model(segment_alignment=4, tensor_alignment=16)),
    ("inline-alignment", model(inline_alignment=1)),
    ("tensor-alignment", two_constants(2)),
    ("constant-alignment", two_constants(4)),
    ("constants-twice", model(more_inline_constants=[weights(4)])),
    ("mutable-shared", model(more_mutable_segments=[1])),
    ("key-conflict", model(named_data=[*NAMED, NamedSpec("one", b"other data")])),
    ("key-conflict", ptd(NamedSpec("a", b"x"), NamedSpec("a", b"y"))),
    ("key-repeated", model(named_data=[*NAMED, NAMED[0]])),
    ("flatbuffer-alignment", shifted(34)),
    ("flatbuffer-alignment", shifted(36)),
    ("method-unique", model(methods=[SOUND, MethodSpec("other"), MethodSpec("other")])),
    ("method-field", method(absent=[ExecutionPlan.INPUTS])),
    ("method-field", method(absent=[ExecutionPlan.OUTPUTS])),
    ("method-field", method(absent=[ExecutionPlan.CHAINS])),
    ("method-field", method(chains=[])),
    ("method-field", method(absent=[ExecutionPlan.DELEGATES], chains=[ChainSpec()])),
    ("method-field", lambda: build_pte(PteSpec([MethodSpec(absent=[ExecutionPlan.NON_CONST_BUFFER_SIZES])]))),
    ("method-field", lambda: build_pte(PteSpec([MethodSpec(absent=[ExecutionPlan.VALUES], inputs=[], outputs=[])]))),
    ("planned-size", method(planned_buffers=[32, 32, -1])),
    ("input-output-index", method(inputs=[14])),
    ("input-output-index", method(inputs=[0, -1])),
    ("input-output-index", method(outputs=[2**31 - 1])),
    ("delegate-specs", delegate(compile_specs=None)),
    ("delegate-specs", delegate(compile_specs=[(None, b"value")])),
    ("delegate-specs", delegate(compile_specs=[("key", None)])),
    ("operator-name", method(operator_name=(None, "out"))),
    ("operator-name", method(operator_name=("a" * 96, "out"))),
    ("operator-name", method(operator_name=("a" * 100, None))),
    ("value-type", value(ValueSpec(KernelTypes.NONE))),
    ("value-type", value(ValueSpec(12))),
    ("value-type", value(ValueSpec(KernelTypes.INT, filled=False))),
    ("value-type", value(ValueSpec(KernelTypes.TENSOR, filled=False))),
    ("value-type", value(ValueSpec(KernelTypes.STRING))),
    ("value-type", value(ValueSpec(KernelTypes.TENSOR_LIST))),
    ("list-index", value(ValueSpec(KernelTypes.INT_LIST, [15], 8))),
    ("list-index", value(ValueSpec(KernelTypes.INT_LIST, [-1], 8))),
    ("list-index", value(ValueSpec(KernelTypes.TENSOR_LIST, [-1]))),
    ("list-index", value(ValueSpec(KernelTypes.OPTIONAL_TENSOR_LIST, [-2]))),
    ("list-type", value(ValueSpec(KernelTypes.INT_LIST, [CONSTANT], 8))),
    ("list-type", value(ValueSpec(KernelTypes.TENSOR_LIST, [NUMBER]))),
    ("list-type", value(ValueSpec(KernelTypes.OPTIONAL_TENSOR_LIST, [NUMBER]))),
    ("list-order", method(more_values=[*VALUES, ValueSpec(KernelTypes.TENSOR_LIST, [15]), TensorSpec(kind="input")])),
    ("tensor-dtype", tensor(PLANNED, scalar_type=30)),
    ("tensor-dtype", tensor(CONSTANT, scalar_type=-1)),
    ("tensor-dtype", ptd(NamedSpec("w", weights(4), "float32", scalar_type=99))),
    ("tensor-rank", tensor(PLANNED, sizes=[1] * 17)),
    ("tensor-rank", ptd(NamedSpec("w", weights(1), "float32", [1] * 17))),
    ("tensor-dim-order", tensor(CONSTANT, dim_order=[])),
    ("tensor-dim-order", value(ValueSpec(KernelTypes.TENSOR))),
    ("tensor-dim-order", tensor(CONSTANT, dim_order=[0, 0])),
    ("tensor-dim-order", tensor(CONSTANT, dim_order=[1, 2])),
    ("tensor-dim-order", tensor(CONSTANT, dim_order=[0] * 1000)),
    ("tensor-dim-order", ptd(NamedSpec("w", weights(4), "float32", dim_order=[1]))),
    ("tensor-size", tensor(PLANNED, sizes=[-1])),
    ("tensor-size", tensor(PLANNED, sizes=[2**31 - 1] * 3)),
    ("tensor-unsupported", tensor(PLANNED, storage_offset=1)),
    ("tensor-unsupported", tensor(PLANNED, shape_dynamism=2)),
    ("tensor-name", method(tensors=[*TENSORS[:2], TensorSpec(kind="external", sizes=[4])])),
    ("tensor-allocation", tensor(PLANNED, memory_id=0)),
    ("tensor-allocation", tensor(PLANNED, memory_id=3)),
    ("tensor-allocation", tensor(PLANNED, memory_offset=17)),
    ("tensor-allocation", tensor(PLANNED, memory_offset=1 << 40)),
    ("tensor-allocation", tensor(MUTABLE, memory_offset=1)),
    ("mutable-index", tensor(MUTABLE, mutable_list=1)),
    ("instruction-type", instruction(KERNEL, kind=0)),
    ("instruction-type", instruction(KERNEL, kind=6)),
    ("instruction-type", instruction(KERNEL, filled=False)),
    ("instruction-type", instruction(KERNEL, args=None)),
    ("instruction-type", instruction(DELEGATE, args=None)),
    ("instruction-type", method(chains=[ChainSpec(None)])),
    ("argument-index", instruction(KERNEL, args=[0, 14])),
    ("argument-index", instruction(DELEGATE, args=[-1])),
    ("argument-index", instruction(MOVE, numbers=[NUMBER, 14])),
    ("argument-index", instruction(MOVE, numbers=[-1, NUMBER])),
    ("argument-index", instruction(FREE, numbers=[14])),
    ("argument-index", instruction(JUMP, numbers=[14, 0])),
    ("operator-index", instruction(KERNEL, numbers=[1])),
    ("operator-index", instruction(KERNEL, numbers=[-1])),
    ("delegate-call-index", instruction(DELEGATE, numbers=[2])),
    ("delegate-call-index", instruction(DELEGATE, numbers=[-1])),
    ("jump-target", instruction(JUMP, numbers=[FLAG, 2])),
    ("jump-target", instruction(JUMP, numbers=[FLAG, -1])),
    ("chain-index", method(chains=[ChainSpec((), [14])])),
    ("chain-index", method(chains=[ChainSpec((), (), [-1])])),
]


def rules(verdict: FileVerdict) -> set[str]:
    return {finding.rule for finding in verdict.findings}


def test_a_sound_model_breaks_no_rule() -> None:
    assert verify_file(build_pte(sound_spec())).findings == ()
    assert verify_file(build_bpte(build_pte(sound_spec()))).findings == ()
    assert verify_file(build_ptd(PtdSpec([*NAMED, NamedSpec("w", weights(4), "float32")]))).findings == ()


def test_real_models_break_no_rule(real_model: Path) -> None:
    assert verify_file(real_model).findings == ()


@pytest.mark.parametrize(("rule", "build"), FAULTS, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(FAULTS)])
def test_each_fault_is_found_by_its_rule_alone(rule: str, build: Callable[[], bytes]) -> None:
    data = build()
    verdict = verify_file(data, fast=True)
    assert rules(verdict) == {rule}
    assert {finding.severity for finding in verdict.findings} == {MODEL_RULES[rule].severity}
    assert verdict.ok == (MODEL_RULES[rule].severity == "warning")
    for finding in verdict.findings:
        assert finding.place.content is not None
        assert 0 <= finding.place.content.offset <= len(data)
        assert len(finding.message) < 200


def test_every_rule_has_a_fault() -> None:
    assert {rule for rule, _ in FAULTS} | set(RULES) == set(MODEL_RULES)
    assert {rule for rule, _ in FAULTS} & set(RULES) == {"tensor-size"}


def test_rules_are_all_used_and_say_what_is_wrong() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "etpack" / "guard").glob("*.py"))
    for name, rule in MODEL_RULES.items():
        assert re.fullmatch("[a-z]+(-[a-z]+)*", name)
        assert re.match("a (file|[.](pte|ptd|bpte)) in which ", rule.what)
        assert rule.severity in ("error", "warning")
        assert name in RULES or code.count(f'"{name}"') >= 2, f"{name} is in the table only"
    with pytest.raises(KeyError):
        Faults().add("no-such-rule", "message", 0)


def test_the_page_of_rules_is_that_of_the_code() -> None:
    assert f"<!-- rules -->\n\n{rules_table()}\n" in RULES_PAGE.read_text(encoding="utf-8"), (
        "python -m tests.update_docs"
    )


def rules_table() -> str:
    """Return the table of `schemas/model-rules.md`."""
    rows = ["| Rule | | A model breaks it if it is | Caught by a stock runtime |", "|---|---|---|---|"]
    for name, rule in MODEL_RULES.items():
        rows.append(f"| {name} | {rule.severity} | {rule.what} | **{rule.caught.value}**: {rule.how} |")
    return "\n".join(rows)


def test_a_packed_model_is_held_to_the_same_rules(tmp_path: Path) -> None:
    plain, path = tmp_path / "model.pte", tmp_path / "model.etz"
    for number in range(0, len(FAULTS), 7):
        rule, build = FAULTS[number]
        plain.write_bytes(build())
        etpack.compress(plain, path, overwrite=True)
        assert rules(verify_file(path)) == {rule}
        assert verify_file(path, fast=True).ok, "what takes decoding is left out"


def test_what_is_packed_as_it_is_is_held_to_none(tmp_path: Path) -> None:
    plain, path = tmp_path / "model.pte", tmp_path / "model.etz"
    plain.write_bytes(odd_bundle())
    etpack.compress(plain, path, etpack.Options(opaque=True))
    assert verify_file(path).ok


def test_several_faults_are_all_found() -> None:
    bad = replace(
        SOUND, tensors=[replace(TENSORS[0], dim_order=[0]), *TENSORS[1:]], inputs=[99], operator_name=("", None)
    )
    verdict = verify_file(build_pte(sound_spec(methods=[bad, bad], segment_entries={3: (128, 20)})))
    assert [finding.rule for finding in verdict.findings] == [
        "segment-overlap",
        "tensor-dim-order",
        "input-output-index",
        "method-unique",
        "tensor-dim-order",
        "input-output-index",
    ]
    assert all(finding.hint for finding in verdict.findings)


def test_errors_are_not_lost_behind_warnings() -> None:
    keys = [NamedSpec("key", b"x")] * 250
    verdict = verify_file(build_ptd(PtdSpec([*keys, NamedSpec("key", b"y")])))
    assert [finding.severity for finding in verdict.findings] == ["error", *["warning"] * (MAX_FINDINGS - 1)]
    assert (len(verdict.findings) + verdict.omitted_count, verdict.exit_code) == (250, 1)
    findings = Findings()
    for number in range(MAX_FINDINGS + 5):
        findings.add(Finding(f"odd-{number}", "bad-model", "odd", severity="warning"))
    findings.add(Finding("wrong", "bad-model", "wrong"))
    assert findings.count == MAX_FINDINGS + 6
    assert [finding.rule for finding in findings.listed][-2:] == [f"odd-{MAX_FINDINGS - 2}", "wrong"]


def test_faults_beyond_the_first_hundred_are_counted() -> None:
    source = BufferSource(build_pte(PteSpec([MethodSpec(more_values=[ValueSpec(99)] * 1000)])))
    faults = check_model(source, read_model(source))
    assert (len(faults.errors), faults.omitted_count) == (MAX_FAULTS, 1000 - MAX_FAULTS)
