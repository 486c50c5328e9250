"""Reads a whole content through the chunked loader: every block, the SHA-256, the comparison with another file."""

from __future__ import annotations

import hashlib

import numpy as np

from etpack.check.parts import Parts, block_place, blocks_between
from etpack.check.structure import corrupt
from etpack.check.verdict import Finding, Findings, Place
from etpack.errors import EtpackError, remedy
from etpack.limits import Limits
from etpack.loader import DataLoader
from etpack.pte import Range
from etpack.reader import EtzFile
from etpack.sources import SourceLike


class Comparison:
    """Compares content, as it comes by, with another file; notes a difference in size and the first in content."""

    def __init__(
        self,
        name: str,
        source: SourceLike,
        content_size: int,
        parts: Parts,
        findings: Findings,
        limits: Limits | None = None,
    ) -> None:
        """Open the other file, `.etz` or plain; if that fails, the error is a finding and nothing is compared."""
        self._name = name
        self._parts = parts
        self._findings = findings
        self._other: DataLoader | None = None
        try:
            self._other = DataLoader(source, limits=limits)
        except (EtpackError, OSError) as exc:
            self._fail(exc)
            return
        if self._other.size != content_size:
            message = f"the content has {content_size:,} bytes, {name} {self._other.size:,}"
            findings.add(Finding("against-size", "differs", message))

    def feed(self, offset: int, chunk: memoryview) -> None:
        """Compare the content from content offset `offset` on with what the other file has there."""
        if self._other is None:
            return
        size = min(len(chunk), max(0, self._other.size - offset))
        buffer = memoryview(bytearray(size))
        try:
            self._other.load_into(offset, size, None, buffer)
        except (EtpackError, OSError) as exc:
            self._fail(exc)
            return
        if buffer != chunk[:size]:
            differs = np.frombuffer(buffer, np.uint8) != np.frombuffer(chunk[:size], np.uint8)
            first = offset + int(differs.argmax())
            place = Place(content=Range(first, 1), extent=self._parts.find(first))
            message = f"the content differs from {self._name}, for the first time here"
            self._findings.add(Finding("against-content", "differs", message, place))
            self.close()

    def _fail(self, exc: EtpackError | OSError) -> None:
        message = f"{self._name} cannot be read: {exc.strerror if isinstance(exc, OSError) and exc.strerror else exc}"
        code = exc.exit_code if isinstance(exc, EtpackError) else 4
        hint = exc.hint if isinstance(exc, EtpackError) else remedy(exc)
        slug = "io" if code == 4 else "differs"
        self._findings.add(Finding("against-readable", slug, message, exit_code=code, hint=hint))
        self.close()

    def close(self) -> None:
        """Close the other file; nothing is compared any more."""
        if self._other is not None:
            self._other.close()
            self._other = None


class ContentPass:
    """One pass over a content.

    Attributes:
        sha256: Of the content in hexadecimal; None until `run` has ended, and where a part could not be read.
        bytes_checked: Bytes of content that were read and are good.
    """

    def __init__(self, loader: DataLoader, parts: Parts, findings: Findings, comparison: Comparison | None) -> None:
        self.sha256: str | None = None
        self.bytes_checked = 0
        self._loader = loader
        self._parts = parts
        self._findings = findings
        self._comparison = comparison
        self._digest = hashlib.sha256()

    def run(self, file: EtzFile | None, jobs: int | None) -> None:
        """Read all content; `file` is the `.etz` behind the loader, if there is one.

        A bad block is a finding and does not keep the others from being read.

        Raises:
            OSError: The file cannot be read.
        """
        chunk_size = self._loader.chunk_size
        position = 0
        whole = True
        while position < self._loader.size:
            try:
                for chunk in self._loader.iter_chunks(position, chunk_size=chunk_size, jobs=jobs):
                    self._take(position, chunk)
                    position += len(chunk)
            except EtpackError as exc:
                if file is None:
                    raise
                whole = False
                position = self._check_blocks(file, position, min(position + chunk_size, file.size), exc)
        if whole:
            self.sha256 = self._digest.hexdigest()

    def _take(self, offset: int, chunk: memoryview) -> None:
        self._digest.update(chunk)
        self.bytes_checked += len(chunk)
        if self._comparison:
            self._comparison.feed(offset, chunk)

    def _check_blocks(self, file: EtzFile, start: int, stop: int, error: EtpackError) -> int:
        """Read the blocks from content offset `start` to `stop` one by one; return where to go on.

        The loader begins a chunk at the start of a block or between extents, and so does `start`.
        """
        found = False
        position = start
        for number, place in blocks_between(file, start, stop):
            self._take(position, memoryview(bytes(max(0, place.offset - position))))
            position = place.end
            try:
                self._take(place.offset, memoryview(file.read_at(place.offset, place.size)))
            except EtpackError as exc:
                found = True
                if number not in self._findings.bad_blocks:
                    self._findings.add_error(exc, block_place(file, self._parts, number, place))
        if not found:
            self._findings.add_error(error)
        self._take(position, memoryview(bytes(max(0, stop - position))))
        return max(stop, position)


def check_sha256(file: EtzFile, sha256: str | None, findings: Findings) -> None:
    """Compare the SHA-256 of the content, if it could be read, with the recorded one."""
    recorded = file.footer.content_sha256.hex()
    if sha256 not in (None, recorded):
        message = f"the content has the SHA-256 {sha256}, the footer says {recorded}"
        findings.add(corrupt("content-sha256", message, Place(content=Range(0, file.size))))
