"""The C reader against the test vectors and against the reader in Python, under AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from google_crc32c import value as crc32c

import etpack
from etpack import EtpackError, EtzFile, Options, layout
from etpack.layout import CodecId
from tests import damage
from tests.make_etz import EtzSpec, ExtentSpec, FooterSpec, build_etz, constant_block, opaque_spec, raw_block
from tests.native_tools import ROOT, cmake_build, need, run
from tests.test_vectors import BAD, GOOD, VECTORS, sidecar

RUNTIME = ROOT / "etpack" / "runtime"
# What a reader that does not verify need not see; the C reader sees some of it all the same.
SEEN_EARLIER = {"footer_codecs_used"}
# Ways to read that must not make a difference.
WAYS = (
    ("--memory",),
    (),
    ("--memory", "--portable"),
    ("--batch", "7"),
    ("--memory", "--batch", "3", "--portable"),
)


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder of the programs, built with sanitizers."""
    need("cc", "cmake", "lz4", "zstd")
    return cmake_build(ROOT / "tests" / "runtime", ROOT / "build" / "runtime-check", "-DETZ_SANITIZE=ON")


class Line(NamedTuple):
    """What etz_check says of one file."""

    open: str
    read: str
    released: int
    crc: int
    blocks: int
    decoded: int
    reads: int
    bytes: int
    calls: int
    streams: int


def parse(line: str) -> Line:
    """Return the fields of a line; those that are not there are empty."""
    said = dict(re.findall(r" (\w+)=(\S+)", line))
    numbers = [int(said.get(name, "0")) for name in Line._fields[4:]]
    return Line(
        said["open"], said.get("read", ""), int(said.get("released", "0")), int(said.get("crc", "0"), 16), *numbers
    )


def check(tools: Path, files: Sequence[Path], *arguments: str) -> list[Line]:
    """Read files, and return what came of each."""
    lines = run(tools / "etz_check", *arguments, *files).splitlines()
    assert len(lines) == len(files)
    assert all(line.startswith(str(file)) for line, file in zip(lines, files, strict=True))
    return [parse(line) for line in lines]


def error_of(line: Line) -> str:
    return line.read if line.open == "ok" else line.open


def content_of(path: Path) -> bytes:
    with etpack.open(path) as file:
        return file.read_at(0, file.size)


def test_the_kernels_do_what_their_definition_says(tools: Path) -> None:
    assert {"portable", "best"} <= set(run(tools / "kernels_check").split())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way) or "callback")
def test_good_vectors_are_read(tools: Path, way: tuple[str, ...]) -> None:
    whole, by_block = check(tools, GOOD, *way), check(tools, GOOD, "--blocks", *way)
    for path, first, second in zip(GOOD, whole, by_block, strict=True):
        content = content_of(path)
        for line in (first, second):
            assert (line.open, line.read, line.released, line.crc) == ("ok", "ok", len(content), crc32c(content)), path
        assert second.blocks == first.decoded


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way) or "callback")
def test_bad_vectors_are_refused_with_the_same_error(tools: Path, way: tuple[str, ...]) -> None:
    whole, by_block = check(tools, BAD, *way), check(tools, BAD, "--blocks", *way)
    for path, line, at_once in zip(BAD, by_block, whole, strict=True):
        said = sidecar(path)
        if said["moment"] == "verify" and path.stem not in SEEN_EARLIER:
            assert (line.open, line.read, at_once.read) == ("ok", "ok", "ok"), path
            assert line.crc == crc32c(content_of(path))
            continue
        assert error_of(line) == error_of(at_once) == said["expect"], path
        assert at_once.released == 0
        # The extent table is checked when a context is made, and a page of the index when it is used.
        later = said["rule"].startswith("extent-") or said["rule"] == "page-crc"
        if said["moment"] == "open":
            assert line.open == ("ok" if later else said["expect"]), path
            assert line.released == 0


def test_what_comes_before_a_bad_block_is_right(tools: Path) -> None:
    bad = [path for path in BAD if sidecar(path)["moment"] == "use"]
    assert len(bad) > 20
    for path, line in zip(bad, check(tools, bad, "--blocks"), strict=True):
        size = int(sidecar(path)["content_size"])
        # The content up to the bad block, zeros of a gap before it included.
        assert line.released >= size
        content = _released(path, size).ljust(line.released, b"\0")
        assert line.crc == crc32c(content), path


def _released(path: Path, size: int) -> bytes:
    with etpack.open(path) as file:
        return file.read_at(0, size)


