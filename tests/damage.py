"""Damaged files, and what may come of them: an error that says what is wrong, or the right bytes; nothing else."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from random import Random

from google_crc32c import value as crc32c

from etpack import EtpackError, EtzFile, Limits, layout
from etpack.check import FileVerdict, verify_file
from etpack.layout import SectionType
from etpack.pte import Range
from etpack.report import inspect_file

# What the command line exits with, by the slug of the error.
EXIT_CODES = {
    "not-etz": 1,
    "truncated": 1,
    "corrupt": 1,
    "bad-model": 1,
    "unsupported": 3,
    "codec-missing": 3,
    "limit": 3,
}

# A tiny file may declare a content of zeros that takes long to hash; a damaged one is not worth the wait.
LIMITS = Limits(content_size=1 << 24)

_FIELD_VALUES = (0, 1, -1, 2, 255, 256, 4096, (1 << 31) - 1, 1 << 31, (1 << 47) - 1, (1 << 63) - 1)


def flips(data: bytes, *, one_a_byte: bool = False) -> Iterator[bytes]:
    """Yield `data` with one bit flipped: each in turn, or one in every byte, all eight places taking turns."""
    damaged = bytearray(data)
    for position in range(len(data)):
        for bit in (position % 8,) if one_a_byte else range(8):
            damaged[position] ^= 1 << bit
            yield bytes(damaged)
            damaged[position] ^= 1 << bit


def random_flips(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield `data` with one bit flipped, `count` times, anywhere."""
    rng = Random(seed)
    for _ in range(count):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(damaged)


def truncations(data: bytes) -> Iterator[bytes]:
    """Yield every beginning of `data` but the whole."""
    for size in range(len(data)):
        yield data[:size]


def random_edits(
    data: bytes, count: int, seed: int, *, stop: int | None = None, in_tail: float = 0.3
) -> Iterator[bytes]:
    """Yield `data` with one to three edits, `count` times.

    The part `in_tail` of the edits begins in the last KiB, the others before offset `stop`.
    """
    rng = Random(seed)
    for _ in range(count):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            start = (
                len(damaged) - 1 - rng.randrange(1024) if rng.random() < in_tail else rng.randrange(stop or len(data))
            )
            _edit(damaged, rng, max(0, min(start, len(damaged) - 1)))
        yield bytes(damaged)


def _edit(data: bytearray, rng: Random, start: int) -> None:
    """Change a field at `start`, or a range of up to 64 bytes."""
    size = len(data)
    other = rng.randrange(size)
    length = rng.randrange(1, 65)
    kind = rng.choice(("field", "field", "field", "swap", "duplicate", "cut", "insert", "zero"))
    if kind == "field":
        width = rng.choice((1, 2, 4, 6, 8))
        start -= start % rng.choice((1, width))
        value = rng.choice(_FIELD_VALUES) % (1 << 8 * width)
        data[start : start + width] = value.to_bytes(width, "little")
    elif kind == "swap":
        low, high = sorted((start, other))
        length = min(length, high - low, size - high)
        data[low : low + length], data[high : high + length] = data[high : high + length], data[low : low + length]
    elif kind == "duplicate":
        data[other:other] = data[start : start + length]
    elif kind == "cut":
        del data[start : start + length]
    elif kind == "insert":
        data[start:start] = rng.randbytes(length)
    else:
        data[start : start + length] = bytes(len(data[start : start + length]))


def reseal(data: bytes) -> bytes:
    """Make every checksum of a damaged `.etz` right again, where what it covers can still be found.

    So the rules behind the checksums are reached; a wrong byte of a block then is what the file says.
    """
    sealed = bytearray(data)
    _seal(sealed, 0, 12, 12)
    footer = len(sealed) - layout.FOOTER_SIZE
    if footer < layout.HEADER_SIZE:
        return bytes(sealed)
    (count,) = struct.unpack_from("<H", sealed, footer + 84)
    table = footer - count * layout.SECTION_ENTRY_SIZE
    if table >= layout.HEADER_SIZE:
        for entry in range(table, footer, layout.SECTION_ENTRY_SIZE):
            _reseal_section(sealed, entry)
        _seal(sealed, table, footer, footer + 80)
    _seal(sealed, footer, footer + 116, footer + 116)
    return bytes(sealed)


