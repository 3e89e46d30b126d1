"""Writes one line a request into the log and counts it: method, route, status, time; never an id, a name or a query.

What nobody else has handled becomes an answer here, so that it is counted as what it is and the connection lives on.
"""

from __future__ import annotations

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memseg3d.service.errors import ServiceError
from memseg3d.service.gate import ACCOUNT, OPEN_PATHS, error_response
from memseg3d.service.metrics import Metrics
from memseg3d.service.spread.leases import ROUTE_HEADER
from memseg3d.service.users.audit import AuditLog

log = logging.getLogger("memseg3d.access")
errors = logging.getLogger(__name__)

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_NOBODY_LISTENS = 499
"""Where no answer was sent: the caller has gone, or the worker stops."""


class AccessLog:
    """ASGI middleware around everything else."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, audit: AuditLog | None = None, tells_route: bool = False
    ) -> None:
        """tells_route: a door before several workers writes what only the worker knows."""
        self._app = app
        self._tells_route = tells_route
        self._audit = audit
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = _NOBODY_LISTENS
        is_answered = False

        async def send_noting(message: Message) -> None:
            nonlocal status, is_answered
            if message["type"] == "http.response.start":
                status, is_answered = message["status"], True
                if self._tells_route:
                    MutableHeaders(scope=message)[ROUTE_HEADER] = _route_of(scope)
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except Exception as error:
            status = 500
            if is_answered:
                # Half an answer cannot be taken back: the server ends the connection, and its log tells why.
                raise
            errors.error("a request failed", exc_info=error)
            await error_response(internal(error))(scope, receive, send)
        finally:
            # The template (/v1/volumes/{volume_id}) and never the path: an id or file name may tell of a person.
            route = _route_of(scope)
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.requests.labels(method if route != "-" else "-", route, str(status)).inc()
            if self._audit is not None and scope["path"] not in OPEN_PATHS:
                address = (scope.get("client") or ("-",))[0]
                self._audit.write(scope.get(ACCOUNT), address, f"{method} {route}", status)
            log.info("%s %s %d %.3f s", method, route, status, time.perf_counter() - started)


def _route_of(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "-"))


def internal(error: Exception) -> ServiceError:
    """The answer where the worker itself is at fault."""
    return ServiceError(
        "internal", f"The worker failed at this request ({type(error).__name__}); its log says more. Try again."
    )
