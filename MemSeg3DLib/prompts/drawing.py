"""Strokes and lassos as they travel: as points on a slice of the volume, as voxels where their plane is tilted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import PromptError
from MemSeg3DLib.base.packing import Extent, pack_bits
from MemSeg3DLib.scene.nodes import volume_array, world_to_ijk
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix, transform_points

SAMPLES_PER_VOXEL = 2
"""A drawing on a tilted plane is looked at this many times along the shortest side of a voxel."""
CHUNK = 500_000
"""Samples that go through the transforms at once, so that a drawing over a whole slice needs little memory."""
MOST_POINTS = 4000
"""Points of one drawing that travel at most; the worker refuses more."""
STROKE_VOXELS = 2.0
"""Width of a stroke that names none, in voxels of its slice."""
_OUTSIDE = "The drawing lies outside the source volume: draw it on the image."


def points_to_kji(points: np.ndarray, volume_node: Any) -> np.ndarray:
    """Many world points (N, 3) in RAS mm as voxel coordinates (k, j, i); through any parent transform."""
    local = transform_points(None, volume_node.GetParentTransformNode(), points)
    matrix = np.linalg.inv(ijk_to_local_matrix(volume_node))
    return np.asarray((local @ matrix[:3, :3].T + matrix[:3, 3])[:, ::-1])


def stroke_to_wire(
    world: np.ndarray, kji: np.ndarray, width_mm: float | None, volume_node: Any, axis: int
) -> dict[str, Any]:
    """A stroke, by the same points (N, 3) in the world (RAS mm) and in the volume (k, j, i), as a wire prompt's part.

    width_mm: None is two voxels. Raises PromptError where it cannot be used.
    """
    if len(kji) == 0:
        raise PromptError("The stroke is empty: press, draw over the object, and release.")
    lengths = _lengths_at(kji, volume_node)
    width = STROKE_VOXELS * min(lengths[:axis] + lengths[axis + 1 :]) if width_mm is None else width_mm
    if not (math.isfinite(width) and width > 0):
        raise PromptError(f"A stroke of {width} mm has no width: choose a wider brush.")
    if not _is_on_one_slice(kji, axis):
        return _touched_to_wire(world, volume_node, axis, width)
    radii = [width / 2 / length for length in lengths]
    return {"type": "scribble", "points": _flat_points(kji, radii, volume_node, axis), "radii": radii}


def lasso_to_wire(world: np.ndarray, kji: np.ndarray, volume_node: Any, axis: int) -> dict[str, Any]:
    """A lasso, by the same points (N, 3) in the world (RAS mm) and in the volume (k, j, i), as a wire prompt's part.

    Raises PromptError where it cannot be used.
    """
    across = [other for other in range(3) if other != axis]
    if len(kji) < 3 or np.ptp(kji[:, across], axis=0).min() < 0.5:
        raise PromptError("The lasso has no area: draw it round a part of the image.")
    if not _is_on_one_slice(kji, axis):
        return _touched_to_wire(world, volume_node, axis, None)
    return {"type": "lasso", "points": _flat_points(kji, (0.0, 0.0, 0.0), volume_node, axis)}


def _touched_to_wire(world: np.ndarray, volume_node: Any, axis: int, width: float | None) -> dict[str, Any]:
    found = voxels_touched(world, volume_node, axis, width)
    if found is None:
        raise PromptError(_OUTSIDE)
    extent, mask = found
    return {"type": "voxels", "extent": [list(r) for r in extent], "bits": pack_bits(mask)}


def _is_on_one_slice(kji: np.ndarray, axis: int) -> bool:
    slices = np.floor(kji[:, axis] + 0.5)
    return bool(np.all(slices == slices[0]))


def _flat_points(kji: np.ndarray, reach: Sequence[float], volume_node: Any, axis: int) -> list[list[float]]:
    """The points of a drawing on one slice, with that slice's whole number. reach: its radius (k, j, i) in voxels."""
    shape = np.array(volume_array(volume_node).shape)
    index = math.floor(kji[0, axis] + 0.5)
    outside = (kji.max(axis=0) + reach < -0.5) | (kji.min(axis=0) - reach >= shape - 0.5)
    outside[axis] = not 0 <= index < shape[axis]
    if outside.any():
        raise PromptError(_OUTSIDE)
    flat = _thinned(kji)
    flat[:, axis] = index
    return [[float(value) for value in point] for point in flat]


