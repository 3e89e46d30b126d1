"""What all sessions of a worker share: the network, the compute thread, the volumes, what is computed ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from memseg3d.network.seam import Network
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.volume.volume import Volume
from memseg3d.service.limits.use_clock import UseClock
from memseg3d.service.metrics import Metrics
from memseg3d.service.spread.leases import Alone, Leases
from memseg3d.service.turns.admission import Admission
from memseg3d.service.turns.ahead import Ahead
from memseg3d.service.turns.compute import ComputeThread

if TYPE_CHECKING:
    from memseg3d.service.storage.vault import Vault


@dataclass(frozen=True)
class Tools:
    """open_volume: by id, mapped; raises ServiceError `unknown_volume`."""

    network: Network
    compute: ComputeThread
    metrics: Metrics
    open_volume: Callable[[str], Volume]
    features: FeatureStore
    """One for all: its bound on the memory is the worker's, however many sessions there are."""
    ahead: Ahead
    admission: Admission
    clock: UseClock
    """When sessions were used last."""
    leases: Leases = field(default_factory=Alone)
    """Which sessions are this worker's, where several share the data folder."""
    vault: Vault | None = None
    """Seals what sessions keep; None: it lies there as it is."""
    scratch: Path | None = None
    """Where large labelmaps are mapped from; None: in the memory."""
