"""Loading in mind: peak, what stays, what comes back and what it costs, for each loader."""

from __future__ import annotations

import io
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
from rich.console import Console

import etpack
from etpack.describe.loading import print_loading
from etpack.memory import (
    Footprint,
    Loader,
    LoaderMemory,
    Moment,
    Simulation,
    Speeds,
    Stage,
    UnknownKind,
    sequence,
    simulate,
)
from etpack.plan import cut_model
from etpack.pte import ModelFile, Range, read_blobs, read_model
from etpack.reader import EtzFile
from etpack.report import LoadSetup, inspect_file, read_data_file
from etpack.report.storage import packed_storage, plain_storage
from etpack.sources import BufferSource, Source, open_source
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

PAGE = 4096
MIB = 1 << 20


def simulated(source: Source, *data_files: ModelFile, block_size: int = 65536) -> Simulation:
    model = read_model(source)
    storage = plain_storage(cut_model(model, block_size).extents, model.size, block_size)
    return simulate(model, storage, blobs=read_blobs(source, model), data_files=data_files)


def with_loaders(data: bytes, *data_files: ModelFile) -> dict[Loader, LoaderMemory]:
    return {each.loader: each for each in simulated(BufferSource(data), *data_files).loaders}


def portable(constants: int = MIB, planned: tuple[int, ...] = (1024,)) -> bytes:
    tensor = TensorSpec(bytes(constants), dtype="int8")
    return build_pte(PteSpec([MethodSpec(tensors=[tensor], planned_buffers=planned)]))


def with_xnnpack(weight: int = MIB, *, slope: int = 0, methods: int = 1) -> bytes:
    constants = [("w", weight), ("s", slope)]
    values = [ValueSpec(1), *([ValueSpec(2)] if slope else [])]
    blob = build_blob(constants, values, [NodeSpec(2, filter_id=0)])
    named = [NamedSpec("w", bytes(weight)), *([NamedSpec("s", b"s" * slope)] if slope else [])]
    specs = [MethodSpec(f"m{number}", delegates=[DelegateSpec(data=blob)]) for number in range(methods)]
    return build_pte(PteSpec(specs, named))


def assert_adds_up(moment: Moment) -> None:
    for field in fields(Footprint):
        assert sum(getattr(part.footprint, field.name) for part in moment.parts) == getattr(
            moment.footprint, field.name
        )
        assert getattr(moment.footprint, field.name) >= 0
    sizes = [part.footprint.total for part in moment.parts]
    assert sizes == sorted(sizes, reverse=True)
    assert moment.at_least <= moment.footprint.total


def assert_sound(simulation: Simulation) -> None:
    """What holds for every model and every loader."""
    for loader in simulation.loaders:
        assert_adds_up(loader.peak)
        assert_adds_up(loader.after_init)
        assert loader.steps is not None
        assert len(loader.steps) == len(simulation.steps)
        assert max(step.peak.total for step in loader.steps) == loader.peak.footprint.total
        last = max(number for number, step in enumerate(simulation.steps) if step.is_loading)
        assert loader.steps[last].after == loader.after_init.footprint
        left = loader.steps[-1].after
        assert replace(left, dirty=0) == Footprint()  # the loader's own, until it is destroyed too
        given_back = sum(method.gives_back.total for method in loader.methods)
        destroyed = max(
            (n for n, step in enumerate(simulation.steps) if step.stage is Stage.DESTROY_METHOD), default=last
        )
        if loader.methods:
            assert loader.after_init.footprint.total - given_back == loader.steps[destroyed].after.total


def test_every_model_is_simulated_soundly(real_model: Path) -> None:
    source = open_source(real_model)
    assert_sound(simulated(source))
    source.close()


