"""What `etpack bench` measured -> lines of plain text."""

from __future__ import annotations

from collections.abc import Iterator

from etpack.bench import KEPT_SIZE, BenchReport
from etpack.describe.words import human, plural, safe


def describe_bench(report: BenchReport) -> Iterator[str]:
    """Yield the lines."""
    codecs = " and ".join(map(safe, report.codecs)) or "nothing to decode"
    size = f"{human(report.content_size)} in {human(report.stored_size)}"
    yield f"{safe(report.file)}: {size}, blocks of {human(report.block_size)}, {codecs}"
    for speed in report.decode:
        span = f"{speed.slowest_gb_s:.2f} to {speed.quickest_gb_s:.2f} in {plural(len(speed.seconds), 'round')}"
        yield f"decode, {plural(speed.threads, 'thread'):10} {speed.gb_s:8.2f} GB/s ({span})"
    for read in report.reads:
        times = f"p50 {read.p50_us:8.1f} us, p99 {read.p99_us:8.1f} us"
        yield f"random reads of {human(read.size):7} {times} ({read.count:,} of them)"
    if report.content_size <= KEPT_SIZE:
        yield f"The reader keeps {human(KEPT_SIZE)} of decoded blocks, which is all of so small a file."
