"""What stands before several workers: the door behind the same gate, logs and headers as one worker has."""

from __future__ import annotations

from starlette.types import ASGIApp

from memseg3d.service.access_log import AccessLog
from memseg3d.service.gate import Gate
from memseg3d.service.metrics import Metrics
from memseg3d.service.settings import Settings
from memseg3d.service.spread.door import Door
from memseg3d.service.ways_in import audit_of, callers_of
from memseg3d.service.web.headers import SecurityHeaders


def create_front(settings: Settings) -> ASGIApp:
    """The application of the door. Whoever has no token comes no further; each worker asks for it once more."""
    metrics = Metrics()
    gate = Gate(Door(settings.data_folder, metrics), callers_of(settings), settings.limits.request_bytes, metrics)
    return SecurityHeaders(AccessLog(gate, metrics, audit_of(settings)))