def _seal(data: bytearray, start: int, end: int, place: int) -> None:
    struct.pack_into("<I", data, place, crc32c(bytes(data[start:end])))


def _reseal_section(data: bytearray, entry: int) -> None:
    (kind,) = struct.unpack_from("<H", data, entry)
    start, size = (int.from_bytes(data[at : at + 6], "little") for at in (entry + 8, entry + 14))
    if start + size > len(data):
        return
    if kind in (SectionType.INDEX, SectionType.EXTENTS):
        for number, page in enumerate(range(start, start + size, layout.PAGE_SIZE)):
            end = min(page + layout.PAGE_SIZE, start + size) - 4
            if kind == SectionType.INDEX:
                _reseal_rows(data, page, end)
            if end > page:
                struct.pack_into("<I", data, end, crc32c(bytes(data[page:end]) + struct.pack("<II", kind, number)))
    _seal(data, start, start + size, entry + 4)


def _reseal_rows(data: bytearray, start: int, end: int) -> None:
    for row in range(start, end - layout.ENTRY_SIZE + 1, layout.ENTRY_SIZE):
        offset = int.from_bytes(data[row : row + 6], "little")
        (size,) = struct.unpack_from("<I", data, row + 8)
        if size and offset + size <= len(data):
            _seal(data, offset, offset + size, row + 12)


def check_error(error: EtpackError) -> None:
    """Assert that an error says what kind it is, what is wrong, and with which file."""
    assert EXIT_CODES[error.slug] == error.exit_code == type(error).exit_code
    assert str(error)
    assert error.path == "<buffer>"
    assert error.slug == "limit" or getattr(error, "rule", None), error


def judge_reading(data: bytes, content: bytes | None) -> EtpackError | None:
    """Read all of a damaged file, block by block and at once, and return the error if there was one.

    Asserts that no byte is wrong, before an error or without one; `content` is None where bytes may well be different.
    """
    blocks: list[tuple[Range, bytes]] = []
    try:
        with EtzFile(data, limits=LIMITS, jobs=1) as file:
            for place in (block.range for block in file.blocks()):
                read = file.read_at(place.offset, place.size)
                assert content is None or read == content[place.offset : place.end]
                blocks.append((place, read))
            whole = file.read_at(0, file.size)
    except EtpackError as exc:
        check_error(exc)
        return exc
    assert content is None or whole == content
    assert all(whole[place.offset : place.end] == read for place, read in blocks)
    return None


def judge_verdict(data: bytes, *, packed: bool = True) -> FileVerdict:
    """Verify a damaged file; assert that each finding says something, and that good means good."""
    verdict = verify_file(data, limits=LIMITS, jobs=1)
    assert verdict.ok == (verdict.exit_code == 0)
    for finding in verdict.findings:
        assert finding.rule
        assert finding.message
        assert finding.exit_code == EXIT_CODES[finding.slug]
    if packed and verdict.ok:
        with EtzFile(data, limits=LIMITS, jobs=1) as file:
            whole = file.read_at(0, file.size)
            assert hashlib.sha256(whole).digest() == file.footer.content_sha256
    return verdict


def judge_report(data: bytes) -> EtpackError | None:
    """Inspect a damaged file; return the error if there was one."""
    try:
        report = inspect_file(data, blocks=True, tensors=True)
    except EtpackError as exc:
        check_error(exc)
        return exc
    assert sum(extent.size for extent in report.extents) + report.gaps.size == report.content_size
    return None
