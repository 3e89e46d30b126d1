"""A shelf of image features: the least recently used ones leave it when it holds more bytes than it may."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from memseg3d.network.seam import Features
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.volume.window import Window


@dataclass(frozen=True)
class FeatureKey:
    """What features depend on besides the network. volume: `Volume.key`; windows: one a channel."""

    volume: str
    axis: int
    index: int
    region: Region
    windows: tuple[Window, ...]


class Shelf:
    """Features by key, least recently used first."""

    def __init__(self, capacity: int) -> None:
        """capacity: bytes; one entry is kept however large it is."""
        self.capacity = capacity
        self.bytes = 0
        self._kept: OrderedDict[FeatureKey, Features] = OrderedDict()

    def __contains__(self, key: FeatureKey) -> bool:
        return key in self._kept

    def get(self, key: FeatureKey) -> Features | None:
        """The features, which now count as used; None where they are not here."""
        features = self._kept.get(key)
        if features is not None:
            self._kept.move_to_end(key)
        return features

    def put(self, key: FeatureKey, features: Features) -> list[tuple[FeatureKey, Features]]:
        """Keep features; returns those that had to leave for them."""
        self.take(key)
        self._kept[key] = features
        self.bytes += size_of(features)
        gone = []
        while self.bytes > self.capacity and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            gone.append((oldest, self._kept[oldest]))
            self.take(oldest)
        return gone

    def take(self, key: FeatureKey) -> Features | None:
        """Remove features from the shelf."""
        features = self._kept.pop(key, None)
        if features is not None:
            self.bytes -= size_of(features)
        return features

    def forget(self, volume: str) -> None:
        """Drop everything of the volume with this key."""
        for key in [key for key in self._kept if key.volume == volume]:
            self.take(key)


def size_of(features: Features) -> int:
    """Bytes of all levels."""
    return sum(level.numel() * level.element_size() for level in features.levels)
