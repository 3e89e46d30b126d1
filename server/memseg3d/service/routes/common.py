"""What the routes share: the worker behind them, calls to the compute thread, the errors that OpenAPI lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from memseg3d.service.errors import STATUS, ServiceError
from memseg3d.service.protocol import ErrorAnswer
from memseg3d.service.worker import Worker

T = TypeVar("T")


def _worker(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    return worker


TheWorker = Annotated[Worker, Depends(_worker)]


async def computed(worker: Worker, function: Callable[[], T]) -> T:
    """Run `function` on the compute thread and wait for it without blocking the event loop."""
    return await asyncio.wrap_future(worker.compute.call(function))


def check_count(worker: Worker, prompts: Sequence[object]) -> None:
    """Raise ServiceError `too_large` for more prompts than one round takes."""
    limit = worker.settings.limits.prompts
    if len(prompts) > limit:
        raise ServiceError("too_large", f"A round takes {limit} prompts; this one has {len(prompts)}: send several.")


def errors(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for error codes; those that any address can give are added."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in ("bad_request", "unauthorised", "internal", "stopping", *codes):
        words = by_status.setdefault(STATUS[code], {"model": ErrorAnswer, "description": ""})
        words["description"] = ", ".join(filter(None, [words["description"], code]))
    return by_status