PACKED = {
    "defaults": Options(),
    "small blocks": Options(4096),
    "lz4": Options(16384, codec="lz4"),
    "no filters": Options(32768, filters=False),
    "aligned": Options(65536, alignment=256),
    "opaque": Options(8192, opaque=True),
}


@pytest.mark.parametrize("name", PACKED)
def test_random_ranges_of_real_models(tools: Path, example_model: Path, tmp_path: Path, name: str) -> None:
    packed = tmp_path / "model.etz"
    etpack.compress(example_model, packed, PACKED[name])
    read_random_ranges(tools, packed, example_model.read_bytes(), Random(name))


def read_random_ranges(tools: Path, packed: Path, content: bytes, rng: Random) -> None:
    """Read some hundred ranges in all ways, and compare their checksums."""
    wanted = [(0, 64), (0, 0), (len(content), 0), (0, len(content)), (len(content) - 1, 1)]
    wanted += [(at, 1) for at in range(0, len(content), len(content) // 300)]
    for most in (20, 5000, 200_000):
        for _ in range(100):
            start = rng.randrange(len(content))
            wanted.append((start, min(rng.randrange(most), len(content) - start)))
    for way in WAYS:
        read_ranges(tools, packed, {place: content[place[0] : sum(place)] for place in wanted}, *way)


def read_ranges(tools: Path, packed: Path, wanted: dict[tuple[int, int], bytes], *arguments: str) -> None:
    """Read ranges, given as offset and size, and compare each with what it holds."""
    ranges = packed.with_name("ranges.txt")
    ranges.write_text("".join(f"{start} {size}\n" for start, size in wanted))
    expected = [f"{start} {size} ok {crc32c(content):08x}" for (start, size), content in wanted.items()]
    assert run(tools / "etz_check", *arguments, "--ranges", ranges, packed).splitlines() == expected


FOUR_GIB = 1 << 32
# A file of some kilobytes may not say that it has so much content, unless it is allowed to.
EXPAND = ("--limit", "expansion_log2=40")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way) or "callback")
def test_content_of_more_than_four_gib(tools: Path, tmp_path: Path, way: tuple[str, ...]) -> None:
    """Extents on both sides of 4 GiB and of 12 GiB, at distances that 32 bits would take for the same place."""
    rng = Random("four")
    size = 3 * FOUR_GIB + 20_000
    starts = (1000, FOUR_GIB - 6000, FOUR_GIB + 7000, 3 * FOUR_GIB - 5000)
    pieces = [rng.randbytes(5000), rng.randbytes(12_000), bytes([7]) * 4000, rng.randbytes(9999)]
    extents = []
    for start, piece in zip(starts, pieces, strict=True):
        parts = [piece[at : at + 4096] for at in range(0, len(piece), 4096)]
        blocks = [raw_block(part) if start != starts[2] else constant_block(7, len(part)) for part in parts]
        extents.append(ExtentSpec(start, blocks))
    packed = tmp_path / "model.etz"
    footer = FooterSpec(content_size=size)
    packed.write_bytes(build_etz(EtzSpec(b"", extents, footer=footer)))

    def content(start: int, count: int) -> bytes:
        made = bytearray(count)
        for at, piece in zip(starts, pieces, strict=True):
            first, last = max(start, at), min(start + count, at + len(piece))
            if first < last:
                made[first - start : last - start] = piece[first - at : last - at]
        return bytes(made)

    places = [(0, 64), (size - 1, 1), (size, 0), (2 * FOUR_GIB, 500)]
    for start, piece in zip(starts, pieces, strict=True):
        places += [(at % FOUR_GIB + high, 64) for at in (start, start + 4500) for high in range(0, size, FOUR_GIB)]
        places += [
            (start, len(piece)),
            (start - 900, len(piece) + 1800),
            (start + 1, 4096),
            (start + len(piece) - 1, 2),
        ]
    places += [(rng.randrange(FOUR_GIB - 9000, FOUR_GIB + 12_000), rng.randrange(6000)) for _ in range(200)]
    read_ranges(tools, packed, {place: content(*place) for place in places if sum(place) <= size}, *way, *EXPAND)