def _thinned(points: np.ndarray) -> np.ndarray:
    """A copy of the polyline without points that lie on top of each other; coarser where there are very many."""
    step = 0.25
    while True:
        kept = [0]
        for place in range(1, len(points)):
            if np.abs(points[place] - points[kept[-1]]).max() >= step:
                kept.append(place)
        # The end of a stroke is meant, however near the last kept point lies.
        kept += [len(points) - 1] if kept[-1] != len(points) - 1 else []
        if len(kept) <= MOST_POINTS:
            return np.array(points[kept])
        step *= 2


def _lengths_at(kji: np.ndarray, volume_node: Any) -> tuple[float, float, float]:
    k, j, i = (float(value) for value in kji.mean(axis=0))
    return voxel_lengths(volume_node, (k, j, i))


def stroke_on_grid(points: np.ndarray, radius: float, shape: tuple[int, int]) -> np.ndarray:
    """Boolean grid: points within `radius` of a polyline. points: (N, 2) (row, column), grid points at integers."""
    result = np.zeros(shape, dtype=bool)
    last = points[:1] if len(points) == 1 else points[1:]
    for start, end in zip(points[: len(last)], last, strict=True):
        low = np.floor(np.minimum(start, end) - radius).astype(int).clip(0)
        high = np.ceil(np.maximum(start, end) + radius).astype(int) + 1
        high = np.minimum(high, shape)
        if np.any(high <= low):
            continue
        rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
        along = end - start
        length = float(along @ along)
        place = ((rows - start[0]) * along[0] + (columns - start[1]) * along[1]) / length if length > 0 else 0.0
        place = np.clip(place, 0.0, 1.0)
        distance = (rows - start[0] - place * along[0]) ** 2 + (columns - start[1] - place * along[1]) ** 2
        result[low[0] : high[0], low[1] : high[1]] |= distance <= radius**2
    return result


