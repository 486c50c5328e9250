"""What a file may ask of its reader before it is refused; every limit is checked before memory is taken."""

from __future__ import annotations

from dataclasses import dataclass

from etpack.errors import LimitError


@dataclass(frozen=True)
class Limits:
    """The most that a reader will go along with."""

    # Bytes of content.
    content_size: int = 1 << 36
    # Entries of the index, 16 bytes each.
    blocks: int = 1 << 24
    # Entries of the extent table.
    extents: int = 1 << 20
    # Bytes of the manifest.
    manifest_size: int = 1 << 26

    def check(self, name: str, value: int) -> None:
        """Raise LimitError if the file's `value` for the field `name` is over the limit."""
        limit: int = getattr(self, name)
        if value > limit:
            raise LimitError(
                f"the file has {name.replace('_', ' ')} {value:,}, over the limit of {limit:,}",
                hint="if you trust the file, open it from Python with larger limits: etpack.open(path, limits=...)",
            )
