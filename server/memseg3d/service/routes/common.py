"""What the routes share: the worker behind them, calls to the compute thread, the errors that OpenAPI lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Request
from pydantic import BaseModel

from memseg3d.service.errors import STATUS
from memseg3d.service.gate import ACCOUNT
from memseg3d.service.protocol import ErrorAnswer
from memseg3d.service.sessions import ServedSession
from memseg3d.service.users.account import Account
from memseg3d.service.worker import Worker

T = TypeVar("T")


def _worker(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    return worker


TheWorker = Annotated[Worker, Depends(_worker)]


def _caller(request: Request) -> Account:
    account: Account = request.scope[ACCOUNT]
    return account


TheCaller = Annotated[Account, Depends(_caller)]


def _session(caller: TheCaller, session_id: str) -> str:
    return caller.session(session_id)


def _volume(
    caller: TheCaller, volume_id: Annotated[str, Path(description="SHA-256 (hex) of the volume's words and voxels.")]
) -> str:
    return caller.volume(volume_id)


SessionKey = Annotated[str, Depends(_session)]
"""Of the session in the address: the caller's own, or none."""
VolumeKey = Annotated[str, Depends(_volume)]
"""Of the volume in the address."""


async def computed(worker: Worker, function: Callable[[], T], key: str | None = None) -> T:
    """Run `function` on the compute thread and wait for it without blocking the event loop.

    key: the one session that it is about; a step of another one is interrupted for it.
    """
    return await asyncio.wrap_future(worker.compute.call(function, key))


async def of_session(worker: Worker, session_id: str, function: Callable[[ServedSession], T]) -> T:
    """Run `function` with the session on the compute thread; one that is not in the memory is read beside it."""
    if not worker.sessions.is_loaded(session_id):
        await worker.drawings.run(lambda: worker.sessions.prepare(session_id))
    return await computed(worker, lambda: function(worker.sessions.find(session_id)), session_id)


async def shape_of(worker: Worker, session_id: str) -> tuple[int, int, int]:
    """(k, j, i) of a session's volume; at once where the session lies in the memory. Raises ServiceError."""
    shape = worker.sessions.shape_of(session_id)
    if shape is None:
        shape = await of_session(worker, session_id, lambda served: served.shape)
    return shape


def dumped(words: BaseModel) -> dict[str, Any]:
    """Words as the journal keeps them."""
    return words.model_dump(mode="json")


def json_body(words: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's `requestBody` for a route that reads its JSON itself (see `limits/bodies.py`)."""
    schema = {"$ref": f"#/components/schemas/{words.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_ANYWHERE = ("bad_request", "unauthorised", "token_ended", "too_large", "internal", "stopping", "overloaded")


def errors(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for error codes; those that any address can give are added."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in (*_ANYWHERE, *codes):
        words = by_status.setdefault(STATUS[code], {"model": ErrorAnswer, "description": ""})
        if code not in words["description"].split(", "):
            words["description"] = ", ".join(filter(None, [words["description"], code]))
    return by_status
