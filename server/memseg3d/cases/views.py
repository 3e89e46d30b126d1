"""How a slice is shown to a radiologist: turned as on a light box, in a window, cut around the segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from memseg3d.files import Geometry
    from memseg3d.propagation.masks.merged_labels import Claim

LEFT, BACK, HEAD = 0, 1, 2
"""Components of a direction in LPS."""
UPRIGHT = 0.7
"""An axis that runs so much from head to foot stands upright."""


@dataclass(frozen=True)
class View:
    """Slices across array axis `across`: `rows` and `columns` are the array axes that run down and to the right."""

    across: int
    rows: int
    columns: int
    flip_rows: bool
    flip_columns: bool
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @classmethod
    def of(cls, geometry: Geometry, across: int) -> View:
        """Patient's left on the right side of the picture, back or feet below. across: (k, j, i) axis."""
        one, other = (axis for axis in range(3) if axis != across)
        directions = np.reshape(geometry.direction, (3, 3))
        towards = {axis: directions[:, 2 - axis] for axis in (one, other)}
        rows = max((one, other), key=lambda axis: (abs(towards[axis][HEAD]) > UPRIGHT, abs(towards[axis][BACK])))
        columns = other if rows == one else one
        down, right = towards[rows], towards[columns]
        flip_rows = bool(down[HEAD] > 0 if abs(down[HEAD]) > UPRIGHT else down[BACK] < 0)
        strongest = int(np.abs(right[:2]).argmax())
        flip_columns = bool(right[strongest] < 0)
        return cls(across, rows, columns, flip_rows, flip_columns, geometry.shape, geometry.spacing_kji)

    def turned(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A slice, its two axes in their (k, j, i) order, as it is shown."""
        if self.rows > self.columns:
            plane = plane.T
        return plane[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def place(self, point: Sequence[float]) -> tuple[float, float]:
        """Shown (row, column) of a (k, j, i) place."""
        row, column = point[self.rows], point[self.columns]
        row = self.shape[self.rows] - 1 - row if self.flip_rows else row
        column = self.shape[self.columns] - 1 - column if self.flip_columns else column
        return row, column

    @property
    def pixel(self) -> tuple[float, float]:
        """(row, column) spacing in mm of what is shown."""
        return self.spacing[self.rows], self.spacing[self.columns]


def mask_slice(claim: Claim, view: View, index: int) -> NDArray[np.bool_]:
    """A claim's slice as it is shown: bool (rows, columns)."""
    if view.across == 0:
        return view.turned(claim.slab(index, index + 1)[0])
    sizes = [size for axis, size in enumerate(view.shape) if axis != view.across]
    one, other = np.indices(sizes).reshape(2, -1)
    columns: list[NDArray[Any]] = [one, other]
    columns.insert(view.across, np.full(one.shape, index))
    claimed, _ = claim.at(np.column_stack(columns))
    return view.turned(claimed.reshape(sizes))
