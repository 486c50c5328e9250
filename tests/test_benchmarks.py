"""The parts of the benchmarks that need no peers: figures, choice of files, pages, and the goals of the summary."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import opening, summary
from benchmarks.harness import Spread, UnmeasuredError, percentile, ratio_per_round, run, take_turns
from benchmarks.part import Bench, Part, Results, Row, block_name, table
from benchmarks.places import find_files, ladder, large, middle, representatives, weight_class

ROOT = Path(__file__).parent.parent
RECORDED = Path(__file__).parent / "data" / "benchmarks"
PARTS = {part.name: part for part in summary.PARTS}
NOTHING: dict[str, list[Row]] = {name: [] for name in PARTS}


def _file(folder: Path, name: str, size: int) -> Path:
    """Make a file of zeros that takes no space."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_a_spread_has_the_median() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)
    assert Spread.of([1.23456789]).median == 1.2346


def test_a_ratio_is_made_of_each_round() -> None:
    assert ratio_per_round([1.0, 2.0, 4.0], [2.0, 2.0, 2.0]) == Spread(1.0, 0.5, 2.0)
    with pytest.raises(ValueError):
        ratio_per_round([1.0], [1.0, 2.0])


def test_a_percentile_is_a_measured_value() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 50) == 50.0
    assert percentile(values, 99) == 99.0
    assert percentile([7.0], 99) == 7.0


def test_contestants_take_turns() -> None:
    order: list[str] = []
    failed: list[tuple[str, str]] = []

    def one(name: str) -> float:
        order.append(name)
        if name == "c" and len(order) > 3:
            raise UnmeasuredError("broke")
        return float(len(order))

    contestants = {name: lambda name=name: one(name) for name in "abc"}
    figures = take_turns(contestants, 3, lambda name, why: failed.append((name, why)))
    assert "".join(order) == "abcabcab"
    assert figures == {"a": [1.0, 4.0, 7.0], "b": [2.0, 5.0, 8.0]}
    assert failed == [("c", "broke")]


def test_a_command_is_measured(tmp_path: Path) -> None:
    usage = run([sys.executable, "-c", "print(len(b'x' * 64_000_000))"], tmp_path / "out")
    assert usage.seconds > 0
    assert usage.peak > 64_000_000
    assert (tmp_path / "out").read_text(encoding="utf-8") == "64000000\n"


def test_a_command_that_fails_is_not_measured() -> None:
    with pytest.raises(UnmeasuredError, match=r"exit code 1: .*no module named nothing_of_this_name"):
        run([sys.executable, "-c", "raise SystemExit('no module named nothing_of_this_name')"])
    with pytest.raises(UnmeasuredError, match="apt-get install no-such-tool"):
        run(["no-such-tool"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("minilm_fp32_xnnpack.pte", "FP32"),
        ("crepe_full_fp16_portable.pte", "FP16"),
        ("large_bf16_llm_portable.pte", "BF16"),
        ("crepe_full_int8_xnnpack.pte", "int8"),
        ("minilm_8da8w_xnnpack.pte", "int8"),
        ("smollm2_8da4w_emb8_xnnpack.pte", "int4"),
        ("weights.ptd", ".ptd"),
    ],
)
def test_a_files_name_tells_its_class(name: str, kind: str) -> None:
    assert weight_class(Path(name)) == kind


def test_files_are_chosen_by_size_and_class(tmp_path: Path) -> None:
    sizes = {
        "minilm_fp32_xnnpack": 90,
        "smollm2_bf16_portable": 270,
        "other_fp32": 95,
        "a_fp32": 652,
        "b": 1600,
        "c": 1,
    }
    paths = {name: _file(tmp_path, f"{name}.pte", size * 1_000_000) for name, size in sizes.items()}
    _file(tmp_path, "notes.txt", 1)
    files = find_files([str(tmp_path)])
    assert len(files) == len(sizes)
    assert representatives(files) == [paths["minilm_fp32_xnnpack"], paths["smollm2_bf16_portable"]]
    assert representatives([paths["b"], paths["other_fp32"]]) == [paths["other_fp32"], paths["b"]]
    assert middle(files) == paths["minilm_fp32_xnnpack"]
    assert middle([paths["b"], paths["a_fp32"]]) == paths["a_fp32"]
    assert large(files) == [paths["a_fp32"], paths["b"]]
    assert ladder(files, [2_000_000, 3_000_000, 10**10]) == [paths["c"], paths["b"]]


def test_a_place_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is not there"):
        find_files([str(tmp_path / "missing")])
    with pytest.raises(SystemExit, match=r"no \.pte"):
        find_files([str(tmp_path)])


