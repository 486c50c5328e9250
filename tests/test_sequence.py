"""The calls and frees of a load, rule by rule; `test_runtime_trace.py` holds them to the real runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from etpack.errors import LimitError
from etpack.memory import Action, Event, Holder, Stage, UseKind, replay
from etpack.memory import sequence as module
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

FULLY_CONNECTED, PRELU = 2, 31


def model_of(data: bytes) -> ModelFile:
    return read_model(BufferSource(data))


def events_of(data: bytes, *data_files: bytes, keep_uncertain: bool = True) -> tuple[Event, ...]:
    source = BufferSource(data)
    model = read_model(source)
    files = [model_of(file) for file in data_files]
    return replay(model, blobs=read_blobs(source, model), data_files=files, keep_uncertain=keep_uncertain).events


def told(events: Sequence[Event]) -> list[str]:
    """Return events as short words: "load program head"."""
    return [
        f"{event.action.value} {event.load.kind.value} {event.load.what}" if event.load else event.action.value
        for event in events
    ]


def delegate_model(backend_id: str, *keys: str, blob: bytes = b"blob", inline: bool = False) -> bytes:
    named = [NamedSpec(key, key.encode() * 8) for key in keys]
    return build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec(backend_id, blob, inline)])], named))


def test_program_constants_and_their_frees() -> None:
    events = events_of(build_pte(PteSpec([MethodSpec(tensors=[TensorSpec(weights(100))])])))
    assert told(events) == [
        "load program head",
        "size",
        "free program head",
        "load program flatbuffer",
        "load constant segment 0",
        "free constant segment 0",
        "free program flatbuffer",
    ]
    program = events[3].load
    assert program is not None
    assert [event.live_size for event in events] == [64, 64, 0, program.size, program.size + 400, program.size, 0]


def test_no_constants_are_not_loaded() -> None:
    assert "load constant segment 0" not in told(events_of(delegate_model("XnnpackBackend")))


def test_without_segment_data_size_the_runtime_does_not_ask_how_large_the_file_is() -> None:
    spec = PteSpec([MethodSpec(tensors=[TensorSpec(weights(9))])], header_length=24)
    assert "size" not in told(events_of(build_pte(spec)))


def test_without_a_header_the_whole_file_is_the_program() -> None:
    data = build_pte(PteSpec())
    events = events_of(data)
    assert told(events)[:4] == ["load program head", "size", "free program head", "load program flatbuffer"]
    assert events[3].load is not None
    assert events[3].load.range == Range(0, len(data))


def test_first_values_are_copied_one_by_one_in_the_order_of_the_values() -> None:
    states = [TensorSpec(weights(count, seed=count), kind="mutable") for count in (50, 33)]
    events = events_of(build_pte(PteSpec([MethodSpec(tensors=[states[1], states[0], states[1]])])))
    copies = [event.load for event in events if event.action is Action.LOAD_INTO]
    assert [load.size for load in copies if load] == [132, 200, 132]
    assert {(load.info.type.value, load.info.index) for load in copies if load} == {("mutable", 1)}
    assert len({event.live_size for event in events if event.action is Action.LOAD_INTO}) == 1


def test_data_files_come_first_and_external_constants_in_the_order_of_the_values() -> None:
    tensors = [TensorSpec(kind="external", name=name, sizes=[3]) for name in ("w", "a", "w")]
    data_file = build_ptd(PtdSpec([NamedSpec("a", b"a" * 28), NamedSpec("w", b"w" * 60)]))
    events = events_of(build_pte(PteSpec([MethodSpec(tensors=tensors)])), data_file)
    assert told(events) == [
        "load metadata head",
        "size",
        "load metadata flatbuffer",
        "free metadata head",
        "load program head",
        "size",
        "free program head",
        "load program flatbuffer",
        "load external w",
        "load external a",
        "free external w",
        "free external a",
        "free metadata flatbuffer",
        "free program flatbuffer",
    ]
    externals = [event.load for event in events if event.load and event.load.kind is UseKind.EXTERNAL]
    assert [(load.file, load.size) for load in externals[:2]] == [(1, 60), (1, 28)]


def test_of_several_data_files_the_first_that_has_a_key_counts() -> None:
    data_files = [build_ptd(PtdSpec([NamedSpec("w", b"w" * size)])) for size in (10, 20)]
    tensors = [TensorSpec(kind="external", name="w", sizes=[3])]
    events = events_of(build_pte(PteSpec([MethodSpec(tensors=tensors)])), *data_files)
    assert [event.load.size for event in events if event.load and event.load.what == "w"] == [10, 10]


def test_what_no_file_has_counts_as_the_model_says() -> None:
    data = build_pte(PteSpec([MethodSpec(tensors=[TensorSpec(kind="external", name="w", sizes=[3, 5])])]))
    run = replay(model_of(data))
    assert dict(run.absent) == {"w": 60}
    loads = [event.load for event in run.events if event.load and event.load.what == "w"]
    assert [(load.file, load.size) for load in loads] == [(None, 60), (None, 60)]


def test_xnnpack_loads_all_weights_frees_what_it_packed_then_the_blob_and_at_the_end_the_rest() -> None:
    blob = build_blob(
        [("filter", 48), ("slope", 40)], [ValueSpec(1), ValueSpec(2)], [NodeSpec(FULLY_CONNECTED, 0), NodeSpec(PRELU)]
    )
    events = events_of(delegate_model("XnnpackBackend", "slope", "filter", "nobody's", blob=blob))
    assert told(events)[4:-1] == [
        "load delegate delegate 0",
        "load named data filter",
        "load named data slope",
        "free named data filter",
        "free delegate delegate 0",
        "free named data slope",
    ]
    slope = next(event.load for event in events if event.load and event.load.what == "slope")
    assert (slope.holder, slope.inferred) == (Holder.METHOD, False)


def test_a_blob_inside_the_program_is_not_loaded() -> None:
    words = told(events_of(delegate_model("XnnpackBackend", inline=True)))
    assert not any("delegate" in word for word in words)


@pytest.mark.parametrize(
    ("backend_id", "named", "holder", "named_holder"),
    [
        ("QnnBackend", False, (Holder.METHOD, False), None),
        ("VgfBackend", False, (Holder.METHOD, True), None),
        ("CoreMLBackend", True, (Holder.INIT, True), (Holder.INIT, True)),
        ("MLXBackend", True, (Holder.INIT, True), (Holder.METHOD, True)),
        ("SomebodysBackend", True, (Holder.METHOD, False), (Holder.METHOD, False)),
    ],
)
def test_other_backends_go_by_the_table(
    backend_id: str, named: bool, holder: tuple[Holder, bool], named_holder: tuple[Holder, bool] | None
) -> None:
    events = events_of(delegate_model(backend_id, "key"))
    loads = {event.load.kind: event.load for event in events if event.load}
    assert (loads[UseKind.DELEGATE].holder, loads[UseKind.DELEGATE].holder_known) == holder
    assert (UseKind.NAMED_DATA in loads) == named
    if named_holder:
        data = loads[UseKind.NAMED_DATA]
        assert (data.holder, data.holder_known, data.inferred) == (*named_holder, True)


def test_what_may_be_freed_is_freed_or_kept() -> None:
    data = delegate_model("SomebodysBackend")
    assert told(events_of(data))[-2:] == ["free delegate delegate 0", "free program flatbuffer"]
    for keep, stage in ((True, Stage.DESTROY_METHOD), (False, Stage.DELEGATE)):
        run = replay(model_of(data), keep_uncertain=keep)
        (free,) = [e for e in run.events if e.action is Action.FREE and e.load and e.load.kind is UseKind.DELEGATE]
        assert run.steps[free.step].stage is stage


def test_keys_that_a_blob_claims_are_not_guessed_for_another() -> None:
    blob = build_blob([("w", 8)], [ValueSpec(1)])
    delegates = [DelegateSpec("VulkanBackend", b"v"), DelegateSpec(data=blob), DelegateSpec("VulkanBackend", b"w")]
    named = [NamedSpec("w", b"w" * 8), NamedSpec("v", b"v" * 8)]
    events = events_of(build_pte(PteSpec([MethodSpec(delegates=delegates)], named)))
    loads = [e.load for e in events if e.load and e.action is Action.LOAD and e.load.kind is UseKind.NAMED_DATA]
    assert [(load.what, load.delegate, load.inferred) for load in loads] == [("w", 1, False), ("v", 2, True)]


def test_a_second_method_loads_shared_weights_again() -> None:
    blob = build_blob([("w", 8)], [ValueSpec(1)], [NodeSpec(FULLY_CONNECTED, 0)])
    methods = [MethodSpec(name, delegates=[DelegateSpec(data=blob)]) for name in ("decode", "prefill")]
    events = events_of(build_pte(PteSpec(methods, [NamedSpec("w", b"w" * 8)])))
    loads = [e.load for e in events if e.load and e.action is Action.LOAD and e.load.what == "w"]
    assert [(load.method, load.range) for load in loads] == [("decode", loads[0].range), ("prefill", loads[0].range)]


def test_loads_of_nothing_are_made_and_never_freed() -> None:
    events = events_of(delegate_model("VgfBackend", blob=b""))
    assert [word for word in told(events) if "delegate" in word] == ["load delegate delegate 0"]


def test_all_of_a_data_file_alone() -> None:
    events = events_of(build_ptd(PtdSpec([NamedSpec("a", b"a" * 9), NamedSpec("b", b"b" * 7)])))
    assert told(events)[4:6] == ["load named data a", "load named data b"]
    assert events[-1].live_size == 0


def test_a_bundled_program_is_loaded_from_inside_the_bundle() -> None:
    nested = build_pte(PteSpec([MethodSpec(tensors=[TensorSpec(weights(9))])]))
    model = model_of(build_bpte(nested))
    loads = [event.load for event in replay(model).events if event.load]
    assert min(load.range.offset for load in loads) == model.nested.offset
    assert max(load.range.end for load in loads) <= model.nested.end


def test_what_is_loaded_is_freed_once(real_model: Path) -> None:
    source = open_source(real_model)
    model = read_model(source)
    events = replay(model, blobs=read_blobs(source, model)).events
    source.close()
    live: set[int] = set()
    for event in events:
        if event.load and event.action is Action.LOAD and event.load.size:
            live.add(event.load.number)
        elif event.load and event.action is Action.FREE:
            live.remove(event.load.number)
    assert not live
    assert events[-1].live_size == 0


def test_too_many_loads_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOADS", 3)
    with pytest.raises(LimitError, match="more than 3 loads"):
        events_of(delegate_model("CoreMLBackend", "a", "b", "c"))
