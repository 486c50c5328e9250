"""The packer's check of its own work: every block is decoded from the very bytes to be written, and compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etpack import blocks, filters, kernels
from etpack.encode import EncodedBlock
from etpack.errors import EtpackError
from etpack.filters import Bytes


class SelfCheckError(EtpackError):
    """A block did not decode to what it was made from: a codec or the machine is at fault, not the file."""

    slug = "self-check"
    exit_code = 4
    default_hint = "nothing was written; try another --codec, and test this machine's memory"

    def __init__(self, offset: int, size: int) -> None:
        super().__init__(f"the block of content {offset:#x}+{size:#x} did not decode to what it was made from")


def check_blocks(
    offsets: Sequence[int], contents: Bytes, encoded: Sequence[EncodedBlock], alignment: int, scratch: filters.Scratch
) -> None:
    """Decode blocks from the bytes to be written, and compare.

    Args:
        offsets: Where each block lies in the content.
        contents: What they were made from, uint8 of shape (blocks, n).
        encoded: How they will be stored.
        alignment: What each stream's stored offset is a multiple of.
        scratch: Where they are decoded to.

    Raises:
        SelfCheckError: A block does not decode to what it was made from.
    """
    if not _is_good(contents, encoded, alignment, scratch):
        parts = [slice(number, number + 1) for number in range(len(encoded))]
        bad = next((part.start for part in parts if not _is_good(contents[part], encoded[part], alignment, scratch)), 0)
        raise SelfCheckError(offsets[bad], contents.shape[1])


def _is_good(contents: Bytes, encoded: Sequence[EncodedBlock], alignment: int, scratch: filters.Scratch) -> bool:
    decoded = scratch.take(*contents.shape)
    try:
        stored, entries = [one.stored for one in encoded], [one.entry for one in encoded]
        blocks.decode_many(stored, entries, [row.data for row in decoded], 0, alignment)
    except EtpackError:
        return False
    if kernels.native:
        same: bool = kernels.native.same(decoded, contents)
        return same
    return np.array_equal(decoded, contents)
