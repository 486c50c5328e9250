"""Sizes, counts and names as people read them. Names come from files, so they are made safe to print."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def human(size: int) -> str:
    """Return a size in bytes as 512 bytes, 1.5 KiB or 86.2 MiB."""
    value, unit = float(size), 0
    while round(value, 1) >= 1024 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.1f}".removesuffix(".0") + f" {_UNITS[unit]}" if unit else plural(size, "byte")


def both(size: int) -> str:
    """Return a size as 86.2 MiB (90,341,248 bytes)."""
    return f"{human(size)} ({size:,} bytes)" if size >= 1024 else human(size)


def duration(seconds: float) -> str:
    """Return seconds as 1.23 s, 45.6 ms or 78 us, with three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        value = seconds * factor
        if value >= 0.9995 or unit == "us":
            break
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f} {unit}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return 1 block, 2 blocks."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def ratio(value: float | None) -> str:
    """Return a compression ratio; empty where there is none."""
    return "" if value is None else f"{value:.3f}" if value < 100 else f"{value:,.0f}"


def safe(name: str, width: int = 200) -> str:
    """Return a name without control characters, and cut in the middle if it is longer than `width`."""
    if len(name) > width:
        half = (width - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)


def listed(names: Sequence[str], most: int = 3, width: int = 40) -> str:
    """Return names with commas, and how many more there are."""
    shown = [safe(name, width) for name in names[:most]]
    return ", ".join(shown) + (f" +{len(names) - most:,}" if len(names) > most else "")


def coding(filter_name: str, codec: str, plane_codecs: Sequence[str] = ()) -> str:
    """Return how a block is stored, in short: its codec, or "planes4r zstd" for four planes of rotated elements.

    Of the planes' codecs, raw and constant are left out unless there is no other.
    """
    if filter_name == "none":
        return codec
    decoders = [name for name in plane_codecs if name not in ("raw", "constant")] or list(plane_codecs[:1])
    planes = filter_name.replace("planes-", "planes").replace("-rotated", "r")
    return " ".join([planes, "+".join(decoders)]).strip()


def markup(*lines: str) -> str:
    """Return lines as plotly's texts have them, in which no name can be a tag or a link."""
    from html import escape

    return "<br>".join(escape(line, quote=False) for line in lines)