def test_tables_are_markdown() -> None:
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert [block_name(size) for size in (None, 4096, 1 << 22)] == ["-", "4K", "4M"]


def test_results_survive_json(tmp_path: Path) -> None:
    results = Results("ratio", {"cores": "2"}, 1.5, [{"file": "a", "x": 1}, {"file": "b", "x": None}], [])
    results.save(tmp_path / "ratio.json")
    assert Results.load(tmp_path / "ratio.json") == results


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_page_shows_every_row(part: Part) -> None:
    results = Results.load(RECORDED / f"{part.name}.json")
    assert results.rows
    text = part.page(results, ["plot"])
    assert text.startswith(f"# {part.title}\n\n")
    assert "![plot](plot.svg)" in text
    for row in results.rows:
        assert str(row.get("name", row.get("packer", row.get("command", row.get("file"))))) in text
    for row in results.missing:
        assert f"| {row['what']} | {row['file']} | {row['reason']} |" in text


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    bench = Bench([], tmp_path)
    bench.miss("ZipNN", Path("a.pte"), "ImportError: no module")
    text = opening.PART.page(Results("opening", {}, 0.0, [], bench.missing))
    assert "## Not measured\n\n| what | file | why |" in text
    assert "| ZipNN | a.pte | ImportError: no module |" in text


def test_a_part_runs_without_peers(tmp_path: Path) -> None:
    model = ROOT / "examples" / "models" / "digits_int8_xnnpack.pte"
    opening.PART.run(Bench([model], tmp_path, rounds=1), tmp_path / "results")
    rows = Results.load(tmp_path / "results" / "opening.json").rows
    assert [row["block_size"] for row in rows] == [None, 64 << 10, 4 << 10]
    assert all(0 < row["inspect_bytes"] < row["stored"] and row["peak"] > 1_000_000 for row in rows)
    assert "digits_int8_xnnpack.pte" in (tmp_path / "results" / "opening.md").read_text(encoding="utf-8")


def test_goals_that_were_not_measured_say_so() -> None:
    found = summary.targets(NOTHING)
    assert len(found) == 19
    assert all(target.met is None and target.measured == "not measured" for target in found)


def test_the_overview_counts_goals_by_area_and_shows_one_that_is_not_met() -> None:
    rows = {**NOTHING, "ratio": [_ratio_row("etpack", 790, 65536, effort="max"), _ratio_row("zipnn", 780)]}
    header, _, size, packing, *_ = summary.overview(rows).splitlines()
    assert header == "|  | goals met | for instance |"
    assert size.startswith("| size | 0 of 2 | not met: ")
    assert size.endswith("a_fp32 1.2658, zipnn 1.2821 |")
    assert packing.startswith("| packing and unpacking large files | 0 of 6 | ")
    assert packing.endswith("not measured |")


def test_the_summary_of_recorded_results_judges_what_they_have(tmp_path: Path) -> None:
    rows = summary.load(RECORDED)
    met = {target.goal: target.met for target in summary.targets(rows)}
    # Files over 500 MB, 16 MB and 1.6 GB, BF16 and MiniLM: none is recorded.
    assert sum(value is None for value in met.values()) == 11
    for path in RECORDED.glob("*.json"):
        shutil.copy(path, tmp_path)
    summary.write(tmp_path)
    assert summary.headline(rows) in (tmp_path / "summary.md").read_text(encoding="utf-8")


def _ratio_row(packer: str, stored: int, block_size: int | None = None, **more: str) -> Row:
    row: Row = {"file": "a_fp32.pte", "class": "FP32", "packer": packer, "block_size": block_size, "stored": stored}
    return {**row, "ratio": 1000 / stored, **more}


@pytest.mark.parametrize(("stored", "met"), [(800, [True, True]), (799, [False, True]), (789, [False, False])])
def test_no_whole_file_peer_may_be_smaller(stored: int, met: list[bool]) -> None:
    rows = [
        _ratio_row("etpack", 800, 64 << 10, effort="max"),
        _ratio_row("etpack", 790, 1 << 20, effort="max"),
        _ratio_row("etpack", 100, 64 << 10, effort="default"),
        _ratio_row("Blosc2", 100, 64 << 10),
        _ratio_row("lz4 -12", 900),
        _ratio_row("ZipNN", stored),
    ]
    found = summary.targets({**NOTHING, "ratio": rows})[:2]
    assert [target.met for target in found] == met
    assert f"ZipNN {1000 / stored:.4f}" in found[0].measured
    assert "at 1M" in found[1].measured


