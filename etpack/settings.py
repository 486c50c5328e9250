"""Reads what a user describes in a small file of TOML or JSON: a device, or backends.

A file that begins with "{" is JSON, any other TOML; its name does not count.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from typing import Any

from etpack.errors import EtpackError, naming, naming_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A table of all backends that there are takes a hundredth of this.
MAX_SIZE = 1 << 20

# What tomllib does grows with the square of a dotted key's parts: one of a megabyte would take hours.
_LONG_KEY = re.compile(r"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){16}")
# Texts and comments of TOML; a text without an end is taken as far as it goes, so that nothing is looked at twice.
# Up to two quotes before the three that end a long text belong to it.
_TEXT_OR_COMMENT = re.compile(
    r'''"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?:"{3,5})?|"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|#[^\n]*|'''
    r"""'''.*?(?:'{3,5}|\Z)|'[^'\n]*'?""",
    re.DOTALL,
)


def read_settings(path: str | os.PathLike[str], error: type[EtpackError]) -> dict[str, Any]:
    """Return the keys and values at the top of a file.

    Args:
        path: The file.
        error: What to raise if it cannot be parsed.

    Raises:
        EtpackError: As `error`: it is neither TOML nor JSON, larger than `MAX_SIZE`, or a pipe that nobody writes to.
        OSError: It cannot be read.
    """
    name = os.fspath(path)
    with naming_file(name), open(name, "rb", opener=_open_at_once) as file:
        data = file.read(MAX_SIZE + 1)
    with naming(name):
        if not data and stat.S_ISFIFO(os.stat(name).st_mode):
            raise error("nothing writes to this pipe", hint="start the writer first, or name a regular file")
        if len(data) > MAX_SIZE:
            raise error(f"it is larger than {MAX_SIZE:,} bytes", hint="name a file of TOML or JSON, not a model")
        return _parse(_text(data, error), error)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file to read it; a pipe without a writer is not waited for, and is then empty.

    One with a writer is read as it comes: that is what <(...) of a shell gives.
    """
    fd = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    return fd


def _text(data: bytes, error: type[EtpackError]) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise error(f"it is no text: line {line} is not UTF-8", hint="name a file of TOML or JSON, in UTF-8") from None


def _parse(text: str, error: type[EtpackError]) -> dict[str, Any]:
    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise error(f"the key {key!r:.60} is there twice in one place", hint="remove one of them")
            found[key] = value
        return found

    is_json = text.lstrip().startswith("{")
    if not is_json and _LONG_KEY.search(_TEXT_OR_COMMENT.sub("x", text)):
        raise error("it is nested too deeply", hint="correct the TOML")
    kind = "JSON" if is_json else "TOML"
    other = "TOML has no brace at its start" if is_json else "JSON would begin with a brace"
    try:
        # What begins with a brace and can be parsed is a dictionary.
        values: dict[str, Any] = json.loads(text, object_pairs_hook=no_repeats) if is_json else tomllib.loads(text)
        # Refuses what no message could show: half of a surrogate pair, a number of thousands of digits.
        json.dumps(values, default=str, ensure_ascii=False).encode()
    except RecursionError:
        raise error("it is nested too deeply", hint=f"correct the {kind}") from None
    except UnicodeEncodeError:
        raise error("a text in it has half a surrogate pair", hint=f"correct the {kind}") from None
    except EtpackError:
        raise
    except ValueError as exc:  # it says line and column
        raise error(f"it is no {kind}: {exc}", hint=f"correct it; {other}") from None
    return values
