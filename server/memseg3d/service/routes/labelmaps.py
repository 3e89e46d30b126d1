"""GET /v1/sessions/{sid}/labelmap: the labelmap as a file on the grid of the volume."""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from memseg3d.files import Geometry, write_slabs
from memseg3d.propagation.masks.merged_labels import MergedLabels
from memseg3d.service.errors import disk_full, is_disk_full
from memseg3d.service.routes.common import SessionKey, TheWorker, errors, of_session
from memseg3d.service.volume_entry import file_geometry

router = APIRouter(prefix="/v1/sessions/{session_id}/labelmap", tags=["labelmaps"])

_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "description": "The file; raw voxels come with the headers X-Shape (k,j,i) and X-Dtype.",
    }
}


@router.get("", response_class=Response, responses={**errors("unknown_session", "disk_full"), **_FILE})
async def get_labelmap(
    worker: TheWorker,
    session_id: SessionKey,
    object: Annotated[
        int | None, Query(ge=1, le=65535, description="Left out: all objects, each with its number.")
    ] = None,
    format: Literal["nii.gz", "nrrd", "raw"] = "nii.gz",
) -> Response:
    """One object (0 and 1), or all (their numbers, the surer one where they overlap). uint8, or uint16 beyond 255."""
    labels, history = await of_session(worker, session_id, lambda served: (served.labelmap(object), served.history))
    if format == "raw":
        shape = ",".join(str(size) for size in labels.shape)
        size = math.prod(labels.shape) * labels.dtype.itemsize
        headers = {"X-Shape": shape, "X-Dtype": labels.dtype.name, "Content-Length": str(size)}
        return StreamingResponse(_raw(labels), media_type="application/octet-stream", headers=headers)
    entry = worker.volumes.find(history.volume_key)
    words = history.geometry if history.has_geometry else entry.geometries.get(entry.newest_geometry or "")
    geometry = file_geometry(words, entry.shape, entry.spacing)
    # A labelmap packs to far less than an eighth of its voxels.
    room = await run_in_threadpool(worker.room.reserve, math.prod(labels.shape) * labels.dtype.itemsize // 8)
    folder = worker.folder.incoming / uuid.uuid4().hex
    try:
        path = await run_in_threadpool(_write, folder, format, labels, geometry)
    except BaseException:
        room.free()
        raise

    def done() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        room.free()

    return Download(path, done, media_type="application/octet-stream", filename=f"segmentation.{format}")


class Download(FileResponse):
    """A file that is gone once it was sent, or nobody takes it any more."""

    def __init__(self, path: Path, done: Callable[[], None], **more: Any) -> None:
        super().__init__(path, headers={"Cache-Control": "no-store"}, **more)
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


def _raw(labels: MergedLabels) -> Iterator[bytes]:
    little = labels.dtype.newbyteorder("<")
    for slab in labels.slabs():
        yield slab.astype(little, copy=False).tobytes()


def _write(folder: Path, suffix: str, labels: MergedLabels, geometry: Geometry) -> Path:
    folder.mkdir(mode=0o700)
    try:
        return write_slabs(folder / f"segmentation.{suffix}", labels.slabs(), labels.dtype, geometry)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error.__cause__, OSError) and is_disk_full(error.__cause__):
            raise disk_full() from error
        raise
