"""/v1/sessions: opened on a volume, looked at, undone, redone, deleted."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from memseg3d.service.protocol import ChangedState, Deleted, Hinted, HintRequest, SessionRequest, SessionState
from memseg3d.service.routes.common import TheWorker, check_count, computed, errors

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


@router.post(
    "",
    status_code=201,
    responses={
        **errors("unknown_volume", "conflict", "too_large", "disk_full"),
        200: {"model": SessionState, "description": "The session was there already."},
    },
)
async def post_session(worker: TheWorker, request: SessionRequest, response: Response) -> SessionState:
    """Open a session. With an `id` that exists on the same volume the answer is that session (200)."""
    # Opened here, so that the compute thread does not wait for the disk; held until the session holds it.
    volume = await run_in_threadpool(worker.volumes.open, request.volume)
    session_id = str(request.id or uuid4())
    options = request.options.model_dump(mode="json")
    state, is_new = await computed(worker, lambda: worker.sessions.create(session_id, request.volume, options))
    del volume
    response.status_code = 201 if is_new else 200
    return SessionState.model_validate(state)


@router.get("/{session_id}", responses=errors("unknown_session"))
async def get_session(worker: TheWorker, session_id: str) -> SessionState:
    """The rounds of a session and what its labelmaps are."""
    state: dict[str, Any] = await computed(worker, lambda: worker.sessions.find(session_id).state())
    return SessionState.model_validate(state)


@router.delete("/{session_id}", responses=errors("unknown_session"))
async def delete_session(worker: TheWorker, session_id: str) -> Deleted:
    """Forget a session, also one that runs."""
    await computed(worker, lambda: worker.sessions.delete(session_id))
    return Deleted()


@router.post("/{session_id}/hints", responses=errors("unknown_session", "too_large", "bad_prompt"))
async def hint(worker: TheWorker, session_id: str, request: HintRequest) -> Hinted:
    """Prompts that are being drawn: the worker computes in idle time what their round will need. Changes nothing."""
    check_count(worker, request.prompts)
    words = request.model_dump(mode="json")
    accepted = await computed(worker, lambda: worker.sessions.find(session_id).hint(words))
    return Hinted(accepted=accepted)


@router.post("/{session_id}/undo", responses=errors("unknown_session", "nothing_to_undo", "busy", "disk_full"))
async def undo(worker: TheWorker, session_id: str) -> ChangedState:
    """Take the last round out of the labelmaps."""
    return ChangedState.model_validate(await computed(worker, lambda: worker.sessions.find(session_id).undo()))


@router.post("/{session_id}/redo", responses=errors("unknown_session", "nothing_to_redo", "busy", "disk_full"))
async def redo(worker: TheWorker, session_id: str) -> ChangedState:
    """Put the round that was undone last back into the labelmaps."""
    return ChangedState.model_validate(await computed(worker, lambda: worker.sessions.find(session_id).redo()))
