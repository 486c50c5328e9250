"""`etpack bench`: the sums are right by a clock of our own; nothing here measures anything."""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path

import jsonschema
import pytest

import etpack
from etpack.bench import bench_file
from etpack.describe.bench import describe_bench
from tests.conftest import ROOT
from tests.test_cli import run

ROUND_SIZE = 1 << 20


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round decodes the content twice or thrice, not a hundred times."""
    monkeypatch.setattr("etpack.bench._ROUND_SIZE", ROUND_SIZE)


class Clock:
    """Moves on by the next of some steps whenever it is asked, and by the last one from then on."""

    def __init__(self, *steps: float) -> None:
        self._steps = list(steps)
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        return self._now


def test_speeds_are_content_over_seconds(packed_digits: Path) -> None:
    # Asked twice for each decoding: a warm-up, then rounds of 1, 3 and 2 seconds for the content, many times each.
    passes = ROUND_SIZE // 493_480
    clock = Clock(0, 1, 0, 1 * passes, 0, 3 * passes, 0, 2 * passes, 0.5)
    report = bench_file(packed_digits, threads=[1], reads=4, clock=clock)
    (speed,) = report.decode
    assert speed.threads == 1
    assert speed.seconds == pytest.approx((1, 3, 2))
    assert speed.gb_s == pytest.approx(493_480 / 2 / 1e9)
    assert (speed.slowest_gb_s, speed.quickest_gb_s) == pytest.approx((493_480 / 3 / 1e9, 493_480 / 1e9))
    assert [(read.size, read.count, read.p50_us) for read in report.reads] == [(4096, 4, 5e5), (65536, 4, 5e5)]


def test_percentiles_are_those_of_the_reads(packed_digits: Path) -> None:
    steps = [second for wait in range(1, 101) for second in (0, wait)]
    clock = Clock(0, 1, 0, 1, *steps)
    report = bench_file(packed_digits, threads=[1], rounds=1, reads=100, read_sizes=[4096], clock=clock)
    assert (report.reads[0].p50_us, report.reads[0].p99_us) == pytest.approx((50e6, 99e6))


def test_every_thread_decodes_its_share(real_model: Path, tmp_path: Path) -> None:
    etpack.compress(real_model, tmp_path / "x.etz", etpack.Options(4096))
    calls: list[tuple[int, int]] = []
    ticks = count()
    report = bench_file(
        tmp_path / "x.etz", threads=[1, 2, 3], rounds=1, reads=1,
        progress=lambda *call: calls.append(call), clock=lambda: float(next(ticks)),
    )  # fmt: skip
    assert [speed.threads for speed in report.decode] == [1, 2, 3]
    assert calls[-1][0] == calls[-1][1]
    size = real_model.stat().st_size
    assert [read.size for read in report.reads] == [n for n in (4096, 65536) if n <= size]


def test_a_damaged_file_is_an_error(packed_digits: Path, tmp_path: Path) -> None:
    data = bytearray(packed_digits.read_bytes())
    data[70_000] ^= 1
    (tmp_path / "x.etz").write_bytes(data)
    for threads in ("1", "2"):
        result = run("bench", "x.etz", "--threads", threads, cwd=tmp_path)
        assert result.returncode == 1
        assert "x.etz: block 7" in result.stderr
        assert result.stdout == ""


def test_numbers_below_one_are_refused(packed_digits: Path) -> None:
    for wrong in ({"threads": [0]}, {"rounds": 0}, {"reads": 0}, {"read_sizes": [0]}):
        with pytest.raises(ValueError, match="at least 1"):
            bench_file(packed_digits, **wrong)


def test_a_file_without_content_is_refused() -> None:
    result = run("bench", ROOT / "schemas" / "vectors" / "ok_empty.etz")
    assert result.returncode == 3
    assert "no content" in result.stderr


def test_json_follows_its_schema(packed_digits: Path) -> None:
    schema = json.loads((ROOT / "schemas" / "bench.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    result = run("bench", packed_digits, "--json", "--reads", "5")
    assert (result.returncode, result.stderr) == (0, "")
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(schema).validate(value)
    assert value["content_size"] == 493_480
    assert value["stored_size"] == packed_digits.stat().st_size
    assert [speed["threads"] for speed in value["decode"]] == [1, 2]
    assert [read["size"] for read in value["reads"]] == [4096, 65536]


def test_quiet_prints_nothing(packed_digits: Path) -> None:
    result = run("bench", packed_digits, "-q", "--reads", "5", "--threads", "1")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_lines_say_what_was_measured(packed_digits: Path) -> None:
    clock = Clock(0.001)
    lines = list(describe_bench(bench_file(packed_digits, reads=5, clock=clock)))
    assert lines[0].endswith("481.9 KiB in 405.8 KiB, blocks of 64 KiB, zstd")
    assert [line.split("  ")[0] for line in lines[1:3]] == ["decode, 1 thread", "decode, 2 threads"]
    assert "p50   1000.0 us, p99   1000.0 us (5 of them)" in lines[3]
    assert "all of so small a file" in lines[-1]
    assert len(lines) == 6


def test_a_plain_model_is_no_etz(digits: Path) -> None:
    result = run("bench", digits)
    assert result.returncode == 1
    assert "no .etz header" in result.stderr
    assert os.path.basename(digits) in result.stderr
