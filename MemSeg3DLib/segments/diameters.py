"""Longest diameter of a mask within one slice, and the longest one perpendicular to it, exact on any grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_COUNT = 32
_ANGLES = np.arange(_COUNT) * np.pi / _COUNT
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])
# Half a step between two directions, and a little for rounding.
_SLACK = np.cos(np.pi / (2 * _COUNT)) - 1e-9


@dataclass(frozen=True)
class Diameters:
    """Two diameters of one slice in mm; index: the slice; ends: of each, (j, i)-like voxel coordinates in the plane.

    The outline runs through the middle of the edges between voxels inside and outside, and both diameters join points
    of its convex hull, so that a row of ten voxels of 1 mm is 10 mm long.
    """

    index: int
    longest: float
    perpendicular: float
    longest_ends: tuple[tuple[float, float], tuple[float, float]]
    perpendicular_ends: tuple[tuple[float, float], tuple[float, float]]


def longest_diameters(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Diameters | None:
    """The slice (first axis) with the longest in-plane diameter, as response criteria measure it; None where empty.

    mask: boolean (slice, row, column). rows, columns: vectors in mm (3) from one row, or column, to the next; they need
    not be perpendicular. Of equally long ones the first slice counts.
    """
    step = _in_plane(rows, columns)
    outlines = {int(index): _outline(mask[index]) @ step for index in np.flatnonzero(mask.any(axis=(1, 2)))}
    if not outlines:
        return None
    widths = {index: float(np.ptp(points @ _DIRECTIONS, axis=0).max()) for index, points in outlines.items()}
    # The diameter is the greatest width, and none of the directions looked along is far from that of the diameter.
    reach = max(widths.values()) * _SLACK
    candidates = [index for index, width in widths.items() if width >= reach]
    best: Diameters | None = None
    for index in candidates:
        found = _of_slice(index, outlines[index], step)
        if best is None or found.longest > best.longest + 1e-9 * best.longest:
            best = found
    return best


def _in_plane(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(2, 2): steps of (row, column) in perpendicular millimetres of their plane."""
    _, upper = np.linalg.qr(np.column_stack([rows, columns]))
    return np.asarray(upper).T


def _of_slice(index: int, outline: np.ndarray, step: np.ndarray) -> Diameters:
    corners = _hull(outline)
    apart = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    a, b = np.unravel_index(int(np.argmax(apart)), apart.shape)
    start, end = _widest_across(corners, corners[b] - corners[a])
    back = np.linalg.inv(step)
    return Diameters(
        index=index,
        longest=float(apart[a, b]),
        perpendicular=float(np.linalg.norm(end - start)),
        longest_ends=(_pair(corners[a] @ back), _pair(corners[b] @ back)),
        perpendicular_ends=(_pair(start @ back), _pair(end @ back)),
    )


def _outline(plane: np.ndarray) -> np.ndarray:
    """(N, 2) of (row, column): middles of the outermost edges of each row and column; their hull is that of all."""
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    by_row, by_column = plane[rows], plane[:, columns]
    left, right = by_row.argmax(axis=1), plane.shape[1] - 1 - by_row[:, ::-1].argmax(axis=1)
    top, bottom = by_column.argmax(axis=0), plane.shape[0] - 1 - by_column[::-1].argmax(axis=0)
    return np.concatenate(
        [
            np.column_stack([rows, left - 0.5]),
            np.column_stack([rows, right + 0.5]),
            np.column_stack([top - 0.5, columns]),
            np.column_stack([bottom + 0.5, columns]),
        ]
    )


def _hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull in order (Andrew's monotone chain)."""
    ordered = sorted(set(map(tuple, points.tolist())))

    def chain(sequence: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for x, y in sequence:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _widest_across(corners: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the longest chord of a convex polygon at a right angle to `direction`.

    Along the direction the chord's length is concave and linear between corners, so one through a corner is longest.
    """
    along = direction / np.linalg.norm(direction)
    across = np.array([-along[1], along[0]])
    t, u = corners @ along, corners @ across
    following_t, following_u = np.roll(t, -1), np.roll(u, -1)
    best = (-1.0, 0.0, 0.0, 0.0)
    for at in t:
        low, high = np.minimum(t, following_t), np.maximum(t, following_t)
        crossed = (low <= at) & (at <= high)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(following_t == t, 0.0, (at - t) / (following_t - t))
        # An edge that runs across holds its whole length at this place: both its ends count.
        heights = np.concatenate([(u + share * (following_u - u))[crossed], u[t == at]])
        if np.ptp(heights) > best[0]:
            best = (float(np.ptp(heights)), float(at), float(heights.min()), float(heights.max()))
    _, at, low_end, high_end = best
    return at * along + low_end * across, at * along + high_end * across


def _pair(point: np.ndarray) -> tuple[float, float]:
    return (float(point[0]), float(point[1]))
