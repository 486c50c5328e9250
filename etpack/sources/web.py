"""Ranges of a file over HTTP, and what can go wrong with them.

The first request asks for the head of the file. Its answer says how large the file is and whether the server does
ranges; if it does not, that same answer is the whole file, and goes into a temporary one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import re
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from etpack import interrupts
from etpack.errors import EtpackError, SourceError, UnsupportedError, naming
from etpack.limits import Limits
from etpack.sources.spool import SpooledSource, make_spool, write_at

if TYPE_CHECKING:
    from aiohttp import ClientResponse

# Bytes of the head, which are kept: what tells files apart lies there.
HEAD_SIZE = 4096
# Seconds without an answer, or without a byte of it, until a request is given up.
CONNECT_TIMEOUT = 20.0
READ_TIMEOUT = 60.0
# Seconds before a request that broke off, or found the server busy, is made again.
RETRY_PAUSES = (0.5, 2.0)

_CHUNK_SIZE = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})", re.ASCII)
INSTALL = "install it with pip install 'etpack[remote]'"

_T = TypeVar("_T")

# Requests that threads wait for; `interrupt` ends them.
_waiting: set[concurrent.futures.Future[Any]] = set()
_interrupted = False


def interrupt() -> None:
    """End all requests, and let no new ones begin: the process is about to end. Safe to call from a signal handler."""
    global _interrupted
    _interrupted = True
    for future in list(_waiting):
        future.cancel()


# A thread that waits for a server would keep the process from ending.
interrupts.also_call(interrupt)


class Http:
    """An http or https URL, through the session of fsspec's file system, which knows the user's settings."""

    def __init__(self, url: str, name: str) -> None:
        try:
            import aiohttp
            import fsspec
        except ImportError as exc:
            raise UnsupportedError(f"to read URLs takes fsspec and aiohttp ({exc})", hint=INSTALL) from exc
        self.name = name
        self.size = 0
        self._tags: dict[str, str] = {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
        # An instance of its own: what fsspec keeps for others has other timeouts, and may be closed by them.
        self._fs = fsspec.filesystem(
            "http", skip_instance_cache=True, client_kwargs={"timeout": timeout, "trust_env": True}
        )
        self._options = dict(self._fs.kwargs)
        self._headers = {**self._options.pop("headers", {}), "Accept-Encoding": "identity"}
        with _naming_failures(name):
            self._url = self._fs.encode_url(url)
            self._session = self._run(self._fs.set_session())

    def open(self, limits: Limits, whole: bool) -> bytes | SpooledSource:
        """Learn the size, and return the head of the file, or all of it if the server does no ranges.

        That is said aloud unless the caller wants the `whole` file anyway.

        Raises:
            SourceError: The file cannot be fetched, or there is no room for it.
            LimitError: All of it would have to be fetched, and is too large.
        """
        with _naming_failures(self.name):
            return self._run(self._open(limits, whole))

    def fetch(self, offset: int, size: int) -> bytes:
        """Return `size` bytes, at least 1, from byte `offset`; raise SourceError if that fails, or the file changed."""
        with _naming_failures(self.name):
            return self._run(self._fetch(offset, size))

    def close(self) -> None:
        """End the connection, in at most a second; whatever goes wrong with that does not matter any more."""
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._session.close(), self._fs.loop).result(1)

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in fsspec's thread and return what it gives; `interrupt` ends it."""
        if _interrupted:
            coroutine.close()
            raise concurrent.futures.CancelledError
        future = asyncio.run_coroutine_threadsafe(coroutine, self._fs.loop)
        _waiting.add(future)
        if _interrupted:  # between the question above and here
            future.cancel()
        try:
            return future.result()
        finally:
            future.cancel()
            _waiting.discard(future)

    def _get(self, offset: int, size: int) -> Any:
        headers = {**self._headers, "Range": f"bytes={offset}-{offset + size - 1}"}
        return self._session.get(self._url, **self._options, headers=headers)

    async def _open(self, limits: Limits, whole: bool) -> bytes | SpooledSource:
        async with self._get(0, HEAD_SIZE) as response:
            self._tags = _tags(response)
            if response.status == 416 and _total(response) == 0:
                return b""
            if response.status == 200:
                return await self._download(response, limits, whole)
            self._check_status(response)
            self.size = _total(response)
            return await _body(response, 0, min(HEAD_SIZE, self.size))

    async def _fetch(self, offset: int, size: int) -> bytes:
        for pause in RETRY_PAUSES:
            try:
                return await self._fetch_once(offset, size)
            except Exception as exc:
                if not _is_transient(exc):
                    raise
            await asyncio.sleep(pause)
        return await self._fetch_once(offset, size)

    async def _fetch_once(self, offset: int, size: int) -> bytes:
        async with self._get(offset, size) as response:
            if response.status == 416:
                raise _changed()
            if response.status == 200:
                raise SourceError("the server did ranges, and now does none", hint="try again")
            self._check_status(response)
            tags = _tags(response)
            if _total(response) != self.size or any(tags[name] != self._tags.get(name, tags[name]) for name in tags):
                raise _changed()
            return await _body(response, offset, size)

    def _check_status(self, response: ClientResponse) -> None:
        status = response.status
        if status != 206:
            hint = _STATUS_HINTS.get(status, "try again later" if status >= 500 else "check the URL")
            error = SourceError(f"the server answered {status} {response.reason or ''}".rstrip(), hint=hint)
            raise _BusyError(error) if status == 429 or status >= 500 else error
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceError("the server sends a range of compressed bytes", hint="fetch the file, and give its path")

    async def _download(self, response: ClientResponse, limits: Limits, whole: bool) -> SpooledSource:
        """Put the whole file into a temporary one: the server sends it whether we want it or not."""
        declared = response.content_length
        limits.check("download_size", declared or 0)
        size = f"all {declared:,} bytes" if declared is not None else "all of the file"
        if not whole:
            message = "etpack: warning: %s: the server does not do ranges: downloading %s"
            logging.getLogger("etpack").warning(message, self.name, size)
        file = make_spool(declared or 0)
        try:
            async for chunk in response.content.iter_chunked(_CHUNK_SIZE):
                write_at(file, self.size, chunk)
                self.size += len(chunk)
                limits.check("download_size", self.size)
        except BaseException:
            file.close()
            raise
        return SpooledSource(self.name, self.size, file, self.size, None, self.close)


