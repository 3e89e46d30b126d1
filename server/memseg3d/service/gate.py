"""What every request passes before it reaches a route: the token, and the size of words (voxels have their own)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memseg3d.service.errors import ServiceError
from memseg3d.service.limits.guarded_http import KNOWN
from memseg3d.service.metrics import Metrics
from memseg3d.service.spread.leases import REPLICA_HEADER, Elsewhere
from memseg3d.service.uploads import too_large
from memseg3d.service.users.account import SHARED, Account
from memseg3d.service.users.callers import Callers, UnknownCaller
from memseg3d.service.users.issuer import KeysUnreachable

OPEN_PATHS = {"/v1/health", "/v1/ready"}
ADMINISTRATORS_PATHS = {"/v1/metrics"}
"""Counts over all users would tell one what the others do."""
ACCOUNT = "memseg3d.account"
"""Where a request's scope has the account of its caller."""
VOXEL_PATHS = "/v1/volumes"
LOOPBACK_NAMES = {"127.0.0.1", "localhost", "[::1]"}
BODIES = 4
"""Times the largest body: all bodies of words that are being received hold no more together."""


def error_response(error: ServiceError) -> JSONResponse:
    """The answer to a request that cannot be served."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.retry is not None:
        headers["Retry-After"] = str(error.retry)
    if isinstance(error, Elsewhere):
        headers[REPLICA_HEADER] = error.replica
    if error.closes:
        headers["Connection"] = "close"
    return JSONResponse({"error": {"code": error.code, "message": error.message}}, error.status, headers)


class Gate:
    """ASGI middleware. Where no token is asked for, whoever reaches the loopback address may come in, except a web page
    in a browser.
    """

    def __init__(self, app: ASGIApp, callers: Callers, request_bytes: int, metrics: Metrics) -> None:
        self._app = app
        self._callers = callers
        self._request_bytes = request_bytes
        self._metrics = metrics
        self._receiving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with an error, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        try:
            _check_framing(scope)
            if scope["path"] not in OPEN_PATHS:
                scope[ACCOUNT] = account = await self._account(scope)
                _check_role(account, scope["path"])
                self._check_room(scope)
            if not scope["path"].startswith(VOXEL_PATHS):
                body = self._limited(scope, body)
        except ServiceError as error:
            await error_response(error)(scope, receive, send)
            return
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._receiving -= body.counted

    async def _account(self, scope: Scope) -> Account:
        if not self._callers.ask:
            headers = dict(scope["headers"])
            host = headers.get(b"host", b"").decode("latin-1").lower()
            name = host if host.endswith("]") else host.rpartition(":")[0] or host
            if b"origin" in headers or name not in LOOPBACK_NAMES:
                self._metrics.refused_callers.labels("web_page").inc()
                raise ServiceError("unauthorised", "Web pages may not use a worker without a token: start it with one.")
            return SHARED
        try:
            return await self._callers.account([value for name, value in scope["headers"] if name == b"authorization"])
        except UnknownCaller as error:
            self._metrics.refused_callers.labels(error.reason).inc()
            code = "token_ended" if error.is_over else "unauthorised"
            raise ServiceError(code, error.message, closes=True) from error
        except KeysUnreachable as error:
            raise ServiceError(
                "overloaded",
                "The sign-in service does not answer, so it lets nobody in: try again in a moment.",
            ) from error

    def _check_room(self, scope: Scope) -> None:
        """Tell the connection that its caller is known; refuse one more than the worker can have."""
        show = scope.get("state", {}).get(KNOWN)
        if show is not None and not show():
            raise ServiceError(
                "overloaded", "The worker has too many connections: close some, or try again.", closes=True
            )

    def _limited(self, scope: Scope, body: _Body) -> _Body:
        """A body that fails once it is larger than words may be, or all of them together."""
        limit, most = self._request_bytes, BODIES * self._request_bytes
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > limit:
            raise too_large(limit)

        def count(size: int) -> None:
            self._receiving += size
            if body.counted > limit:
                raise too_large(limit)
            if self._receiving > most:
                raise ServiceError("overloaded", "The worker is receiving too much at once: try again in a moment.")

        body.count = count
        return body


class _Body:
    """A request's body, counted as it comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.counted = 0
        self.count: Callable[[int], None] = _nothing

    async def receive(self) -> Message:
        message = await self._receive()
        size = len(message.get("body", b""))
        if self.count is not _nothing:
            self.counted += size
            self.count(size)
        return message


def _check_role(account: Account, path: str) -> None:
    if path in ADMINISTRATORS_PATHS and account.role != "administrator":
        raise ServiceError("forbidden", "This is for administrators: ask one for what you need to know.")


def _nothing(_: int) -> None:
    """Voxels are counted where they are written."""


def _check_framing(scope: Scope) -> None:
    """Refuse a body with two lengths: somebody on the way may have gone by the other one (RFC 9112, 6.1)."""
    names = {name for name, _ in scope["headers"]}
    if b"transfer-encoding" in names and b"content-length" in names:
        raise ServiceError("bad_request", "Send Content-Length or Transfer-Encoding and not both.", closes=True)
