"""A web server on this machine, well or badly behaved, that notes what it is asked for."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def skip_without_libraries() -> None:
    """Skip the calling test, or module, where the extra `remote` is not installed; in CI it must be."""
    if "CI" not in os.environ:
        for name in ("aiohttp", "fsspec"):
            pytest.importorskip(name)


@dataclass
class Site:
    """What is served, and how.

    `manner` is what the server does from request number `after` on, counted from 0; before that it behaves.
    """

    files: dict[str, bytes]
    manner: str = "good"
    after: int = 0
    # Number of the request from which on it behaves again.
    until: int = 1 << 30
    url: str = ""
    # Path, offset and size of each answer's body.
    answers: list[tuple[str, int, int]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # Requests so far, answered or not.
    requests: int = 0

    @property
    def bytes_sent(self) -> int:
        return sum(size for _, _, size in self.answers)

    def next_manner(self) -> str:
        """Count a request and return how to answer it."""
        with self._lock:
            self.requests += 1
            return self.manner if self.after < self.requests <= self.until else "good"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        """Keep quiet."""

    def do_GET(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer(self.site.next_manner())

    def _answer(self, manner: str) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        if name.startswith("moved/") or manner == "circles":
            target = f"/{name}" if manner == "circles" else f"/{name.removeprefix('moved/')}"
            self._send(302, b"", Location=target)
        elif manner.isdecimal() or name not in self.site.files:
            self._send(int(manner) if manner.isdecimal() else 404, b"no")
        elif manner == "password" and self.headers.get("Authorization") != "Basic dXNlcjpzZWNyZXQ=":
            self._send(401, b"no")
        elif manner == "silent":
            self.site.released.wait()
            self.close_connection = True
        elif manner == "hangs up":
            self.close_connection = True
        elif manner == "no http":
            self.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
            self.close_connection = True
        else:
            self._file(name, self.site.files[name], manner)

    def _file(self, name: str, content: bytes, manner: str) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        tag = '"two"' if manner == "other tag" else '"one"'
        if match is None or manner in ("no ranges", "no ranges, no size"):
            self.site.answers.append((name, 0, len(content)))
            self._send(200, content, sized=manner != "no ranges, no size", ETag=tag)
            return
        start, stop = int(match[1]), min(int(match[2]) + 1, len(content))
        if manner == "cut":
            content = content[: len(content) // 2]
        if start >= len(content):
            self._send(416, b"", Content_Range=f"bytes */{len(content)}")
            return
        total = {"other size": str(len(content) + 1), "no total": "*"}.get(manner, str(len(content)))
        shift = 1 if manner == "other range" else 0
        body = content[start:stop]
        self.site.answers.append((name, start, len(body)))
        place = f"bytes {start + shift}-{stop - 1 + shift}/{total}"
        self._send(206, body, short=manner == "ends early", Content_Range=place, ETag=tag)

    def _send(self, status: int, body: bytes, *, short: bool = False, sized: bool = True, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if sized:
            self.send_header("Content-Length", str(len(body)))
        if short or not sized:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if short else body)


@contextmanager
def serving(files: dict[str, bytes], manner: str = "good", after: int = 0) -> Iterator[Site]:
    """Serve `files`, by path, on a free port of 127.0.0.1; `Site.url` has it, with a slash at the end."""
    site = Site(files, manner, after)
    handler = type("Handler", (_Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield site
        finally:
            site.released.set()
            server.shutdown()
            thread.join()
