"""/v1/volumes: voxels come in by their content hash or as a NIfTI or NRRD file, and go."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from memseg3d.service.errors import ServiceError
from memseg3d.service.protocol import Deleted, VolumeWords
from memseg3d.service.routes.common import TheCaller, TheWorker, VolumeKey, computed, errors
from memseg3d.service.uploads import drain
from memseg3d.service.volume_entry import VolumeEntry
from memseg3d.service.volume_files import FILE_SUFFIXES
from memseg3d.service.worker import Worker

router = APIRouter(prefix="/v1/volumes", tags=["volumes"])

Dtype = Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
_NUMBER = r"[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?"
_ABOVE_ZERO = r"([1-9][0-9]{0,8}(\.[0-9]{0,9})?|0\.[0-9]{0,8}[1-9][0-9]{0,8})([eE][-+]?[0-9]{1,2})?"
"""What the description says of it: patterns cannot leave out 0 in all its forms."""
_ENDING = r"\.([nN][iI][iI](\.[gG][zZ])?|[nN][rR][rR][dD])$"
"""Other endings are refused as bad_file."""
_BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_CREATED: dict[int | str, dict[str, Any]] = {
    201: {"model": VolumeWords, "description": "The worker now keeps the volume."}
}


@router.put(
    "/{volume_id}",
    response_model_exclude_none=True,
    responses={**errors("hash_mismatch", "bad_volume", "over_quota", "disk_full"), **_CREATED},
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def put_volume(
    request: Request,
    response: Response,
    worker: TheWorker,
    caller: TheCaller,
    volume_id: Annotated[
        str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 (hex) of the volume's words and voxels.")
    ],
    shape: Annotated[
        str,
        Query(
            pattern=r"^[0-9]{1,9},[0-9]{1,9},[0-9]{1,9}$",
            description="k,j,i; at least 2 slices, and no more voxels than the worker's limit.",
            json_schema_extra={"pattern": "^[1-9][0-9]{0,8},[1-9][0-9]{0,8},[1-9][0-9]{0,8}$"},
        ),
    ],
    dtype: Dtype,
    spacing: Annotated[
        str,
        Query(
            pattern=f"^{_NUMBER},{_NUMBER},{_NUMBER}$",
            description="sk,sj,si in mm, each above 0",
            json_schema_extra={"pattern": f"^{_ABOVE_ZERO},{_ABOVE_ZERO},{_ABOVE_ZERO}$"},
        ),
    ],
) -> VolumeWords:
    """Keep raw voxels (C order, little-endian; `Content-Encoding: gzip` allowed). 200 where they are there already."""
    k, j, i = (int(part) for part in shape.split(","))
    sk, sj, si = (float(part) for part in spacing.split(","))
    entry = VolumeEntry(volume_id, (k, j, i), dtype, (sk, sj, si), owner=caller.key)
    key = entry.key
    body = request.stream()
    try:
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise ServiceError("bad_request", f"Content-Encoding {encoding} is not known: send gzip or nothing.")
        # Who sends voxels has them at hand: the time to put right what a disk has damaged.
        if worker.volumes.holds(key) and await run_in_threadpool(worker.volumes.is_sound, key):
            await drain(body)
            return _words(worker.volumes.find(key))
        worker.volumes.check_words(entry)
        with (
            worker.user_room.claim(caller) as claim,
            await run_in_threadpool(worker.room.reserve, entry.voxel_bytes, claim.cover),
        ):
            entry = await worker.volumes.add_voxels(entry, body, encoding == "gzip")
        worker.look_ahead(key)
    except ServiceError:
        await drain(body)
        raise
    response.status_code = 201
    return _words(entry)


@router.post(
    "",
    response_model_exclude_none=True,
    responses={**errors("bad_file", "bad_volume", "over_quota", "disk_full"), **_CREATED},
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def post_volume_file(
    request: Request,
    response: Response,
    worker: TheWorker,
    caller: TheCaller,
    filename: Annotated[
        str,
        Query(description="Only its ending counts; the name is not kept.", json_schema_extra={"pattern": _ENDING}),
    ],
) -> VolumeWords:
    """Keep the volume of a NIfTI or NRRD file. Of the header only the grid is kept; `geometry` names it to sessions."""
    body = request.stream()
    try:
        suffix = next((suffix for suffix in FILE_SUFFIXES if filename.lower().endswith(suffix)), None)
        if suffix is None:
            raise ServiceError("bad_file", f"The file's name must end in one of {', '.join(FILE_SUFFIXES)}.")
        announced = min(_announced(request), worker.settings.limits.volume_bytes)
        with (
            worker.user_room.claim(caller) as claim,
            await run_in_threadpool(worker.room.reserve, announced, claim.cover) as room,
        ):
            entry, is_new = await worker.volumes.add_file(suffix, body, room, caller.key)
        worker.look_ahead(entry.key)
    except ServiceError:
        await drain(body)
        raise
    response.status_code = 201 if is_new else 200
    return _words(entry)


@router.get("/{volume_id}", response_model_exclude_none=True, responses=errors("unknown_volume"))
async def get_volume(worker: TheWorker, key: VolumeKey) -> VolumeWords:
    """What the worker knows of a volume that it keeps."""
    return _words(worker.volumes.find(key))


@router.delete("/{volume_id}", responses=errors("unknown_volume"))
async def delete_volume(worker: TheWorker, key: VolumeKey) -> Deleted:
    """Forget a volume and every session on it, also one that runs."""
    is_there = worker.volumes.is_there(key)
    # Of several workers another one may have been asked first; its sessions here go all the same.
    if not is_there and not (worker.leases.is_shared and await _has_sessions(worker, key)):
        worker.volumes.find(key)
    await computed(worker, lambda: worker.sessions.delete_of_volume(key))
    if is_there:
        await run_in_threadpool(worker.volumes.delete, key)
    return Deleted()


async def _has_sessions(worker: Worker, key: str) -> bool:
    return await computed(worker, lambda: bool(worker.sessions.known.on_volume(key)))


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _words(entry: VolumeEntry) -> VolumeWords:
    return VolumeWords(
        id=entry.id,
        shape=entry.shape,
        dtype=entry.dtype,
        spacing=entry.spacing,
        geometry=entry.newest_geometry,
    )
