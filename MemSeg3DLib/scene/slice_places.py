"""Where slices lie in millimetres, as Slicer shows it beside a view: their numbers are found nowhere else on screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MemSeg3DLib.scene.nodes import ijk_to_world, volume_array

_LETTERS = "RAS"


@dataclass(frozen=True)
class SlicePlaces:
    """The slices across one axis. letter: R, A or S, where the axis points most; first: mm of slice 0; step: mm."""

    letter: str
    first: float
    step: float

    def millimetres(self, index: float) -> float:
        """Distance of a slice from the world's origin, along the volume's own axis."""
        return self.first + index * self.step

    def words(self, index: int) -> str:
        """Such as "S 123.4 mm"."""
        return f"{self.letter} {self.millimetres(index):.1f} mm"


def slice_places(volume_node: Any, axis: int) -> SlicePlaces:
    """The places of a volume's slices across axis 0 (slice), 1 (row) or 2 (column), in its own geometry.

    A view that was turned to the volume shows the same number. Raises SceneError where there is no image.
    """
    middle = [(count - 1) / 2 for count in volume_array(volume_node).shape]

    def at(along: int, index: float) -> np.ndarray:
        kji = list(middle)
        kji[along] = index
        return np.array(ijk_to_world(volume_node, (kji[0], kji[1], kji[2])))

    first = at(axis, 0.0)
    rows, columns = (at(other, middle[other] + 1) - at(other, middle[other]) for other in range(3) if other != axis)
    # The normal, as a view has it: a leaning stack is numbered along it and not along the slope.
    normal = np.cross(rows, columns)
    normal = normal / np.linalg.norm(normal)
    main = int(np.argmax(np.abs(normal)))
    if normal[main] < 0:
        normal = -normal
    return SlicePlaces(_LETTERS[main], float(first @ normal), float((at(axis, 1.0) - first) @ normal))
