"""A bundled program (.bpte): a flatbuffer with test data, and a whole .pte as one of its byte vectors."""

from __future__ import annotations

from etpack._flatbuffers import bundled_program as slots
from etpack.flatbuffer import Flatbuffer
from etpack.pte.header import MAX_PROGRAM_SIZE, read_head
from etpack.pte.model import FileKind, ModelFile, Range
from etpack.pte.program import read_program
from etpack.pte.rules import broken, out_of_bounds, required
from etpack.sources import Source


def read_bundled_program(source: Source) -> ModelFile:
    """Return the model inside the bundle; its offsets are those in the outer file.

    Raises:
        PteError: A rule of `etpack.pte.rules` is broken.
        OSError: The source cannot be read.
    """
    read_head(source, Range(0, source.size))
    if source.size > MAX_PROGRAM_SIZE:
        raise broken("program-size", f"the bundle has {source.size:,} bytes, more than {MAX_PROGRAM_SIZE:,}", 0)
    root = Flatbuffer(source, out_of_bounds).root()
    # The version field is not checked: the bundle's identifier changes with its schema, and the field counts otherwise.
    blob = root.blob(slots.BundledProgram.PROGRAM)
    offset, size = required(blob, "the bundle has no program", root.offset)
    return read_program(source, Range(offset, size), FileKind.BPTE)
