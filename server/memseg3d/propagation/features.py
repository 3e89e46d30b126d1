"""Image features of slices, computed once and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from memseg3d.network.seam import Features, Network
from memseg3d.propagation.regions import Region
from memseg3d.propagation.volume import Volume
from memseg3d.propagation.window import Window

DEFAULT_CAPACITY = 256 * 1024**2
"""Bytes of features that are kept."""


class FeatureStore:
    """Least recently used features are dropped when the bytes exceed `capacity`.

    One store serves one network; objects (and sessions) share it. Only one thread may use it.
    """

    def __init__(self, network: Network, capacity: int = DEFAULT_CAPACITY) -> None:
        self.network = network
        self.capacity = capacity
        self.bytes = 0
        self.encoded = 0
        """How many slices were encoded so far."""
        self._kept: OrderedDict[tuple[Any, ...], Features] = OrderedDict()
        self.device = device_of(network)

    def features(self, volume: Volume, axis: int, index: int, region: Region, windows: tuple[Window, ...]) -> Features:
        """Features (batch 1) of the slice at `index` across `axis`, seen through `region`, one channel a window."""
        key = (volume.key, axis, index, region, windows)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        image = region_image(volume, axis, index, region, windows)
        features = self.network.encode(torch.from_numpy(image)[None].to(self.device))
        self.encoded += 1
        self._kept[key] = features
        self.bytes += _size(features)
        while self.bytes > self.capacity and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self.bytes -= _size(dropped)
        return features

    def forget(self, volume: Volume) -> None:
        """Drop everything that was computed from `volume`."""
        for key in [key for key in self._kept if key[0] == volume.key]:
            self.bytes -= _size(self._kept.pop(key))


def region_image(volume: Volume, axis: int, index: int, region: Region, windows: tuple[Window, ...]) -> np.ndarray:
    """Float32 (channels, S, S) in [0, 1]: the slice windowed, then resampled; 0 outside the slice."""
    shape = volume.slice_shape(axis)
    pixels = volume.slice(axis, index)[region.rows_and_columns(shape)]
    return np.stack([region.sample(window.apply(pixels), shape) for window in windows])


def device_of(network: Network) -> torch.device:
    """The device of the network's first parameter; the CPU for a network without parameters."""
    if isinstance(network, torch.nn.Module):
        for parameter in network.parameters():
            return parameter.device
    return torch.device("cpu")


def _size(features: Features) -> int:
    return sum(level.numel() * level.element_size() for level in features.levels)
