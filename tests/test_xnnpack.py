"""What XNNPACK's blobs say of the named data that a delegate asks for; and blobs that lie."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from etpack._flatbuffers.xnnpack import PackingNode
from etpack.pte import Constant, ModelFile, Range, read_blobs, read_model
from etpack.pte.xnnpack import UnreadableBlobError, read_constants
from etpack.sources import BufferSource
from tests.conftest import EXAMPLE_MODELS
from tests.counting import CountingSource
from tests.make_pte import DelegateSpec, MethodSpec, PteSpec, build_pte
from tests.make_xnnpack import NodeSpec, ValueSpec, build_blob

XNNPACK_MODELS = [path for path in EXAMPLE_MODELS if "xnnpack" in path.name]
# A type of node whose tensors XNNPACK reads in place.
PRELU = 31


def constants_of(blob: bytes) -> tuple[Constant, ...]:
    return read_constants(BufferSource(blob), Range(0, len(blob)))[0]


def model_with(*blobs: bytes, count: int = 1, inline: bool = False) -> tuple[BufferSource, ModelFile]:
    delegates = [DelegateSpec(data=blob, inline=inline) for blob in blobs for _ in range(count)]
    source = BufferSource(build_pte(PteSpec([MethodSpec(delegates=delegates)])))
    return source, read_model(source)


@pytest.mark.parametrize("path", XNNPACK_MODELS, ids=lambda path: path.stem)
def test_a_real_blob_asks_for_all_named_data_of_the_model(path: Path) -> None:
    source = BufferSource(path.read_bytes())
    model = read_model(source)
    (constants,) = read_blobs(source, model).constants.values()
    assert [constant.key for constant in constants] == [named.key for named in model.named_data]
    assert [c.size for c in constants] == [model.segments[named.segment].range.size for named in model.named_data]
    assert all(constant.packed for constant in constants)


def test_scales_come_right_after_what_they_scale() -> None:
    values = [ValueSpec(), ValueSpec(1, scale=3), ValueSpec(2, scale=4, groups=True)]
    blob = build_blob([("w", 8), ("b", 4), ("scale of w", 2), ("scale of b", 1)], values)
    assert [constant.key for constant in constants_of(blob)] == ["w", "scale of w", "b", "scale of b"]


@pytest.mark.parametrize("kind", PackingNode)
def test_filters_and_biases_of_these_nodes_are_packed(kind: PackingNode) -> None:
    values = [ValueSpec(), ValueSpec(1, scale=3), ValueSpec(2), ValueSpec(4)]
    constants = [("filter", 8), ("bias", 4), ("scale", 2), ("slope", 1)]
    nodes = [NodeSpec(kind, filter_id=1, bias_id=2), NodeSpec(PRELU, filter_id=3)]
    packed = {constant.key: constant.packed for constant in constants_of(build_blob(constants, values, nodes))}
    assert packed == {"filter": True, "scale": True, "bias": True, "slope": False}


@pytest.mark.parametrize("header", [True, False])
def test_blobs_with_and_without_a_header(header: bool) -> None:
    blob = build_blob([("k", 8)], [ValueSpec(1)], header=header)
    assert constants_of(blob) == (Constant("k", 8, False),)


def test_constants_inside_the_blob_have_no_key() -> None:
    assert constants_of(build_blob([(None, 99)], [ValueSpec(1)])) == (Constant(None, 99, False),)
    assert constants_of(build_blob([(None, 99)], [ValueSpec(1)], header=False, inside=True)) == (
        Constant(None, 99, False),
    )


def test_a_constant_of_two_values_is_asked_for_twice() -> None:
    assert len(constants_of(build_blob([("k", 8)], [ValueSpec(1), ValueSpec(1)]))) == 2


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "too small"),
        (b"not a blob of XNNPACK's, and of no other backend's", "no identifier"),
        (build_blob([("k", 8)], [ValueSpec(2)]), "no constant 2 of 2"),
        (build_blob([], [ValueSpec(0, scale=1)]), "no constant 1 of 1"),
        (build_blob([("k", 8)], [ValueSpec(1)])[:-20], "header of the blob points out of it"),
        (build_blob([("k", 8)], [ValueSpec(1)], header=False)[:-20], "flatbuffer"),
    ],
)
def test_a_blob_that_cannot_be_read_says_why(blob: bytes, message: str) -> None:
    with pytest.raises(UnreadableBlobError, match=message):
        constants_of(blob)


def test_damaged_blobs_are_unread_and_nothing_worse() -> None:
    constants = [("filter", 8), ("bias", 4), ("scale", 2)]
    good = build_blob(constants, [ValueSpec(1, scale=3), ValueSpec(2)], [NodeSpec(2, 0, 1)])
    chance = random.Random(5)
    unread = 0
    for size in range(len(good)):
        with pytest.raises(UnreadableBlobError):
            constants_of(good[:size])
    for _ in range(1500):
        bad = bytearray(good)
        for _ in range(chance.choice((1, 1, 4))):
            bad[chance.randrange(len(bad))] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        try:
            constants_of(bytes(bad))
        except UnreadableBlobError:
            unread += 1
    assert unread > 100


def test_a_bad_blob_is_noted_and_the_others_are_read() -> None:
    good = build_blob([("k", 8)], [ValueSpec(1)])
    source, model = model_with(b"not XNNPACK's, whatever its id says", good)
    blobs = read_blobs(source, model)
    first, second = model.methods[0].delegates
    assert blobs.of(first) is None
    assert "no identifier" in blobs.unread[first.blob]
    assert blobs.of(second) == (Constant("k", 8, False),)


def test_inline_blobs_are_read_too() -> None:
    source, model = model_with(build_blob([("k", 8)], [ValueSpec(1)]), inline=True)
    assert list(read_blobs(source, model).constants.values()) == [(Constant("k", 8, False),)]


def test_blobs_of_other_backends_are_not_read() -> None:
    data = build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec("VulkanBackend", b"v" * 99)])]))
    source = CountingSource(BufferSource(data))
    model = read_model(source)
    source.reads.clear()
    assert read_blobs(source, model).constants == {}
    assert source.reads == []


def test_neighbouring_blobs_are_read_together() -> None:
    blobs = [build_blob([(f"k{number}", 8)], [ValueSpec(1)]) for number in range(50)]
    data = build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec(data=blob) for blob in blobs])]))
    source = CountingSource(BufferSource(data))
    model = read_model(source)
    source.reads.clear()
    assert len(read_blobs(source, model).constants) == 50
    assert len(source.reads) == 1


def test_delegates_that_ask_for_too_much_are_not_followed() -> None:
    blob = build_blob([(f"k{number}", 8) for number in range(500)], [ValueSpec(1 + n % 500) for n in range(2000)])
    source, model = model_with(blob, count=1000)
    blobs = read_blobs(source, model)
    assert blobs.constants == {}
    assert "too many constants" in next(iter(blobs.unread.values()))


@pytest.mark.unmeasured
def test_blobs_that_take_too_long_are_not_read() -> None:
    values = [ValueSpec(1)] * 6000
    blobs = [build_blob([(f"k{number}", 8)], values) for number in range(20)]
    source, model = model_with(*blobs)
    unread = read_blobs(source, model).unread
    assert 0 < len(unread) < 20
    assert any("too long" in reason or "steps" in reason for reason in unread.values())
