"""Image features of slices, computed once and kept while there is room: on the device, in memory, then on disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch

from memseg3d.network.seam import Features, Network
from memseg3d.propagation.sight.feature_folder import FeatureFolder
from memseg3d.propagation.sight.feature_shelf import FeatureKey, Shelf
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_images import SeenSlice, slice_images
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window

DEFAULT_CAPACITY = 256 * 1024**2
"""Bytes of features that are kept on the network's device, and so many in memory where that is another one."""

_CPU = torch.device("cpu")


class FeatureStore:
    """Image features by volume, axis, slice, region and windows; the least recently used ones leave first.

    From the network's device they go into memory (where the device is not the CPU), from there to disk (where there is
    a folder), and they come back when they are asked for. One store serves one network in one dtype, and no store
    outlives its process, so that neither is part of a key. Objects and sessions share it: volumes with the same `key`
    are the same volume. Any thread may call.
    """

    def __init__(
        self,
        network: Network,
        capacity: int = DEFAULT_CAPACITY,
        memory: int = DEFAULT_CAPACITY,
        folder: FeatureFolder | None = None,
    ) -> None:
        """capacity: bytes on the network's device; memory: bytes in the CPU's memory, where that is another one."""
        self.network = network
        self.device = device_of(network)
        self.encoded = 0
        """How many slices were encoded so far."""
        self.brought_back = 0
        """How many times features came back from memory or disk instead."""
        self.found_near = 0
        """How many times they lay on the device."""
        self._near = Shelf(capacity)
        self._far = Shelf(memory) if self.device.type != "cpu" else None
        self._folder = folder
        self._lock = threading.Lock()

    @property
    def capacity(self) -> int:
        """Bytes that are kept, wherever they lie."""
        far = self._far.capacity if self._far is not None else 0
        return self._near.capacity + far + (self._folder.capacity if self._folder is not None else 0)

    @property
    def counts(self) -> dict[str, int]:
        """Where features that were asked for came from."""
        return {"device": self.found_near, "kept": self.brought_back, "encoded": self.encoded}

    @property
    def bytes(self) -> int:
        """Bytes on the network's device."""
        return self._near.bytes

    def holds(self, volume: Volume, axis: int, index: int, region: Region, windows: tuple[Window, ...]) -> bool:
        """Whether the features are there and need not be computed."""
        key = FeatureKey(volume.key, axis, index, region, windows)
        with self._lock:
            return any(shelf is not None and key in shelf for shelf in (self._near, self._far, self._folder))

    def features(self, volume: Volume, axis: int, index: int, region: Region, windows: tuple[Window, ...]) -> Features:
        """Features (batch 1) of the slice at `index` across `axis`, seen through `region`, one channel a window."""
        return self.batch(volume, axis, [index], region, windows)[0]

    def batch(
        self, volume: Volume, axis: int, indices: Sequence[int], region: Region, windows: tuple[Window, ...]
    ) -> list[Features]:
        """Features (batch 1 each) of several slices; those that are not there are computed in one batch."""
        return self.together([SeenSlice(volume, axis, index, region, windows) for index in indices])

    def together(self, sights: Sequence[SeenSlice]) -> list[Features]:
        """Features (batch 1 each) of whatever is looked at; what is not there is computed in one batch of each size."""
        keys = [FeatureKey(each.volume.key, each.axis, each.index, each.region, each.windows) for each in sights]
        with self._lock:
            found = {key: features for key in keys if (features := self._found(key)) is not None}
        missing = {key: sight for key, sight in zip(keys, sights, strict=True) if key not in found}
        for size in {key.region.size for key in missing}:
            alike = {key: sight for key, sight in missing.items() if key.region.size == size}
            images = slice_images(list(alike.values()), self.device)
            with torch.no_grad():
                encoded = self.network.encode(images)
            with self._lock:
                self.encoded += len(alike)
                for place, key in enumerate(alike):
                    found[key] = _part(encoded, place, len(alike))
                    self._keep(key, found[key])
        return [found[key] for key in keys]

    def forget(self, volume: str) -> None:
        """Drop everything that was computed from the volume with this key."""
        with self._lock:
            for shelf in (self._near, self._far, self._folder):
                if shelf is not None:
                    shelf.forget(volume)

    def clear_disk(self) -> None:
        """Delete what lies on disk, so that others have its room."""
        with self._lock:
            if self._folder is not None:
                self._folder.clear()

    def close(self) -> None:
        """Delete what lies on disk and write no more."""
        with self._lock:
            if self._folder is not None:
                self._folder.close()

    def _found(self, key: FeatureKey) -> Features | None:
        """Features that lie somewhere, brought to the device."""
        features = self._near.get(key)
        if features is not None:
            self.found_near += 1
            return features
        if self._far is not None:
            features = self._far.take(key)
        if features is None and self._folder is not None:
            features = self._folder.get(key)
        if features is None:
            return None
        self.brought_back += 1
        features = _moved(features, self.device)
        self._keep(key, features)
        return features

    def _keep(self, key: FeatureKey, features: Features) -> None:
        """On the device; what has to leave for it goes one place further."""
        leaving = self._near.put(key, features)
        if self._far is not None:
            leaving = [gone for each, old in leaving for gone in self._far.put(each, _moved(old, _CPU))]
        if self._folder is not None:
            for each, old in leaving:
                self._folder.put(each, _moved(old, _CPU))


def device_of(network: Network) -> torch.device:
    """The device of the network's first parameter; the CPU for a network without parameters."""
    if isinstance(network, torch.nn.Module):
        for parameter in network.parameters():
            return parameter.device
    return torch.device("cpu")


def _part(encoded: Features, place: int, count: int) -> Features:
    """One slice of a batch, with storage of its own, so that the rest can be let go of."""
    if count == 1:
        return encoded
    return Features(tuple(level[place : place + 1].clone() for level in encoded.levels))


def _moved(features: Features, device: torch.device) -> Features:
    if features.levels[0].device == device:
        return features
    return Features(tuple(level.to(device) for level in features.levels))
