"""What a URL says of itself, without asking anybody: is it one, how to show it, what to call its file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from etpack.errors import SourceError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CHAINED = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_HOST = re.compile(r"(\[[^]]*\]|[^:]*)(:[0-9]*)?")


def is_url(thing: object) -> bool:
    """Whether `thing` is a string that begins as a URL does; `./x://y` is a path."""
    return isinstance(thing, str) and _URL.match(thing) is not None


def protocol(url: str) -> str:
    """Return what stands before `://`, in small letters."""
    return url.partition("://")[0].lower()


def shown(url: str) -> str:
    """Return a URL without what must not be printed: the password, and the query, which may be a signature."""
    if protocol(url) not in ("http", "https"):  # fsspec takes chains, as zip://x::https://user:password@host/y
        return "::".join(map(_shown, _CHAINED.split(url)))
    return _shown(url)


def _shown(url: str) -> str:
    head, _, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and not _HOST.fullmatch(authority):
        authority = rest  # a password with characters in it that should have been escaped
    user, at, _ = authority.rpartition("@")
    host = rest[len(user) + len(at) :]
    if ":" in user:
        user = user.partition(":")[0] + ":***"
    place, question, _ = host.partition("#")[0].partition("?")
    text = f"{head}://{user}{at}{place}" + ("?..." if question else "")
    return "".join(char if char.isprintable() else "?" for char in text)


def source_name(source: str | os.PathLike[str]) -> str:
    """Return a path, or a URL as it may be printed."""
    name = os.fspath(source)
    return shown(name) if is_url(name) else name


def as_path(source: str | os.PathLike[str]) -> str:
    """Return the path that a `file://` URL stands for; anything else unchanged.

    Raises:
        SourceError: The URL names another host, or stands for nothing that a path can be.
    """
    name = os.fspath(source)
    if not is_url(name) or protocol(name) != "file":
        return name
    from urllib.parse import unquote

    host, slash, path = name.partition("://")[2].partition("/")
    if host not in ("", "localhost") or not path:
        raise SourceError(
            "a file:// URL has a path and no host", hint="write file:///folder/name, or the path alone", path=name
        )
    path = slash + unquote(path)
    if "\0" in path:
        raise SourceError("no path has a byte of zero in it", hint="check the URL", path=name)
    return path


def local_path(source: str | os.PathLike[str]) -> Path:
    """Return the path that default names of outputs are made from: a URL's last component, in the current folder.

    Raises:
        SourceError: The URL has no last component that could be a file's name.
    """
    name = as_path(source)
    if not is_url(name):
        return Path(name)
    from urllib.parse import unquote

    rest = re.split(r"[?#]", name.partition("://")[2], maxsplit=1)[0]
    last = unquote(rest.rpartition("/")[2]) if "/" in rest else ""
    if last in ("", ".", "..") or "/" in last or not last.isprintable():
        raise SourceError(
            "the URL does not end in the name of a file", hint="name the output with -o", path=shown(name)
        )
    return Path(last)
