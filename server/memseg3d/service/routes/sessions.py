"""/v1/sessions: opened on a volume, listed, looked at, undone, redone, deleted."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from memseg3d.service.errors import ServiceError
from memseg3d.service.limits.bodies import body_of
from memseg3d.service.protocol import (
    ChangedState,
    Deleted,
    Hinted,
    HintRequest,
    SessionList,
    SessionRequest,
    SessionState,
)
from memseg3d.service.routes.common import (
    SessionKey,
    TheCaller,
    TheWorker,
    computed,
    dumped,
    errors,
    json_body,
    of_session,
)
from memseg3d.service.volume_entry import VolumeEntry

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


@router.post(
    "",
    status_code=201,
    responses={
        **errors("unknown_volume", "conflict", "too_large", "too_many", "disk_full"),
        200: {"model": SessionState, "description": "The session was there already."},
    },
    openapi_extra=json_body(SessionRequest),
)
async def post_session(worker: TheWorker, caller: TheCaller, request: Request, response: Response) -> SessionState:
    """Open a session. With an `id` that exists on the same volume the answer is that session (200)."""
    words = await body_of(request, SessionRequest)
    # Opened here, so that the compute thread does not wait for the disk; held until the session holds it.
    volume_key = caller.volume(words.volume)
    volume = await run_in_threadpool(worker.volumes.open, volume_key)
    geometry = _geometry(worker.volumes.find(volume_key), words.geometry)
    session_id = str(words.id or uuid4())
    options = words.options.model_dump(mode="json")
    session_key = caller.session(session_id)
    if not worker.sessions.is_loaded(session_key):
        await worker.drawings.run(lambda: worker.sessions.prepare(session_key))

    def opened() -> tuple[dict[str, Any], bool]:
        owned = {key for key, _ in worker.sessions.known.of(caller)}
        if session_key not in owned:
            worker.user_room.check_sessions(caller, len(owned))
        return worker.sessions.create(session_id, words.volume, options, geometry, caller)

    state, is_new = await computed(worker, opened, session_key)
    del volume
    response.status_code = 201 if is_new else 200
    return SessionState.model_validate(state)


@router.get("", responses=errors())
async def get_sessions(worker: TheWorker, caller: TheCaller) -> SessionList:
    """The caller's sessions."""
    return SessionList.model_validate({"sessions": await computed(worker, lambda: worker.sessions.listed(caller))})


@router.get("/{session_id}", responses=errors("unknown_session"))
async def get_session(worker: TheWorker, session_id: SessionKey) -> SessionState:
    """The rounds of a session and what its labelmaps are."""
    state: dict[str, Any] = await of_session(worker, session_id, lambda served: served.state())
    return SessionState.model_validate(state)


@router.delete("/{session_id}", responses=errors("unknown_session"))
async def delete_session(worker: TheWorker, session_id: SessionKey) -> Deleted:
    """Forget a session, also one that runs."""
    await computed(worker, lambda: worker.sessions.delete(session_id))
    return Deleted()


@router.post(
    "/{session_id}/hints",
    responses=errors("unknown_session", "bad_prompt"),
    openapi_extra=json_body(HintRequest),
)
async def hint(worker: TheWorker, session_id: SessionKey, request: Request) -> Hinted:
    """Prompts that are being drawn: the worker computes in idle time what their round will need. Changes nothing."""
    words = await body_of(request, HintRequest)
    shape, is_running = await of_session(worker, session_id, lambda served: (served.shape, served.is_running))
    if is_running:
        return Hinted(accepted=False)
    prompts = await worker.drawings.prompts(dumped(words)["prompts"], shape)
    return Hinted(accepted=await of_session(worker, session_id, lambda served: served.hint(prompts)))


@router.post("/{session_id}/undo", responses=errors("unknown_session", "nothing_to_undo", "busy", "disk_full"))
async def undo(worker: TheWorker, session_id: SessionKey) -> ChangedState:
    """Take the last round out of the labelmaps."""
    return ChangedState.model_validate(await of_session(worker, session_id, lambda served: served.undo()))


@router.post("/{session_id}/redo", responses=errors("unknown_session", "nothing_to_redo", "busy", "disk_full"))
async def redo(worker: TheWorker, session_id: SessionKey) -> ChangedState:
    """Put the round that was undone last back into the labelmaps."""
    return ChangedState.model_validate(await of_session(worker, session_id, lambda served: served.redo()))


def _geometry(entry: VolumeEntry, name: str | None) -> dict[str, Any] | None:
    """The grid that a session's downloads will have. Raises ServiceError `unknown_volume`."""
    wanted = entry.newest_geometry if name is None else name
    if wanted is None:
        return None
    if wanted not in entry.geometries:
        raise ServiceError(
            "unknown_volume", "The worker has no file with this geometry for the volume (any more): upload the file."
        )
    return entry.geometries[wanted]
