"""The C reader built for other processors, and run under qemu: tests of the reader, and what they show here besides.

32-bit Arm has addresses, and a `size_t`, of 32 bits; s390x has its bytes in the other order; AArch64 has kernels of its
own.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

import etpack
from etpack import Options
from tests.native_tools import ROOT, cmake_build, leave_out, program, run
from tests.test_runtime_reader import (
    read_random_ranges,
    test_a_batch_is_one_call,
    test_a_file_of_more_than_four_gib,
    test_a_range_that_leaves_the_content_is_the_callers_mistake,
    test_a_region_that_is_too_small_or_askew_is_refused,
    test_a_small_file_that_declares_much_is_refused_when_it_is_opened,
    test_bad_vectors_are_refused_with_the_same_error,
    test_codecs_that_were_not_given,
    test_content_of_more_than_four_gib,
    test_damaged_vectors_get_the_verdict_of_python,
    test_good_vectors_are_read,
    test_head_and_program_decode_their_block_once,
    test_limits,
    test_the_kernels_do_what_their_definition_says,
    test_what_comes_before_a_bad_block_is_right,
)

# Collected here once more: they read with the `tools` of this module.
__all__ = [
    "test_a_batch_is_one_call",
    "test_a_file_of_more_than_four_gib",
    "test_a_range_that_leaves_the_content_is_the_callers_mistake",
    "test_a_region_that_is_too_small_or_askew_is_refused",
    "test_a_small_file_that_declares_much_is_refused_when_it_is_opened",
    "test_bad_vectors_are_refused_with_the_same_error",
    "test_codecs_that_were_not_given",
    "test_content_of_more_than_four_gib",
    "test_damaged_vectors_get_the_verdict_of_python",
    "test_good_vectors_are_read",
    "test_head_and_program_decode_their_block_once",
    "test_limits",
    "test_the_kernels_do_what_their_definition_says",
    "test_what_comes_before_a_bad_block_is_right",
]

CODEC_SOURCES = ROOT / "build" / "codec-sources"


class Target(NamedTuple):
    """A machine to build for."""

    # What its compiler's name begins with, and its processor in cmake's words.
    triplet: str
    processor: str
    # What its qemu is named after.
    qemu: str
    # As Debian names its architecture.
    debian: str
    kernels: set[str]
    # What the preprocessor of its compiler must say for the tests to prove what they claim.
    facts: str

    @property
    def compiler(self) -> str:
        return f"{self.triplet}-gcc"


TARGETS = {
    "aarch64": Target(
        "aarch64-linux-gnu", "aarch64", "aarch64", "arm64", {"portable", "best", "neon"}, "defined __ARM_NEON"
    ),
    "arm": Target("arm-linux-gnueabihf", "arm", "arm", "armhf", {"portable", "best"}, "__SIZEOF_SIZE_T__ == 4"),
    "s390x": Target(
        "s390x-linux-gnu", "s390x", "s390x", "s390x", {"portable", "best"}, "__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__"
    ),
}


def _emulator(target: Target) -> Path | None:
    return program(f"qemu-{target.qemu}", f"qemu-{target.qemu}-static")


def _builds(target: Target) -> bool:
    """Whether a program can be linked for this target."""
    command = [target.compiler, "-static", "-xc", "-", "-o", "/dev/null"]
    text = f"#if !({target.facts})\n#error another machine\n#endif\n#include <stdio.h>\nint main(void) {{ return 0; }}"
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _missing(target: Target) -> str | None:
    """Return what this machine lacks, and how to get it."""
    if not program("cmake") or not _emulator(target) or not _builds(target):
        packages = f"gcc-{target.triplet} libc6-dev-{target.debian}-cross cmake qemu-user"
        return f"a compiler for {target.triplet}, cmake and qemu; on Debian and Ubuntu: apt-get install {packages}"
    if not (CODEC_SOURCES / "complete").exists():
        return "the sources of LZ4 and zstd, which `make test-cross` fetches"
    return None


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    """Each machine in turn."""
    return TARGETS[request.param]


@pytest.fixture(scope="module")
def tools(target: Target) -> Path:
    """A folder of scripts that run the programs for the target, under the names that these have elsewhere."""
    missing = _missing(target)
    if missing:
        leave_out(f"the C reader under qemu needs {missing}")
    folder = cmake_build(
        ROOT / "tests" / "runtime",
        ROOT / "build" / f"runtime-cross-{target.qemu}",
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={target.processor}",
        f"-DCMAKE_C_COMPILER={target.compiler}",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
        f"-DETZ_CODEC_SOURCES={CODEC_SOURCES}",
    )
    scripts = folder / "under-qemu"
    scripts.mkdir(exist_ok=True)
    for name in ("etz_check", "kernels_check", "fuzz_reader"):
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec {_emulator(target)} {shlex.quote(str(folder / name))} "$@"\n')
        script.chmod(0o755)
    return scripts


def test_kernels_of_the_processor_are_there(target: Target, tools: Path) -> None:
    assert set(run(tools / "kernels_check").split()) == target.kernels


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_random_ranges_of_a_real_model(tools: Path, tmp_path: Path, codec: str) -> None:
    model, packed = ROOT / "examples" / "models" / "digits_int8_xnnpack.pte", tmp_path / "model.etz"
    etpack.compress(model, packed, Options(16384, codec=codec))
    read_random_ranges(tools, packed, model.read_bytes(), Random(codec))
