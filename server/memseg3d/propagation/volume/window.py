"""Intensity windows: which grey values a network sees as black and white."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.volume.errors import PropagationError
from memseg3d.propagation.volume.volume import Volume

CT_SOFT_TISSUE = (-160.0, 240.0)
"""Window in Hounsfield units, usual for abdominal CT."""

_SAMPLES = 1_000_000
_known: weakref.WeakKeyDictionary[Volume, Window] = weakref.WeakKeyDictionary()
"""What has been found for volumes that there are."""


class WindowError(PropagationError):
    """The window is none: not finite, or low is not below high."""


@dataclass(frozen=True)
class Window:
    """Grey values at or below `low` become 0, at or above `high` become 1, linear between."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise WindowError(
                "bad_window", f"The window [{self.low}, {self.high}] needs two finite values, low below high."
            )

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Float32 array in [0, 1] of the shape of `values`."""
        scaled = values.astype(np.float32)
        scaled -= np.float32(self.low)
        scaled *= np.float32(1.0 / (self.high - self.low))
        return np.clip(scaled, 0.0, 1.0, out=scaled)


def automatic_window(volume: Volume) -> Window:
    """A window for the whole volume: soft tissue where the values are those of a CT, else percentiles 0.5 to 99.5 of
    the voxels that are not 0 (background of MR, PET and microscopy is mostly 0). Looked for once a volume.
    """
    known = _known.get(volume)
    if known is None:
        known = _known[volume] = _found(volume)
    return known


def _found(volume: Volume) -> Window:
    values = _sample(volume)
    if _looks_like_ct(volume, values):
        return Window(*CT_SOFT_TISSUE)
    content = values[values != 0]
    low, high = (float(edge) for edge in np.percentile(content if content.size else values, (0.5, 99.5)))
    if low >= high:
        low, high = float(volume.voxels.min()), float(volume.voxels.max())
    return Window(low, high)


def object_window(inside: np.ndarray, around: np.ndarray) -> Window:
    """A window centred on an object's own intensities.

    inside, around: 1D grey values of the object and of its surroundings (neither empty). The centre is the median m
    inside; the half width is the largest of 1.5 x the median distance of the surroundings from m, and 2 robust
    standard deviations (1.4826 x median absolute deviation) inside. In whatever unit the values are: PET in SI units
    has values of 1e-9.
    """
    inside, around = inside.astype(np.float64), around.astype(np.float64)
    centre = float(np.median(inside))
    contrast = 1.5 * float(np.median(np.abs(around - centre)))
    spread = 2.0 * 1.4826 * float(np.median(np.abs(inside - centre)))
    half = max(contrast, spread, 1e-4 * abs(centre)) or 1e-6
    return Window(centre - half, centre + half)


def _sample(volume: Volume) -> np.ndarray:
    """About a million voxels on a regular grid, 1D float32."""
    step = max(1, math.ceil((volume.voxels.size / _SAMPLES) ** (1 / 3)))
    return volume.voxels[::step, ::step, ::step].astype(np.float32).ravel()


def _looks_like_ct(volume: Volume, values: np.ndarray) -> bool:
    """Signed, air well below -500, nothing far beyond metal, and some soft tissue."""
    if volume.voxels.dtype.kind == "u" or values.min() > -500:
        return False
    low, high = np.percentile(values, (1.0, 99.9))
    soft_tissue = float(((values > -200) & (values < 300)).mean())
    return bool(low >= -3100 and high <= 5000 and soft_tissue > 0.01)
