"""A web server on this computer that serves one file, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server does. cuts: after so many bytes of each of the next answers the connection breaks."""

    port: int = 0
    content: bytes = CONTENT
    cuts: list[int] = field(default_factory=list)
    status: int = 0
    page: bool = False
    resumes: bool = True
    etag: str = '"one"'
    ranges: list[str] = field(default_factory=list)
    """The Range header of every request, '' where there was none."""
    asked: list[str] = field(default_factory=list)
    """The request line's address of every request: a whole one where the server is used as a proxy."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/model.pt"


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range") or ""
        site.ranges.append(wanted)
        site.asked.append(self.path)
        if site.status:
            self.send_error(site.status)
            return
        if site.page:
            body = b"<!DOCTYPE html><html>Please log in</html>"
            self._answer(200, body, {"Content-Type": "text/html; charset=utf-8"})
            return
        found = re.fullmatch(r"bytes=(\d+)-", wanted)
        same = (self.headers.get("If-Range") or site.etag) == site.etag
        if found and site.resumes and same:
            start = int(found.group(1))
            if start >= len(site.content):
                self.send_error(416)
                return
            span = f"bytes {start}-{len(site.content) - 1}/{len(site.content)}"
            self._answer(206, site.content[start:], {"Content-Range": span})
        else:
            self._answer(200, site.content, {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/octet-stream", "ETag": self.site.etag} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.site.cuts.pop(0) if self.site.cuts else len(body)
        self.wfile.write(body[:cut])

    def log_message(self, *_words: object) -> None:
        """Nothing is written beside the tests' own words."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_words: object) -> None:
        """Clients that leave in the middle are what these tests are about."""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    server = _Server(("127.0.0.1", 0), handler)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()