@pytest.mark.parametrize(
    ("size", "median", "met"), [(600_000_000, 1.0, True), (600_000_000, 0.99, False), (90_000_000, 2.0, None)]
)
def test_speed_is_judged_on_large_files(size: int, median: float, met: bool | None) -> None:
    spread = {"median": median, "low": 0.5, "high": 3.0}
    row: Row = {
        "file": "a.pte",
        "bytes": size,
        "group": "pack",
        "name": "etpack",
        "ratios": {"zstd -3 -T2, sync": spread},
    }
    target = summary.targets({**NOTHING, "throughput": [row, {**row, "name": "etpack --no-check"}]})[2]
    assert target.met is met
    assert target.measured == ("not measured" if met is None else f"a {median:.2f} times (0.50 to 3.00)")


@pytest.mark.parametrize(
    ("peer_ratio", "p50", "met"), [(1.2, 31.0, True), (1.2, 30.0, False), (1.19, 1.0, True), (1.3, 40.0, True)]
)
def test_random_reads_are_compared_with_peers_of_equal_ratio(peer_ratio: float, p50: float, met: bool) -> None:
    ours: Row = {
        "file": "a.pte", "bytes": 90_000_000, "block_size": 64 << 10, "read_size": 4 << 10, "threads": 1,
        "name": "etpack read_into", "ratio": 1.2, "p50_us": 30.0,
    }  # fmt: skip
    plain = {**ours, "name": "uncompressed file", "ratio": 1.0, "p50_us": 1.0}
    peer = {**ours, "name": "Blosc2", "ratio": peer_ratio, "p50_us": p50}
    target = summary.targets({**NOTHING, "random_reads": [plain, ours, peer]})[8]
    assert target.met is met
    assert ("no peer reaches the ratio" in target.measured) is (peer_ratio < 1.2)


@pytest.mark.parametrize(("seconds", "peak", "met"), [(0.49, 79e6, True), (0.5, 79e6, False), (0.49, 80e6, False)])
def test_inspecting_a_large_model_has_limits(seconds: float, peak: float, met: bool) -> None:
    row: Row = {"file": "a.pte", "bytes": 1_600_000_000, "seconds": {"median": seconds}, "peak": peak}
    rows = [{**row, "block_size": None}, {**row, "block_size": 64 << 10}, {**row, "block_size": 4 << 10, "peak": 1e9}]
    assert [target.met for target in summary.targets({**NOTHING, "opening": rows})[9:11]] == [met, met]


@pytest.mark.parametrize(("peak", "start", "met"), [(149e6, 0.149, True), (150e6, 0.150, False)])
def test_memory_and_start_up_have_limits(peak: float, start: float, met: bool) -> None:
    row: Row = {"kind": "memory", "file": "a.pte", "bytes": 10, "command": "compress", "block_size": 4096, "peak": peak}
    other = {**row, "block_size": 1 << 22, "peak": 1e6}
    unpack = {**row, "command": "decompress", "peak": 1e9}
    starting: Row = {"kind": "start-up", "command": "etpack --version", "seconds": {"median": start}}
    found = summary.targets({**NOTHING, "memory": [row, other, unpack, starting]})[11:13]
    assert [target.met for target in found] == [met, met]
    assert "blocks of 4K" in found[0].measured


def test_the_pages_of_results_are_made_of_their_json() -> None:
    folder = ROOT / "benchmarks" / "results"
    for name, part in PARTS.items():
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        plots = re.findall(r"^!\[(.*)\]", text, re.MULTILINE)
        assert text == part.page(Results.load(folder / f"{name}.json"), plots), name
    first = Results.load(folder / f"{summary.PARTS[0].name}.json")
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert text == summary.page(summary.load(folder), first.machine), "python -m benchmarks.summary writes it anew"


def test_every_part_is_documented() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for name in PARTS:
        assert f"| `benchmarks.{name}` |" in text
    assert re.search(r"^bench:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_peers_are_pinned() -> None:
    lines = (ROOT / "benchmarks" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) >= 8
    for pin in pins:
        assert re.fullmatch(r"[a-z0-9_]+==[0-9.]+", pin)


def test_the_simulation_was_the_same_as_the_runtime_in_all_loads() -> None:
    text = (ROOT / "benchmarks" / "results" / "memory_simulation.md").read_text(encoding="utf-8")
    found = re.search(r"in (\d+) loads; the same as simulated in (\d+) of them", text)
    assert found
    assert found[1] == found[2]
    worst = re.search(r"the peak is off by ([\d.]+)% at most", text)
    assert worst
    assert float(worst[1]) < 5
