"""`etpack.check`: good files are good, each rule objects to its fault and to nothing else, no damage goes unseen."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from google_crc32c import value as crc32c

from etpack import Limits, Options, compress
from etpack.check import MAX_FINDINGS, FileVerdict, verify_file, worst_exit_code
from etpack.errors import SourceError
from etpack.layout import HEADER_SIZE, CodecId, FilterId, SectionType
from etpack.pte import FileKind, Role
from etpack.reader import EtzFile
from etpack.sources import BufferSource, FileSource
from tests.make_etz import (
    BlockSpec,
    EtzSpec,
    ExtentSpec,
    SectionSpec,
    build_etz,
    constant_block,
    opaque_spec,
    plane_block,
    raw_block,
    stream_block,
    to_spec,
)
from tests.make_pte import (
    DelegateSpec,
    MethodSpec,
    NamedSpec,
    PtdSpec,
    PteSpec,
    build_bpte,
    build_ptd,
    build_pte,
    weights,
)
from tests.test_spec import verify_rules

BLOCK = 4096
NOISE = random.Random(1).randbytes(BLOCK)
TEXT = b"the same words over and over again; " * 114
BF16 = weights(BLOCK // 2, "bfloat16")
ALIGNMENT = 64


def mixed_spec() -> EtzSpec:
    """Return a file with a block of every kind, a shared block, a gap, and padding between blocks."""
    planes = plane_block(BF16, FilterId.PLANES_2_ROTATED, [CodecId.RAW, CodecId.LZ4_BITPLANES], ALIGNMENT)
    text = TEXT[:BLOCK]
    first = [raw_block(NOISE), constant_block(7, BLOCK), stream_block(text, CodecId.ZSTD), planes]
    second = [replace(stream_block(text, CodecId.ZSTD), shares=2), raw_block(b"the rest")]
    content = NOISE + bytes([7]) * BLOCK + text + BF16 + bytes(1000) + text + b"the rest"
    extents = [ExtentSpec(0, first), ExtentSpec(4 * BLOCK + 1000, second)]
    return EtzSpec(content, extents, BLOCK, ALIGNMENT)


def small_spec() -> EtzSpec:
    """Return a file of some hundred bytes, padding included."""
    words = b"abcabcabcabc" * 20
    blocks = [raw_block(bytes(range(100))), constant_block(0, 50), stream_block(words, CodecId.LZ4)]
    extents = [ExtentSpec(0, blocks[:1]), ExtentSpec(100, blocks[1:2]), ExtentSpec(150, blocks[2:])]
    return EtzSpec(bytes(range(100)) + bytes(50) + words, extents, alignment=32)


def rules(verdict: FileVerdict) -> set[str]:
    return {finding.rule for finding in verdict.findings}


def check(spec: EtzSpec) -> FileVerdict:
    return verify_file(build_etz(spec))


# Good files.

OPTIONS = [
    Options(),
    Options(block_size=4096),
    Options(block_size=8192, codec="lz4", alignment=512),
    Options(block_size=4096, filters=False),
    Options(block_size=16384, codec="raw"),
    Options(opaque=True),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o.block_size}-{o.codec}-{o.alignment}-{o.opaque}")
def test_what_is_packed_is_good(real_model: Path, tmp_path: Path, options: Options) -> None:
    packed = tmp_path / "model.etz"
    result = compress(real_model, packed, options)
    whole = verify_file(packed, against=real_model)
    assert (whole.ok, whole.exit_code, whole.findings) == (True, 0, ())
    assert (whole.kind, whole.content_sha256) == (result.kind, result.content_sha256)
    assert whole.bytes_checked == whole.content_size == real_model.stat().st_size
    fast = verify_file(packed, fast=True)
    assert fast.ok
    assert 0 < fast.bytes_checked < packed.stat().st_size
    assert fast.content_sha256 is None


def test_plain_models_are_good(real_model: Path) -> None:
    verdict = verify_file(real_model)
    assert verdict.ok
    assert not verdict.packed
    assert verdict.kind is not None
    assert verdict.kind.value == real_model.suffix[1:]
    assert verdict.bytes_checked == real_model.stat().st_size


def test_the_verdict_does_not_depend_on_threads(packed_digits: Path) -> None:
    assert verify_file(packed_digits, jobs=1) == verify_file(packed_digits, jobs=3)


@pytest.mark.parametrize("content", [b"", b"x", bytes(5 * BLOCK)], ids=["empty", "one byte", "zeros"])
def test_small_opaque_files_are_good(content: bytes) -> None:
    verdict = check(opaque_spec(content))
    assert verdict.ok
    assert verdict.kind is FileKind.OPAQUE


def test_what_the_format_leaves_to_the_writer_is_good() -> None:
    assert check(mixed_spec()).findings == ()
    assert check(small_spec()).findings == ()
    unknown = mixed_spec()
    unknown.sections.insert(1, SectionSpec(0x8001, b"private data"))
    assert check(unknown).ok
    swapped = mixed_spec()
    swapped.sections.reverse()
    assert check(swapped).ok


def test_a_finer_cut_than_ours_is_good(digits: Path, tmp_path: Path) -> None:
    spec = packed_spec(digits, tmp_path)
    long = next(extent for extent in spec.extents if len(extent.blocks) > 2)
    rest = replace(long, offset=long.offset + BLOCK, blocks=long.blocks[1:])
    long.blocks = long.blocks[:1]
    spec.extents.insert(spec.extents.index(long) + 1, rest)
    assert check(spec).findings == ()


# Each rule that verify alone checks.


def packed_spec(model: Path, tmp_path: Path) -> EtzSpec:
    compress(model, tmp_path / "model.etz", Options(block_size=BLOCK), overwrite=True)
    data = (tmp_path / "model.etz").read_bytes()
    spec = to_spec(data)
    assert build_etz(spec) == data
    return spec


def section_crc(spec: EtzSpec) -> None:
    spec.section(SectionType.INDEX).crc = 1


def unknown_section_crc(spec: EtzSpec) -> None:
    spec.sections.append(SectionSpec(0x8001, b"private data", crc=1))


def hole_between_blocks(spec: EtzSpec) -> None:
    spec.blocks[2].padding = bytes(ALIGNMENT)


def hole_after_blocks(spec: EtzSpec) -> None:
    spec.after_blocks = b"\0"


def overlap(spec: EtzSpec) -> None:
    # Block 5 stores nothing of its own and lies in the middle of block 0, which is raw too.
    last = spec.blocks[5]
    spec.content = spec.content[: -last.size] + NOISE[64:72]
    last.stored, last.stored_offset = NOISE[64:72], 2 * ALIGNMENT
    spec.extents[1].blocks[1] = replace(last, shares=0)


def padding(spec: EtzSpec) -> None:
    spec.blocks[0].padding = bytes(ALIGNMENT - HEADER_SIZE - 1) + b"\1"


def constant_crc(spec: EtzSpec) -> None:
    spec.blocks[1].crc = 1


def max_stored(spec: EtzSpec) -> None:
    spec.block_size = 2 * BLOCK
    spec.extents = [ExtentSpec(0, [raw_block(spec.content[:BLOCK])])]
    spec.content = spec.content[:BLOCK]
    spec.footer.max_stored_block = BLOCK + 1


def max_scratch(spec: EtzSpec) -> None:
    spec.footer.max_plane_scratch = 1


def codecs_used(spec: EtzSpec) -> None:
    spec.footer.codecs = [CodecId.ZSTD, CodecId.LZ4, CodecId.LZ4_BITPLANES]


def codecs_not_listed(spec: EtzSpec) -> None:
    spec.footer.codecs = [CodecId.ZSTD]


def manifest_role(spec: EtzSpec) -> None:
    spec.extents[1].role = Role.PROGRAM


def sha256(spec: EtzSpec) -> None:
    spec.footer.content_sha256 = bytes(31) + b"\1"


Fault = Callable[[EtzSpec], None]
FAULTS: list[tuple[str, Fault]] = [
    ("section-crc", section_crc),
    ("section-crc", unknown_section_crc),
    ("stored-cover", hole_between_blocks),
    ("stored-cover", hole_after_blocks),
    ("stored-overlap", overlap),
    ("padding-zero", padding),
    ("constant-crc", constant_crc),
    ("footer-max-stored", max_stored),
    ("footer-max-scratch", max_scratch),
    ("footer-codecs-used", codecs_used),
    ("footer-codecs-used", codecs_not_listed),
    ("manifest-agrees", manifest_role),
    ("content-sha256", sha256),
]
# What takes decoding.
SLOW = {"manifest-agrees", "content-sha256"}


@pytest.mark.parametrize(("rule", "fault"), FAULTS, ids=[fault.__name__ for _, fault in FAULTS])
def test_each_rule_objects_to_its_fault_alone(rule: str, fault: Fault) -> None:
    spec = mixed_spec()
    fault(spec)
    data = build_etz(spec)
    verdict = verify_file(data)
    assert rules(verdict) == {rule}
    assert (verdict.ok, verdict.exit_code) == (False, 1)
    assert {finding.slug for finding in verdict.findings} == {"corrupt"}
    assert rules(verify_file(data, fast=True)) == (set() if rule in SLOW else {rule})


def test_every_rule_has_a_fault() -> None:
    assert {rule for rule, _ in FAULTS} >= set(verify_rules()) - {"manifest-valid"}


def test_the_manifest_is_held_against_the_model(digits: Path, tmp_path: Path) -> None:
    def verdict_on(change: Callable[[ExtentSpec], ExtentSpec]) -> FileVerdict:
        spec = packed_spec(digits, tmp_path)
        number = next(n for n, extent in enumerate(spec.extents) if extent.role is Role.DELEGATE)
        spec.extents[number] = change(spec.extents[number])
        return check(spec)

    assert verdict_on(lambda extent: extent).ok
    for change in (
        lambda extent: replace(extent, role=Role.CONSTANT),
        lambda extent: replace(extent, segments=(99,)),
        lambda extent: replace(extent, delegate_ids=("QnnBackend",)),
        lambda extent: replace(extent, keys=("no such key",)),
        lambda extent: replace(extent, methods=()),
    ):
        verdict = verdict_on(change)
        assert rules(verdict) == {"manifest-agrees"}
        (finding,) = verdict.findings
        assert finding.place.extent is not None
        assert finding.place.extent.delegate_ids == ("XnnpackBackend",)
    spec = packed_spec(digits, tmp_path)
    spec.kind = FileKind.PTD
    assert rules(check(spec)) == {"manifest-agrees"}


def test_content_that_is_no_model_though_the_manifest_says_so() -> None:
    spec = mixed_spec()
    spec.kind = FileKind.PTE
    assert rules(check(spec)) == {"identifier"}


# Damage.


def test_every_flipped_byte_is_found() -> None:
    data = build_etz(small_spec())
    assert len(data) < 1000
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        for fast in (False, True):
            verdict = verify_file(bytes(damaged), fast=fast)
            assert not verdict.ok, f"byte {position}"
            assert verdict.exit_code in (1, 3)


@pytest.mark.parametrize("section", [SectionType.INDEX, SectionType.EXTENTS, SectionType.MANIFEST])
def test_no_table_however_wrong_does_more_than_break_a_rule(section: SectionType) -> None:
    rng = random.Random(section)

    def edit(data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        if section is SectionType.MANIFEST:
            return bytes(damaged)
        damaged[-4:] = crc32c(bytes(damaged[:-4]) + bytes([section, 0, 0, 0, 0, 0, 0, 0])).to_bytes(4, "little")
        return bytes(damaged)

    good = build_etz(mixed_spec())
    found = set()
    for _ in range(300):
        spec = mixed_spec()
        spec.section(section).edit = edit
        data = build_etz(spec)
        fast = random.Random(data).random() < 0.5
        verdict = verify_file(data, fast=fast, limits=Limits(content_size=1 << 20))
        assert not verdict.ok or data == good or fast or section is SectionType.MANIFEST
        found |= rules(verdict)
    assert len(found) > 3 or section is SectionType.MANIFEST


def test_a_byte_more_or_less_is_found() -> None:
    data = build_etz(small_spec())
    assert rules(verify_file(data + b"\0")) == {"footer-magic"}
    assert rules(verify_file(data[:-1])) == {"footer-magic"}


def test_a_bad_block_is_named_and_does_not_hide_others(digits: Path, tmp_path: Path) -> None:
    spec = packed_spec(digits, tmp_path)
    damaged = [number for number, block in enumerate(spec.blocks) if block.stored and block.shares is None][3::20]
    for number in damaged:
        spec.blocks[number].crc = 0xBAD
    data = build_etz(spec)
    for fast in (False, True):
        verdict = verify_file(data, fast=fast)
        assert [finding.place.block for finding in verdict.findings] == damaged
        assert rules(verdict) == {"block-crc"}
        for finding in verdict.findings:
            place = finding.place
            assert place.stored_offset is not None
            assert place.content is not None
            assert place.extent is not None
            assert place.extent.range.offset <= place.content.offset < place.extent.range.end
        assert verdict.content_sha256 is None
        assert verdict.findings[0].place.extent is not None
        assert verdict.findings[0].place.extent.segments
    bad_bytes = sum(spec.blocks[number].size for number in damaged)
    assert verify_file(data).bytes_checked == len(spec.content) - bad_bytes


@pytest.mark.parametrize("fast", [False, True])
def test_blocks_that_break_a_rule_of_reading_are_found(fast: bool) -> None:
    def verdict_on(number: int, **lies: int) -> FileVerdict:
        spec = mixed_spec()
        extent, position = (spec.extents[0], number) if number < 4 else (spec.extents[1], number - 4)
        extent.blocks[position] = replace(extent.blocks[position], **lies)  # type: ignore[arg-type]
        return verify_file(build_etz(spec), fast=fast)

    assert rules(verdict_on(0, stored_offset=1 << 30)) == {"block-range"}
    assert rules(verdict_on(0, stored_offset=65)) == {"block-alignment"}
    assert rules(verdict_on(0, stored_size=BLOCK - 1)) == {"block-size"}
    assert rules(verdict_on(0, codec=CodecId.DIRECTORY)) == {"block-codec"}
    verdict = verdict_on(0, filter=77)
    assert (rules(verdict), verdict.exit_code) == ({"block-filter"}, 3)


def test_a_directory_that_lies_is_found_without_decoding() -> None:
    spec = mixed_spec()
    planes = spec.blocks[3]
    planes.stored = planes.stored[:4] + b"\xff" + planes.stored[5:]
    for fast in (False, True):
        assert rules(verify_file(build_etz(spec), fast=fast)) == {"block-directory"}


def test_a_stream_that_does_not_decode_is_found_by_decoding() -> None:
    spec = mixed_spec()
    text = spec.blocks[2]
    text.stored = text.stored[:-3] + b"\xff\xff\xff"
    spec.extents[1].blocks[0].stored = text.stored
    assert verify_file(build_etz(spec), fast=True).ok
    verdict = check(spec)
    assert rules(verdict) == {"block-stream"}
    assert [finding.place.block for finding in verdict.findings] == [2, 4]


def test_many_findings_are_counted_and_not_listed() -> None:
    spec = opaque_spec(random.Random(2).randbytes(150 * BLOCK))
    for block in spec.blocks:
        block.crc = 1
    verdict = check(spec)
    assert len(verdict.findings) == MAX_FINDINGS
    assert verdict.omitted_count == 50
    assert verdict.bytes_checked == 0


def test_a_private_codec_that_is_not_installed_is_unsupported() -> None:
    spec = EtzSpec(bytes(range(100)), [ExtentSpec(0, [BlockSpec(100, codec=200, stored=b"private")])])
    verdict = check(spec)
    assert {(finding.rule, finding.slug) for finding in verdict.findings} == {("codec-known", "codec-missing")}
    assert verdict.exit_code == 3
    assert verify_file(build_etz(spec), fast=True).ok


def test_a_limit_is_a_finding() -> None:
    verdict = verify_file(build_etz(mixed_spec()), limits=Limits(blocks=2))
    assert (rules(verdict), verdict.exit_code) == ({"limit"}, 3)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_cut_while_it_is_read_is_a_finding(
    digits: Path, packed_digits: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    def fail(_source: BufferSource, _offset: int, _buffer: memoryview) -> None:
        raise SourceError("ended early")

    data = (packed_digits if packed else digits).read_bytes()
    monkeypatch.setattr(EtzFile if packed else BufferSource, "read_into", fail)
    verdict = verify_file(data)
    assert "source" in rules(verdict)
    assert verdict.exit_code == 4
    assert verdict.content_sha256 is None


def test_what_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.etz", tmp_path):
        verdict = verify_file(path)
        assert rules(verdict) == {"readable"}
        assert (verdict.ok, verdict.exit_code) == (False, 4)
        assert verdict.findings[0].hint


def test_other_files_are_no_models(tmp_path: Path) -> None:
    text = tmp_path / "readme.txt"
    text.write_bytes(b"no model at all" * 10)
    assert rules(verify_file(text)) == {"identifier"}
    text.write_bytes(b"short")
    assert rules(verify_file(text)) == {"file-size"}
    packed = tmp_path / "named.etz"
    packed.write_bytes(b"no model at all" * 10)
    assert rules(verify_file(packed)) == {"header-magic"}
    headless = b"XXXX" + build_etz(small_spec())[4:]
    assert rules(verify_file(headless)) == {"header-magic"}


def test_what_is_wrong_with_a_plain_model_is_named() -> None:
    assert verify_file(build_pte(PteSpec())).ok
    methods = [MethodSpec(delegates=[DelegateSpec()])]
    verdict = verify_file(build_pte(PteSpec(methods, segment_entries={1: (0, 1 << 40)})))
    assert rules(verdict) == {"segment-range"}
    assert verdict.findings[0].slug == "bad-model"
    assert verdict.findings[0].place.content is not None
    assert verify_file(build_bpte(build_pte(PteSpec()))).kind is FileKind.BPTE
    named = [NamedSpec("key", b"data" * 100, segment=7)]
    assert rules(verify_file(build_ptd(PtdSpec(named)))) == {"named-data-index"}


# Comparing.


@pytest.mark.parametrize("packed", [False, True])
def test_a_difference_is_placed(digits: Path, packed_digits: Path, tmp_path: Path, packed: bool) -> None:
    other = tmp_path / "other.pte"
    content = bytearray(digits.read_bytes())
    content[0x900] ^= 1
    content[0x2000] ^= 1
    other.write_bytes(content)
    verdict = verify_file(packed_digits if packed else digits, against=other)
    assert rules(verdict) == {"against-content"}
    place = verdict.findings[0].place
    assert place.content is not None
    assert place.content.offset == 0x900
    assert place.extent is not None
    assert (place.extent.segments, place.extent.delegate_ids) == ((1,), ("XnnpackBackend",))
    assert verdict.content_sha256 is not None


def test_a_difference_in_size_is_told(digits: Path, packed_digits: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pte"
    for content in (digits.read_bytes()[:-5], digits.read_bytes() + b"more"):
        other.write_bytes(content)
        assert rules(verify_file(packed_digits, against=other)) == {"against-size"}


def test_packed_files_can_be_compared(digits: Path, packed_digits: Path, tmp_path: Path) -> None:
    compress(digits, tmp_path / "other.etz", Options(block_size=4096, codec="lz4"))
    assert verify_file(packed_digits, against=tmp_path / "other.etz").ok


def test_a_file_to_compare_with_that_cannot_be_read(packed_digits: Path, tmp_path: Path) -> None:
    verdict = verify_file(packed_digits, against=tmp_path / "missing.pte")
    assert (rules(verdict), verdict.exit_code) == ({"against-readable"}, 4)
    with pytest.raises(ValueError, match="either fast or against"):
        verify_file(packed_digits, fast=True, against=packed_digits)


# The rest.


def test_a_bad_file_outweighs_an_unsupported_one_and_that_an_unreadable_one() -> None:
    assert worst_exit_code([]) == 0
    assert worst_exit_code([0, 4]) == 4
    assert worst_exit_code([4, 3, 0]) == 3
    assert worst_exit_code([4, 3, 1, 0]) == 1


def test_memory_does_not_grow_with_the_content(tmp_path: Path) -> None:
    size = 48 << 20
    spec = opaque_spec(b"", block_size=1 << 20)
    spec.content = bytes(size)
    spec.extents = [ExtentSpec(0, [constant_block(0, 1 << 20) for _ in range(size >> 20)])]
    path = tmp_path / "zeros.etz"
    path.write_bytes(build_etz(spec))
    tracemalloc.start()
    try:
        assert verify_file(path, jobs=2).ok
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_source_that_was_given_stays_open(packed_digits: Path, digits: Path) -> None:
    for path in (packed_digits, digits):
        with FileSource(path) as source:
            assert verify_file(source).ok
            assert verify_file(source, fast=True).ok
            assert source.read_at(0, 1)
