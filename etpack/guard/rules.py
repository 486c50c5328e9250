"""Every rule that `etpack verify` holds a model to, and what a stock ExecuTorch does with a model that breaks it.

What a runtime does was read in the source of ExecuTorch, and tried on the wheel of 1.5.1; earlier ones check less.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from etpack.pte.rules import RULES as READER_RULES


class Caught(Enum):
    """Whether a stock runtime refuses such a model."""

    YES = "yes"
    # Only with Verification::InternalConsistency, which Program::load and Module do not ask for by themselves.
    VERIFIED = "if verified"
    PART = "in part"
    NO = "no"


@dataclass(frozen=True)
class Rule:
    """One rule for models."""

    # What breaks it, to follow "A model breaks the rule if it is".
    what: str
    caught: Caught
    # When, or what happens otherwise.
    how: str
    # A warning is for what is odd and may work.
    severity: str = "error"


# What `etpack.pte` refuses, so that nothing else can be said of the file.
_READER: dict[str, tuple[Caught, str]] = {
    "file-size": (Caught.YES, "the first read fails"),
    "identifier": (Caught.YES, "program load"),
    "header-magic": (Caught.YES, "when the data map is made"),
    "header-length": (Caught.YES, "program load"),
    "program-size": (Caught.PART, "program load; one of 2 GiB or more is taken"),
    "segment-data-size": (Caught.YES, "program load since 1.0; before, when the segment is read"),
    "schema-version": (Caught.YES, "program load since 1.5.1; before, it reads on as if it knew"),
    "flatbuffer-bounds": (Caught.VERIFIED, "otherwise it reads out of bounds"),
    "required-field": (
        Caught.PART,
        "a backend's id at method load, a key when one is asked for; the rest is a null pointer that ends the process",
    ),
    "segment-base": (Caught.PART, "delegates and mutable data; constants and named data are read from the wrong place"),
    "segment-range": (Caught.PART, "FileDataLoader and MmapDataLoader, when the segment is read; nobody before"),
    "constant-segment": (Caught.YES, "program load"),
    "mutable-segment": (Caught.YES, "method load"),
    "subsegment-offset": (Caught.YES, "method load, for tensors that use it"),
    "delegate-location": (Caught.YES, "method load"),
    "delegate-index": (Caught.YES, "method load"),
    "named-data-index": (Caught.YES, "when the backend asks for the key"),
    "tensor-size": (Caught.PART, "a negative size at method load; a size beyond 64 bits only if verified"),
    "tensor-buffer-index": (Caught.YES, "method load"),
    "tensor-range": (
        Caught.PART,
        "method load; constants inside the flatbuffer, where a build still takes them, are read past their end",
    ),
}

_NO, _PART, _VERIFIED, _YES = Caught.NO, Caught.PART, Caught.VERIFIED, Caught.YES

# What `etpack.guard` checks, in the order of its modules.
_GUARD: dict[str, Rule] = {
    "program-alignment": Rule(
        "a .bpte in which the program does not start at a multiple of 16",
        _YES,
        "program load, where the bundle lies in memory at a multiple of 16 itself",
    ),
    "segment-in-program": Rule(
        "a file in which segments begin before the flatbuffer ends",
        _NO,
        "the same bytes are read as both",
    ),
    "segment-overlap": Rule(
        "a file in which two segments share bytes",
        _NO,
        "the same bytes are read as both",
    ),
    "segment-beyond-data": Rule(
        "a file in which a segment ends after the segment data that the header declares",
        _PART,
        "in a .ptd, if it also starts there; a .pte that was cut off there passes for whole",
    ),
    "segment-alignment": Rule(
        "a file in which a segment other than of mutable data does not start at a multiple of 16",
        _NO,
        "FileDataLoader copies it to such a place; MmapDataLoader and BufferDataLoader give kernels and backends a "
        "pointer into the file as it is",
        "warning",
    ),
    "inline-alignment": Rule(
        "a .pte in which a delegate's data or a constant, inside the flatbuffer, does not start at a multiple of 16",
        _NO,
        "kernels and backends get a pointer that is not what the schema promises",
        "warning",
    ),
    "tensor-alignment": Rule(
        "a .pte in which a constant does not start at a multiple of its elements' size (8 at most)",
        _NO,
        "kernels read elements from odd addresses, which some processors refuse",
    ),
    "constant-alignment": Rule(
        "a .pte in which a constant does not start at a multiple of 16 in its segment",
        _NO,
        "kernels that rely on what ExecuTorch's own exporter does may fail",
        "warning",
    ),
    "constants-twice": Rule(
        "a .pte in which constants lie in a segment and in the flatbuffer",
        _YES,
        "program load",
    ),
    "mutable-shared": Rule(
        "a .pte in which two lists of mutable data cut the same segment",
        _NO,
        "the schema forbids it",
    ),
    "key-conflict": Rule(
        "a file in which a key of named data stands for two segments",
        _NO,
        "the first is taken, in a .ptd too",
    ),
    "key-repeated": Rule(
        "a file in which a key of named data is there twice, for the same segment",
        _NO,
        "the first is taken",
        "warning",
    ),
    "flatbuffer-alignment": Rule(
        "a .pte in which a table of the flatbuffer, or a vector of 64-bit numbers, is not aligned to its parts",
        _VERIFIED,
        "otherwise numbers are read from odd addresses, which some processors refuse",
    ),
    "method-unique": Rule(
        "a .pte in which two methods have the same name",
        _NO,
        "the first is taken",
    ),
    "method-field": Rule(
        "a .pte in which a method has no values, inputs, outputs, delegates, planned sizes, or no chain at all",
        _YES,
        "when the method's MethodMeta is made, or at method load",
    ),
    "planned-size": Rule(
        "a .pte in which a planned buffer has a negative size",
        _PART,
        "when the application asks MethodMeta for it, as Module does",
    ),
    "input-output-index": Rule(
        "a .pte in which an input or output of a method is no value of it",
        _PART,
        "when the application asks MethodMeta for it; otherwise the process is aborted",
    ),
    "delegate-specs": Rule(
        "a .pte in which a delegate has no list of compile specs, or one without key or value",
        _NO,
        "a null pointer at method load; without a value, that ends the process",
    ),
    "operator-name": Rule(
        "a .pte in which an operator has no name, or one of over 99 bytes with its overload",
        _YES,
        "method load, if it is called",
    ),
    "value-type": Rule(
        "a .pte in which a value is of no known type, or has nothing in it",
        _YES,
        "method load",
    ),
    "list-index": Rule(
        "a .pte in which an element of a list is no value of the method",
        _YES,
        "method load",
    ),
    "list-type": Rule(
        "a .pte in which an element of a list is a value of another type",
        _PART,
        "tensors, at method load; a list of numbers aborts the process when it is used",
    ),
    "list-order": Rule(
        "a .pte in which an element of a list of tensors is a value that comes after the list",
        _PART,
        "method load reads a value that is not made yet; if there are zeros, that is no tensor, and refused",
    ),
    "tensor-dtype": Rule(
        "a file in which a tensor has an unknown element type",
        _PART,
        "method load; MethodMeta, if asked before, aborts the process",
    ),
    "tensor-rank": Rule("a file in which a tensor has more than 16 dimensions", _YES, "method load"),
    "tensor-dim-order": Rule(
        "a file in which a tensor's sizes, or the order of its dimensions, are absent, or the order is no permutation",
        _YES,
        "method load",
    ),
    "tensor-unsupported": Rule(
        "a .pte in which a tensor has an offset into its storage, or a shape without a bound",
        _YES,
        "method load",
    ),
    "tensor-name": Rule("a .pte in which a tensor in a .ptd has no name", _YES, "method load"),
    "tensor-allocation": Rule(
        "a .pte in which a tensor leaves the planned buffer that it is put in, or the buffer is not there",
        _YES,
        "method load",
    ),
    "mutable-index": Rule(
        "a .pte in which a mutable tensor starts from another list of mutable data than the first",
        _NO,
        "the first is taken",
    ),
    "instruction-type": Rule(
        "a .pte in which an instruction is of no known type, or has no arguments",
        _YES,
        "method load",
    ),
    "argument-index": Rule(
        "a .pte in which an argument of an instruction is no value of the method",
        _YES,
        "method load",
    ),
    "operator-index": Rule("a .pte in which an operator is called that is not there", _YES, "method load"),
    "delegate-call-index": Rule(
        "a .pte in which a delegate is called that is not there",
        _YES,
        "execution, not load",
    ),
    "jump-target": Rule(
        "a .pte in which a jump leads out of its chain",
        _NO,
        "the rest of the chain is left out: wrong results",
    ),
    "chain-index": Rule(
        "a .pte in which an input or output of a chain is no value of the method",
        _NO,
        "no runtime looks at them",
        "warning",
    ),
}

MODEL_RULES: dict[str, Rule] = {
    rule: Rule(sentence.removeprefix("A reader refuses ").removesuffix("."), *_READER[rule])
    for rule, sentence in READER_RULES.items()
} | _GUARD
