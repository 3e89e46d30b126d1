"""How a slice is shown to a radiologist: patient's left on the right side of the picture, back or feet below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.results import Voxel

LEFT, BACK, HEAD = 0, 1, 2
"""Components of a direction in LPS."""


@dataclass(frozen=True)
class Plane:
    """Slices across array axis `across`: `rows` and `columns` are the array axes that run down and to the right."""

    across: int
    rows: int
    columns: int
    flip_rows: bool
    flip_columns: bool

    def cut(self, array: NDArray[Any], index: int) -> NDArray[Any]:
        """Slice `index` of a (k, j, i) array, turned for display."""
        plane = np.take(array, index, axis=self.across)
        if self.rows > self.columns:
            plane = plane.T
        return plane[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def place(self, voxel: Voxel, shape: tuple[int, ...]) -> tuple[float, float]:
        """Displayed (row, column) of a voxel (k, j, i)."""
        row, column = voxel[self.rows], voxel[self.columns]
        row = shape[self.rows] - 1 - row if self.flip_rows else row
        column = shape[self.columns] - 1 - column if self.flip_columns else column
        return row, column


def display_plane(affine: NDArray[np.float64], across: int) -> Plane:
    """The plane across a (k, j, i) axis of a volume with this matrix from (i, j, k, 1) to LPS mm."""
    axes = [axis for axis in range(3) if axis != across]
    towards = {axis: affine[:3, 2 - axis] / np.linalg.norm(affine[:3, 2 - axis]) for axis in axes}
    # The axis that runs most from head to foot stands upright; where none does, the one from front to back.
    rows = max(axes, key=lambda axis: (abs(towards[axis][HEAD]) > 0.7, abs(towards[axis][BACK])))
    columns = next(axis for axis in axes if axis != rows)
    down = towards[rows]
    upright = abs(down[HEAD]) > 0.7
    flip_rows = bool(down[HEAD] > 0 if upright else down[BACK] < 0)
    right = towards[columns]
    strongest = int(np.abs(right[:2]).argmax())
    return Plane(across, rows, columns, flip_rows, bool(right[strongest] < 0))
