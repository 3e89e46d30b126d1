"""GET /v1/sessions/{sid}/labelmap: the labelmap as a file on the grid of the volume."""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse

from memseg3d.files import write_slabs
from memseg3d.propagation.masks.merged_labels import MergedLabels
from memseg3d.service.errors import disk_full, is_disk_full
from memseg3d.service.routes.common import TheWorker, computed, errors
from memseg3d.service.volumes import VolumeEntry

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
    session_id: str,
    object: Annotated[
        int | None, Query(ge=1, le=65535, description="Left out: all objects, each with its number.")
    ] = None,
    format: Literal["nii.gz", "nrrd", "raw"] = "nii.gz",
) -> Response:
    """One object (0 and 1), or all (their numbers, the surer one where they overlap). uint8, or uint16 beyond 255."""
    volume_id, labels = await computed(worker, lambda: worker.sessions.find(session_id).labelmap(object))
    if format == "raw":
        shape = ",".join(str(size) for size in labels.shape)
        size = math.prod(labels.shape) * labels.dtype.itemsize
        headers = {"X-Shape": shape, "X-Dtype": labels.dtype.name, "Content-Length": str(size)}
        return StreamingResponse(_raw(labels), media_type="application/octet-stream", headers=headers)
    entry = worker.volumes.find(volume_id)
    folder = worker.folder.incoming / uuid.uuid4().hex
    path = await run_in_threadpool(_write, folder, format, labels, entry)
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, media_type="application/octet-stream", filename=f"segmentation.{format}", background=done)


def _raw(labels: MergedLabels) -> Iterator[bytes]:
    little = labels.dtype.newbyteorder("<")
    for slab in labels.slabs():
        yield slab.astype(little, copy=False).tobytes()


def _write(folder: Path, suffix: str, labels: MergedLabels, entry: VolumeEntry) -> Path:
    folder.mkdir(mode=0o700)
    try:
        return write_slabs(folder / f"segmentation.{suffix}", labels.slabs(), labels.dtype, entry.file_geometry)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error.__cause__, OSError) and is_disk_full(error.__cause__):
            raise disk_full() from error
        raise
