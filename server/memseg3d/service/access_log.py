"""Writes one line a request into the log and counts it: method, route, status, time; never an id, a name or a query."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memseg3d.service.metrics import Metrics

log = logging.getLogger("memseg3d.access")


class AccessLog:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            # The template (/v1/volumes/{volume_id}) and never the path: an id or file name may tell of a person.
            route = getattr(scope.get("route"), "path", "-")
            self._metrics.requests.labels(scope["method"] if route != "-" else "-", route, str(status)).inc()
            log.info("%s %s %d %.3f s", scope["method"], route, status, time.perf_counter() - started)