def test_every_layout_is_simulated_soundly() -> None:
    state = TensorSpec(weights(50), kind="mutable")
    external = TensorSpec(kind="external", name="w", sizes=[300])
    delegates = [DelegateSpec("VgfBackend", b"vgf" * 99), DelegateSpec("Unheard", b"of"), DelegateSpec("X", b"x", True)]
    methods = [MethodSpec("a", [state, external], delegates), MethodSpec("b", [external], delegates[:1])]
    data_file = read_data_file(build_ptd(PtdSpec([NamedSpec("w", weights(300))])))
    assert_sound(simulated(BufferSource(build_pte(PteSpec(methods, [NamedSpec("k", b"k" * 999)]))), data_file))
    assert_sound(simulated(BufferSource(build_bpte(build_pte(PteSpec(methods))))))
    assert_sound(simulated(BufferSource(build_ptd(PtdSpec([NamedSpec("w", weights(300))])))))


def test_a_portable_model_in_each_loader() -> None:
    data = portable()
    loaders = with_loaders(data)
    program = read_model(BufferSource(data)).program.size
    heap = MIB + -(-program // 16) * 16
    for loader, outcome in loaders.items():
        after = outcome.after_init.footprint
        assert after.planned == 1024
        assert outcome.peak.footprint == after, loader
    assert loaders[Loader.BUFFER].after_init.footprint.dirty == len(data)
    assert loaders[Loader.FILE].after_init.footprint.dirty == heap
    assert loaders[Loader.ETZ].after_init.footprint.dirty == heap + 3 * 65536
    # The program's page, and one more page than the constants have: they do not begin at one.
    assert loaders[Loader.MMAP].after_init.footprint == Footprint(clean=PAGE + MIB + PAGE, planned=1024)
    assert loaders[Loader.MMAP_MLOCK].after_init.footprint == Footprint(pinned=PAGE + MIB + PAGE, planned=1024)


def test_the_peak_is_where_xnnpack_holds_weights_and_its_copy_of_them() -> None:
    data = with_xnnpack()
    simulation = simulated(BufferSource(data))
    loader = next(each for each in simulation.loaders if each.loader is Loader.FILE)
    step = simulation.steps[loader.peak.step]
    assert (step.stage, step.method, step.delegate, step.backend) == (Stage.DELEGATE, "m0", 0, "XnnpackBackend")
    assert loader.peak.footprint.backends == MIB
    largest = {(part.what, part.freed_by): part.footprint.total for part in loader.peak.parts[:2]}
    assert largest == {("named data", "init"): MIB, ("backend's copies", "method"): MIB}
    assert loader.after_init.footprint.total < MIB + 2 * PAGE
    assert [(u.size, u.bound) for u in simulation.unknowns if u.kind is UnknownKind.COPIES] == [(MIB, "about")]


def test_nothing_comes_back_from_a_buffer_but_the_backends_copies() -> None:
    loader = with_loaders(with_xnnpack(slope=8000))[Loader.BUFFER]
    (method,) = loader.methods
    assert method.gives_back == Footprint(planned=1024, backends=MIB)
    assert {part.freed_by for part in loader.after_init.parts if part.what == "whole file"} == {"caller"}


def test_what_destroying_a_method_gives_back() -> None:
    loader = with_loaders(with_xnnpack(slope=8000, methods=2))[Loader.FILE]
    assert [method.name for method in loader.methods] == ["m0", "m1"]
    assert {method.gives_back for method in loader.methods} == {Footprint(dirty=8192, planned=1024, backends=MIB)}
    owners = {part.freed_by: part.what for part in loader.after_init.parts if part.footprint.dirty}
    assert owners == {"method": "named data", "program": "program"}


def test_a_backend_that_may_free_gives_a_range() -> None:
    data = build_pte(PteSpec([MethodSpec(delegates=[DelegateSpec("Unheard", b"of" * 10_000)])]))
    simulation = simulated(BufferSource(data))
    file = next(each for each in simulation.loaders if each.loader is Loader.FILE)
    assert file.after_init.footprint.total - file.after_init.at_least == 5 * PAGE
    assert file.peak.at_least == file.peak.footprint.total
    (frees,) = [unknown for unknown in simulation.unknowns if unknown.kind is UnknownKind.FREES]
    assert (frees.backend, frees.size, frees.bound) == ("Unheard", 20_000, "at most")


def test_a_bundle_has_one_loader() -> None:
    data = build_bpte(portable())
    (outcome,) = with_loaders(data).values()
    assert outcome.loader is Loader.BUFFER
    assert outcome.after_init.footprint.dirty == len(data)


def test_planned_buffers_below_zero_count_nothing() -> None:
    simulation = simulated(BufferSource(portable(planned=(-5, 100))))
    assert simulation.planned_size == 100


def test_a_data_file_is_held_by_the_method() -> None:
    program = build_pte(PteSpec([MethodSpec(tensors=[TensorSpec(kind="external", name="w", sizes=[MIB // 4])])]))
    data = build_ptd(PtdSpec([NamedSpec("w", bytes(MIB))]))
    loaders = with_loaders(program, read_model(BufferSource(data)))
    assert loaders[Loader.FILE].methods[0].gives_back.dirty == MIB
    assert loaders[Loader.BUFFER].after_init.footprint.dirty == len(program) + len(data)
    # Without it, the model says how much it is; a buffer would hold that, too.
    simulation = simulated(BufferSource(program))
    alone = {each.loader: each for each in simulation.loaders}
    assert alone[Loader.FILE].methods[0].gives_back.dirty == MIB
    assert alone[Loader.BUFFER].after_init.footprint.dirty == len(program) + MIB
    (absent,) = [unknown for unknown in simulation.unknowns if unknown.kind is UnknownKind.DATA_FILE]
    assert absent.size == MIB


def test_a_packed_file_says_what_reading_and_scratch_take(packed_digits: Path, digits: Path) -> None:
    with EtzFile(packed_digits) as file:
        storage = packed_storage(file)
        simulation = simulate(file.model, storage, blobs=read_blobs(file, file.model))
        stored = sum(block.entry.stored_size for block in file.blocks())
        footer = file.footer
    etz = simulation.loaders[-1]
    assert etz.loader is Loader.ETZ
    scratch = footer.max_stored_block + footer.max_plane_scratch + 65536
    assert [part.footprint.dirty for part in etz.after_init.parts if part.what == "scratch"] == [scratch]
    (method,) = etz.methods
    program = 64, 2152
    head = storage.cost(Range(0, 64)).stored or 0
    assert etz.cost.read_size == stored + head  # the head's block is the program's
    assert etz.cost.size == digits.stat().st_size - 104 + program[0]  # all but the padding, and the head twice
    assert method.reload.read_size == stored - head
    assert method.reload.decoded_size == method.reload.size == 3248 + 487_976
    assert method.reload.requests == 11


def test_the_cost_of_a_range_is_that_of_its_blocks(tmp_path: Path) -> None:
    data = bytes(range(256)) * 64
    (tmp_path / "x.bin").write_bytes(data)
    etpack.compress(
        tmp_path / "x.bin", tmp_path / "x.etz", etpack.Options(4096, codec="raw", filters=False, opaque=True)
    )
    with EtzFile(tmp_path / "x.etz") as file:
        cost = packed_storage(file).cost
        assert (cost(Range(0, 1)).stored, cost(Range(0, 1)).decoded) == (4096, 4096)
        assert cost(Range(4095, 2)).decoded == 8192
        assert cost(Range(4096, 4096)).decoded == 4096
        assert cost(Range(0, len(data))).decoded == len(data)
        assert cost(Range(100, 0)).decoded == 0


def test_seconds_need_speeds() -> None:
    source = BufferSource(portable())
    model = read_model(source)
    storage = plain_storage(cut_model(model, 65536).extents, model.size, 65536)
    for speeds, expected in ((None, None), (Speeds(1e6), 1.0), (Speeds(2e6, 1e9), 0.5)):
        simulation = simulate(model, storage, speeds=speeds)
        file = next(each for each in simulation.loaders if each.loader is Loader.FILE)
        seconds = file.cost.seconds
        assert (seconds is None) if expected is None else seconds == pytest.approx(expected * 1.049, rel=0.01)
        assert simulation.loaders[-1].cost.seconds is None  # nobody knows how well it packs
        assert simulation.loaders[0].cost.seconds == (None if speeds is None else 0)


def test_speeds_with_which_no_time_is_a_number_are_refused() -> None:
    Speeds(1e-3, 1e15)
    for speed in (0.0, -1.0, math.nan, math.inf, 1e-320, 1e16):
        with pytest.raises(ValueError, match="not a speed"):
            Speeds(speed)
        with pytest.raises(ValueError, match="not a speed"):
            Speeds(1e6, speed)


def test_reading_and_decoding_are_in_turn(packed_digits: Path) -> None:
    report = inspect_file(packed_digits, setup=LoadSetup(speeds=Speeds(1e5, 1e6)))
    assert report.memory is not None
    assert report.memory.simulation is not None
    cost = report.memory.simulation.loaders[-1].cost
    assert cost.read_size is not None
    assert cost.seconds == pytest.approx(cost.read_size / 1e5 + cost.decoded_size / 1e6)
    report = inspect_file(packed_digits, setup=LoadSetup(speeds=Speeds(1e5)))
    assert report.memory is not None
    assert report.memory.simulation is not None
    assert report.memory.simulation.loaders[-1].cost.seconds is None


def test_unknowns_are_named() -> None:
    delegates = [DelegateSpec(data=b"unreadable"), DelegateSpec("VulkanBackend", b"v")]
    data = build_pte(PteSpec([MethodSpec(delegates=delegates)], [NamedSpec("k", b"k" * 99)]))
    kinds = {(unknown.kind.value, unknown.backend) for unknown in simulated(BufferSource(data)).unknowns}
    assert kinds == {
        ("frees", "VulkanBackend"),
        ("askers", "VulkanBackend"),
        ("backend", "XnnpackBackend"),
        ("backend", "VulkanBackend"),
        ("runtime", None),
        ("allocator", None),
        ("pages", None),
        ("decoder", None),
    }


def test_details_only_if_asked_for(digits: Path) -> None:
    for memory in (False, True):
        report = inspect_file(digits, memory=memory)
        assert report.memory is not None
        assert report.memory.simulation is not None
        assert (report.memory.simulation.events is not None) == memory
        assert (report.memory.simulation.loaders[0].steps is not None) == memory


def test_a_load_that_cannot_be_followed_is_told(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "MAX_LOADS", 3)
    report = inspect_file(digits)
    assert report.memory is not None
    assert report.memory.simulation is None
    assert "more than 3 loads" in (report.memory.unsimulated or "")


def test_only_a_ptd_is_a_data_file(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(etpack.PteError, match=r"not a \.ptd"):
        read_data_file(digits)
    data = build_ptd(PtdSpec([NamedSpec("w", bytes(999))]))
    (tmp_path / "w.ptd").write_bytes(data)
    etpack.compress(tmp_path / "w.ptd", tmp_path / "w.etz")
    assert read_data_file(tmp_path / "w.etz").named_data == read_data_file(data).named_data


def test_the_words() -> None:
    console = Console(file=io.StringIO(), width=120, markup=False, highlight=False)
    delegates = [DelegateSpec("Unheard\x1b", b"of" * 10_000), DelegateSpec("VgfBackend", b"v" * 9000)]
    data = build_pte(PteSpec([MethodSpec("m\x1b", delegates=delegates)], [NamedSpec("k\x1b", b"k" * 99)]))
    print_loading(simulated(BufferSource(data)), console, everything=True)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b" not in text
    for words in ("FileDataLoader", "Unheard\\x1b", "KiB to ", "(clean)", "(locked)", "live after", "cannot tell"):
        assert words in text
    assert "--all" not in text
