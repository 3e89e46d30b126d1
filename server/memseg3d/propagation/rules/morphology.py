"""Masks eroded, dilated and measured: on one slice, or slice by slice across an axis."""

from __future__ import annotations

import numpy as np

from memseg3d.propagation.masks.filters import dilated, distance_map

_HALVES = slice(None, -1), slice(1, None)


def signed_distance(mask: np.ndarray, spacing: tuple[float, ...], beyond: float = np.inf) -> np.ndarray:
    """Distance in mm from a mask's outermost voxels (2D or 3D): 0 there, positive inside, within `beyond` either way.

    Beyond the array is outside.
    """
    if not mask.any():
        return np.full(mask.shape, -beyond, np.float32)
    inner = (slice(1, -1),) * mask.ndim
    return np.clip(distance_map(np.pad(mask, 1), spacing)[inner], -beyond, beyond).astype(np.float32)


def depth_in_pixels(mask: np.ndarray) -> np.ndarray:
    """(rows, columns) float: distance in pixels from what lies outside a mask, 1 there; beyond the slice is outside."""
    return np.maximum(distance_map(np.pad(mask, 1))[1:-1, 1:-1], 0) + 1.0


def disk(shape: tuple[int, ...], row: int, column: int, radius: float) -> np.ndarray:
    """Boolean (rows, columns) of `shape`: pixels at most `radius` pixels from one."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(rows - row, columns - column) <= radius)


def eroded(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask (rows, columns) without what lies within so many pixels of the outside; beyond the slice is outside."""
    return ~dilated(~np.pad(mask, pixels), pixels)[pixels:-pixels, pixels:-pixels]


def near(mask: np.ndarray, spacing: tuple[float, float, float], distance: float) -> np.ndarray:
    """Voxels (k, j, i) at most `distance` mm from the mask along each axis."""
    result = mask
    for axis, step in enumerate(spacing):
        reach = int(distance / step)
        if reach:
            padded = np.moveaxis(
                np.pad(result, [(reach + 1, reach) if each == axis else (0, 0) for each in range(3)]), axis, 0
            )
            counts = np.cumsum(padded, axis=0, dtype=np.int32)
            result = np.moveaxis(counts[2 * reach + 1 :] > counts[: -2 * reach - 1], 0, axis)
    return result


def grown_in_plane(mask: np.ndarray, axis: int, pixels: int) -> np.ndarray:
    """The mask (k, j, i) dilated by so many pixels, by rows and columns, on each slice across `axis`."""
    result = mask.copy()
    for _ in range(pixels):
        before = result.copy()
        for side in (each for each in range(3) if each != axis):
            low, high = (tuple(part if each == side else slice(None) for each in range(3)) for part in _HALVES)
            result[low] |= before[high]
            result[high] |= before[low]
    return result


def shrunk_in_plane(mask: np.ndarray, axis: int, pixels: int) -> np.ndarray:
    """The mask (k, j, i) eroded likewise; what lies outside the array counts as outside the mask."""
    result = mask.copy()
    for _ in range(pixels):
        before = result.copy()
        for side in (each for each in range(3) if each != axis):
            low, high = (tuple(part if each == side else slice(None) for each in range(3)) for part in _HALVES)
            result[low] &= before[high]
            result[high] &= before[low]
            for edge in (0, -1):
                result[tuple(edge if each == side else slice(None) for each in range(3))] = False
    return result


def nearest_part(parts: np.ndarray, spot: tuple[int, ...], within: float = 4.0) -> int:
    """The number of the part at `spot`, or of the nearest within some pixels of it; 0 where there is none."""
    rows, columns = np.nonzero(parts)
    if rows.size == 0:
        return 0
    away = np.hypot(rows - spot[0], columns - spot[1])
    nearest = int(away.argmin())
    return int(parts[rows[nearest], columns[nearest]]) if away[nearest] <= within else 0
