"""Grey values of a volume as 2D images keep them: exactly, through one window, or slice by slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.conversion.options import Options, Scaling

CT_WINDOW = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""
PERCENTILES = (0.5, 99.5)
_MOST_SAMPLED = 2_000_000


@dataclass(frozen=True)
class Stored:
    """voxels: uint8 or uint16 in the volume's shape; each means voxel * slope + offset where that can be said."""

    voxels: NDArray[Any]
    slope: float = 1.0
    offset: float = 0.0


def stored(voxels: NDArray[Any], modality: str, options: Options) -> Stored:
    """Grey values of a volume (slice, row, column) as `options`, settled, want them. What is not finite becomes 0."""
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        voxels = np.nan_to_num(voxels, nan=0.0, posinf=0.0, neginf=0.0)
    if options.scaling is Scaling.EXACT:
        return _exact(voxels)
    if options.scaling is Scaling.SLICE:
        return Stored(_by_slice(voxels, options.window, options.is_nii2video_release))
    low, high = options.window or _window(voxels, modality)
    scaled = (voxels.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return Stored(np.rint(scaled.clip(0, 255)).astype(np.uint8))


def _exact(voxels: NDArray[Any]) -> Stored:
    low, high = float(voxels.min()), float(voxels.max())
    if voxels.dtype.kind in "iu" and high - low <= np.iinfo(np.uint16).max:
        dtype = np.uint8 if high - low <= np.iinfo(np.uint8).max else np.uint16
        return Stored((voxels.astype(np.int64) - int(low)).astype(dtype), 1.0, low)
    # Fractions, and ranges beyond 16 bits, are kept to a 65535th of their range.
    slope = (high - low) / np.iinfo(np.uint16).max or 1.0
    return Stored(np.rint((voxels.astype(np.float64) - low) / slope).astype(np.uint16), slope, low)


def _by_slice(voxels: NDArray[Any], clip: tuple[float, float] | None, is_truncated: bool) -> NDArray[np.uint8]:
    """Each slice from its least to its most; nii2video's release cuts fractions off, Mem3D's rounds them."""
    out = np.zeros(voxels.shape, np.uint8)
    for k, plane in enumerate(voxels):
        values = plane.astype(np.float64)
        if clip is not None:
            values = values.clip(*clip)
        low, high = values.min(), values.max()
        if high > low:
            scaled = (values - low) / (high - low) * 255
            out[k] = scaled if is_truncated else np.rint(scaled)
    return out


def _window(voxels: NDArray[Any], modality: str) -> tuple[float, float]:
    """Soft tissue for CT; elsewhere most of what is above the background."""
    if modality == "CT" and voxels.min() < CT_WINDOW[0]:
        return CT_WINDOW
    sampled = voxels.ravel()[:: max(1, voxels.size // _MOST_SAMPLED)]
    above = sampled[sampled > sampled.min()]
    low, high = (float(p) for p in np.percentile(above if above.size else sampled, PERCENTILES))
    return (low, high) if high > low else (low, low + 1)