def polygon_on_grid(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boolean grid: points inside a closed polygon, however often it crosses itself. points: (N, 2) (row, column)."""
    winding = np.zeros((shape[0], shape[1] + 1), dtype=np.int32)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        sign, (low, high) = (1, (start, end)) if start[0] < end[0] else (-1, (end, start))
        rows = np.arange(max(int(np.ceil(low[0])), 0), min(int(np.ceil(high[0])), shape[0]))
        if rows.size == 0:
            continue
        crossing = low[1] + (rows - low[0]) * (high[1] - low[1]) / (high[0] - low[0])
        np.add.at(winding, (rows, np.ceil(crossing).astype(int).clip(0, shape[1])), sign)
    return np.asarray(np.cumsum(winding, axis=1)[:, :-1] != 0)


def voxels_touched(
    points: np.ndarray, volume_node: Any, axis: int, width: float | None
) -> tuple[Extent, np.ndarray] | None:
    """The voxels that a drawing on one plane of the world passes through; None where it lies outside the volume.

    points: (N, 3) RAS mm, on any plane; axis: the volume axis nearest to the plane's normal; width: of a
    stroke in mm, None where the points are the corners of a polygon.
    Returns the extent and a boolean (k, j, i) array of it. Every voxel holds a drawn point, so none is off by more than
    half of itself.
    """
    shape = volume_array(volume_node).shape
    plane = _Plane(points, volume_node, axis)
    flat = plane.flat(points)
    step = plane.voxel_length / SAMPLES_PER_VOXEL
    margin = 0.0 if width is None else width / 2
    corner = flat.min(axis=0) - margin
    size = np.ceil((flat.max(axis=0) + margin - corner) / step).astype(int) + 1
    grid = (flat - corner) / step
    area = (int(size[0]), int(size[1]))
    inside = polygon_on_grid(grid, area) if width is None else stroke_on_grid(grid, margin / step, area)
    # What was drawn counts also where it is thinner than the distance between two samples.
    pieces = [_voxels(_densified(points, step), volume_node, shape)]
    sampled = np.argwhere(inside)
    for start in range(0, len(sampled), CHUNK):
        drawn = plane.solid(sampled[start : start + CHUNK] * step + corner)
        pieces.append(_voxels(drawn, volume_node, shape))
    voxels = np.unique(np.concatenate(pieces), axis=0)
    if len(voxels) == 0:
        return None
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    mask = np.zeros(high - low, dtype=bool)
    mask[tuple((voxels - low).T)] = True
    (k0, j0, i0), (k1, j1, i1) = low.tolist(), high.tolist()
    return ((k0, k1), (j0, j1), (i0, i1)), mask


def slice_normal(volume_node: Any, axis: int, kji: tuple[float, float, float]) -> np.ndarray:
    """Unit normal (3,) in the world of the slice across `axis` at a voxel, through the volume's parent transform."""
    return slice_normals(voxel_sides(volume_node, kji))[axis]


def slice_normals(sides: np.ndarray) -> np.ndarray:
    """Unit normals (3, 3) in the world, one a row, of the slices across each axis; sides: what `voxel_sides` gives."""
    normals = np.cross(sides[[1, 0, 0]], sides[[2, 2, 1]])
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def voxel_lengths(volume_node: Any, kji: tuple[float, float, float]) -> tuple[float, float, float]:
    """Sides (k, j, i) of a voxel in the world in mm, at a place of the volume."""
    k, j, i = (float(length) for length in np.linalg.norm(voxel_sides(volume_node, kji), axis=1))
    return (k, j, i)


def voxel_sides(volume_node: Any, kji: tuple[float, float, float]) -> np.ndarray:
    """Vectors (3, 3) in the world in mm, one a row, along a voxel's sides (k, j, i) at a place of the volume."""
    k, j, i = kji
    ends = np.array([i, j, k]) + np.concatenate([-0.5 * np.eye(3)[::-1], 0.5 * np.eye(3)[::-1]])
    matrix = ijk_to_local_matrix(volume_node)
    world = transform_points(volume_node.GetParentTransformNode(), None, ends @ matrix[:3, :3].T + matrix[:3, 3])
    return np.asarray(world[3:] - world[:3])


class _Plane:
    """The plane that a drawing lies on, with two directions on it."""

    def __init__(self, points: np.ndarray, volume_node: Any, axis: int) -> None:
        self._origin = points.mean(axis=0)
        x, y, z = self._origin
        here = world_to_ijk(volume_node, (float(x), float(y), float(z)))
        self.voxel_length = min(voxel_lengths(volume_node, here))
        _, extents, directions = np.linalg.svd(points - self._origin, full_matrices=True)
        along = directions[0]
        if len(extents) > 1 and extents[1] > 0.5 * self.voxel_length:
            normal = directions[2]
        else:
            # A straight line lies on many planes: the one nearest to the volume's slices is meant.
            normal = slice_normal(volume_node, axis, here)
            normal = normal - (normal @ along) * along
            normal = normal / np.linalg.norm(normal) if np.linalg.norm(normal) > 1e-6 else directions[2]
        self._axes = np.stack([along, np.cross(normal, along)])

    def flat(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) world points as (N, 2) mm on the plane."""
        return np.asarray((points - self._origin) @ self._axes.T)

    def solid(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `flat`."""
        return np.asarray(points @ self._axes + self._origin)


def _densified(points: np.ndarray, step: float) -> np.ndarray:
    """The polyline's points and others between them, no further apart than `step` mm."""
    pieces = [points]
    for start, end in itertools.pairwise(points):
        count = int(np.ceil(np.linalg.norm(end - start) / step))
        if count > 1:
            pieces.append(start + (end - start) * (np.arange(1, count) / count)[:, None])
    return np.concatenate(pieces)


def _voxels(points: np.ndarray, volume_node: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The different voxels (N, 3) (k, j, i) that world points lie in, without those outside the volume."""
    kji = points_to_kji(points, volume_node)
    voxels = np.floor(kji[np.isfinite(kji).all(axis=1)] + 0.5).astype(np.int64)
    return np.unique(voxels[((voxels >= 0) & (voxels < shape)).all(axis=1)], axis=0)
