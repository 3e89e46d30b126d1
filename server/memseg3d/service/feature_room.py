"""How much room image features get on this machine: on the device, in memory and on disk."""

from __future__ import annotations

import logging

from memseg3d.network.seam import Network
from memseg3d.propagation.sight.feature_folder import FeatureFolder
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.service.devices import Device, computer_memory
from memseg3d.service.folders import DataFolder
from memseg3d.service.settings import Limits

log = logging.getLogger(__name__)

LEAST_BYTES, MOST_MEMORY_BYTES, MOST_DISK_BYTES = 256 * 2**20, 512 * 2**20, 8 * 2**30


def feature_store(
    network: Network, device: Device, folder: DataFolder, limits: Limits, is_sealed: bool = False
) -> FeatureStore:
    """The store of a worker: an eighth of an accelerator's memory, a sixteenth of the computer's (at most 512 MB), an
    eighth of what the data folder may hold (at most 8 GB). A folder that cannot be made is done without.

    is_sealed: nothing may lie on the disk as it is; features, from which an image can be guessed, stay in the memory.
    """
    memory = min(max(computer_memory() // 16, LEAST_BYTES), MOST_MEMORY_BYTES)
    near = memory if device.name == "cpu" else max(device.memory_bytes // 8, LEAST_BYTES)
    if is_sealed:
        return FeatureStore(network, near, memory)
    try:
        disk = FeatureFolder(folder.features, min(limits.disk_bytes // 8, MOST_DISK_BYTES))
    except OSError as error:
        log.warning("features are not kept on disk: %s", error.strerror)
        return FeatureStore(network, near, memory)
    return FeatureStore(network, near, memory, disk)
