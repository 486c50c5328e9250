"""Measures how fast this machine reads an `.etz`: all of it, and at random."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from etpack.block_reader import KEPT_SIZE
from etpack.errors import UnsupportedError, naming
from etpack.limits import Limits
from etpack.output import Progress
from etpack.pte import Range
from etpack.reader import EtzFile
from etpack.report.packed import codec_name
from etpack.sources import SourceLike, open_source, steady

__all__ = ["KEPT_SIZE", "READS", "READ_SIZES", "THREADS", "BenchReport", "DecodeSpeed", "ReadSpeed", "bench_file"]

THREADS = (1, 2)
READ_SIZES = (4 << 10, 64 << 10)

_ROUNDS = 3
READS = 2000
_SEED = 1
# A thread decodes so many bytes of content at once, or a block if that is more.
_PIECE_SIZE = 1 << 20
# A round decodes a small content again and again, up to so many bytes and so many times.
_ROUND_SIZE = 64 << 20
_MOST_PASSES = 256


@dataclass(frozen=True)
class DecodeSpeed:
    """Decoding the whole content, front to back."""

    threads: int
    # Seconds that the content took in each round, which may have decoded it several times.
    seconds: tuple[float, ...]
    # 10^9 bytes of content a second: in the round in the middle, the slowest and the quickest.
    gb_s: float
    slowest_gb_s: float
    quickest_gb_s: float


@dataclass(frozen=True)
class ReadSpeed:
    """Reads of one size at random places, on one thread."""

    # Bytes of content.
    size: int
    count: int
    # Microseconds within which half of the reads, and 99 of 100, were done.
    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class BenchReport:
    """What was measured. The file was read once before, so it comes from the system's cache if that holds it."""

    file: str
    content_size: int
    stored_size: int
    block_size: int
    codecs: tuple[str, ...]
    decode: tuple[DecodeSpeed, ...]
    # Without sizes that are larger than the content.
    reads: tuple[ReadSpeed, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, by `schemas/bench.schema.json`."""
        return asdict(self)


def bench_file(
    source: SourceLike,
    *,
    threads: Sequence[int] = THREADS,
    read_sizes: Sequence[int] = READ_SIZES,
    rounds: int = _ROUNDS,
    reads: int = READS,
    limits: Limits | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> BenchReport:
    """Measure how fast an `.etz` is decoded, and how long random reads take.

    Args:
        source: A path, a URL, a buffer, a seekable binary file object, or a `Source`.
        threads: Numbers of threads to decode with.
        read_sizes: Bytes of each random read.
        rounds: How often the content is decoded with each number of threads, at least 1.
        reads: Random reads of each size, at least 1; the places are the same in every run.
        limits: What the file may ask for.
        progress: Called with the bytes of content decoded and their total, before the random reads.
        clock: What tells the seconds.

    Raises:
        FormatError: The file is damaged.
        UnsupportedError: It needs a newer etpack, or a codec that is not installed; or it has no content.
        ValueError: A number is below 1.
        OSError: It cannot be read.
    """
    for number in (rounds, reads, *threads, *read_sizes):
        if number < 1:
            raise ValueError(f"{number}, where at least 1 is needed")
    opened = open_source(source, limits=limits, whole=True)
    try:
        with naming(opened.name), steady(opened), EtzFile(opened, limits=limits, jobs=1) as file:
            if not file.size:
                raise UnsupportedError("has no content to read", hint="measure another file")
            passes = max(1, min(_MOST_PASSES, _ROUND_SIZE // file.size))
            run = _Run(file, clock, progress, file.size * (1 + passes * rounds * len(threads)))
            run.decode(1, 1)
            decode = tuple(run.decode_speed(count, passes, rounds) for count in threads)
            found = tuple(run.read_speed(size, reads) for size in read_sizes if size <= file.size)
            codecs = tuple(map(codec_name, file.footer.codecs))
            return BenchReport(file.name, file.size, file.stored_size, file.block_size, codecs, decode, found)
    finally:
        if opened is not source:
            opened.close()


class _Run:
    """Measurements of one open file."""

    def __init__(self, file: EtzFile, clock: Callable[[], float], progress: Progress | None, total: int) -> None:
        self._file = file
        self._clock = clock
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self._stopped = False

    def decode_speed(self, threads: int, passes: int, rounds: int) -> DecodeSpeed:
        """Return how fast so many threads decode the whole content, several times in each round."""
        seconds = [self.decode(threads, passes) for _ in range(rounds)]
        taken = (_percentile(sorted(seconds), 50), max(seconds), min(seconds))
        return DecodeSpeed(threads, tuple(seconds), *(self._file.size / each / 1e9 for each in taken))

    def decode(self, threads: int, passes: int) -> float:
        """Return the seconds that decoding the whole content once takes so many threads, after several passes."""
        pieces = list(self._pieces()) * passes
        with ThreadPoolExecutor(threads, thread_name_prefix="etpack-bench") as pool:
            list(pool.map(int, range(threads)))  # so that the threads are there
            start = self._clock()
            shares = [pool.submit(self._decode, pieces[number::threads]) for number in range(threads)]
            try:
                for share in shares:
                    share.result()
            except BaseException:
                self._stopped = True
                raise
            return max(self._clock() - start, 1e-9) / passes

    def _pieces(self) -> Iterator[Range]:
        """Yield the content in pieces that share no block."""
        offset, most = 0, max(_PIECE_SIZE, self._file.block_size)
        while offset < self._file.size:
            end = self._file.cut_before(offset, min(offset + most, self._file.size))
            yield Range(offset, end - offset)
            offset = end

    def _decode(self, pieces: Sequence[Range]) -> None:
        buffer = memoryview(bytearray(max((piece.size for piece in pieces), default=0)))
        for piece in pieces:
            if self._stopped:
                return
            self._file.read_into(piece.offset, buffer[: piece.size])
            with self._lock:
                self._done += piece.size
                if self._progress:
                    self._progress(self._done, self._total)

    def read_speed(self, size: int, count: int) -> ReadSpeed:
        """Return how long reads of `size` bytes take."""
        places = random.Random(_SEED)
        buffer = memoryview(bytearray(size))
        taken = []
        for _ in range(count):
            offset = places.randrange(self._file.size - size + 1)
            start = self._clock()
            self._file.read_into(offset, buffer)
            taken.append(self._clock() - start)
        taken.sort()
        return ReadSpeed(size, count, _percentile(taken, 50) * 1e6, _percentile(taken, 99) * 1e6)


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the least value that so many percent of all do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