def test_a_file_of_more_than_four_gib(tools: Path, tmp_path: Path) -> None:
    """Blocks, tables and footer lie behind a hole of 4 GiB, where 32 bits would find the header's place again."""
    content = Random("hole").randbytes(20_000)
    packed = tmp_path / "model.etz"
    with EtzFile(build_etz(opaque_spec(content))) as near:
        spec = opaque_spec(content)
        for block, entry in zip(spec.blocks, map(near.entry, range(near.block_count)), strict=True):
            block.stored_offset = entry.stored_offset + FOUR_GIB
        for said, section in zip(spec.sections, near.sections, strict=True):
            said.stored_offset = section.stored_offset + FOUR_GIB
    data = build_etz(spec)
    with packed.open("wb") as file:
        file.write(data[: layout.HEADER_SIZE])
        file.seek(FOUR_GIB, os.SEEK_CUR)
        file.write(data[layout.HEADER_SIZE :])
    places = [(0, len(content)), (0, 0), *((at, 700) for at in range(0, len(content) - 700, 333))]
    for way in ((), ("--batch", "3")):
        wanted = {(at, size): content[at : at + size] for at, size in places}
        read_ranges(tools, packed, wanted, "--file", *way)


def test_a_range_that_leaves_the_content_is_the_callers_mistake(
    tools: Path, packed_digits: Path, tmp_path: Path
) -> None:
    with etpack.open(packed_digits) as file:
        size = file.size
    ranges = tmp_path / "ranges.txt"
    wanted = [(size, 1), (size + 1, 0), (0, size + 1), ((1 << 64) - 1, 2), (size - 1, 2)]
    ranges.write_text("".join(f"{start} {count}\n" for start, count in wanted))
    # What was in the destination is still there.
    expected = [f"{start} {count} range {crc32c(bytes([0x5A]) * count):08x}" for start, count in wanted]
    assert run(tools / "etz_check", "--ranges", ranges, packed_digits).splitlines() == expected


def test_head_and_program_decode_their_block_once(tools: Path, packed_digits: Path, tmp_path: Path) -> None:
    with etpack.open(packed_digits) as file:
        program = file.extents[0]
        blocks = file.block_count
    assert program.content_size < 65536
    ranges = tmp_path / "ranges.txt"
    ranges.write_text(f"0 64\n0 {program.content_size}\n" + "".join(f"{n} 4\n" for n in range(0, 2000, 16)))
    out = run(tools / "etz_check", "--count", "--ranges", ranges, packed_digits).splitlines()
    assert parse(out[-1]).decoded == 1
    (whole,) = check(tools, [packed_digits])
    assert whole.decoded == blocks


