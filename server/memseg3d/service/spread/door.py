"""The door of several workers: a stateless ASGI application that passes a request to the worker that has its session.

A session's worker is found by rendezvous hashing of its id (Thaler and Ravishankar, 1998), so that all doors agree and
calls that come in a burst go to one; where the lease says otherwise, the worker names the right one and is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from memseg3d.service.errors import ServiceError
from memseg3d.service.gate import error_response
from memseg3d.service.spread.leases import REPLICA_HEADER, replicas_alive

log = logging.getLogger(__name__)

_SESSION = re.compile(r"^/v1/sessions/([^/]+)")
_VOLUME = re.compile(r"^/v1/volumes/[^/]+$")
_HOPS = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization", "host"}
_TRIES = 4
_FRESH_SECONDS = 0.5
_WAIT_SECONDS = 4.0
"""A door waits so long for the first worker to come, such as after the only one has died."""
_LARGEST_WORDS = 64 << 20


class Door:
    """An ASGI application in front of the workers of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._http: httpx.AsyncClient | None = None
        self._known: dict[str, str] = {}
        self._looked = -_FRESH_SECONDS
        self._turn = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back as it comes."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._passed_on(request)
        except ServiceError as error:
            response = error_response(error)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def replicas(self) -> dict[str, str]:
        """Addresses of the workers that live, by name."""
        now = time.monotonic()
        if now - self._looked > _FRESH_SECONDS or not self._known:
            self._known = await asyncio.to_thread(replicas_alive, self._folder)
            self._looked = time.monotonic()
        return self._known

    def forget(self) -> None:
        """Look anew who lives."""
        self._looked = -_FRESH_SECONDS

    async def _some(self) -> dict[str, str]:
        ends = time.monotonic() + _WAIT_SECONDS
        while not (found := await self.replicas()):
            if time.monotonic() > ends:
                raise ServiceError("stopping", "No replica of the worker is there: one is started; try again.")
            self.forget()
            await asyncio.sleep(0.1)
        return found

    async def _passed_on(self, request: Request) -> Response:
        path = request.url.path
        if request.method == "DELETE" and _VOLUME.match(path):
            return await self._to_all(request)
        session = _SESSION.match(path)
        body: bytes | AsyncIterator[bytes]
        if path.startswith("/v1/volumes"):
            return await self._sent(request, request.stream(), None)
        body = await _words(request)
        if path == "/v1/sessions" and request.method == "POST":
            body, name = _named(body)
        else:
            name = session.group(1) if session else None
        return await self._sent(request, body, name)

    async def _sent(self, request: Request, body: bytes | AsyncIterator[bytes], session: str | None) -> Response:
        """The answer of the session's worker; of one of them in turn where there is no session."""
        wanted: str | None = None
        for _ in range(_TRIES):
            found = await self._some()
            name = wanted if wanted in found else _chosen(found, session, next(self._turn))
            try:
                answer = await self._ask(request, found[name], body)
            except httpx.TransportError as error:
                log.warning("a replica does not answer: %r", error)
                self.forget()
                if not isinstance(body, bytes):
                    raise ServiceError("stopping", "The replica has gone during the upload: send it again.") from error
                await asyncio.sleep(0.1)
                continue
            wanted = answer.headers.get(REPLICA_HEADER)
            if answer.status_code != 421 or wanted is None or not isinstance(body, bytes):
                return _streamed(answer)
            await answer.aclose()
            if wanted not in found:
                self.forget()
        raise ServiceError("overloaded", "The session is on its way from one replica to another: try again.", retry=1)

    async def _to_all(self, request: Request) -> Response:
        """A volume goes with its sessions, wherever they are."""
        found = await self._some()
        answers = [await self._ask(request, url, b"") for url in found.values()]
        good = next((each for each in answers if each.status_code < 300), answers[0])
        for each in answers:
            if each is not good:
                await each.aclose()
        return _streamed(good)

    async def _ask(self, request: Request, url: str, body: bytes | AsyncIterator[bytes]) -> httpx.Response:
        if self._http is None:
            # No limit of its own, and no waiting but what the worker's heartbeats say.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=5.0)
            timeout = httpx.Timeout(10.0, read=120.0)
            self._http = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)
        headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1") not in _HOPS]
        if isinstance(body, bytes):
            headers = [each for each in headers if each[0] != b"content-length"]
        query = request.scope["query_string"].decode("latin-1")
        target = f"{url}{request.scope['raw_path'].decode('latin-1').partition('?')[0]}{f'?{query}' if query else ''}"
        content = body if isinstance(body, bytes) or request.method in ("PUT", "POST") else None
        return await self._http.send(
            self._http.build_request(request.method, target, headers=headers, content=content or None), stream=True
        )


async def _words(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _LARGEST_WORDS:
            raise ServiceError("too_large", f"The body is larger than {_LARGEST_WORDS} bytes: send less.", closes=True)
        parts.append(part)
    return b"".join(parts)


def _named(body: bytes) -> tuple[bytes, str | None]:
    """The words of a new session with an id, so that its worker is known before it is there."""
    try:
        words = json.loads(body)
        if not isinstance(words, dict):
            return body, None
    except (ValueError, RecursionError):
        return body, None
    if words.get("id") is None:
        words["id"] = str(uuid.uuid4())
        body = json.dumps(words).encode()
    return body, str(words["id"])


def _chosen(found: dict[str, str], session: str | None, turn: int) -> str:
    if session is None:
        return sorted(found)[turn % len(found)]
    with contextlib.suppress(ValueError):
        session = str(uuid.UUID(session))
    return max(found, key=lambda name: hashlib.sha256(f"{name}\0{session}".encode()).digest())


def _streamed(answer: httpx.Response) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        try:
            async for part in answer.aiter_raw():
                yield part
        finally:
            await answer.aclose()

    headers = {name: value for name, value in answer.headers.items() if name not in _HOPS}
    return StreamingResponse(parts(), answer.status_code, headers)
