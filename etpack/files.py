"""The library's calls on whole files: pack, unpack, open, with the default names."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from etpack.limits import Limits
from etpack.output import FileOutput, OutputError, Progress, refuse_input
from etpack.pte import FileKind
from etpack.reader import EtzFile
from etpack.sources import SourceLike, open_source, steady
from etpack.sources.urls import as_path, local_path
from etpack.unpack import unpack
from etpack.writer import Options, PackResult, pack

SUFFIX = ".etz"
_KIND_SUFFIXES = {FileKind.PTE: ".pte", FileKind.PTD: ".ptd", FileKind.BPTE: ".bpte", FileKind.OPAQUE: ""}


def open_etz(source: SourceLike, *, limits: Limits | None = None, jobs: int | None = None) -> EtzFile:
    """Open an `.etz` for random access; see `EtzFile`."""
    return EtzFile(source, limits=limits, jobs=jobs)


def packed_path(path: Path) -> Path:
    """Return the default name of the packed file: `x.pte` gives `x.etz`, any other `x.y` gives `x.y.etz`."""
    return path.with_suffix(SUFFIX) if path.suffix == ".pte" else path.with_name(path.name + SUFFIX)


def unpacked_path(path: Path, kind: FileKind) -> Path:
    """Return the default name of the unpacked file: without `.etz`, and with the extension of its kind.

    Raises:
        OutputError: The name does not end in `.etz`, so there is no telling what to call the result.
    """
    if path.suffix != SUFFIX or not path.stem:
        raise OutputError(f"the name does not end in {SUFFIX}", hint="name the output with -o", path=str(path))
    plain = path.with_suffix("")
    suffix = _KIND_SUFFIXES[kind]
    return plain if plain.suffix == suffix else plain.with_name(plain.name + suffix)


def compress(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    *,
    overwrite: bool = False,
    jobs: int | None = None,
    check: bool = True,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> PackResult:
    """Pack the model file `source` into `output`, which appears only when it is complete.

    Args:
        source: A `.pte`, `.ptd` or `.bpte`, or any file with `options.opaque`; a path or a URL.
        output: Where the `.etz` goes; by default beside the source, `x.pte` as `x.etz`; of a URL, in the current
            folder.
        options: How to pack.
        overwrite: Replace `output` if it is there.
        jobs: Threads; all processors by default. The bytes written do not depend on it.
        check: Decode and compare every block before it is written.
        progress: Called with the bytes of content done and their total.
        limits: How much may be downloaded.

    Raises:
        PteError: The source is no model that can be read.
        OutputError: The output is there and `overwrite` is False, or it is the source.
        EtpackError: See `etpack.writer.pack`.
        OSError: Reading or writing failed.
    """
    with closing(open_source(source, limits=limits, whole=True)) as opened:
        target = packed_path(local_path(source)) if output is None else output
        refuse_input(target, as_path(source))
        with FileOutput(target, overwrite=overwrite) as out:
            return pack(opened, out, options, jobs=jobs, check=check, progress=progress)


def decompress(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Path:
    """Restore the file that was packed into `source` and return where it is; it appears only when it is complete.

    Args:
        source: An `.etz`; a path or a URL.
        output: Where the content goes; by default beside the source, or in the current folder for a URL, with the
            extension of its kind.
        overwrite: Replace `output` if it is there.
        jobs: Threads; all processors by default.
        progress: Called with the bytes of content done and their total.
        limits: What the file may ask for.

    Raises:
        FormatError: The file is damaged.
        UnsupportedError: It needs a newer etpack, or a codec that is not installed.
        OutputError: The output is there and `overwrite` is False, or it is the source.
        SourceError: The source changed meanwhile.
        OSError: Reading or writing failed.
    """
    with (
        closing(open_source(os.fspath(source), limits=limits, whole=True)) as opened,
        EtzFile(opened, limits=limits, jobs=jobs) as file,
    ):
        target = unpacked_path(local_path(source), file.manifest.kind) if output is None else output
        refuse_input(target, as_path(source))
        with FileOutput(target, overwrite=overwrite, size=file.size) as out, steady(opened):
            unpack(file, out, jobs=jobs, progress=progress)
    return Path(target)