def test_a_batch_is_one_call(tools: Path, digits: Path, tmp_path: Path) -> None:
    packed = tmp_path / "model.etz"
    etpack.compress(digits, packed, Options(4096, codec="lz4"))
    (single,), (batch,) = check(tools, [packed]), check(tools, [packed], "--batch", "16")
    assert single.streams == batch.streams > 64
    # One call for a codec and a batch: here there are LZ4, and LZ4 over bit planes.
    assert batch.calls <= 2 * (batch.decoded // 16 + 1) < single.calls / 4
    # Blocks that lie side by side are read with one call.
    assert batch.reads < single.reads / 4
    assert batch.bytes == single.bytes
    assert batch.crc == single.crc


def test_every_failed_read_is_an_error(tools: Path, packed_digits: Path) -> None:
    (good,) = check(tools, [packed_digits])
    seen = set()
    for call in range(1, good.reads + 8):
        (line,) = check(tools, [packed_digits], "--fail", str(call))
        assert error_of(line) in ("io", "ok")
        assert (line.crc == good.crc) == (error_of(line) == "ok")
        seen.add((line.open, line.read))
    # The last calls that fail are behind those that were made.
    assert seen == {("io", ""), ("ok", "io"), ("ok", "ok")}


def test_a_region_that_is_too_small_or_askew_is_refused(tools: Path, packed_digits: Path) -> None:
    for option in (("--less", "1"), ("--less", "1000000000"), ("--shift", "1"), ("--shift", "32"), ("--batch", "0")):
        (line,) = check(tools, [packed_digits], *option)
        assert (line.open, line.read) == ("ok", "memory"), option
    (line,) = check(tools, [packed_digits], "--batch", "65536")
    assert line.read == "memory"


def test_limits(tools: Path, packed_digits: Path) -> None:
    with etpack.open(packed_digits) as file:
        fits = {
            "content_size": file.size,
            "blocks": file.block_count,
            "extents": len(file.extents),
            "decode_memory": file.footer.decode_memory,
        }
    for name, value in fits.items():
        assert check(tools, [packed_digits], "--limit", f"{name}={value}")[0].read == "ok"
        assert check(tools, [packed_digits], "--limit", f"{name}={value - 1}")[0].open == "limit", name


def test_a_small_file_that_declares_much_is_refused_when_it_is_opened(tools: Path, tmp_path: Path) -> None:
    lies = (
        FooterSpec(content_size=(1 << 48) - 1),
        FooterSpec(content_size=1 << 34),
        FooterSpec(max_plane_scratch=(1 << 32) - 1),
    )
    paths = [tmp_path / f"{number}.etz" for number in range(len(lies))]
    for path, lie in zip(paths, lies, strict=True):
        path.write_bytes(build_etz(EtzSpec(b"", [], footer=lie)))
    for line in check(tools, paths):
        assert line.open == "limit"
    # With other limits it is for the caller to say no to a read of 16 GiB of zeros.
    ranges = tmp_path / "ranges.txt"
    ranges.write_text(f"{(1 << 34) - 3} 3\n")
    out = run(tools / "etz_check", "--limit", "expansion_log2=40", "--ranges", ranges, paths[1])
    assert out == f"{(1 << 34) - 3} 3 ok {crc32c(bytes(3)):08x}\n"


def test_codecs_that_were_not_given(tools: Path) -> None:
    zstd, lz4 = (next(path for path in GOOD if path.stem == f"ok_{name}") for name in ("zstd", "lz4_bitplanes"))
    for path, codec in ((zstd, "2"), (lz4, "3")):
        (line,) = check(tools, [path], "--without", codec)
        assert (line.open, line.read) == ("ok", "codec-missing")


def judge(data: bytes) -> tuple[EtpackError | None, bytes]:
    """Return the error that Python gives reading block by block, and the content before it."""
    released = b""
    try:
        with EtzFile(data, limits=damage.LIMITS, jobs=1) as file:
            for block in file.blocks():
                released += bytes(block.range.offset - len(released))
                released += file.read_at(block.range.offset, block.range.size)
            return None, released + bytes(file.size - len(released))
    except EtpackError as exc:
        return exc, released


def compare(tools: Path, files: Iterable[bytes], folder: Path, *ways: str) -> dict[str, int]:
    """Read damaged files with both readers; return how many had each verdict."""
    paths = []
    said = []
    for number, data in enumerate(files):
        path = folder / f"{number}.etz"
        path.write_bytes(data)
        paths.append(path)
        said.append(judge(data))
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    arguments = ("--list", "--blocks", "--limit", f"content_size={damage.LIMITS.content_size}", *ways)
    lines = run(tools / "etz_check", *arguments, folder / "list.txt").splitlines()
    verdicts: dict[str, int] = {}
    for path, (error, released), text in zip(paths, said, lines, strict=True):
        line = parse(text)
        mine = error_of(line)
        verdicts[mine] = verdicts.get(mine, 0) + 1
        if error is None and mine != "ok":
            # What Python leaves to `verify` and this reader needs: what the footer says of codecs and scratch.
            assert mine == "corrupt", (path, mine)
            assert verify_only(path.read_bytes()), path
        else:
            assert (mine == "ok") == (error is None), (path, mine, error)
        # Zeros of a gap are given out before a page that Python looks at first.
        assert line.crc == crc32c(released[: line.released].ljust(line.released, b"\0")), path
        path.unlink()
    return verdicts


def verify_only(data: bytes) -> bool:
    """Whether the footer of a file that Python reads says wrong things of its codecs or of its scratch."""
    from etpack.check import verify_file

    rules = {getattr(finding, "rule", None) for finding in verify_file(data, limits=damage.LIMITS).findings}
    return bool(rules & {"footer-codecs-used", "footer-max-scratch"})


@pytest.fixture(scope="module")
def small_file() -> bytes:
    """A vector with planes of zstd, LZ4, LZ4 over bit planes, and raw."""
    return next(path for path in GOOD if path.stem == "ok_planes_zstd").read_bytes()


def test_every_flipped_bit_is_an_error_or_changes_nothing(tools: Path, small_file: bytes, tmp_path: Path) -> None:
    with EtzFile(small_file) as file:
        content = crc32c(file.read_at(0, file.size))
    paths = []
    for number, data in enumerate(damage.flips(small_file)):
        path = tmp_path / f"{number}.etz"
        path.write_bytes(data)
        paths.append(path)
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    lines = run(tools / "etz_check", "--memory", "--list", tmp_path / "list.txt").splitlines()
    assert len(lines) == 8 * len(small_file)
    same = 0
    for text in lines:
        line = parse(text)
        assert error_of(line) in ("ok", "corrupt", "not-etz", "truncated", "unsupported", "codec-missing", "limit")
        same += error_of(line) == "ok"
        assert error_of(line) != "ok" or line.crc == content
    # Only the manifest is not for this reader; all else is covered by a checksum or a rule.
    with EtzFile(small_file) as file:
        manifest = next(section for section in file.sections if section.type == layout.SectionType.MANIFEST)
    assert same == 8 * manifest.size


def reseal_all(files: Iterable[bytes]) -> list[bytes]:
    """Make checksums right, so that broken streams are decoded; not those of zstd: its versions differ in that."""
    footer = -layout.FOOTER_SIZE
    return [
        damage.reseal(data)
        for data in files
        if len(data) >= layout.HEADER_SIZE and CodecId.ZSTD not in data[footer + 96 : footer + 104]
    ]


@pytest.mark.parametrize("resealed", [False, True], ids=["as damaged", "checksums made right"])
def test_damaged_vectors_get_the_verdict_of_python(tools: Path, tmp_path: Path, resealed: bool) -> None:
    vectors = [path.read_bytes() for path in VECTORS if path.stat().st_size < 4096]
    files = [edited for seed, data in enumerate(vectors) for edited in damage.random_edits(data, 25, seed)]
    if resealed:
        files = reseal_all(files)
    verdicts = compare(tools, files, tmp_path)
    assert sum(verdicts.values()) == len(files) > 2000
    assert verdicts["corrupt"] > 200
    assert not resealed or verdicts["ok"] > 200


def test_damaged_models_get_the_verdict_of_python(tools: Path, tmp_path: Path, example_model: Path) -> None:
    packed = tmp_path / "model.etz"
    etpack.compress(example_model, packed, Options(16384, codec="lz4"))
    data = packed.read_bytes()
    packed.unlink()
    files = [*damage.random_edits(data, 40, 1), *reseal_all(damage.random_edits(data, 40, 2, in_tail=0.6))]
    verdicts = compare(tools, files, tmp_path, "--memory", "--batch", "4")
    assert sum(verdicts.values()) > 70
    assert verdicts["corrupt"] > 20


def test_the_fuzz_target_runs_over_its_seeds(tools: Path) -> None:
    assert run(tools / "fuzz_reader", *VECTORS).strip() == f"{201 * len(VECTORS)} runs"


def test_a_file_is_refused_that_is_aligned_to_less_than_an_engine_needs(
    tools: Path, digits: Path, tmp_path: Path
) -> None:
    verdicts = []
    for alignment in (1, 16, 64):
        packed = tmp_path / f"{alignment}.etz"
        etpack.compress(digits, packed, Options(4096, alignment=alignment))
        (line,) = check(tools, [packed], "--aligned", "16")
        verdicts.append((line.open, line.crc == crc32c(digits.read_bytes())))
    assert verdicts == [("unsupported", False), ("ok", True), ("ok", True)]


def test_the_mock_engine_reads_through_its_queue(tools: Path, digits: Path, tmp_path: Path) -> None:
    packed = tmp_path / "model.etz"
    etpack.compress(digits, packed, Options(4096, codec="lz4"))
    content = digits.read_bytes()
    (line,) = check(tools, [packed])
    for batch in (1, 16):
        out = run(tools / "mock_engine", packed, str(batch))
        assert f"content: {len(content)} bytes, CRC-32C {crc32c(content):08x}\n" in out
        streams, calls, waiting = map(
            int, re.findall(r"engine: (\d+) streams in (\d+) calls, at most (\d+) waiting", out)[0]
        )
        assert streams == line.streams
        assert (calls < streams / 4) == (batch == 16)
        assert (waiting > 8) == (batch == 16)


def test_the_constants_are_those_of_python() -> None:
    text = (RUNTIME / "etz_format.h").read_text(encoding="utf-8")
    constants = {name: eval(value, {}, {}) for name, value in re.findall(r"(ETZ_\w+) = (\d+),?\n", text)}
    for name, value in (
        ("ETZ_FORMAT_VERSION", layout.FORMAT_VERSION),
        ("ETZ_HEADER_SIZE", layout.HEADER_SIZE),
        ("ETZ_FOOTER_SIZE", layout.FOOTER_SIZE),
        ("ETZ_MIN_BLOCK_SIZE_LOG2", layout.MIN_BLOCK_SIZE_LOG2),
        ("ETZ_MAX_BLOCK_SIZE_LOG2", layout.MAX_BLOCK_SIZE_LOG2),
        ("ETZ_MAX_ALIGNMENT_LOG2", layout.MAX_ALIGNMENT_LOG2),
        ("ETZ_MAX_CODECS", layout.MAX_CODECS),
        ("ETZ_MAX_SECTIONS", layout.MAX_SECTIONS),
        ("ETZ_SECTION_ROW_SIZE", layout.SECTION_ENTRY_SIZE),
        ("ETZ_ROW_SIZE", layout.ENTRY_SIZE),
        ("ETZ_ROWS_PER_PAGE", layout.ENTRIES_PER_PAGE),
        *((f"ETZ_CODEC_{codec.name}", codec.value) for codec in layout.CodecId),
        *((f"ETZ_SECTION_{kind.name}", kind.value) for kind in layout.SectionType),
    ):
        assert constants[name] == value, name
    header = layout.HEADER_MAGIC.split(b"\n")[0]
    assert header == b"\x89ETZ\r"
    assert '"\\x89" "ETZ\\r\\n\\x1a\\n"' in text
    assert '"ETZEND\\r\\n"' in text
    limits = etpack.Limits()
    config = (RUNTIME / "etz_config.h").read_text(encoding="utf-8")
    for name, value in (("CONTENT_SIZE", limits.content_size), ("BLOCKS", limits.blocks), ("EXTENTS", limits.extents),
                        ("DECODE_MEMORY", limits.decode_memory)):  # fmt: skip
        assert re.search(rf"define ETZ_LIMIT_{name} \(UINT\d\d_C\(1\) << {value.bit_length() - 1}\)", config), name
    assert f"ETZ_LIMIT_EXPANSION_LOG2 {limits.expansion.bit_length() - 1}\n" in config
    assert struct.calcsize("<I") == constants["ETZ_CRC_SIZE"]


README = (RUNTIME / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_every_file_to_copy() -> None:
    table = README.split("### Files to copy")[1].split("###")[0]
    named = set(re.findall(r"`(etz_\w+\.[ch])`", table))
    # The DataLoader is in C++; its headers lie beside these.
    there = {path.name for path in RUNTIME.glob("etz_*.[ch]") if "loader" not in path.name}
    assert {name for name in named if "loader" not in name} == there


def test_the_use_in_the_readme_compiles(tools: Path, tmp_path: Path) -> None:
    use = README.split("<!-- reader-use -->\n```c\n")[1].split("```")[0]
    assert len(use.splitlines()) == 10
    around = """
        #include "etz_decoders.h"
        int read_at(void *user, uint64_t offset, void *dest, size_t size);
        etz_status use(void *my_flash, uint64_t stored_size, uint64_t offset, void *destination, size_t size);
        etz_status use(void *my_flash, uint64_t stored_size, uint64_t offset, void *destination, size_t size)
        {
            static uint8_t region[1 << 16];
            etz_file file;
            etz_memory memory;
            etz_context context;
            USE
            return status;
        }
        """
    (tmp_path / "use.c").write_text(around.replace("USE", use))
    compiler = re.findall(r"CMAKE_C_COMPILER:\w+=(.*)", (tools / "CMakeCache.txt").read_text())[0]
    run(compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{RUNTIME}", "-fsyntax-only", tmp_path / "use.c")


@pytest.mark.skipif(sys.maxsize < 1 << 32, reason="the table is of 64-bit machines")
def test_the_readme_says_what_memory_is_needed(tools: Path, digits: Path, tmp_path: Path) -> None:
    table = README.split("<!-- reader-memory -->\n")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in table.splitlines()[2:]]
    assert [row[0] for row in rows] == ["4 KiB", "16 KiB", "64 KiB", "256 KiB"]
    for row in rows:
        size = int(row[0].split()[0]) * 1024
        for codec, callback, memory in (("zstd", *row[1:3]), ("lz4", *row[3:5])):
            packed = tmp_path / f"{codec}{size}.etz"
            etpack.compress(digits, packed, Options(size, codec=codec))
            said = [int(number.replace(",", "")) for number in (callback, memory)]
            ways: tuple[tuple[str, ...], ...] = ((), ("--memory",))
            needed = [int(run(tools / "etz_check", "--needs", *way, packed).split()[-1]) for way in ways]
            # The workspace of zstd is another one in another version of it.
            assert needed == said if codec == "lz4" else needed[0] - needed[1] == said[0] - said[1]
