"""The door of several workers: a stateless ASGI application that passes a request to the worker that has its session.

A session's worker is found by rendezvous hashing of its id (Thaler and Ravishankar, 1998), so that all doors agree and
calls that come in a burst go to one; where the lease says otherwise, the worker names the right one and is believed.
What a door remembers of that only spares questions.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from memseg3d.service.errors import ServiceError
from memseg3d.service.gate import error_response
from memseg3d.service.limits.guarded_http import END
from memseg3d.service.metrics import MEDIA_TYPE, Metrics
from memseg3d.service.spread.leases import REPLICA_HEADER, ROUTE_HEADER, Announced, replicas_alive
from memseg3d.service.spread.merging import merged_metrics, merged_sessions
from memseg3d.service.spread.placing import Places

log = logging.getLogger(__name__)

_SESSION = re.compile(r"^/v1/sessions/([^/]+)")
_VOLUME = re.compile(r"^/v1/volumes/([^/]+)$")
_HOPS = {
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization", "host"),
    *("expect", "x-forwarded-for", "x-forwarded-proto"),
}
_OWN = {REPLICA_HEADER.lower(), ROUTE_HEADER.lower(), "date"}
_TRIES = 6
_FRESH_SECONDS = 0.5
_WAIT_SECONDS = 4.0
"""A door waits so long for the first worker to come, such as after the only one has died."""
_PART_BYTES = 1 << 20
"""Voxels are passed on in parts of this size at least: each costs both sides a turn."""


class Door:
    """An ASGI application in front of the workers of one data folder."""

    def __init__(self, folder: Path, metrics: Metrics | None = None) -> None:
        """metrics: of the door itself."""
        # It tells addresses, and these hold ids.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._folder = folder
        self._metrics = metrics or Metrics()
        self._http: httpx.AsyncClient | None = None
        self._known: dict[str, Announced] = {}
        self._looked = -_FRESH_SECONDS
        self._turn = itertools.count()
        self._places = Places()

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

    async def replicas(self) -> dict[str, Announced]:
        """The workers that live, by name."""
        now = time.monotonic()
        if now - self._looked > _FRESH_SECONDS or not self._known:
            self._known = await asyncio.to_thread(replicas_alive, self._folder)
            self._looked = time.monotonic()
        return self._known

    def forget(self) -> None:
        """Look anew who lives."""
        self._looked = -_FRESH_SECONDS

    async def _some(self) -> dict[str, Announced]:
        ends = time.monotonic() + _WAIT_SECONDS
        while not (found := await self.replicas()):
            if time.monotonic() > ends:
                raise ServiceError("stopping", "No replica of the worker is there: one is started; try again.")
            self.forget()
            await asyncio.sleep(0.1)
        return found

    async def _passed_on(self, request: Request) -> Response:
        method, path = request.method, request.url.path
        volume, session = _VOLUME.match(path), _SESSION.match(path)
        if volume and method == "DELETE":
            # A volume goes with its sessions, wherever they are.
            return await self._best_of_all(request)
        if path == "/v1/ready":
            return await self._best_of_all(request)
        if path == "/v1/metrics" and method == "GET":
            return await self._all_metrics(request)
        if path == "/v1/sessions" and method == "GET":
            return await self._all_sessions(request)
        if path.startswith("/v1/volumes"):
            # One volume's uploads meet in one worker.
            return await self._sent(request, _in_parts(request), volume.group(1) if volume else None)
        body = b"".join([part async for part in request.stream()])
        if path == "/v1/sessions" and method == "POST":
            return await self._opened(request, body)
        return await self._sent(request, body, session.group(1) if session else None)

    async def _opened(self, request: Request, body: bytes) -> Response:
        """A new session goes to the worker with the fewest, of equals to that of its volume."""
        body, session, volume = _named(body)
        if session is None:
            return await self._sent(request, body, None)
        first = self._places.fewest(self._takes_more(await self._some()), session, volume)
        return await self._sent(request, body, session, first)

    async def _sent(
        self, request: Request, body: bytes | AsyncIterator[bytes], key: str | None, first: str | None = None
    ) -> Response:
        """The answer of the worker of a session (or volume); of one of them in turn where there is no key.

        first: asked first.
        """
        wanted = first
        for trial in range(_TRIES):
            found = await self._some()
            able = self._takes_more(found)
            name = wanted if wanted in found else self._places.of(able, key, next(self._turn))
            try:
                answer = await self._ask(request, found[name].url, body)
            except httpx.TransportError as error:
                log.warning("a replica does not answer: %r", error)
                self.forget()
                wanted = None
                if not isinstance(body, bytes):
                    raise ServiceError("stopping", "The replica has gone during the upload: send it again.") from error
                await asyncio.sleep(0.05 * (1 + trial))
                continue
            if answer.status_code == 503 and isinstance(body, bytes) and await self._has_left(name):
                await answer.aclose()
                wanted = None
                continue
            if answer.status_code != 421 or not isinstance(body, bytes):
                if answer.status_code < 400 and request.url.path.startswith("/v1/sessions"):
                    self._places.note(key, name, request.method)
                return _streamed(request, answer)
            wanted = answer.headers.get(REPLICA_HEADER)
            await answer.aclose()
            if wanted not in found:
                self.forget()
                await asyncio.sleep(0.05 * (1 + trial))
        raise ServiceError("overloaded", "The session is on its way from one replica to another: try again.", retry=1)

    async def _has_left(self, name: str) -> bool:
        """Whether a worker has begun to leave, and there is another one."""
        self.forget()
        found = await self._some()
        return name not in self._takes_more(found)

    def _takes_more(self, found: dict[str, Announced]) -> list[str]:
        return [name for name, each in found.items() if not each.leaves] or [*found]

    async def _of_all(self, request: Request) -> dict[str, httpx.Response]:
        """The answers of all that live and answer, by name."""
        body = b"".join([part async for part in request.stream()])
        found = await self._some()
        asked = (self._ask(request, each.url, body) for each in found.values())
        answers = await asyncio.gather(*asked, return_exceptions=True)
        good = {name: one for name, one in zip(found, answers, strict=True) if isinstance(one, httpx.Response)}
        if not good:
            self.forget()
            raise ServiceError("stopping", "No replica of the worker answers: one is started; try again.")
        return good

    async def _best_of_all(self, request: Request) -> Response:
        answers = await self._of_all(request)
        best = min(answers.values(), key=lambda each: each.status_code)
        for each in answers.values():
            if each is not best:
                await each.aclose()
        return _streamed(request, best)

    async def _all_metrics(self, request: Request) -> Response:
        texts = {"door": self._metrics.text().decode()}
        for name, answer in (await self._of_all(request)).items():
            texts[name[:8]] = (await answer.aread()).decode()
            _note_route(request, answer)
        return Response(merged_metrics(texts), media_type=MEDIA_TYPE)

    async def _all_sessions(self, request: Request) -> Response:
        lists = []
        for answer in (await self._of_all(request)).values():
            if answer.status_code != 200:
                return _streamed(request, answer)
            lists.append(json.loads(await answer.aread())["sessions"])
            _note_route(request, answer)
        return JSONResponse({"sessions": merged_sessions(lists)})

    async def _ask(self, request: Request, url: str, body: bytes | AsyncIterator[bytes]) -> httpx.Response:
        if self._http is None:
            # No limit of its own, and no waiting but what the worker's heartbeats say.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=5.0)
            timeout = httpx.Timeout(10.0, read=600.0)
            self._http = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)
        headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1") not in _HOPS]
        if isinstance(body, bytes):
            headers = [each for each in headers if each[0] != b"content-length"]
        client = request.client
        headers += [(b"x-forwarded-for", (client.host if client else "-").encode("latin-1"))]
        headers += [(b"x-forwarded-proto", request.url.scheme.encode("latin-1"))]
        query = request.scope["query_string"].decode("latin-1")
        target = f"{url}{request.scope['raw_path'].decode('latin-1').partition('?')[0]}{f'?{query}' if query else ''}"
        content = body if isinstance(body, bytes) or request.method in ("PUT", "POST") else None
        return await self._http.send(
            self._http.build_request(request.method, target, headers=headers, content=content or None), stream=True
        )


async def _in_parts(request: Request) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for part in request.stream():
        waiting += part
        if len(waiting) >= _PART_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _named(body: bytes) -> tuple[bytes, str | None, str | None]:
    """The words of a new session with an id, so that its worker is known before it is there; the id, and the volume."""
    try:
        words: Any = json.loads(body)
        if not isinstance(words, dict):
            return body, None, None
        if words.get("id") is None:
            words["id"] = str(uuid.uuid4())
            body = json.dumps(words).encode()
    except (ValueError, RecursionError):
        return body, None, None
    return body, str(words["id"]), str(words.get("volume"))


def _note_route(request: Request, answer: httpx.Response) -> None:
    """What the log calls the request; only the worker knows."""
    request.scope["route"] = SimpleNamespace(path=answer.headers.get(ROUTE_HEADER, "-"))


def _streamed(request: Request, answer: httpx.Response) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        try:
            async for part in answer.aiter_raw():
                yield part
        except httpx.TransportError as error:
            log.warning("a replica has gone in the middle of an answer: %r", error)
            end = request.scope.get("state", {}).get(END)
            if end is None:
                raise
            end()
        finally:
            await answer.aclose()

    _note_route(request, answer)
    headers = {name: value for name, value in answer.headers.items() if name not in _HOPS | _OWN}
    return StreamingResponse(parts(), answer.status_code, headers)
