"""/v1/sessions/{sid}/rounds: prompts go in, slices come out as they are computed, now or on a later connection."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from memseg3d.service.protocol import Cancelled, RoundRequest, StreamLine
from memseg3d.service.routes.common import TheWorker, check_count, computed, errors
from memseg3d.service.streams import MEDIA_TYPE, RoundStream
from memseg3d.service.worker import Worker

router = APIRouter(prefix="/v1/sessions/{session_id}/rounds", tags=["rounds"])


class NdjsonResponse(StreamingResponse):
    """Lines of JSON; an empty line says only that the worker is still there."""

    media_type = MEDIA_TYPE


_LINES: dict[int | str, dict[str, Any]] = {200: {"model": StreamLine, "description": "One such object a line."}}


@router.post(
    "",
    response_class=NdjsonResponse,
    responses={**errors("unknown_session", "busy", "too_large", "bad_prompt", "disk_full"), **_LINES},
)
async def post_round(worker: TheWorker, session_id: str, request: RoundRequest) -> NdjsonResponse:
    """Begin a round and follow it. The same id again never runs twice: the first one's lines are sent again."""
    check_count(worker, request.prompts)
    words = request.model_dump(mode="json")
    stream = await computed(worker, lambda: worker.sessions.find(session_id).begin(words))
    return _following(worker, stream, 0)


@router.get(
    "/{round_id}/events",
    response_class=NdjsonResponse,
    responses={**errors("unknown_session", "unknown_round"), **_LINES},
)
async def get_events(
    worker: TheWorker, session_id: str, round_id: str, after: Annotated[int, Query(ge=0, le=2**53)] = 0
) -> NdjsonResponse:
    """The lines of a round after line `after`, to its end."""
    stream = await computed(worker, lambda: worker.sessions.find(session_id).stream(round_id))
    return _following(worker, stream, after)


@router.post("/{round_id}/cancel", responses=errors("unknown_session", "unknown_round", "conflict"))
async def cancel(worker: TheWorker, session_id: str, round_id: str) -> Cancelled:
    """Stop a round between two slices. Once answered no further `slice` line is sent; the labelmaps are as before."""
    await computed(worker, lambda: worker.sessions.find(session_id).cancel(round_id))
    return Cancelled()


def _following(worker: Worker, stream: RoundStream, after: int) -> NdjsonResponse:
    return NdjsonResponse(stream.follow(after, worker.settings.heartbeat_seconds))
