"""Writes the content of an `.etz`, or a range of it, to an output; reads through the chunked loader."""

from __future__ import annotations

import hashlib

from etpack.errors import CorruptError, naming
from etpack.loader import DataLoader
from etpack.output import Output, Progress
from etpack.reader import EtzFile


def unpack(file: EtzFile, output: Output, *, jobs: int | None = None, progress: Progress | None = None) -> str:
    """Write the whole content to `output` and return its SHA-256 in hexadecimal.

    Every block is checked before its bytes are written, and the whole against the recorded SHA-256 at the end.

    Raises:
        CorruptError: A block fails its check, or the whole does not have the recorded SHA-256.
        UnsupportedError: A block uses a filter or codec that is not known here.
        OSError: Reading or writing failed.
    """
    sha256 = hashlib.sha256()
    done = 0
    for chunk in DataLoader(file).iter_chunks(jobs=jobs):
        sha256.update(chunk)
        output.write(chunk)
        done += len(chunk)
        if progress:
            progress(done, file.size)
    if sha256.digest() != file.footer.content_sha256:
        with naming(file.name):
            raise CorruptError("the content does not have the recorded SHA-256", rule="content-sha256")
    return sha256.hexdigest()


def copy_range(loader: DataLoader, offset: int, size: int, output: Output, *, jobs: int | None = None) -> None:
    """Write `size` bytes of content from content offset `offset` to `output`; errors as `DataLoader.iter_chunks`."""
    for chunk in loader.iter_chunks(offset, size, jobs=jobs):
        output.write(chunk)
