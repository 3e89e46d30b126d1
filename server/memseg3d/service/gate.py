"""What every request passes before it reaches a route: the token, and the size of words (voxels have their own)."""

from __future__ import annotations

import hmac

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memseg3d.service.errors import ServiceError
from memseg3d.service.uploads import too_large

OPEN_PATHS = {"/v1/health"}
VOXEL_PATHS = "/v1/volumes"
LOOPBACK_NAMES = {"127.0.0.1", "localhost", "[::1]"}


def error_response(error: ServiceError) -> JSONResponse:
    """The answer to a request that cannot be served."""
    headers = {"WWW-Authenticate": "Bearer"} if error.code == "unauthorised" else None
    return JSONResponse({"error": {"code": error.code, "message": error.message}}, error.status, headers)


class Gate:
    """ASGI middleware. token None: whoever reaches the loopback address may come in, except a web page in a browser."""

    def __init__(self, app: ASGIApp, token: str | None, request_bytes: int) -> None:
        self._app = app
        self._token = token
        self._request_bytes = request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with an error, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            self._check_caller(scope["path"], headers)
            if not scope["path"].startswith(VOXEL_PATHS):
                receive = self._limited(headers, receive)
        except ServiceError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_caller(self, path: str, headers: dict[bytes, bytes]) -> None:
        if path in OPEN_PATHS:
            return
        if self._token is None:
            host = headers.get(b"host", b"").decode("latin-1").lower()
            name = host if host.endswith("]") else host.rpartition(":")[0] or host
            if b"origin" in headers or name not in LOOPBACK_NAMES:
                raise ServiceError("unauthorised", "Web pages may not use a worker without a token: start it with one.")
            return
        sent = headers.get(b"authorization", b"")
        expected = b"Bearer " + self._token.encode("utf-8")
        if not hmac.compare_digest(sent, expected):
            raise ServiceError("unauthorised", "The token is missing or wrong: send `Authorization: Bearer <token>`.")

    def _limited(self, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """`receive` that fails once the body is larger than words may be."""
        limit = self._request_bytes
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            raise too_large(limit)
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise too_large(limit)
            return message

        return receive_limited
