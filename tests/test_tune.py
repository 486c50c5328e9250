"""The search for options: exact where it says so, the cost of a load replayed, and a recommendation that holds."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import etpack
from etpack import Device, DeviceError, Effort, LimitError, Options, codecs, layout
from etpack.codecs import BytesLike
from etpack.describe.words import duration
from etpack.layout import ExtentEntry
from etpack.memory.own_backends import read_backends
from etpack.memory.sequence import load_sequence
from etpack.plan import SPAN_SIZE, Extent
from etpack.pte import Range, Role, read_model
from etpack.reader import EtzFile
from etpack.sources import FileSource
from etpack.tuning import Goal, Trial, TuneReport, option_words, read_values
from etpack.tuning.sample import choose_pieces, rows_in, stand_ins
from tests.conftest import ROOT
from tests.test_cli import run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The numbers are made up, and differ in all that matters.
PHONE = Device(500, {"zstd": 600, "lz4": 1800, "planes": 3000}, 2 << 20, 4096, workspace={"zstd": 160 << 10})
FLASH = Device(20, {"lz4": 60, "planes": 80}, scratch_size=48 << 10, request_us=10)
ENGINE = Device(100, {"lz4": 800}, scratch_size=256 << 10, sector_size=512, fixed_function=True)
DEVICES = {"phone": PHONE, "flash": FLASH, "engine": ENGINE}
SOME_SIZES = (8 << 10, 16 << 10, 64 << 10, 256 << 10)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Device:
    """One of three devices that have little in common."""
    return DEVICES[request.param]


def loads_of(model: Path) -> list[Range]:
    """Return the ranges that ExecuTorch asks for."""
    source = FileSource(model)
    try:
        return [load.range for load in load_sequence(read_model(source)) if load.range.size]
    finally:
        source.close()


def seconds_of(file: EtzFile, number: int, size: int, device: Device, stored: bytes) -> float:
    """Return what decoding a block takes, from its own bytes."""
    speeds = {"raw": float("inf"), **device.decode_mb_s}
    entry = file.entry(number)
    codecs, width = [entry.codec], 1
    if entry.codec == layout.CodecId.DIRECTORY:
        width = layout.FilterId(entry.filter).width
        codecs = [plane.codec for plane in layout.unpack_directory(stored[entry.stored_offset :], width)]
    names = {0: ["raw"], 1: [], 2: ["zstd"], 3: ["lz4"], 4: ["lz4", "planes"]}
    parts = [size // width / speeds[name] for codec in codecs for name in names[codec]]
    return (sum(parts) + (size / speeds["planes"] if width > 1 else 0)) / 1e6


def replay(path: Path, loads: Sequence[Range], device: Device) -> tuple[int, int, int, float]:
    """Return bytes read, requests, bytes decoded and seconds of loading a packed file, block by block."""
    sector = device.sector_size
    data = path.read_bytes()
    reads: list[tuple[int, int]] = []
    decoded, seconds = 0, 0.0
    with etpack.open(path) as file:
        places = {section.type: section for section in file.sections}
        index, extents = places[layout.SectionType.INDEX], places[layout.SectionType.EXTENTS]
        table = layout.FOOTER_SIZE + len(file.sections) * layout.SECTION_ENTRY_SIZE
        reads += [(0, layout.HEADER_SIZE), (0, table), (extents.stored_offset, extents.size)]
        blocks = [(n, block) for n, _ in enumerate(file.extents) for block in file.blocks(n)]
        kept_block, kept_page, kept_extents = -1, -1, -1
        for load in loads:
            touched = [(n, b) for n, b in blocks if b.range.offset < load.end and b.range.end > load.offset]
            in_part = -1
            for at, (extent, block) in enumerate(touched):
                page = extent // layout.ENTRIES_PER_PAGE
                if at == 0 and page != kept_extents:
                    start = extents.stored_offset + page * layout.PAGE_SIZE
                    reads.append((start, min(layout.PAGE_SIZE, extents.end - start)))
                    kept_extents = page
                page = block.number // layout.ENTRIES_PER_PAGE
                if page != kept_page:
                    start = index.stored_offset + page * layout.PAGE_SIZE
                    reads.append((start, min(layout.PAGE_SIZE, index.end - start)))
                    kept_page = page
                if block.range.offset < load.offset or block.range.end > load.end:
                    in_part = block.number
                if block.number == kept_block:
                    continue
                if block.entry.stored_size:
                    reads.append((block.entry.stored_offset, block.entry.stored_size))
                decoded += block.range.size
                seconds += seconds_of(file, block.number, block.range.size, device, data)
            kept_block = in_part if in_part >= 0 else kept_block
    size = sum(-(-(start + count) // sector) * sector - start // sector * sector for start, count in reads)
    seconds += size / device.storage_mb_s / 1e6 + len(reads) * device.request_us / 1e6
    return size, len(reads), decoded, seconds


def plain_seconds(loads: Sequence[Range], device: Device) -> float:
    """Return the seconds of loading a plain file."""
    sector = device.sector_size
    size = sum(-(-load.end // sector) * sector - load.offset // sector * sector for load in loads)
    return size / device.storage_mb_s / 1e6 + len(loads) * device.request_us / 1e6


def scratch_of(path: Path, trial: Trial, device: Device) -> int:
    """Return the RAM that a packed file asks for on a device."""
    with etpack.open(path) as file:
        footer = file.footer
        stored = layout.align_up(footer.max_stored_block, device.sector_size)
        stored += device.sector_size if footer.alignment < device.sector_size else 0
        workspace = device.workspace.get(trial.options.codec, 0)
        return stored + footer.max_plane_scratch + footer.block_size + 2 * layout.PAGE_SIZE + workspace


def test_the_recommendation_is_the_best_when_all_is_packed_and_measured_again(
    example_model: Path, device: Device, tmp_path: Path
) -> None:
    report = etpack.tune(example_model, device, block_sizes=SOME_SIZES)
    loads = loads_of(example_model)
    again = {}
    for trial in report.trials:
        path = tmp_path / "x.etz"
        etpack.compress(example_model, path, trial.options, overwrite=True)
        size, requests, decoded, seconds = replay(path, loads, device)
        assert trial.exact
        assert trial.stored_size == path.stat().st_size
        assert trial.scratch_size == scratch_of(path, trial, device)
        assert (trial.load.read_size, trial.load.request_count, trial.load.decoded_size) == (size, requests, decoded)
        assert trial.load.seconds == pytest.approx(seconds)
        gains = path.stat().st_size <= 0.99 * example_model.stat().st_size
        gains = gains or seconds <= 0.99 * plain_seconds(loads, device)
        assert trial.pays is gains
        if gains and scratch_of(path, trial, device) <= (device.scratch_size or 0):
            again[trial.options] = seconds, path.stat().st_size
    assert report.pays is bool(again)
    if not again:  # bare streams of weights may save next to nothing
        assert device is ENGINE
        return
    quickest = min(seconds for seconds, _ in again.values())
    near = [(size, seconds) for seconds, size in again.values() if seconds <= quickest * 1.01]
    assert again[report.best.options] == min(near)[::-1]


def test_a_sample_leads_to_what_the_whole_does(
    example_model: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etpack.tuning.sweep._PIECE_SIZE", 1 << 14)
    monkeypatch.setattr("etpack.tuning.sweep._FINAL_SIZE", 0)
    sizes = layout.BLOCK_SIZES[:3]
    whole = etpack.tune(example_model, device, block_sizes=sizes, sample_size=None)
    sampled = etpack.tune(example_model, device, block_sizes=sizes, sample_size=32 << 10)
    assert whole.sample is None
    if len(whole.trials) == 3:  # as many as are measured again
        assert sampled == whole
        return
    assert sampled.sample
    assert sampled.sample.remeasured_count == sum(trial.exact for trial in sampled.trials)
    assert all(trial.exact for trial in sampled.trials[:3])
    again = {trial.options: trial for trial in whole.trials}
    for trial in sampled.trials:
        assert trial == again[trial.options] if trial.exact else trial.load.seconds > 0
    assert sampled.best == whole.best


def test_a_sample_of_everything_is_exact_but_for_what_is_shared(digits: Path) -> None:
    from etpack.tuning.blocks import Decoding
    from etpack.tuning.measure import measure_sample, measure_whole
    from etpack.writer import extent_entries, outline

    source = FileSource(digits)
    for options in (Options(4096), Options(65536, "lz4", alignment=512)):
        cut = outline(source, options)
        entries, decoding = extent_entries(cut.extents, options.block_size), Decoding(PHONE)
        pieces = [Range(0, source.size)]
        sampled = measure_sample(source, options, cut, pieces, decoding, 2, lambda *_: None)
        whole = measure_whole(source, options, entries, decoding, 2, lambda *_: None)
        assert sampled.stored_size == whole.stored_size
        assert sampled.blocks.stored_sizes.tolist() == whole.blocks.stored_sizes.tolist()
        assert sampled.blocks.seconds.tolist() == pytest.approx(whole.blocks.seconds.tolist())
        stored = whole.blocks.stored_sizes > 0
        assert sampled.blocks.stored_offsets[stored].tolist() == whole.blocks.stored_offsets[stored].tolist()
    source.close()


def test_the_result_does_not_depend_on_the_number_of_threads(digits: Path) -> None:
    reports = [
        etpack.tune(digits, PHONE, block_sizes=SOME_SIZES, sample_size=100_000, jobs=jobs).to_json() for jobs in (1, 3)
    ]
    assert reports[0] == reports[1]


def test_a_fixed_function_engine_gets_bare_streams_at_sectors(digits: Path) -> None:
    report = etpack.tune(digits, ENGINE, block_sizes=SOME_SIZES)
    assert {(t.options.codec, t.options.filters, t.options.alignment) for t in report.trials} == {("lz4", False, 512)}
    assert list(option_words(report.best.options))[-3:] == ["--no-filter", "--align", "512"]


def test_only_what_the_device_decodes_is_tried(digits: Path) -> None:
    report = etpack.tune(digits, FLASH, block_sizes=SOME_SIZES)
    assert {trial.options.codec for trial in report.trials} == {"lz4"}
    assert report.left_out == (64 << 10, 256 << 10)


def test_efforts_are_tried(digits: Path) -> None:
    report = etpack.tune(digits, PHONE, block_sizes=[65536], efforts=list(Effort), goal="size")
    sizes = {
        t.options.effort: t.stored_size for t in report.trials if t.options == Options(65536, "zstd", t.options.effort)
    }
    assert sizes[Effort.MAX] <= sizes[Effort.DEFAULT] <= sizes[Effort.FAST]


def test_the_goal_decides(digits: Path) -> None:
    device = Device(1000, {"zstd": 20, "lz4": 5000, "planes": 9000})
    by_load, by_size = (etpack.tune(digits, device, goal=goal, block_sizes=[65536]) for goal in Goal)
    assert by_load.best.options.codec == "lz4"
    assert by_size.best.options.codec == "zstd"
    assert by_size.best.stored_size < by_load.best.stored_size


def test_within_one_percent_the_smaller_file_wins(digits: Path) -> None:
    """Where a request takes a second, what decoding takes hardly counts."""
    device = Device(1e6, {"zstd": 500, "lz4": 5000, "planes": 9000}, request_us=1e6)
    report = etpack.tune(digits, device, block_sizes=[65536])
    assert report.best.options.codec == "zstd"
    assert report.best.load.seconds > min(trial.load.seconds for trial in report.trials)


def test_what_gains_nothing_is_not_recommended(digits: Path) -> None:
    """Where padding makes most blocks raw, they load quickest, from a file that is larger than the model."""
    device = Device(1000, {"lz4": 5, "planes": 5}, sector_size=4096)
    report = etpack.tune(digits, device, block_sizes=layout.BLOCK_SIZES[:3])
    quickest = min(report.trials, key=lambda trial: trial.load.seconds)
    assert not quickest.pays
    assert quickest.stored_size > report.content_size
    assert report.best.pays
    assert report.best.stored_size < report.content_size
    assert [trial.pays for trial in report.trials] == sorted((trial.pays for trial in report.trials), reverse=True)


def test_a_model_that_does_not_gain_is_left_as_it_is(digits: Path) -> None:
    args = ["--storage", "1000", "--decode", "lz4=5", "--fixed-function", "--sector", "4K", "--block-size", "4K"]
    shown, asked = run("tune", digits, *args), run("tune", digits, *args, "--json")
    assert (shown.returncode, asked.returncode) == (0, 0)
    assert "leave it as it is" in shown.stdout
    assert "no gain" in shown.stdout
    assert "etpack compress" not in shown.stdout
    value = json.loads(asked.stdout)
    assert (value["pays"], value["command"], value["best"]["pays"]) == (False, None, False)
    assert value["reason"] in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("device", "saves"),
    [
        (Device(1000, {"lz4": 5, "planes": 5}), "the file's size"),  # slow to decode
        (Device(100, {"lz4": 9000}, sector_size=4096, fixed_function=True), "the time to load it"),  # padded
    ],
)
def test_to_pay_is_to_save_enough_of_size_or_of_time(
    digits: Path, monkeypatch: pytest.MonkeyPatch, device: Device, saves: str
) -> None:
    def tuned(least: float) -> TuneReport:
        monkeypatch.setattr("etpack.tuning.sweep.LEAST_GAIN", least)
        return etpack.tune(digits, device, block_sizes=[65536])

    found = tuned(0.001)
    gains = [1 - trial.stored_size / found.content_size for trial in found.trials]
    gains += [1 - trial.load.seconds / found.plain.seconds for trial in found.trials]
    assert tuned(max(gains) - 1e-9).pays
    assert found.reason == f"It saves {max(gains):.1%} of {saves}."
    less = tuned(max(gains) + 1e-9)
    assert (less.pays, less.command) == (False, None)


def test_raw_copies_may_take_time(digits: Path) -> None:
    free, slow = (
        etpack.tune(digits, Device(100, {"lz4": 500, "planes": 500, **raw}), block_sizes=[65536])
        for raw in ({}, {"raw": 1.0})
    )
    assert free.best.load.decode_seconds < slow.best.load.decode_seconds
    assert free.best.load.read_seconds == slow.best.load.read_seconds


def test_nothing_fits(digits: Path) -> None:
    tiny = Device(100, {"lz4": 500, "planes": 500}, scratch_size=4096)
    with pytest.raises(LimitError, match=r"it takes at least 1\d,\d+ bytes with blocks of 4,096"):
        etpack.tune(digits, tiny)
    with pytest.raises(LimitError, match="more than a block"):
        etpack.tune(digits, Device(100, {"lz4": 500, "planes": 500}, scratch_size=4095))


def test_what_does_not_fit_by_a_sample_is_not_measured_again(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etpack.tuning.sweep._PIECE_SIZE", 1 << 14)
    monkeypatch.setattr("etpack.tuning.sweep._FINAL_SIZE", 0)
    device = Device(100, {"zstd": 500, "lz4": 500, "planes": 500}, 24 << 10, sector_size=512)
    report = etpack.tune(digits, device, block_sizes=layout.BLOCK_SIZES[:3], sample_size=32 << 10)
    assert report.sample
    assert {trial.fits for trial in report.trials} == {True, False}
    assert all(trial.fits for trial in report.trials if trial.exact)
    tiny = Device(100, {"zstd": 500, "lz4": 500, "planes": 500}, 5000, sector_size=512)
    with pytest.raises(LimitError, match="at least"):
        etpack.tune(digits, tiny, sample_size=32 << 10)


def test_something_must_be_tried(digits: Path) -> None:
    with pytest.raises(ValueError, match="to try"):
        etpack.tune(digits, PHONE, block_sizes=[])
    with pytest.raises(ValueError, match="to try"):
        etpack.tune(digits, PHONE, efforts=[])
    with pytest.raises(ValueError, match="power of two"):
        etpack.tune(digits, PHONE, block_sizes=[5000])
    with pytest.raises(ValueError, match="speed"):
        etpack.tune(digits, PHONE, goal="speed")


def test_an_etz_is_not_tuned(packed_digits: Path) -> None:
    with pytest.raises(etpack.PteError, match=r"this is an \.etz already"):
        etpack.tune(packed_digits, PHONE)


def test_a_model_that_loads_without_end_is_refused(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etpack.tuning.sweep._MOST_LOADS", 12)
    with pytest.raises(LimitError, match="more than 12 requests"):
        etpack.tune(digits, PHONE, block_sizes=[65536])


def test_progress_ends_at_its_total(digits: Path) -> None:
    calls: list[tuple[int, int]] = []
    etpack.tune(digits, FLASH, block_sizes=[8192, 16384], progress=lambda *call: calls.append(call))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (2 * digits.stat().st_size, 2 * digits.stat().st_size)
    calls.clear()
    etpack.tune(digits, FLASH, sample_size=1 << 16, progress=lambda *call: calls.append(call))
    assert all(done <= total for done, total in calls)


def _extents(*sizes: tuple[Role, int]) -> list[Extent]:
    offset, extents = 0, []
    for role, size in sizes:
        extents.append(Extent(Range(offset, size), role))
        offset += size + 64
    return extents


def test_a_sample_is_spread_over_roles_and_extents() -> None:
    extents = _extents((Role.PROGRAM, 5_000), *[(Role.CONSTANT, 1_000_000)] * 10, (Role.DELEGATE, 3_000_000))
    pieces = choose_pieces(extents, 1_000_000, 1 << 16)
    assert pieces == choose_pieces(extents, 1_000_000, 1 << 16)
    assert sum(piece.size for piece in pieces) < 1_000_000 + 3 * (1 << 16)
    assert pieces[0] == extents[0].range
    for extent in extents:
        assert any(extent.range.offset <= piece.offset and piece.end <= extent.range.end for piece in pieces)
    assert list(pieces) == sorted(pieces, key=lambda piece: piece.offset)
    assert all(first.end <= second.offset for first, second in pairwise(pieces))


@pytest.mark.parametrize("block_size", [4096, 16384])
def test_rows_are_the_blocks_that_touch_a_piece(block_size: int) -> None:
    entries: list[ExtentEntry] = []
    blocks: list[tuple[int, int]] = []
    offset = 0
    for size in (100, 4096, 70_000, 3_500_000, 16_384, 9_999):
        entries.append(ExtentEntry(offset, size, len(blocks)))
        starts = range(offset, offset + size, block_size)
        blocks += [(start, min(block_size, offset + size - start)) for start in starts]
        offset += size + 32
    pieces = [Range(0, 50), Range(4000, 30_000), Range(34_000, 5_000), Range(200_000, 3_300_000)]
    pieces += [Range(offset - 5000, 4000)]
    found = {}
    for first, row in rows_in(entries, pieces, block_size):
        assert row.end - row.offset <= SPAN_SIZE
        for number in range(row.count):
            assert first + number not in found
            found[first + number] = row.offset + number * row.block_size, row.block_size
    wanted = {
        number: block
        for number, block in enumerate(blocks)
        if any(block[0] < piece.end and piece.offset < sum(block) for piece in pieces)
    }
    assert found == wanted
    assert len(wanted) > 10


def test_blocks_stand_for_those_of_their_role() -> None:
    roles = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2], np.int64)
    chosen = stand_ins(roles, np.array([1, 4, 7], np.int64))
    assert chosen.tolist() == [1, 1, 1, 4, 4, 4, 7, 7, 7, 1, 4]


GOOD = {"storage_mb_s": 10, "decode_mb_s": {"lz4": 1, "planes": 1}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"storage_mb_s": 0}, "storage_mb_s: 0 is not a speed"),
        ({"storage_mb_s": float("nan")}, "nan is not a speed"),
        ({"storage_mb_s": "fast"}, "'fast' is not a speed"),
        ({"storage_mb_s": True}, "True is not a speed"),
        ({"storage_mb_s": 10**400}, "is not a speed"),
        ({"storage_mb_s": 1e-320}, "is not a speed"),
        ({"decode_mb_s": {}}, "it decodes no codec"),
        ({"decode_mb_s": 5}, "5 is not a table"),
        ({"decode_mb_s": {"lz4": 1}}, "how fast byte planes are put together"),
        ({"decode_mb_s": {"lz4": -1, "planes": 1}}, "decode_mb_s: lz4: -1 is not a speed"),
        ({"scratch_size": 1.5}, "scratch_size: 1.5 is not a number of bytes"),
        ({"scratch_size": 0}, "scratch_size: 0 is not"),
        ({"sector_size": 1000}, "not a power of two"),
        ({"sector_size": 1 << 23}, "not a power of two up to 4M"),
        ({"request_us": -1}, "request_us: -1"),
        ({"request_us": 10**400}, "is not a number of microseconds"),
        ({"fixed_function": "yes"}, "neither true nor false"),
        ({"name": 5}, "name: 5"),
        ({"workspace": {"lz4": "much"}}, "workspace: lz4: 'much'"),
        ({"workspace": {"zstd": 5}}, "no codec of decode_mb_s"),
        ({"workspace": {"planes": 5}}, "no codec of decode_mb_s"),
        ({"workspace": {"x" * 9999: 5}}, "no codec of decode_mb_s"),
        ({"decode_mb_s": {"x" * 9999: 5}}, "there is no codec"),
        ({"name": ["x" * 9999]}, "is not a text"),
        ({"ram": 5}, "there is no 'ram'"),
    ],
)
def test_a_device_that_cannot_be(change: dict[str, object], words: str) -> None:
    Device.from_values(GOOD)
    with pytest.raises(DeviceError) as caught:
        Device.from_values({**GOOD, **change})
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["decode_mb_s", "workspace"])
def test_options_that_are_not_given_hide_nothing_of_the_file(digits: Path, name: str, tmp_path: Path) -> None:
    (tmp_path / "device.json").write_text(json.dumps({**GOOD, name: 5}), encoding="utf-8")
    result = run("tune", digits, "--device", "device.json", cwd=tmp_path)
    assert result.returncode == 2
    assert f"device.json: {name}: 5 is not a table" in result.stderr


def test_a_device_lacks_what_cannot_be_guessed() -> None:
    with pytest.raises(DeviceError, match="how fast storage is"):
        Device.from_values({})
    with pytest.raises(DeviceError, match="decode_mb_s: there is no codec 'brotli'"):
        Device(1, {"brotli": 1, "planes": 1})


def test_a_file_that_describes_no_device(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text("storage_mb_s = ", encoding="utf-8")
    with pytest.raises(DeviceError, match="no TOML: ") as caught:
        read_values(tmp_path / "device.toml")
    assert caught.value.path == str(tmp_path / "device.toml")
    assert caught.value.hint


@pytest.mark.parametrize("read", [read_values, read_backends])
def test_a_description_that_cannot_be_read_is_named(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("builtins.open", lambda *_, **__: Broken())
    with pytest.raises(OSError, match="Input/output error") as caught:
        read(tmp_path / "device.toml")
    assert caught.value.filename == str(tmp_path / "device.toml")


@pytest.mark.parametrize("read", [read_values, read_backends])
def test_a_pipe_is_read_but_not_waited_for(read: Callable[[Path], object], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(etpack.EtpackError, match="nothing writes to this pipe") as caught:
        read(pipe)
    assert (caught.value.exit_code, caught.value.path) == (2, str(pipe))
    reader, writer = os.pipe()  # as bash makes one of <(...)
    with open(writer, "wb") as file:
        file.write(b"backends = []" if read is read_backends else b"storage_mb_s = 5")
    assert read(Path(f"/dev/fd/{reader}"))
    os.close(reader)


def test_a_socket_is_no_description(digits: Path, tmp_path: Path) -> None:
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)
    result = run("tune", digits, "--device", "socket", cwd=tmp_path)
    assert result.returncode == 4
    assert "socket: No such device or address; give a regular file" in result.stderr


TOML = """
name = "a camera"
storage_mb_s = 20
sector_size = 512
scratch_size = 0x30000
[decode_mb_s]
lz4 = 400
zstd = 90.5
planes = 500
[workspace]
zstd = 100_000
"""


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text(TOML, encoding="utf-8")
    device = Device.from_values(read_values(tmp_path / "device.toml"))
    assert device.scratch_size == 196_608
    assert device.codecs == ("lz4", "zstd")
    values = {"name": "a camera", "storage_mb_s": 20, "sector_size": 512, "scratch_size": 196_608}
    values |= {"decode_mb_s": dict(device.decode_mb_s), "workspace": {"zstd": 100_000}}
    (tmp_path / "device.json").write_text(json.dumps(values), encoding="utf-8")
    assert Device.from_values(read_values(tmp_path / "device.json")) == device


@pytest.fixture
def place(digits: Path, tmp_path: Path) -> Path:
    """A folder with a model and a device."""
    (tmp_path / "model.pte").write_bytes(digits.read_bytes())
    (tmp_path / "device.toml").write_text(TOML, encoding="utf-8")
    return tmp_path


def test_json_follows_its_schema(place: Path) -> None:
    schema = json.loads((ROOT / "schemas" / "tune.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for extra in ((), ("--sample", "64K"), ("--fixed-function",)):
        result = run("tune", "model.pte", "--device", "device.toml", "--json", "--block-size", "16K", *extra, cwd=place)
        assert (result.returncode, result.stderr) == (0, "")
        value = json.loads(result.stdout)
        jsonschema.Draft202012Validator(schema).validate(value)
        assert value["best"] == value["trials"][0]
        assert value["best"]["load"]["seconds"] == pytest.approx(
            value["best"]["load"]["read_seconds"] + value["best"]["load"]["decode_seconds"]
        )


def test_the_recommended_command_does_what_is_promised(place: Path) -> None:
    args = ["tune", "model.pte", "--device", "device.toml", "--block-size", "32K", "--block-size", "64K"]
    result = run(*args, cwd=place)
    assert (result.returncode, result.stderr) == (0, "")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("  etpack compress")]
    words = shlex.split(line)
    assert run(*words[1:], cwd=place).returncode == 0
    promised = json.loads(run(*args, "--json", cwd=place).stdout)
    assert (place / "model.etz").stat().st_size == promised["best"]["stored_size"]
    assert promised["command"] == words
    assert "The plain file loads in" in result.stdout
    assert "reading and decoding add up" in result.stdout
    assert sorted(os.listdir(place)) == ["device.toml", "model.etz", "model.pte"]


def test_options_go_over_the_file(place: Path) -> None:
    given = ["--storage", "77", "--decode", "lz4=1", "--scratch", "1M", "--sector", "1", "--request-us", "5"]
    result = run("tune", "model.pte", "--device", "device.toml", *given, "--json", "--block-size", "64K", cwd=place)
    device = json.loads(result.stdout)["device"]
    assert (device["storage_mb_s"], device["scratch_size"], device["sector_size"]) == (77, 1 << 20, 1)
    assert device["decode_mb_s"] == {"lz4": 1, "zstd": 90.5, "planes": 500}
    assert (device["request_us"], device["name"]) == (5, "a camera")


def test_all_that_was_tried_is_shown_when_asked(place: Path) -> None:
    sizes = [word for size in ("16K", "32K", "64K", "128K") for word in ("--block-size", size)]
    args = ["tune", "model.pte", "--device", "device.toml", "--effort", "fast", *sizes]
    short, long = run(*args, cwd=place).stdout, run(*args, "--all", cwd=place).stdout
    assert "more; --all shows them" in short
    assert "--all" not in long
    assert long.count("does not fit") > 0
    assert len(long.splitlines()) > len(short.splitlines())


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], 2, "how fast storage is"),
        (["--storage", "5"], 2, "it decodes no codec"),
        (["--storage", "5", "--decode", "lz4=1"], 2, "planes=MB/S"),
        (["--storage", "5", "--decode", "lz4"], 2, "not NAME=VALUE"),
        (["--storage", "5", "--decode", "lz4=much"], 2, "not a number"),
        (["--storage", "5", "--decode", "brotli=1"], 2, "no codec 'brotli'"),
        (["--storage", "5", "--decode", "auto=1"], 2, "no codec 'auto'; choose from lz4, zstd, raw, planes"),
        (["--device", "absent.toml"], 4, "absent.toml: No such file"),
        (["--device", "device.toml", "--storage", "0"], 2, "storage_mb_s"),
        (["--device", "device.toml", "--block-size", "1000"], 2, "power of two"),
        (["--device", "device.toml", "--scratch", "4K"], 3, "nothing fits"),
        (["--device", "device.toml", "--html", "model.pte"], 2, "is the input itself"),
        (["--device", "device.toml", "--html", "device.toml"], 2, "is the input itself"),
        (["--device", "device.toml", "--html", "absent/x.html"], 4, "absent/x.html: No such file"),
        (["--device", "device.toml", "--html", ""], 2, "an empty name"),
        (["--device", "device.toml", "--html", "there.html"], 2, "exists already"),
        (["--device", "device.toml", "--html", "x.html", "--scratch", "4K"], 3, "nothing fits"),
        (["--device", "device.toml", "--html", "-", "--json"], 2, "both go to stdout"),
        (["--device", "model.pte"], 2, "it is no text"),
    ],
)
def test_errors(place: Path, args: list[str], code: int, words: str) -> None:
    (place / "there.html").write_text("mine", encoding="utf-8")
    before = sorted(os.listdir(place))
    result = run("tune", "model.pte", *args, cwd=place)
    assert (place / "there.html").read_text(encoding="utf-8") == "mine"
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert result.stdout == ""
    assert sorted(os.listdir(place)) == before


def test_every_kind_of_model_is_tuned(real_model: Path) -> None:
    report = etpack.tune(real_model, PHONE, block_sizes=[65536])
    assert report.kind.value == real_model.suffix[1:]
    assert report.load_count > 1
    assert report.plain.request_count == report.load_count
    # The runtime asks for the first bytes twice; the block that they lie in is kept.
    assert report.load_size <= report.best.load.decoded_size + report.load_count * 64


def test_block_sizes_are_all_that_the_format_has() -> None:
    assert layout.BLOCK_SIZES[0] == 4096
    assert layout.BLOCK_SIZES[-1] == 4 << 20
    assert len(layout.BLOCK_SIZES) == 11


def test_the_guide_has_one_device_in_three_ways(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "examples" / "guide.md").read_text(encoding="utf-8")
    (toml,) = re.findall(r"```toml\n(name = .*?)```", guide, re.DOTALL)
    (place / "device.toml").write_text(toml, encoding="utf-8")
    device = Device.from_values(read_values(place / "device.toml"))
    assert set(tomllib.loads(toml)) == {field.name for field in fields(Device)}
    (options,) = re.findall(r"`(--storage [^`]*)`", guide)
    value = json.loads(run("tune", "model.pte", *options.split(), "--fixed-function", "--json", cwd=place).stdout)
    assert value["device"]["storage_mb_s"] == device.storage_mb_s
    assert value["device"]["scratch_size"] == device.scratch_size
    assert value["device"]["decode_mb_s"]["lz4"] == device.decode_mb_s["lz4"]
    (call,) = re.findall(r"`(etpack\.tune\(.*?)`", guide)
    monkeypatch.chdir(place)
    assert eval(call, {"etpack": etpack}).device.storage_mb_s == device.storage_mb_s


class _Halving:
    """A codec of someone else's that could not decode what it makes: nothing decodes it here."""

    id = 203
    name = "half"

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        del effort
        return bytes(data)[: len(data) // 2]

    def decode(self, stream: BytesLike, size: int) -> bytes:
        raise NotImplementedError


def test_a_codec_of_others_is_tried(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etpack.codecs._by_id", dict(codecs._by_id))
    etpack.register_codec(_Halving())
    device = Device(100, {"half": 50, "lz4": 1, "planes": 100})
    report = etpack.tune(digits, device, block_sizes=[65536])
    assert report.best.options.codec == "half"
    assert 0 < report.best.load.decode_seconds <= report.content_size * (1 / 50 + 1 / 100) / 1e6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 us"),
        (1.5e-6, "1.50 us"),
        (99e-6, "99.0 us"),
        (9996e-7, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (1234, "1,234 s"),
    ],
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
