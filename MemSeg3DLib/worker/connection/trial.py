"""Tries a worker out before anything is sent to it: round-trip time, versions, device, model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from MemSeg3DLib.base.background import Task, TaskControl
from MemSeg3DLib.worker.connection.answers import plain_words
from MemSeg3DLib.worker.connection.client import WorkerClient

_ROUND_TRIPS = 5


@dataclass(frozen=True)
class ConnectionReport:
    """What a worker told. round_trip_ms: median of a few requests on an open connection; memory: bytes, 0 unknown."""

    url: str
    round_trip_ms: float
    protocol: int
    version: str
    device: str
    device_name: str
    device_memory_bytes: int
    model: str
    model_sha256: str
    model_licence: str
    image_size: int
    retention_hours: float
    features: tuple[str, ...] = ()

    @property
    def device_words(self) -> str:
        """The device that the worker computes on, as it calls it."""
        return device_in_words({"device": self.device, "device_name": self.device_name})

    def __str__(self) -> str:
        return (
            f"{self.url}: MemSeg3D {self.version} (protocol {self.protocol}) on {self.device_words} with {self.model}, "
            f"{self.round_trip_ms:.0f} ms; volumes are kept for {self.retention_hours:g} h."
        )


def device_in_words(told: Mapping[str, Any]) -> str:
    """The device in use, of what /v1/info tells; empty where it tells none."""
    # Workers before `device_name` are still of use.
    return _name(told.get("device_name")) or _name(told.get("device"))


def features_of(told: Mapping[str, Any]) -> tuple[str, ...]:
    """What a worker knows beyond the first ones, of what /v1/info tells; those told of none."""
    features = told.get("features")
    return tuple(one for one in features[:100] if isinstance(one, str)) if isinstance(features, list) else ()


def _name(value: object) -> str:
    return plain_words(value, 80)


def _amount(value: object) -> float:
    """A finite number from 0 on; 0 for anything else, since words of a report must never stop a trial."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value < 1e18 else 0.0


def try_connection(client: WorkerClient, control: TaskControl | None = None) -> ConnectionReport:
    """Negotiate, prove the token and measure; blocks, so not on the main thread. Raises WorkerError."""
    watch = control or TaskControl()
    watch.tell(f"Connecting to {client.url}")
    protocol = client.negotiate()
    told = client.info()
    times = []
    for _ in range(_ROUND_TRIPS):
        watch.check()
        begun = time.perf_counter()
        client.negotiate()
        times.append(1000 * (time.perf_counter() - begun))
    named = told.get("model")
    model = named if isinstance(named, dict) else {}
    return ConnectionReport(
        url=client.url,
        round_trip_ms=statistics.median(times),
        protocol=protocol,
        version=_name(told.get("version")),
        device=_name(told.get("device")),
        # Workers before these two fields are still of use.
        device_name=_name(told.get("device_name")),
        device_memory_bytes=int(_amount(told.get("device_memory_bytes"))),
        model=_name(model.get("name")),
        model_sha256=_name(model.get("sha256")),
        model_licence=_name(model.get("licence")),
        image_size=int(_amount(model.get("image_size"))),
        retention_hours=_amount(told.get("retention_hours")),
        features=features_of(told),
    )


def connection_task(connect: Callable[[], WorkerClient]) -> Task[ConnectionReport]:
    """`try_connection` on a thread of its own. connect: gives the client, and may take its time."""

    def work(control: TaskControl) -> ConnectionReport:
        client = connect()
        try:
            return try_connection(client, control)
        finally:
            client.close()

    return Task(work, "memseg3d-connection")
