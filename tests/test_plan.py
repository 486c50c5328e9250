"""`etpack.plan`: extents and gaps cover the content, and extents begin where loads and tensors do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpack import plan
from etpack.errors import LimitError
from etpack.plan import Extent
from etpack.pte import Delegate, FileKind, Method, ModelFile, Range, Role, Segment, Tensor, read_model
from etpack.sources import BufferSource, open_source
from tests.make_pte import MethodSpec, PteSpec, TensorSpec, build_pte, weights

BLOCK = 4096


def _model(
    size: int,
    segments: list[tuple[int, int, Role]] | None = None,
    tensors: list[tuple[int, int]] | None = None,
    program: int = 100,
    delegates: tuple[Delegate, ...] = (),
) -> ModelFile:
    made = tuple(
        Segment(number, Range(offset, length), (role,)) for number, (offset, length, role) in enumerate(segments or [])
    )
    end = max([program, *(segment.range.end for segment in made)])
    return ModelFile(
        kind=FileKind.PTE,
        size=size,
        program=Range(0, program),
        header_length=32,
        segment_base=program,
        segment_data_size=None,
        segments=made,
        methods=(Method("forward", delegates, (), 0, 0, 0, 0),),
        named_data=(),
        tensors=tuple(
            Tensor(None, "constant", "float32", (length // 4,), Range(offset, length), 0, 1, ("forward",))
            for offset, length in tensors or []
        ),
        nested=Range(0, size),
        trailing=Range(end, size - end),
    )


def _extents(model: ModelFile) -> list[tuple[int, int, Role]]:
    return [(e.range.offset, e.range.size, e.role) for e in plan.cut_model(model, BLOCK).extents]


def test_program_segments_and_trailing_bytes_are_extents_and_padding_is_a_gap() -> None:
    model = _model(1000, [(128, 300, Role.CONSTANT), (512, 0, Role.UNUSED), (512, 100, Role.DELEGATE)])
    cut = plan.cut_model(model, BLOCK)
    assert [(e.range.offset, e.range.size, e.role) for e in cut.extents] == [
        (0, 100, Role.PROGRAM),
        (128, 300, Role.CONSTANT),
        (512, 100, Role.DELEGATE),
        (612, 388, Role.TRAILING),
    ]
    assert cut.gaps == (Range(100, 28), Range(428, 84))


def test_large_constants_are_extents_and_small_ones_stay_together() -> None:
    small, large = 64, 2 * BLOCK
    segments = [(128, 2 * large + 3 * small + 32, Role.CONSTANT)]
    tensors = [
        (128, small),
        (128 + small, small),
        (128 + 2 * small, large),
        (128 + 2 * small + large + 16, large),
        (128 + 2 * small + 2 * large + 16, small),
    ]
    cut = plan.cut_model(_model(128 + segments[0][1], segments, tensors), BLOCK)
    assert [(e.range.offset - 128, e.range.size) for e in cut.extents[1:]] == [
        (0, 2 * small),
        (2 * small, large),
        (2 * small + large + 16, large),
        (2 * small + 2 * large + 16, small + 16),
    ]
    assert Range(128 + 2 * small + large, 16) in cut.gaps


def test_overlapping_segments_are_cut_at_every_boundary() -> None:
    model = _model(1000, [(200, 300, Role.DELEGATE), (300, 400, Role.NAMED_DATA), (300, 100, Role.CONSTANT)])
    cut = plan.cut_model(model, BLOCK)
    assert [(e.range.offset, e.range.end, e.role, e.segments) for e in cut.extents[1:-1]] == [
        (200, 300, Role.DELEGATE, (0,)),
        (300, 400, Role.CONSTANT, (0, 1, 2)),
        (400, 500, Role.DELEGATE, (0, 1)),
        (500, 700, Role.NAMED_DATA, (1,)),
    ]


def test_a_large_inline_blob_is_an_extent_of_its_own() -> None:
    blob = Range(1000, 2 * BLOCK)
    model = _model(20_000, program=20_000, delegates=(Delegate("XnnpackBackend", 0, blob, None, 0),))
    extents = plan.cut_model(model, BLOCK).extents
    assert [(e.range.offset, e.role, e.delegate_ids) for e in extents] == [
        (0, Role.PROGRAM, ()),
        (1000, Role.DELEGATE, ("XnnpackBackend",)),
        (1000 + 2 * BLOCK, Role.PROGRAM, ()),
    ]


def test_segments_that_all_overlap_hit_a_limit() -> None:
    segments = [(200 + n, 10_000 - 2 * n, Role.DELEGATE) for n in range(3000)]
    with pytest.raises(LimitError, match="overlap"):
        plan.cut_model(_model(20_000, segments), BLOCK)


def test_padding_that_is_not_zero_becomes_an_extent() -> None:
    cut = plan.cut_model(_model(1000, [(128, 872, Role.CONSTANT)]), BLOCK)
    assert [e.role for e in cut.with_padding([Range(100, 28)])] == [Role.PROGRAM, Role.PADDING, Role.CONSTANT]


@given(st.lists(st.tuples(st.integers(100, 60_000), st.integers(0, 30_000), st.sampled_from(Role)), max_size=8))
def test_extents_and_gaps_cover_the_content_once(segments: list[tuple[int, int, Role]]) -> None:
    cut = plan.cut_model(_model(100_000, segments), BLOCK)
    pieces = sorted([*(e.range for e in cut.extents), *cut.gaps], key=lambda r: r.offset)
    position = 0
    for piece in pieces:
        assert piece.offset == position
        assert piece.size > 0
        position = piece.end
    assert position == 100_000


def test_extents_of_real_models_cover_them(real_model: Path) -> None:
    model = read_model(open_source(real_model))
    cut = plan.cut_model(model, BLOCK)
    assert sum(e.range.size for e in cut.extents) + sum(g.size for g in cut.gaps) == real_model.stat().st_size
    for segment in model.segments:
        if segment.range.size:
            assert segment.range.offset in {e.range.offset for e in cut.extents}


@given(
    st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 3 << 20)), max_size=6),
    st.sampled_from([4096, 65536, 1 << 22]),
    st.integers(0, 3 << 20),
)
def test_spans_cover_the_content_and_bound_memory(pieces: list[tuple[int, int]], block_size: int, rest: int) -> None:
    extents = []
    end = 0
    for gap, size in pieces:
        extents.append(Extent(Range(end + gap, size), Role.CONSTANT))
        end += gap + size
    size = end + rest
    position = 0
    blocks: list[Range] = []
    for span in plan.spans(extents, size, block_size):
        assert span.range.offset == position
        assert 0 < span.range.size <= max(plan.SPAN_SIZE, block_size)
        assert all(span.range.offset <= row.offset and row.end <= span.range.end for row in span.rows)
        position = span.range.end
        for row in span.rows:
            blocks += [Range(offset, row.block_size) for offset in range(row.offset, row.end, row.block_size)]
    assert position == size
    assert blocks == [
        Range(offset, min(block_size, extent.range.end - offset))
        for extent in extents
        for offset in range(extent.range.offset, extent.range.end, block_size)
    ]


def test_an_opaque_content_is_one_extent() -> None:
    assert plan.cut_opaque(0).extents == ()
    assert plan.cut_opaque(5).extents == (Extent(Range(0, 5), Role.OPAQUE),)


def test_large_constants_inside_the_flatbuffer_are_extents() -> None:
    constants = [TensorSpec(weights(count)) for count in (100, 2 * BLOCK)]
    data = build_pte(PteSpec([MethodSpec(tensors=constants)], inline_constants=True))
    model = read_model(BufferSource(data))
    extents = plan.cut_model(model, BLOCK).extents
    inside = [extent.range for extent in extents if extent.role is Role.CONSTANT]
    assert inside == [tensor.data for tensor in model.tensors if tensor.data and tensor.data.size >= BLOCK]
    assert inside
