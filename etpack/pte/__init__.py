"""Reads .pte, .ptd and .bpte files into a ModelFile: where every part lies, and what it is for."""

from __future__ import annotations

from etpack.pte.blobs import Blobs, read_blobs
from etpack.pte.bundled_program import read_bundled_program
from etpack.pte.flat_tensor import read_flat_tensor
from etpack.pte.header import HEAD_SIZE, check_identifier, sniff
from etpack.pte.model import (
    Delegate,
    FileKind,
    Method,
    ModelFile,
    NamedData,
    Range,
    Role,
    Segment,
    Tensor,
    TensorLoad,
)
from etpack.pte.program import read_program
from etpack.pte.rules import RULES, broken
from etpack.pte.xnnpack import Constant
from etpack.sources import Source

__all__ = [
    "RULES",
    "Blobs",
    "Constant",
    "Delegate",
    "FileKind",
    "Method",
    "ModelFile",
    "NamedData",
    "Range",
    "Role",
    "Segment",
    "Tensor",
    "TensorLoad",
    "read_blobs",
    "read_model",
    "sniff",
]


def read_model(source: Source) -> ModelFile:
    """Return what a model file holds and where; reads its head and the touched parts of its flatbuffer, nothing else.

    The kind is told by the bytes, not by the name.

    Raises:
        PteError: It is no model file, or breaks a rule of `RULES`.
        OSError: The source cannot be read.
    """
    head = source.read_at(0, min(HEAD_SIZE, source.size))
    if len(head) < 8:
        raise broken("file-size", f"{len(head)} bytes are too few for a model; it takes {HEAD_SIZE}", 0)
    kind = check_identifier(head, 0)
    if kind is FileKind.PTD:
        return read_flat_tensor(source)
    if kind is FileKind.BPTE:
        return read_bundled_program(source)
    return read_program(source, Range(0, source.size), kind)