_STATUS_HINTS = {
    401: "give the user and the password in the URL, or in ~/.netrc",
    403: "check that you may read it, and that a signed URL has not expired",
    404: "check the URL",
    429: "try again later",
}


class _BusyError(Exception):
    """The server cannot answer now; has the error to raise if that does not pass."""

    def __init__(self, error: SourceError) -> None:
        super().__init__(error)
        self.error = error


def _is_transient(exc: Exception) -> bool:
    """Whether to ask again: the connection broke, or the server is busy. It has had its time if it was silent."""
    import aiohttp

    broken = (_BusyError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, asyncio.IncompleteReadError)
    return isinstance(exc, broken) and not isinstance(exc, asyncio.TimeoutError)


def _content_range(response: ClientResponse) -> re.Match[str]:
    """Return what an answer says of its range: first byte, last byte, bytes of the whole file."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise SourceError("the server does not say how large the file is", hint="fetch the file, and give its path")
    return match


def _total(response: ClientResponse) -> int:
    """Return the bytes of the whole file, as the answer to a request for a range says them."""
    return int(_content_range(response)[3])


async def _body(response: ClientResponse, offset: int, size: int) -> bytes:
    """Return the range that was asked for, once the answer says that this is what it has."""
    if _content_range(response).group(1, 2) != (str(offset), str(offset + size - 1)):
        raise SourceError("the server sends another range than it was asked for", hint="try again")
    data: bytes = await response.content.readexactly(size)
    return data


def _tags(response: ClientResponse) -> dict[str, str]:
    """Return what an answer says of the file's version."""
    return {name: response.headers[name] for name in ("ETag", "Last-Modified") if name in response.headers}


def _changed() -> SourceError:
    return SourceError("the file changed while it was read", hint="try again")


@contextmanager
def _naming_failures(name: str) -> Iterator[None]:
    """Make whatever goes wrong in a request a SourceError that names the URL."""
    with naming(name):
        try:
            yield
        except EtpackError:
            raise
        except concurrent.futures.CancelledError as exc:
            raise SourceError("interrupted", hint="try again") from exc
        except _BusyError as exc:
            raise exc.error from exc
        except Exception as exc:
            of_a_request = isinstance(exc, (OSError, ValueError, EOFError, asyncio.TimeoutError))
            if of_a_request or type(exc).__module__.partition(".")[0] == "aiohttp":
                raise _explained(exc) from exc
            raise


def _explained(exc: Exception) -> SourceError:
    """Return the error for one of aiohttp or asyncio; their own texts may have the password in them."""
    import aiohttp

    if isinstance(exc, (aiohttp.InvalidURL, ValueError)):
        return SourceError("this is no URL that can be fetched", hint="write https://host/folder/model.etz")
    if isinstance(exc, aiohttp.ClientSSLError):
        return SourceError("the server's certificate is not trusted", hint="check the URL, and SSL_CERT_FILE")
    if isinstance(exc, aiohttp.ClientConnectorError):
        if type(exc.os_error).__name__ == "gaierror":
            return SourceError("the host is not known", hint="check the URL and the network")
        reason = os.strerror(exc.os_error.errno) if exc.os_error.errno else "no connection"
        return SourceError(f"cannot connect: {reason}", hint="check the URL, and that the server is up")
    if isinstance(exc, aiohttp.TooManyRedirects):
        return SourceError("the server redirects in circles", hint="check the URL")
    if isinstance(exc, asyncio.TimeoutError):
        return SourceError("the server does not answer", hint="try again later")
    if isinstance(exc, aiohttp.ClientResponseError):
        return SourceError("the server's answer is no HTTP", hint="check the URL")
    return SourceError("the connection broke before all bytes came", hint="try again")
