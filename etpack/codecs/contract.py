"""What a codec is: bytes in, one stream out, and back."""

from __future__ import annotations

from enum import Enum
from typing import Protocol, runtime_checkable

from etpack.kernels import BytesLike


class Effort(Enum):
    """How hard to look for a smaller stream."""

    FAST = "fast"
    DEFAULT = "default"
    MAX = "max"


class StreamError(Exception):
    """A stream does not decode to the size it must have; `etpack.blocks` says which block it is."""


@runtime_checkable
class Codec(Protocol):
    """A reversible step from bytes to one stream. Methods are called from many threads at once.

    Attributes:
        id: What the file records, 0 to 254; ids from 128 are for codecs outside etpack.
        name: What `--codec` calls it.
    """

    id: int
    name: str

    def encode(self, data: BytesLike, effort: Effort) -> bytes:
        """Return the stream for `data` (at least one byte); the same for the same input, always."""

    def decode(self, stream: BytesLike, size: int) -> BytesLike:
        """Return the `size` bytes that `stream` stands for; never allocate more than that.

        Raises:
            StreamError: The stream is broken, has another size, or has bytes after its end.
        """
