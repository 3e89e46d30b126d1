"""The demo's user, who knows the truth: draws a box on the largest slice and clicks where the error is largest."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from demo.results import Box, Click, Mask, Voxel


def working_axis(spacing: Voxel) -> int:
    """The axis across the slices that a user looks at: the one with the largest spacing; the first where all agree."""
    largest = max(spacing)
    near = [axis for axis in range(3) if spacing[axis] > 0.99 * largest]
    return near[0] if len(near) == 1 else 0


def draw_box(truth: Mask, axis: int) -> Box:
    """The tight box round the object on the slice where its area is largest."""
    other = tuple(a for a in range(3) if a != axis)
    index = int(truth.sum(axis=other).argmax())
    lower, upper = [0.0] * 3, [0.0] * 3
    lower[axis] = upper[axis] = float(index)
    plane = np.take(truth, index, axis=axis)
    for position, along in enumerate(other):
        filled = np.flatnonzero(plane.any(axis=1 - position))
        lower[along], upper[along] = float(filled[0]), float(filled[-1])
    return Box(axis, (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def correct(mask: Mask, truth: Mask, axis: int, spacing: Voxel) -> Click | None:
    """A click deep inside the largest error: on the slice with the largest error area, in its largest connected part,
    at the point farthest from that part's edge (in mm, the image border counts as edge). None where nothing is wrong.
    """
    error = mask ^ truth
    if not error.any():
        return None
    other = [a for a in range(3) if a != axis]
    index = int(error.sum(axis=tuple(other)).argmax())
    parts, _ = ndimage.label(np.take(error, index, axis=axis))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    part = np.pad(parts == sizes.argmax(), 1)
    depth = ndimage.distance_transform_edt(part, sampling=[spacing[a] for a in other])[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    position = [0.0] * 3
    position[axis], position[other[0]], position[other[1]] = float(index), float(row), float(column)
    voxel = (position[0], position[1], position[2])
    return Click(axis, voxel, bool(truth[tuple(int(c) for c in voxel)]))
