"""Files behind URLs, through fsspec: each read is one request for a range, and fetches nothing else."""

from __future__ import annotations

import re
import threading
from typing import Any, Protocol

from etpack.errors import SourceError, UnsupportedError, naming
from etpack.limits import Limits
from etpack.sources import Source, check_range
from etpack.sources.spool import SpooledSource, make_spool, write_at
from etpack.sources.urls import protocol, shown
from etpack.sources.web import INSTALL, Http

_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")


class _Transport(Protocol):
    """How ranges of one URL are fetched, from many threads at once."""

    def fetch(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes, at least 1, from byte `offset`; raise SourceError if that fails."""

    def close(self) -> None:
        """End the connection."""


class RemoteSource:
    """A URL whose server does ranges: each read is one request, but for the head, which is there already."""

    def __init__(self, name: str, size: int, head: bytes, transport: _Transport) -> None:
        self.name = name
        self._size = size
        self._head = head
        self._transport = transport
        self._closed = False

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        if self._closed:
            raise ValueError(f"{self.name} was closed")
        check_range(self, offset, size)
        if offset + size <= len(self._head) or not size:
            return self._head[offset : offset + size]
        return self._transport.fetch(offset, size)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.read_at(offset, len(buffer))

    def close(self) -> None:
        self._closed = True
        self._transport.close()

    def spooled(self, limits: Limits) -> Source:
        """Return a source over the same file that fetches each byte once; it takes this one's place.

        Raises:
            LimitError: The file is too large for that.
            SourceError: There is no room for it.
        """
        limits.check("download_size", self._size)
        file = make_spool(self._size)
        try:
            write_at(file, 0, self._head)
        except BaseException:
            file.close()
            raise
        return SpooledSource(self.name, self._size, file, len(self._head), self._transport.fetch, self.close)


def open_remote(url: str, limits: Limits, *, whole: bool) -> Source:
    """Open a URL: the part of `etpack.sources.open_source` that needs libraries; errors as there."""
    name = shown(url)
    with naming(name):
        source = _open_http(url, name, limits, whole) if protocol(url) in ("http", "https") else _open_other(url, name)
        if not whole or not isinstance(source, RemoteSource):
            return source
        try:
            return source.spooled(limits)
        except BaseException:
            source.close()
            raise


def _open_http(url: str, name: str, limits: Limits, whole: bool) -> Source:
    transport = Http(url, name)
    try:
        found = transport.open(limits, whole)
        if isinstance(found, SpooledSource):
            return found
        return RemoteSource(name, transport.size, found, transport)
    except BaseException:
        transport.close()
        raise


def _open_other(url: str, name: str) -> RemoteSource:
    try:
        import fsspec
    except ImportError as exc:
        raise UnsupportedError(f"to read URLs takes fsspec ({exc})", hint=INSTALL) from exc
    transport = _Other(fsspec, url, name)
    return RemoteSource(name, transport.size, b"", transport)


class _Other:
    """Any other protocol that fsspec knows, or learns from a package that is installed."""

    def __init__(self, fsspec: Any, url: str, name: str) -> None:
        self._name = name
        try:
            self._fs, self._path = fsspec.core.url_to_fs(url)
        except ImportError as exc:
            raise UnsupportedError(
                f"to read {protocol(url)}:// takes a package that is not installed: {exc}", hint="install it with pip"
            ) from exc
        except ValueError as exc:
            raise UnsupportedError(
                f"protocol {protocol(url)!r} cannot be read",
                hint="choose from abfs, file, gs, http, https, s3 and what else fsspec knows",
            ) from exc
        except Exception as exc:
            raise _failed(exc) from exc
        info = _call(self._fs.info, self._path)
        size = info.get("size")
        if info.get("type") == "directory" or not isinstance(size, int):
            raise SourceError("this is no file, or has no known size", hint="check the URL")
        self.size = size
        # Libraries that are not asynchronous have one connection, or one position in a file.
        self._lock = threading.Lock()

    def fetch(self, offset: int, size: int) -> bytes:
        with naming(self._name):
            if self._fs.async_impl:
                data = _call(self._fs.cat_file, self._path, start=offset, end=offset + size)
            else:
                with self._lock:
                    data = _call(self._read, offset, size)
            if len(data) != size:
                raise SourceError(f"it ended after {len(data):,} of {size:,} bytes", hint="try again")
            return bytes(data)

    def close(self) -> None:
        """Leave the connection to fsspec, which keeps it for others."""

    def _read(self, offset: int, size: int) -> bytes:
        with self._fs.open(self._path, "rb", cache_type="none") as file:
            file.seek(offset)
            data: bytes = file.read(size)
        return data


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call into a library whose errors may be of any class; each becomes a SourceError."""
    try:
        return function(*args, **kwargs)
    except FileNotFoundError as exc:
        raise SourceError("there is no such file", hint="check the URL") from exc
    except Exception as exc:
        raise _failed(exc) from exc


def _failed(exc: Exception) -> SourceError:
    # Libraries put the URL into their texts, with the password.
    text = _URL_IN_TEXT.sub(lambda match: shown(match[0]), f"{type(exc).__name__}: {exc}".rstrip(": "))
    return SourceError(text, hint="check the URL, and that you may read it")
