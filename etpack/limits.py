"""What a file may ask of its reader before it is refused; every limit is checked before memory is taken."""

from __future__ import annotations

from dataclasses import dataclass

from etpack.errors import LimitError

# A content of up to this many bytes may expand as it likes: it is hashed in a few seconds.
EXPANSION_FLOOR = 1 << 30

_UNITS = ((40, "T"), (30, "G"), (20, "M"), (10, "K"))


@dataclass(frozen=True)
class Limits:
    """The most that a reader will go along with; on the command line, `--limit content-size=128G` and so on."""

    # Bytes of content.
    content_size: int = 1 << 36
    # Bytes of content for each stored byte; looked at above 1 GiB of content.
    expansion: int = 1 << 14
    # Entries of the index, 16 bytes each.
    blocks: int = 1 << 24
    # Entries of the extent table.
    extents: int = 1 << 20
    # Bytes of the manifest.
    manifest_size: int = 1 << 26
    # Bytes that one thread needs to decode a block: the largest stored one, scratch, and a block of content.
    decode_memory: int = 1 << 26
    # Bytes of a URL that are put into a temporary file.
    download_size: int = 1 << 36

    def check(self, name: str, value: int) -> None:
        """Raise LimitError if the file's `value` for the field `name` is over the limit."""
        limit: int = getattr(self, name)
        if value > limit:
            raise LimitError(
                f"the file has {name.replace('_', ' ')} {value:,}, over the limit of {limit:,}",
                hint=f"if you trust the file, allow it with --limit {option_name(name)}={written(value)}, "
                f"or from Python with limits=etpack.Limits({name}={value})",
            )

    def check_content(self, content_size: int, stored_size: int) -> None:
        """Raise LimitError if a content of that many bytes is too large, or is for a file of `stored_size` bytes."""
        self.check("content_size", content_size)
        if content_size > EXPANSION_FLOOR:
            self.check("expansion", -(-content_size // max(1, stored_size)))


def option_name(name: str) -> str:
    """Return how the command line calls the limit `name`."""
    return name.replace("_", "-")


def written(value: int) -> str:
    """Return a number as `--limit` takes it, as short as it can be written exactly: 64G."""
    for shift, unit in _UNITS:
        if value and value % (1 << shift) == 0:
            return f"{value >> shift}{unit}"
    return str(value)
