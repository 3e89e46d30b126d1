"""Shapes of the phantom: signed distances in mm (positive inside) on a grid of points, and smooth random fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""One float per voxel, (k, j, i)."""
DISPLACEMENT = 26.0
"""More than the deformation moves a point of the standard seed range, in mm; bounds the search of `tube`."""


@dataclass(frozen=True)
class Grid:
    """Points of the phantom in mm, each a (k, j, i) field: x to the patient's left, y to the back, z to the head."""

    x: Field
    y: Field
    z: Field


def regular_grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    """Voxel centres in mm; x and y are zero in the middle of the slice, z is zero in the first slice."""
    k, j, i = (np.arange(n, dtype=np.float32) for n in shape)
    z, y, x = np.meshgrid(
        k * spacing[0],
        (j - (shape[1] - 1) / 2) * spacing[1],
        (i - (shape[2] - 1) / 2) * spacing[2],
        indexing="ij",
    )
    return Grid(x.astype(np.float32), y.astype(np.float32), z.astype(np.float32))


def smooth_noise(
    rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float], length: float, amplitude: float
) -> Field:
    """A random field with the given correlation length in mm and standard deviation `amplitude`, (k, j, i).

    Drawn on a coarse lattice and interpolated by cubic B-splines, so that long lengths cost nothing.
    """
    coarse = [max(4, int(np.ceil(n * s / length)) + 3) for n, s in zip(shape, spacing, strict=True)]
    field = rng.standard_normal(coarse).astype(np.float32)
    for axis, (n, c) in enumerate(zip(shape, coarse, strict=True)):
        field = np.moveaxis(np.tensordot(_spline_weights(n, c), field, axes=(1, axis)), 0, axis)
    return (amplitude * field / field.std()).astype(np.float32)


def _spline_weights(count: int, knots: int) -> Field:
    """Cubic B-spline weights (count, knots) at `count` positions from the second knot to the last but one."""
    positions = np.linspace(1, knots - 2, count)
    first = np.minimum(positions.astype(int), knots - 3)
    t = positions - first
    weights = np.zeros((count, knots), np.float32)
    parts = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    for offset, part in enumerate(parts):
        weights[np.arange(count), first - 1 + offset] = part / 6
    return weights


def deformed(grid: Grid, rng: np.random.Generator, spacing: tuple[float, float, float]) -> Grid:
    """The grid under a smooth random displacement: a slow one of some mm, and a fine one that roughens surfaces."""
    shape = grid.x.shape

    def moved(values: Field, slow: float, fine: float) -> Field:
        slowly = smooth_noise(rng, shape, spacing, 70.0, slow)
        finely = smooth_noise(rng, shape, spacing, 22.0, fine)
        return (values + slowly + finely).astype(np.float32)

    return Grid(moved(grid.x, 4.0, 1.1), moved(grid.y, 4.0, 1.1), moved(grid.z, 4.0, 1.1))


def ellipsoid(
    grid: Grid,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    power: float = 2.0,
    turn: float = 0.0,
    tilt: float = 0.0,
) -> Field:
    """Distance to a superellipsoid's surface, measured along the ray from its centre; centre and radii (x, y, z) in mm.

    power: 2 for an ellipsoid, larger for a boxier body. turn: degrees about z. tilt: degrees about y.
    """
    x, y, z = grid.x - centre[0], grid.y - centre[1], grid.z - centre[2]
    if turn:
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        x, y = c * x + s * y, c * y - s * x
    if tilt:
        c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
        x, z = c * x + s * z, c * z - s * x
    terms = [np.abs(v / r) ** power for v, r in zip((x, y, z), radii, strict=True)]
    scaled = np.maximum((terms[0] + terms[1] + terms[2]) ** (1 / power), 1e-3)
    return (np.sqrt(x * x + y * y + z * z) * (1 / scaled - 1)).astype(np.float32)


def column(
    grid: Grid, centre_x: Field | float, centre_y: Field | float, radii: tuple[float, float], power: float = 2.0
) -> Field:
    """Distance to the wall of an upright (super)elliptic column whose centre may wander with z; radii (x, y) in mm."""
    x, y = grid.x - centre_x, grid.y - centre_y
    scaled = np.maximum((np.abs(x / radii[0]) ** power + np.abs(y / radii[1]) ** power) ** (1 / power), 1e-3)
    return (np.sqrt(x * x + y * y) * (1 / scaled - 1)).astype(np.float32)


def tube(grid: Grid, *tubes: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Field:
    """Distance to the union of tubes, each a path of (n, 3) points (x, y, z) in mm and a radius in mm at each point.

    Only the neighbourhood of each piece is computed; elsewhere the distance is -1000.
    """
    distance = np.full(grid.x.shape, -1e3, np.float32)
    for path, radii in tubes:
        for start, end, r0, r1 in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
            near = _neighbourhood(
                grid, np.minimum(start, end), np.maximum(start, end), max(r0, r1) + 8.0 + DISPLACEMENT
            )
            points = np.stack([grid.x[near], grid.y[near], grid.z[near]], axis=-1)
            along = (end - start).astype(np.float32)
            offset = points - start.astype(np.float32)
            t = np.clip(offset @ along / max(float(along @ along), 1e-6), 0.0, 1.0)
            gap = np.linalg.norm(offset - t[..., None] * along, axis=-1)
            distance[near] = np.maximum(distance[near], (r0 + t * (r1 - r0)) - gap)
    return distance


def _neighbourhood(grid: Grid, low: NDArray[np.float64], high: NDArray[np.float64], margin: float) -> tuple[slice, ...]:
    """Slices (k, j, i) of the voxels that lie within `margin` mm of a box from `low` to `high` (x, y, z)."""
    axes = (grid.z[:, 0, 0], grid.y[0, :, 0], grid.x[0, 0, :])
    found = []
    for values, a, b in zip(axes, low[::-1], high[::-1], strict=True):
        near = np.flatnonzero((values > a - margin) & (values < b + margin))
        found.append(slice(int(near[0]), int(near[-1]) + 1) if near.size else slice(0, 0))
    return tuple(found)


def random_path(
    rng: np.random.Generator, start: Sequence[float], heading: Sequence[float], steps: int, step: float, wander: float
) -> NDArray[np.float64]:
    """A wandering line of `steps` steps of `step` mm from `start`; `wander` is the change of heading a step."""
    direction = np.asarray(heading, float) / np.linalg.norm(heading)
    points = [np.asarray(start, float)]
    for _ in range(steps):
        direction = direction + wander * rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        points.append(points[-1] + step * direction)
    return np.stack(points)


def repeated(values: Field, period: float) -> Field:
    """Signed distance in mm along an axis to the nearest of the planes 0, +-period, +-2 period, ..."""
    return ((values + period / 2) % period - period / 2).astype(np.float32)


def union(*distances: Field) -> Field:
    """Inside any."""
    return np.maximum.reduce(distances)


def overlap(*distances: Field) -> Field:
    """Inside all."""
    return np.minimum.reduce(distances)
