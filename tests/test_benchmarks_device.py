"""The benchmark of loading in ExecuTorch: its programs, the part itself, and how its goals are judged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import etpack
from benchmarks import device, summary
from benchmarks.harness import UnmeasuredError
from benchmarks.part import Bench, Results, Row
from tests.conftest import EXAMPLE_MODELS
from tests.test_runtime_loader import Tools, _built

NOTHING: dict[str, list[Row]] = {part.name: [] for part in summary.PARTS}
LOADERS = [one.name for one in (*device.PEERS, *device.OURS)]


@pytest.fixture(scope="module")
def tools() -> Tools:
    """The programs of examples/cpp."""
    return _built("")


@pytest.mark.parametrize("loader", ["file", "mmap", "buffer", "etz"])
def test_throttled_storage_is_as_slow_as_it_says(tools: Tools, digits: Path, packed_digits: Path, loader: str) -> None:
    model = packed_digits if loader == "etz" else digits
    free, slow = (
        dict(re.findall(r"^(\w+): (\S+)$", tools.run("runner", model, "--loader", loader, *options), re.MULTILINE))
        for options in ([], ["--throttle", "5"])
    )
    assert slow["outputs_hash"] == free["outputs_hash"]
    read = int(slow["bytes_read"])
    assert "bytes_read" not in free
    assert 0.9 * model.stat().st_size < read <= 1.01 * model.stat().st_size
    assert float(slow["load_seconds"]) > read / 5e6


def test_decode_speed_decodes_all(tools: Tools, digits: Path, packed_digits: Path) -> None:
    said = tools.run("examples/decode_speed", "2", digits, packed_digits).splitlines()
    lines = [line.split() for line in said]
    assert [line[0] for line in lines] == ["memcpy", "lz4", "zstd", str(packed_digits)]
    assert int(lines[0][1]) == digits.stat().st_size
    assert int(lines[3][1]) == packed_digits.stat().st_size
    for line in lines:
        best, *rounds = map(float, line[2:])
        assert len(rounds) == 2
        assert 0 < best <= min(rounds)


def test_decode_speed_refuses_another_model(tools: Tools, digits: Path, tmp_path: Path) -> None:
    other = next(model for model in EXAMPLE_MODELS if model != digits)
    etpack.compress(other, tmp_path / "other.etz")
    with pytest.raises(AssertionError, match="not the model packed"):
        tools.run("examples/decode_speed", "1", digits, tmp_path / "other.etz")


def test_the_part_measures_every_loader(
    tools: Tools, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "runner").symlink_to(tools.folder / "runner")
    (programs / "decode_speed").symlink_to(tools.folder / "examples" / "decode_speed")
    monkeypatch.setattr(device, "build", lambda _: programs)
    bench = Bench([digits], tmp_path, rounds=1)
    device.PART.run(bench, tmp_path / "results")
    assert not bench.missing
    rows = Results.load(tmp_path / "results" / "device.json").rows
    for storage in (device.WARM, device.GUEST_COLD, "50 MB/s", "200 MB/s", "1000 MB/s"):
        assert [row["name"] for row in rows if row.get("storage") == storage] == LOADERS
    throttled = [row for row in rows if row.get("storage") == "200 MB/s"]
    assert all(row["read"] < throttled[0]["read"] for row in throttled if row["name"].startswith("etpack"))
    assert all(row["peak"] >= row["resident"] > 1_000_000 for row in rows if row.get("storage") == device.WARM)
    assert len([row for row in rows if row["kind"] == "inference"]) == len(device.PEERS) + len(device.CODECS)
    decoded = ["memcpy", "lz4 alone", "zstd alone", "etpack zstd", "etpack lz4"]
    assert [row["name"] for row in rows if row["kind"] == "decode"] == decoded


def test_what_the_programs_need_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Path) -> None:
    monkeypatch.setattr(device, "SDK", tmp_path / "none")
    bench = Bench([digits], tmp_path)
    assert device.measure(bench) == []
    assert "C++ SDK" in bench.missing[0]["reason"] or "cmake" in bench.missing[0]["reason"]
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(UnmeasuredError, match="apt-get install cmake"):
        device.build(tmp_path)


def test_large_models_and_weights_alone_are_left_out(tmp_path: Path) -> None:
    sizes = {"a_fp32.pte": 90, "b_fp32.pte": 101, "c.ptd": 1}
    for name, size in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * 1_000_000)
    assert [path.name for path in device.chosen([tmp_path / name for name in sizes])] == ["a_fp32.pte"]
    assert device.chosen([tmp_path / "c.ptd"]) == []


def _load(name: str, storage: str, **more: object) -> Row:
    row: Row = {"kind": "load", "file": "a_bf16_xnnpack.pte", "class": "BF16", "bytes": 100, "stored": 100}
    return {**row, "name": name, "storage": storage, **more}


def _spread(median: float) -> Row:
    return {"median": median, "low": 0.5, "high": 9.0}


def _judged(rows: list[Row]) -> list[summary.Target]:
    found = [target for target in summary.targets({**NOTHING, "device": rows}) if target.met is not None]
    assert all(target.measured != "not measured" for target in found)
    return found


# 60 MB of 100 are read at 200 MB/s, so 0.2 s could be saved, and 0.18 should be.
@pytest.mark.parametrize(("saved", "met"), [(0.18001, True), (0.1799, False)])
def test_slow_storage_is_judged_by_the_time_saved(saved: float, met: bool) -> None:
    storage = "200 MB/s"
    rows = [_load(device.PEER, storage, read=100_000_000, saved=_spread(0))]
    judged = "etpack zstd, read ahead"
    for name in (judged, "etpack zstd, 2 threads", "etpack zstd, 1 thread", "etpack lz4, read ahead"):
        rows.append(_load(name, storage, stored=60, saved=_spread(saved if name == judged else 0.1)))
    (target,) = _judged(rows)
    assert target.met is met
    assert target.measured == (
        "a_bf16_xnnpack 180 ms quicker, 180 wanted (LZ4 100; not reading ahead 100, with two decoding threads 100)"
    )


@pytest.mark.parametrize(("times", "met"), [(1.01, True), (1.0, False)])
def test_warm_loads_are_judged_by_the_ratio(times: float, met: bool) -> None:
    rows = [_load(f"etpack {codec}, 2 threads", device.WARM, ratio=_spread(times)) for codec in device.CODECS]
    (target,) = _judged(rows)
    assert target.met is met
    assert _judged([{**row, "class": "int4"} for row in rows]) == []


@pytest.mark.parametrize(
    ("peak", "resident", "met"),
    [(11.0, 11.0, [True, True]), (11.1, 11.0, [False, True]), (11.0, 11.1, [False, True]), (9.0, 19.2, [False, False])],
)
def test_memory_is_judged_by_two_loaders(peak: float, resident: float, met: list[bool]) -> None:
    names = {device.PEER: (10, 10), "BufferDataLoader": (20, 20), "etpack zstd, 1 thread": (peak, resident)}
    rows = [
        _load(name, device.WARM, peak=int(each[0] * 1e6), resident=int(each[1] * 1e6)) for name, each in names.items()
    ]
    assert [target.met for target in _judged(rows)] == met


@pytest.mark.parametrize(
    ("file", "kind", "speed", "met"),
    [
        ("a_bf16.pte", "BF16", 2.5, [True]),
        ("a_bf16.pte", "BF16", 2.49, [False]),
        ("minilm_fp32.pte", "FP32", 3.0, [True]),
        ("minilm_fp32.pte", "FP32", 2.99, [False]),
        ("crepe_fp32.pte", "FP32", 1.0, []),
    ],
)
def test_decoding_is_judged_by_class(file: str, kind: str, speed: float, met: list[bool]) -> None:
    row: Row = {"kind": "decode", "file": file, "class": kind, "best": 4.0, "gb_per_s": _spread(speed)}
    rows = [{**row, "name": name} for name in ("memcpy", "etpack zstd", "etpack lz4")]
    assert [target.met for target in _judged(rows)] == met
