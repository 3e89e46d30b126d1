"""When two lattices count as one: by how far the corners lie apart, never by the entries of their matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FARTHEST = 0.1
"""How far, in voxels, corners of two grids may lie apart that count as one: the rounding of files and of headers."""


def is_same_lattice(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    shape: tuple[int, int, int],
    first: tuple[int, int, int] = (0, 0, 0),
) -> bool:
    """Whether two 4x4 matrices from (i, j, k, 1) to mm put every voxel of a grid at one place.

    shape: of the grid, (k, j, i). first: lattice (k, j, i) of its first voxel.
    """
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(shape[::-1]) - 1) + np.array(first[::-1])
    there = (np.column_stack([corners, np.ones(8)]) @ (np.linalg.inv(other) @ one).T)[:, :3]
    return bool((np.abs(there - corners) <= FARTHEST).all())
