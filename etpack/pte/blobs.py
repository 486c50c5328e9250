"""What the blobs of a model's delegates tell of the named data that they ask for: XNNPACK's do, others are not read."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from etpack.errors import EtpackError
from etpack.flatbuffer import WORK_LIMIT
from etpack.pte.model import Delegate, ModelFile, Range
from etpack.pte.xnnpack import Constant, UnreadableBlobError, read_constants
from etpack.sources import Source

XNNPACK = "XnnpackBackend"

# Blobs that lie as close as this are read together, in pieces of so many bytes.
_CLOSE = 4096
_PIECE_SIZE = 1 << 18
# Reading one blob costs as much as so many steps of a flatbuffer; and a constant, for each delegate that asks for it:
# a hostile file may have thousands of delegates share a blob that asks for thousands.
_BLOB_STEPS = 100
_ASK_STEPS = 4


@dataclass(frozen=True)
class Blobs:
    """What is known of blobs, each by its place in the content."""

    # In the order in which the delegate asks for them.
    constants: Mapping[Range, tuple[Constant, ...]] = field(default_factory=dict)
    # Why nothing is known of a blob that should have been readable.
    unread: Mapping[Range, str] = field(default_factory=dict)

    def of(self, delegate: Delegate) -> tuple[Constant, ...] | None:
        """Return what a delegate asks for, or None if that is not known."""
        return self.constants.get(delegate.blob)


def read_blobs(source: Source, model: ModelFile) -> Blobs:
    """Return what the blobs of a model ask for; reads them, but no constants inside them.

    A blob that is damaged, or would take too long, is noted as unread: the model may be sound for all that.

    Args:
        source: The content that `model` was read from.
        model: The parsed model.

    Raises:
        OSError: The source cannot be read.
    """
    wanted = Counter(
        delegate.blob for method in model.methods for delegate in method.delegates if delegate.id == XNNPACK
    )
    near = _Pieces(source, list(wanted))
    constants: dict[Range, tuple[Constant, ...]] = {}
    unread: dict[Range, str] = {}
    work_left = WORK_LIMIT
    for blob, users in wanted.items():
        if work_left <= 0:
            unread[blob] = "the blobs before it took too long to read"
            continue
        try:
            found, steps = read_constants(near, blob, work_limit=work_left)
            steps += _ASK_STEPS * len(found) * users
            if steps <= work_left:
                constants[blob] = found
            else:
                unread[blob] = "its delegates ask for too many constants"
        except UnreadableBlobError as exc:
            unread[blob], steps = str(exc), exc.steps
        except EtpackError as exc:  # of a packed model: its block cannot be decoded
            unread[blob], steps = str(exc), 0
        work_left -= steps + _BLOB_STEPS
    return Blobs(constants, unread)


class _Pieces:
    """A source of which neighbouring blobs are read together: there may be hundreds of a few kilobytes."""

    def __init__(self, source: Source, blobs: Sequence[Range]) -> None:
        self.name = source.name
        self._source = source
        self._runs = _runs(blobs)
        self._start = 0
        self._piece = b""

    @property
    def size(self) -> int:
        return self._source.size

    def read_at(self, offset: int, size: int) -> bytes:
        start = offset - self._start
        if not 0 <= start <= len(self._piece) - size:
            run = bisect_right(self._runs, (offset, self.size)) - 1
            end = self._runs[run][1] if run >= 0 else offset
            length = max(size, min(end - offset, _PIECE_SIZE))
            self._piece = self._source.read_at(offset, length)
            self._start, start = offset, 0
        return self._piece[start : start + size]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.read_at(offset, len(buffer))

    def close(self) -> None:
        """Do nothing: the source is the caller's."""


def _runs(blobs: Sequence[Range]) -> list[tuple[int, int]]:
    """Return start and end of each run of blobs that lie close together."""
    runs: list[tuple[int, int]] = []
    for blob in sorted(blobs, key=lambda blob: blob.offset):
        if runs and blob.offset - runs[-1][1] <= _CLOSE:
            runs[-1] = runs[-1][0], max(runs[-1][1], blob.end)
        else:
            runs.append((blob.offset, blob.end))
    return runs
