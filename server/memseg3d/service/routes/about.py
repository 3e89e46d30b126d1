"""GET /v1/health, /v1/info, /v1/metrics: what this worker is and how it does."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Response

from memseg3d import __version__
from memseg3d.network.backends import backend_of
from memseg3d.network.precision import precision_of
from memseg3d.service.metrics import MEDIA_TYPE
from memseg3d.service.protocol import Health, Info, ModelWords, Ready
from memseg3d.service.routes.common import TheWorker, errors

router = APIRouter(prefix="/v1", tags=["about"])

_TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics"}


@router.get("/health", responses=errors())
async def health() -> Health:
    """The worker is up. Asks for no token."""
    return Health()


@router.get("/ready", responses={**errors(), 200: {"description": "New work is taken."}})
async def ready(worker: TheWorker) -> Ready:
    """Whether the worker takes new work: not while it drains, nor where its computing hangs. Asks for no token."""
    worker.check_ready()
    return Ready()


@router.get("/info", responses=errors())
async def info(worker: TheWorker) -> Info:
    """The worker's version, device, model and limits."""
    model, device = worker.network.info, worker.device_facts
    return Info(
        version=__version__,
        device=worker.device,
        device_name=device.description,
        device_memory_bytes=device.memory_bytes,
        model=ModelWords(
            name=model.name,
            sha256=model.sha256,
            licence=model.licence,
            image_size=model.image_size,
            precision=precision_of(worker.network),
            backend=backend_of(worker.network),
        ),
        limits=asdict(worker.settings.limits),
        retention_hours=worker.settings.retention_hours,
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        **errors("forbidden"),
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics"},
    },
)
async def metrics(worker: TheWorker) -> Response:
    """Numbers for monitoring, in Prometheus' text format."""
    worker.metrics.set_turns(worker.compute.waiting)
    worker.metrics.set_features(worker.features.counts)
    return Response(worker.metrics.text(), media_type=MEDIA_TYPE)
