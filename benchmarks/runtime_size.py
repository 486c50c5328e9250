"""Measures code and stack of the C reader and of the decoders that it may use, built for size, and writes a table.

    make runtime-size       or python -m benchmarks.runtime_size [RESULT.md]

Code is what `size -A` says of an object: `.text` and, apart, constants (`.rodata`, and pointers in `.data.rel.ro`).
Stack is the deepest path through the graph of calls that GCC writes (`-fcallgraph-info=su`), with what each function
puts there; a call through a pointer is taken for the deepest function that only pointers reach. It is a bound, then:
not every sum is a path that a program can take. Functions of the C library and of libgcc are not in it, nor are the
callback and interrupts; the reader itself calls `memcpy` and `memset`.

It needs GCC for each target, newlib's headers for Cortex-M, and the sources that `make runtime-size` fetches; on Debian
and Ubuntu: apt-get install gcc gcc-aarch64-linux-gnu gcc-arm-none-eabi libnewlib-dev
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
RUNTIME = ROOT / "etpack" / "runtime"
RESULT = ROOT / "benchmarks" / "results" / "runtime_size.md"
CODEC_SOURCES = ROOT / "build" / "codec-sources"
INDIRECT = "__indirect_call"
# Of zstd; it calls itself once, with a longer copy of its input.
TWICE = "FSE_readNCount_body"
# What zstd's own ZSTD_LIB_MINIFY sets.
MINIFY = [
    f"-D{name}=1"
    for name in (
        "HUF_FORCE_DECOMPRESS_X1",
        "ZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT",
        "ZSTD_NO_INLINE",
        "ZSTD_STRIP_ERROR_STRINGS",
    )
]


class Target(NamedTuple):
    """A processor to build for."""

    name: str
    triplet: str
    flags: Sequence[str] = ()


_THUMB = ("-mthumb", "-isystem", "/usr/include/newlib")
TARGETS = (
    Target("x86-64", "x86_64-linux-gnu"),
    Target("AArch64", "aarch64-linux-gnu"),
    Target("Cortex-M0+", "arm-none-eabi", ("-mcpu=cortex-m0plus", *_THUMB)),
    Target("Cortex-M4", "arm-none-eabi", ("-mcpu=cortex-m4", *_THUMB)),
    Target("Cortex-M7", "arm-none-eabi", ("-mcpu=cortex-m7", *_THUMB)),
)


@dataclass
class Calls:
    """Which function calls which, and the bytes that each puts on the stack."""

    stack: dict[str, int] = field(default_factory=dict)
    called: dict[str, set[str]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Add what GCC wrote of one object."""
        for name, label in re.findall(r'^node: \{ title: "([^"]+)" label: "([^"]*)"', text, re.MULTILINE):
            bytes_used = re.search(r"(\d+) bytes \(([\w,]+)\)", label)
            if bytes_used:
                if bytes_used[2] == "dynamic":
                    raise SystemExit(f"runtime_size: the stack of {name} has no bound")
                self.stack[name] = int(bytes_used[1])
        for caller, callee in re.findall(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text, re.MULTILINE):
            self.called.setdefault(caller, set()).add(callee)

    def uncalled(self) -> set[str]:
        """Return the functions that nothing here calls: entry points, and those reached through pointers."""
        return set(self.stack) - {callee for callees in self.called.values() for callee in callees}

    def deepest(self, entries: Iterable[str], indirect: int) -> int:
        """Return the bytes of the deepest path from any entry, with so many for each call through a pointer."""
        known = {INDIRECT: indirect}

        def depth(name: str, callers: tuple[str, ...]) -> int:
            if name in callers:
                if name == callers[-1] and TWICE in name:
                    return self.stack[name]
                raise SystemExit(f"runtime_size: {name} calls itself")
            if name not in known:
                below = (depth(callee, (*callers, name)) for callee in sorted(self.called.get(name, ())))
                known[name] = self.stack.get(name, 0) + max(below, default=0)
            return known[name]

        return max((depth(entry, ()) for entry in entries), default=0)


class Measured(NamedTuple):
    """What came of some sources; sizes in bytes."""

    text: int
    constants: int
    data: int
    calls: Calls


