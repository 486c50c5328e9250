"""Measure what a model takes in ExecuTorch's Python runtime: a .pte by path and as bytes, and an .etz.

Usage: python tests/export/measure_load.py MODEL.pte...

Each way runs in a process of its own. Printed are MB above what the process had before: `own` is memory of the
process alone, with that of an .etz also where it is not mapped; `file` is the .pte as mapped, which the system can
drop and read again. Seconds are up to the loaded method. Every input is zeros.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from executorch.runtime import Program, Runtime

import etpack
import etpack.executorch

WAYS = ("path", "bytes", "etz")
# ExecuTorch's numbers for them, which its bindings give.
DTYPES = {3: torch.int32, 4: torch.int64, 5: torch.float16, 6: torch.float32, 11: torch.bool, 15: torch.bfloat16}


def load(way: str, path: str) -> Program:
    """Load a program in one of `WAYS`."""
    if way == "etz":
        return etpack.executorch.load_program(path)
    return Runtime.get().load_program(Path(path).read_bytes() if way == "bytes" else path)


def resident() -> dict[str, float]:
    """Return in MB what this process has: "own" and "file"."""
    status = Path("/proc/self/status").read_text()
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", status, re.MULTILINE)}
    memory = {}
    for number in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{number}"
        if os.path.exists(path) and os.readlink(path).startswith("/memfd:etpack"):
            stat = os.stat(path)
            memory[stat.st_ino] = stat.st_blocks * 512
    own = kib["RssAnon"] * 1024 + sum(memory.values())
    return {"own": own / 1e6, "file": kib["RssFile"] * 1024 / 1e6}


def measure(way: str, path: str) -> dict[str, Any]:
    """Load the first method of the model, run it, and return what memory that took."""
    load(way, os.environ["WARM_UP"]).load_method("forward")  # so that no library is read in for the first time below
    before = resident()
    steps = {}

    def note(step: str) -> None:
        steps[step] = {name: value - before[name] for name, value in resident().items()}

    start = time.perf_counter()
    program = load(way, path)
    note("load_program")
    name = sorted(program.method_names)[0]
    method = program.load_method(name)
    seconds = time.perf_counter() - start
    note("load_method")
    meta = method.metadata
    infos = [meta.input_tensor_meta(number) for number in range(meta.num_inputs())]
    outputs = method.execute([torch.zeros(info.sizes(), dtype=DTYPES[info.dtype()]) for info in infos])
    note("execute")
    digest = hash(tuple(output.to(torch.float64).numpy().tobytes() for output in outputs))
    return {"steps": steps, "seconds": seconds, "digest": digest}


def main() -> None:
    if sys.argv[1] in WAYS:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
        return
    print("| model | way | s | load_program own + file | load_method | execute |")
    print("|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        small = Path(__file__).parents[2] / "examples" / "models" / "digits_fp32_xnnpack.pte"
        etpack.compress(small, f"{folder}/small.etz")
        for model in map(Path, sys.argv[1:]):
            packed = Path(folder) / f"{model.stem}.etz"
            etpack.compress(model, packed)
            digests = set()
            for way in WAYS:
                place, warm_up = (packed, f"{folder}/small.etz") if way == "etz" else (model, str(small))
                env = {**os.environ, "WARM_UP": warm_up, "PYTHONHASHSEED": "0"}
                command = [sys.executable, __file__, way, str(place)]
                result = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, text=True)
                found = json.loads(result.stdout.splitlines()[-1])
                digests.add(found["digest"])
                cells = [f"{step['own']:.0f} + {step['file']:.0f}" for step in found["steps"].values()]
                print(f"| {model.stem} | {way} | {found['seconds']:.3f} | {' | '.join(cells)} |", flush=True)
            packed.unlink()
            assert len(digests) == 1, f"{model}: the outputs differ"


if __name__ == "__main__":
    main()
