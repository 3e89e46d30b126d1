"""The HTTP application: routes, errors as the wire protocol words them, and what starts and stops with it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from memseg3d import __version__
from memseg3d.service.access_log import AccessLog
from memseg3d.service.description import described
from memseg3d.service.errors import ServiceError, disk_full, is_disk_full
from memseg3d.service.gate import Gate, error_response
from memseg3d.service.routes import about, labelmaps, rounds, sessions, usage, volumes
from memseg3d.service.web.headers import SecurityHeaders
from memseg3d.service.worker import Worker

log = logging.getLogger(__name__)


def create_app(worker: Worker) -> FastAPI:
    """The application that serves `worker`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep_now_and_then(worker))
        yield
        sweeping.cancel()
        await asyncio.to_thread(worker.close)

    app = FastAPI(
        title="MemSeg3D worker",
        version=__version__,
        description="Interactive 3D segmentation: wire protocol 1.",
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.worker = worker
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    for part in (about, usage, volumes, sessions, rounds, labelmaps):
        app.include_router(part.router)
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(OSError, _os_error)
    app.add_exception_handler(ClientDisconnect, _nobody_listens)
    # The last one added is the outermost: every request is logged, also one that the gate turns away.
    settings, metrics = worker.settings, worker.metrics
    app.add_middleware(Gate, callers=worker.callers, request_bytes=settings.limits.request_bytes, metrics=metrics)
    app.add_middleware(AccessLog, metrics=metrics, audit=worker.audit, tells_route=worker.leases.is_shared)
    app.add_middleware(SecurityHeaders)
    return app


async def _sweep_now_and_then(worker: Worker) -> None:
    while True:
        await asyncio.sleep(worker.settings.sweep_seconds)
        try:
            await asyncio.to_thread(worker.sweep)
        except Exception:  # retention is a promise: what fails now (a file in use) is tried again at the next turn
            log.exception("throwing away what is too old failed; it is tried again")


async def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return error_response(error)


async def _invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return error_response(ServiceError("bad_request", "The body is not valid JSON."))
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return error_response(ServiceError("bad_request", f"{place or 'The body'}: {first['msg']}."))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        response = error_response(
            ServiceError("method_not_allowed", "This address does not take this method: see /v1/openapi.json.")
        )
        response.headers["Allow"] = ", ".join(sorted(_methods(request)))
        return response
    if error.status_code == 404:
        return error_response(ServiceError("not_found", "There is no such address: all of them start with /v1."))
    return error_response(ServiceError("bad_request", f"{error.detail}."))


def _methods(request: Request) -> set[str]:
    """What the address takes, by the description: a route knows its own method only."""
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    return {
        method.upper()
        for template, operations in paths.items()
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), request.scope["path"])
        for method in operations
    }


async def _os_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if is_disk_full(error):
        return error_response(disk_full())
    raise error


async def _nobody_listens(_: Request, __: Exception) -> Response:
    return Response(status_code=400)
