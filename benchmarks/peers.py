"""The peers: programs and libraries that etpack is measured against.

Each packs a file into a file and restores it, as it is meant to be used, and where it has settings that depend on the
data, with the best of several. A peer that can read at random has a `reader`. Libraries are
imported when a peer is used; most of them have no types.

    python -m benchmarks.peers NAME BLOCK_SIZE FILE FOLDER

packs one file with one peer in a process of its own, restores and compares it, and prints the figures as JSON.
"""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from benchmarks.harness import UnmeasuredError, run

# The settings of Blosc2 are chosen by what they make of this much from the middle of a file.
_SAMPLE = 16 << 20


class Peer(Protocol):
    """What packs a file: `choose` first, then `compress`."""

    # The settings that `choose` chose, or nothing.
    detail: str

    def choose(self, source: Path) -> None:
        """Import what is needed, and find the settings that suit a file best; not part of any time that is measured."""

    def compress(self, source: Path, target: Path) -> None:
        """Pack a file."""

    def decompress(self, packed: Path, target: Path) -> None:
        """Restore what `compress` packed."""


class Reader(Protocol):
    """Reads the content of one packed file at random, in one thread."""

    def read(self, offset: int, size: int) -> bytes | bytearray | memoryview:
        """Return bytes of the content."""


class Tool:
    """A command line that packs a file to stdout, and one that restores it to stdout."""

    detail = ""

    def __init__(self, *command: str) -> None:
        self._command = command

    def choose(self, source: Path) -> None:
        """A tool has nothing to choose."""

    def compress(self, source: Path, target: Path) -> None:
        run([*self._command, "-q", "-c", str(source)], target)

    def decompress(self, packed: Path, target: Path) -> None:
        run([self._command[0], "-d", "-q", "-c", str(packed)], target)


class ZipNN:
    """ZipNN on the bytes of the whole file, told the type of float that gives the smallest result."""

    detail = ""

    def choose(self, source: Path) -> None:
        data = source.read_bytes()
        self.detail = min(("float32", "bfloat16", "float16"), key=lambda dtype: len(self._pack(data, dtype)))

    def _pack(self, data: bytes, dtype: str) -> bytes:
        from zipnn import ZipNN as Codec

        # It rotates its input in place, so it gets a copy.
        return bytes(Codec(input_format="byte", bytearray_dtype=dtype, threads=2).compress(bytearray(data)))

    def compress(self, source: Path, target: Path) -> None:
        target.write_bytes(self._pack(source.read_bytes(), self.detail))

    def decompress(self, packed: Path, target: Path) -> None:
        from zipnn import ZipNN as Codec

        target.write_bytes(Codec(input_format="byte", threads=2).decompress(packed.read_bytes()))


class OpenZL:
    """OpenZL on the whole file as one array of numbers, with the graph that makes it smallest.

    The graphs are those that its documentation advises for floats and integers: exponents apart from the rest, bytes
    transposed, and its generic one. What is left over after the last whole number is kept raw.
    """

    detail = ""

    def choose(self, source: Path) -> None:
        self.detail = min(self._graphs(), key=lambda name: len(self._pack(source, name)))

    def _pack(self, source: Path, graph: str) -> bytes:
        import numpy as np
        import openzl.ext as zl

        width, build = self._graphs()[graph]
        data = np.fromfile(source, np.uint8)
        compressor = zl.Compressor()
        compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        compressor.select_starting_graph(build(compressor))
        context = zl.CCtx()
        context.ref_compressor(compressor)
        context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        whole = len(data) // width * width
        numbers = data[:whole].view(f"u{width}")
        packed: bytes = context.compress([zl.Input(zl.Type.Numeric, numbers)])
        return packed + data[whole:].tobytes() + bytes([len(data) - whole])

    def compress(self, source: Path, target: Path) -> None:
        target.write_bytes(self._pack(source, self.detail))

    def decompress(self, packed: Path, target: Path) -> None:
        import numpy as np
        import openzl.ext as zl

        data = packed.read_bytes()
        rest = data[-1]
        frame, tail = data[: len(data) - 1 - rest], data[len(data) - 1 - rest : -1]
        numbers = zl.DCtx().decompress(frame)[0].content.as_nparray()
        target.write_bytes(numbers.view(np.uint8).tobytes() + tail)

    def _graphs(self) -> dict[str, tuple[int, Callable[[Any], Any]]]:
        """Return of each graph, by name, the bytes of its numbers and what builds it for a compressor."""
        from openzl.ext import graphs, nodes

        def entropy(c: Any) -> Any:
            return graphs.Entropy()(c)

        def transpose(c: Any) -> Any:
            return nodes.TransposeSplit()(c, entropy(c))

        return {
            "float32 deconstruct": (4, lambda c: nodes.Float32Deconstruct()(c, transpose(c), entropy(c))),
            "bfloat16 deconstruct": (2, lambda c: nodes.BFloat16Deconstruct()(c, entropy(c), entropy(c))),
            "float16 deconstruct": (2, lambda c: nodes.Float16Deconstruct()(c, transpose(c), entropy(c))),
            "transpose 4": (4, lambda c: nodes.ConvertNumToStructLE()(c, transpose(c))),
            "transpose 2": (2, lambda c: nodes.ConvertNumToStructLE()(c, transpose(c))),
            "entropy": (1, entropy),
            "generic 1": (1, lambda c: graphs.Compress()(c)),
            "generic 4": (4, lambda c: graphs.Compress()(c)),
        }


