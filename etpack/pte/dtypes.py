"""Element types of tensors: their names and sizes."""

from __future__ import annotations

from etpack._flatbuffers.program import ScalarType

# Bytes of an element. Types of less than a byte are counted as the runtime does: in whole bytes, already packed.
ITEM_SIZES: dict[str, int] = {
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "complex32": 4,
    "complex64": 8,
    "complex128": 16,
    "bool": 1,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
    "bfloat16": 2,
    "quint4x2": 1,
    "quint2x4": 1,
    "bits1x8": 1,
    "bits2x4": 1,
    "bits4x2": 1,
    "bits8": 1,
    "bits16": 2,
    "float8_e5m2": 1,
    "float8_e4m3fn": 1,
    "float8_e5m2fnuz": 1,
    "float8_e4m3fnuz": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
}

_NAMES = {int(scalar): scalar.name.lower() for scalar in ScalarType}


def dtype_name(scalar_type: int) -> str:
    """Return the field's name of a ScalarType, or scalar_type_N for a number that is unknown here."""
    return _NAMES.get(scalar_type, f"scalar_type_{scalar_type}")


def item_size(dtype: str) -> int | None:
    """Return the size of an element in bytes, or None if the type is unknown here."""
    return ITEM_SIZES.get(dtype)
