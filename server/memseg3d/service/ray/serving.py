"""Replicas on Ray Serve: started, watched, replaced where they die, added and taken away by how much there is to do."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memseg3d.service.ray.autoscaling import wanted_replicas
from memseg3d.service.spread.leases import replicas_alive, tell_stopping
from memseg3d.service.web.certificate import ServeError

if TYPE_CHECKING:
    from memseg3d.network.seam import Network
    from memseg3d.service.settings import Settings

START_SECONDS = 300.0
HEALTH_SECONDS = 2.0
"""A replica is asked so often how it is; one whose process has died is noticed at once."""
STAY_SECONDS = 600
"""A replica is taken away where there was too little to do for so long."""
REST_SECONDS = 60.0
"""Rounds of a replica that is taken away are waited for so long."""
APPLICATION = "memseg3d"

Maker = Callable[[], "tuple[Settings, Network, str]"]
"""Called in each replica's process: its settings, its network and the network's device."""


@dataclass(frozen=True)
class Numbers:
    """How many replicas: at least, and at most where there is much to do. gpus: of the computer."""

    least: int
    most: int
    gpus: int = 0


def start_replicas(serve: Any, folder: Path, numbers: Numbers, make: Maker, rest_seconds: float) -> None:
    """Start them and wait until they serve. Raises ServeError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    tell_stopping(folder, False)
    options: dict[str, Any] = {"num_cpus": 1}
    if numbers.gpus:
        options["num_gpus"] = min(1.0, numbers.gpus / numbers.most)
    count: dict[str, Any] = {"num_replicas": numbers.least}
    if numbers.most > numbers.least:
        count = {
            "autoscaling_config": {
                "min_replicas": numbers.least,
                "max_replicas": numbers.most,
                "upscale_delay_s": 10.0,
                "downscale_delay_s": STAY_SECONDS,
                "policy": {"policy_function": wanted_replicas},
            }
        }
    deployment = serve.deployment(
        WorkerReplica,
        **count,
        ray_actor_options=options,
        health_check_period_s=HEALTH_SECONDS,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=max(rest_seconds, REST_SECONDS) + 20,
    )
    application = deployment.bind(make, max(rest_seconds, REST_SECONDS))
    try:
        serve.run(application, name=APPLICATION, route_prefix=None, _local_testing_mode=False)
    except RuntimeError as error:
        raise ServeError(f"The replicas did not start: {error}") from error
    ends = time.monotonic() + START_SECONDS
    while len(replicas_alive(folder)) < numbers.least:
        if time.monotonic() > ends:
            raise ServeError(f"The replicas did not start within {START_SECONDS:.0f} s.")
        time.sleep(0.1)


async def stop_replicas(serve: Any, folder: Path, seconds: float) -> None:
    """Let running rounds end for so long at most, while nothing new is taken; then all replicas end."""
    if not seconds:
        tell_stopping(folder, True)
    await asyncio.to_thread(serve.delete, APPLICATION)


class WorkerReplica:
    """A worker of its own on the shared folder; requests reach it over its own port, and not through Ray."""

    def __init__(self, make: Maker, rest_seconds: float) -> None:
        from memseg3d.service.spread.replica import Replica

        logging.basicConfig(stream=sys.stderr, level=logging.INFO)
        settings, network, device = make()
        self._rest_seconds = rest_seconds
        self._replica = Replica(settings, network, device)
        threading.Thread(target=_end_with, args=(os.getppid(),), name="memseg3d-parent", daemon=True).start()

    def check_health(self) -> None:
        """Asked by Serve, which starts another one where this raises."""
        self._replica.check_health()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Rounds that are computed here now."""
        return {"rounds": float(self._replica.worker.compute.jobs)}

    async def __del__(self) -> None:
        """Called by Serve before the replica goes, and waited for."""
        await asyncio.to_thread(self._replica.leave, self._rest_seconds)


def _end_with(parent: int) -> None:
    """End where Ray has ended without a word; the system gives its locks back."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