class Blosc2:
    """Blosc2: shuffle and zstd, as a frame on disk, with the best type size and level of few.

    A chunk is 1 MiB or less, whichever is better; it reads a block out of a chunk without decoding the rest.
    """

    detail = ""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._settings = (block_size, 1, 1)

    def choose(self, source: Path) -> None:
        with source.open("rb") as file:
            file.seek(max(0, source.stat().st_size - _SAMPLE) // 2 // self._block_size * self._block_size)
            sample = file.read(_SAMPLE)
        # Chunks of one small block are no good: the index outgrows what is saved.
        chunk_sizes = {1 << 20, max(self._block_size, 64 << 10)}
        choices = list(product(sorted(chunk_sizes), (1, 2, 4), (1, 5)))
        self._settings = min(choices, key=lambda choice: len(self._pack([sample], *choice).to_cframe()))
        self.detail = "chunks of {}, typesize {}, level {}".format(*self._settings)

    def compress(self, source: Path, target: Path) -> None:
        with source.open("rb") as file:
            schunk = self._pack(iter(lambda: file.read(1 << 20), b""), *self._settings)
        schunk.vlmeta["size"] = source.stat().st_size
        target.write_bytes(schunk.to_cframe())

    def _pack(self, data: Iterable[bytes], chunk_size: int, typesize: int, level: int) -> Any:
        import blosc2

        schunk = blosc2.SChunk(
            chunksize=chunk_size,
            cparams={
                "codec": blosc2.Codec.ZSTD, "filters": [blosc2.Filter.SHUFFLE], "typesize": typesize, "clevel": level,
                "blocksize": self._block_size, "nthreads": 2,
            },
        )  # fmt: skip
        for piece in data:
            for start in range(0, len(piece), chunk_size):
                chunk = piece[start : start + chunk_size]
                schunk.append_data(chunk + bytes(-len(chunk) % typesize))
        return schunk

    def decompress(self, packed: Path, target: Path) -> None:
        import blosc2

        schunk = blosc2.open(str(packed), mode="r")
        with target.open("wb") as file:
            for number in range(schunk.nchunks):
                file.write(schunk.decompress_chunk(number))
            file.truncate(schunk.vlmeta["size"])

    @staticmethod
    def reader(packed: Path) -> Reader:
        return _Blosc2Reader(packed)


class _Blosc2Reader:
    def __init__(self, packed: Path) -> None:
        import blosc2

        self._schunk = blosc2.open(str(packed), mode="r", dparams={"nthreads": 1})
        self._width = self._schunk.typesize

    def read(self, offset: int, size: int) -> bytes:
        first, stop = offset // self._width, -(-(offset + size) // self._width)
        if (stop - first) * self._width == self._schunk.blocksize:
            # Blosc2 4.14.1 returns wrong bytes for just so many across two blocks of a chunk; one item more avoids it.
            first, stop = max(0, first - 1), stop + (first == 0)
        found: bytes = self._schunk.get_slice(first, stop)
        start = offset - first * self._width
        return found if len(found) == size else found[start : start + size]


class SeekableZstd:
    """zstd in the seekable format, one frame a block, as pyzstd writes it."""

    detail = ""

    def __init__(self, block_size: int, level: int = 3) -> None:
        self._block_size = block_size
        self._level = level

    def choose(self, source: Path) -> None:
        import pyzstd  # noqa: F401

    def compress(self, source: Path, target: Path) -> None:
        from pyzstd import SeekableZstdFile

        with (
            source.open("rb") as file,
            SeekableZstdFile(
                target, "w", level_or_option=self._level, max_frame_content_size=self._block_size
            ) as packed,
        ):
            for piece in iter(lambda: file.read(self._block_size), b""):
                packed.write(piece)

    def decompress(self, packed: Path, target: Path) -> None:
        Tool("zstd").decompress(packed, target)

    @staticmethod
    def reader(packed: Path) -> Reader:
        from pyzstd import SeekableZstdFile

        return _FileReader(SeekableZstdFile(packed, "r"))

    @staticmethod
    def indexed_reader(packed: Path) -> Reader:
        """Return a reader of the same file by indexed_zstd; without the buffer of 1 MiB that it adds to reads."""
        from indexed_zstd import IndexedZstdFile

        file = IndexedZstdFile(str(packed))
        return _FileReader(file.raw, file)


class _FileReader:
    """A reader over a file object with a position; `owner` is kept so long as the reader is."""

    def __init__(self, file: Any, owner: Any = None) -> None:
        self._file = file
        self._owner = owner
        self._buffer = bytearray()

    def read(self, offset: int, size: int) -> bytearray:
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        self._file.seek(offset)
        view = memoryview(self._buffer)
        while len(view):
            view = view[self._file.readinto(view) or 1 :]
        return self._buffer


# What makes each whole-file peer; Blosc2 and seekable zstd take a block size.
WHOLE_FILE: dict[str, Callable[[], Peer]] = {
    "lz4 -12": lambda: Tool("lz4", "-12"),
    "zstd -3": lambda: Tool("zstd", "-3", "-T2"),
    "zstd -19": lambda: Tool("zstd", "-19", "-T2"),
    "ZipNN": ZipNN,
    "OpenZL": OpenZL,
}
BLOCKED: dict[str, Callable[[int], Peer]] = {
    "Blosc2": Blosc2,
    "seekable zstd -3": SeekableZstd,
    "seekable zstd -19": lambda block_size: SeekableZstd(block_size, 19),
}


def make(name: str, block_size: int) -> Peer:
    """Return a peer by its name; `block_size` matters to those of `BLOCKED`."""
    return WHOLE_FILE[name]() if name in WHOLE_FILE else BLOCKED[name](block_size)


def round_trip(name: str, block_size: int, source: Path, folder: Path) -> dict[str, Any]:
    """Pack a file with a peer in a process of its own, restore it and compare; the packed file stays.

    Returns:
        Its path (packed), bytes (stored), seconds (pack_s, unpack_s), and what was chosen (detail).

    Raises:
        UnmeasuredError: The peer is not installed, failed, or did not restore the same bytes.
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.peers",
        name,
        str(block_size),
        str(source),
        str(folder),
    ]
    answer = folder / "peer.json"
    run(command, answer)
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8").splitlines()[-1])
    if "error" in found:
        raise UnmeasuredError(found["error"])
    return found


def _round_trip_here(name: str, block_size: int, source: Path, folder: Path) -> dict[str, Any]:
    packed = folder / f"{source.name}.{name.replace(' ', '')}.{block_size}"
    restored = folder / "restored"
    peer = make(name, block_size)
    peer.choose(source)
    start = time.perf_counter()
    peer.compress(source, packed)
    middle = time.perf_counter()
    peer.decompress(packed, restored)
    end = time.perf_counter()
    if not filecmp.cmp(source, restored, shallow=False):
        return {"error": "it did not restore the same bytes"}
    restored.unlink()
    return {
        "packed": str(packed), "stored": os.path.getsize(packed), "detail": peer.detail,
        "pack_s": round(middle - start, 3), "unpack_s": round(end - middle, 3),
    }  # fmt: skip


def main() -> None:
    """Measure one peer; an error is part of the answer."""
    name, block_size, source, folder = sys.argv[1:]
    try:
        found = _round_trip_here(name, int(block_size), Path(source), Path(folder))
    except (Exception, subprocess.SubprocessError) as exc:
        found = {"error": f"{type(exc).__name__}: {exc}"}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