class Build:
    """Compiles for one target."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.folder = folder

    def measure(self, sources: Sequence[Path], *flags: str) -> Measured:
        """Compile sources and return the sums of their sizes, and all their calls."""
        sizes = dict.fromkeys((".text", ".rodata", ".data.rel.ro", ".data", ".bss"), 0)
        calls = Calls()
        for source in sources:
            object_path = self.folder / f"{source.stem}.o"
            self._run("gcc", "-Os", "-fcallgraph-info=su", f"-I{RUNTIME}", f"-I{CODEC_SOURCES}", *self.target.flags,
                      *flags, "-c", str(source), "-o", str(object_path))  # fmt: skip
            calls.add(object_path.with_suffix(".ci").read_text(encoding="utf-8"))
            said = self._run("size", "-A", str(object_path))
            for name, size in re.findall(r"^(\.data\.rel\.ro|\.\w+)\S*\s+(\d+)", said, re.MULTILINE):
                if name in sizes:
                    sizes[name] += int(size)
        constants = sizes[".rodata"] + sizes[".data.rel.ro"]
        return Measured(sizes[".text"], constants, sizes[".data"] + sizes[".bss"], calls)

    def compiler(self) -> str:
        """Return name and version of the compiler."""
        return self._run("gcc", "--version").splitlines()[0]

    def _run(self, tool: str, *arguments: str) -> str:
        command = [f"{self.target.triplet}-{tool}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"runtime_size: {' '.join(command)} failed\n{done.stderr}")
        return done.stdout


CODE_ROWS = (
    "the reader",
    "portable kernels",
    "kernels of the processor, and choosing them",
    "`etz_decoder_lz4.c`",
    "`LZ4_decompress_safe()`",
    "`etz_decoder_zstd.c`",
    "zstd's decoder",
    "the same, with what `ZSTD_LIB_MINIFY` sets",
)
STACK_ROWS = (
    "the reader, portable kernels",
    "with LZ4",
    "with zstd",
    "with zstd and `ZSTD_LIB_MINIFY`",
    "the reader, kernels of the processor",
)


def measure(target: Target) -> tuple[dict[str, Measured], dict[str, int]]:
    """Return sizes for each row of code, and bytes for each row of stack."""
    readers = [path for path in sorted(RUNTIME.glob("etz_*.c")) if not re.match("etz_(kernels|decoder)", path.name)]
    best = sorted(RUNTIME.glob("etz_kernels_*.c"))
    tests = ROOT / "tests" / "runtime"
    own, whole = ("-std=c99", "-Wall", "-Wextra", "-Werror"), ("-w", "-fwhole-program")
    with tempfile.TemporaryDirectory() as folder:
        build = Build(target, Path(folder))
        code = dict(
            zip(
                CODE_ROWS,
                (
                    build.measure(readers, *own),
                    build.measure([RUNTIME / "etz_kernels.c"], *own),
                    build.measure(best, *own),
                    build.measure([RUNTIME / "etz_decoder_lz4.c"], *own),
                    build.measure([tests / "lz4_decoder.c"], *whole),
                    build.measure([RUNTIME / "etz_decoder_zstd.c"], *own),
                    build.measure([tests / "zstd_decoder.c"], *whole),
                    build.measure([tests / "zstd_decoder.c"], *whole, *MINIFY),
                ),
                strict=True,
            )
        )
    reader, kernels, fast, lz4, lz4_itself, zstd, zstd_itself, zstd_small = (part.calls for part in code.values())
    pointers = kernels.deepest(kernels.uncalled(), 0)
    decoders = (_depth(*pair) for pair in ((lz4, lz4_itself), (zstd, zstd_itself), (zstd, zstd_small)))
    # The fast kernels leave ends to the portable ones.
    faster = fast.deepest(fast.uncalled(), pointers)
    depths = [reader.deepest(reader.uncalled(), max(pointers, called)) for called in (0, *decoders, faster)]
    return code, dict(zip(STACK_ROWS, depths, strict=True))


def _depth(adapter: Calls, codec: Calls) -> int:
    """Return the bytes that a decoder takes: an adapter, whose functions the reader calls, and the codec below it."""
    called = {callee for callees in adapter.called.values() for callee in callees}
    pointers = codec.deepest(codec.uncalled() - called, 0)
    both = Calls(adapter.stack | codec.stack, adapter.called | codec.called)
    return both.deepest(adapter.uncalled(), pointers)


def _cell(measured: Measured) -> str:
    if measured.data:
        raise SystemExit("runtime_size: there are globals that are written")
    if not measured.text:
        return ""
    return f"{measured.text:,} + {measured.constants:,}" if measured.constants else f"{measured.text:,}"


def page(targets: Sequence[Target]) -> str:
    """Return the result as Markdown."""
    compilers = {Build(target, Path()).compiler() for target in targets}
    results = [measure(target) for target in targets]
    heads = " | ".join(target.name for target in targets)
    rule = "|---|" + "---:|" * len(targets)
    lines = [
        "# Code and stack of the C reader", "",
        "Made by `make runtime-size` with `-Os`; [runtime_size.py](../runtime_size.py) says how. Sources of the codecs "
        "are those that [codec_sources.txt](../../tests/cross/codec_sources.txt) names.", "",
        *(f"- {compiler}" for compiler in sorted(compilers)), "",
        "Bytes of code, and of constants behind a +; nothing is written to but the stack and the caller's memory:", "",
        f"| code | {heads} |", rule,
        *(f"| {row} | {' | '.join(_cell(code[row]) for code, _ in results)} |" for row in CODE_ROWS), "",
        "Bytes of stack of the deepest calls, at most; without libc, libgcc, your callback and interrupts:", "",
        f"| stack | {heads} |", rule,
        *(f"| {row} | {' | '.join(f'{stack[row]:,}' for _, stack in results)} |" for row in STACK_ROWS), "",
    ]  # fmt: skip
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure code and stack of the C reader.")
    parser.add_argument("result", nargs="?", type=Path, default=RESULT, help="Markdown file to write")
    result: Path = parser.parse_args(arguments).result
    if not (CODEC_SOURCES / "complete").exists():
        raise SystemExit("runtime_size: the sources of LZ4 and zstd are not there: `make runtime-size` fetches them")
    try:
        text = page(TARGETS)
    except FileNotFoundError as exc:
        raise SystemExit(f"runtime_size: {exc.filename} is not there: see the first lines of {__file__}") from exc
    result.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
