"""/v1/sessions/{sid}/rounds: prompts go in, slices come out as they are computed, now or on a later connection."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from memseg3d.service.limits.bodies import body_of
from memseg3d.service.protocol import Cancelled, RoundRequest, StreamLine
from memseg3d.service.routes.common import (
    SessionKey,
    TheCaller,
    TheWorker,
    dumped,
    errors,
    json_body,
    of_session,
    shape_of,
)
from memseg3d.service.sessions import ServedSession
from memseg3d.service.streams import MEDIA_TYPE, RoundStream
from memseg3d.service.worker import Worker

router = APIRouter(prefix="/v1/sessions/{session_id}/rounds", tags=["rounds"])


class NdjsonResponse(StreamingResponse):
    """Lines of JSON; an empty line says only that the worker is still there."""

    media_type = MEDIA_TYPE


NOT_HELD = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
"""Proxies must pass each line on as it comes: nginx would gather some kilobytes first."""

_LINES: dict[int | str, dict[str, Any]] = {200: {"model": StreamLine, "description": "One such object a line."}}


@router.post(
    "",
    response_class=NdjsonResponse,
    responses={**errors("unknown_session", "busy", "bad_prompt", "disk_full", "too_many"), **_LINES},
    openapi_extra=json_body(RoundRequest),
)
async def post_round(worker: TheWorker, caller: TheCaller, session_id: SessionKey, request: Request) -> NdjsonResponse:
    """Begin a round and follow it. The same id again never runs twice: the first one's lines are sent again."""
    words = dumped(await body_of(request, RoundRequest))
    shape = await shape_of(worker, session_id)
    stream = None
    if not worker.drawings.is_light(words["prompts"], shape):
        # What takes long is not done for a round that has begun before, or cannot begin.
        stream = await of_session(worker, session_id, lambda served: served.known(words["id"]))
    if stream is None:
        prompts = await worker.drawings.prompts(words["prompts"], shape)

        def begun(served: ServedSession) -> RoundStream:
            if served.history.find(words["id"]) is None:
                worker.user_room.count_round(caller)
            return served.begin(words, prompts)

        stream = await of_session(worker, session_id, begun)
    return _following(worker, stream, 0)


@router.get(
    "/{round_id}/events",
    response_class=NdjsonResponse,
    responses={**errors("unknown_session", "unknown_round"), **_LINES},
)
async def get_events(
    worker: TheWorker, session_id: SessionKey, round_id: str, after: Annotated[int, Query(ge=0, le=2**53)] = 0
) -> NdjsonResponse:
    """The lines of a round after line `after`, to its end."""
    stream = await of_session(worker, session_id, lambda served: served.stream(round_id))
    return _following(worker, stream, after)


@router.post("/{round_id}/cancel", responses=errors("unknown_session", "unknown_round", "conflict"))
async def cancel(worker: TheWorker, session_id: SessionKey, round_id: str) -> Cancelled:
    """Stop a round between two slices. Once answered no further `slice` line is sent; the labelmaps are as before."""
    await of_session(worker, session_id, lambda served: served.cancel(round_id))
    return Cancelled()


def _following(worker: Worker, stream: RoundStream, after: int) -> NdjsonResponse:
    return NdjsonResponse(stream.follow(after, worker.settings.heartbeat_seconds), headers=NOT_HELD)
