"""Orders in which people have coordinates: of arrays, Slicer, ITK-SNAP, in millimetres; and the way to (k, j, i)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memseg3d.cases.errors import CaseError

if TYPE_CHECKING:
    from memseg3d.files import Geometry

Point3 = tuple[float, float, float]


@dataclass(frozen=True)
class Order:
    """One way to write a place. letters: of its three numbers; first: of the first voxel, None for millimetres."""

    name: str
    letters: tuple[str, str, str]
    first: int | None
    told: str
    turned: bool = False
    """The numbers run i, j, k instead of k, j, i."""
    sign: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """From LPS millimetres."""

    @property
    def in_mm(self) -> bool:
        """True where places are millimetres in the patient."""
        return self.first is None

    @property
    def words(self) -> str:
        """Its letters as they are written: "k, j, i"."""
        return ", ".join(self.letters)

    def to_kji(self, point: Sequence[float], geometry: Geometry) -> Point3:
        """A place in this order as (k, j, i) voxels."""
        a, b, c = (float(value) for value in point)
        if self.in_mm:
            import numpy as np

            lps = np.array([a, b, c]) * self.sign
            i, j, k = np.linalg.solve(geometry.affine[:3, :3], lps - geometry.affine[:3, 3])
            # Millimetres with three decimals name voxels to about a thousandth.
            k, j, i = (round(float(each), 4) for each in (k, j, i))
            return k, j, i
        assert self.first is not None
        a, b, c = a - self.first, b - self.first, c - self.first
        return (c, b, a) if self.turned else (a, b, c)

    def from_kji(self, point: Sequence[float], geometry: Geometry) -> Point3:
        """A place in (k, j, i) voxels in this order."""
        k, j, i = (float(value) for value in point)
        if self.in_mm:
            import numpy as np

            x, y, z = (geometry.affine[:3, :3] @ np.array([i, j, k]) + geometry.affine[:3, 3]) * self.sign
            return float(x), float(y), float(z)
        assert self.first is not None
        a, b, c = (i, j, k) if self.turned else (k, j, i)
        return a + self.first, b + self.first, c + self.first

    def size(self, geometry: Geometry) -> str:
        """The volume's extent in this order, for messages: "k, j, i from 0, 0, 0 to 199, 511, 511"."""
        k, j, i = geometry.shape
        if not self.in_mm:
            low, high = self.from_kji((0, 0, 0), geometry), self.from_kji((k - 1, j - 1, i - 1), geometry)
            return f"{self.words} from {numbers(low)} to {numbers(high)}"
        corners = [self.from_kji((a, b, c), geometry) for a in (0, k - 1) for b in (0, j - 1) for c in (0, i - 1)]
        least = [round(min(each), 1) for each in zip(*corners, strict=True)]
        most = [round(max(each), 1) for each in zip(*corners, strict=True)]
        return f"{self.words} in mm within {numbers(least)} to {numbers(most)}"


KJI = Order("kji", ("k", "j", "i"), 0, "voxels as slice, row, column, from 0 (numpy, napari)")
ORDERS = {
    order.name: order
    for order in (
        KJI,
        Order("ijk", ("i", "j", "k"), 0, "voxels as column, row, slice, from 0 (Slicer's Data Probe, nibabel)", True),
        Order("itksnap", ("x", "y", "z"), 1, "voxels as column, row, slice, from 1 (ITK-SNAP's cursor)", True),
        Order("lps", ("L", "P", "S"), None, "millimetres to the left, back, head (DICOM, ITK)"),
        Order("ras", ("R", "A", "S"), None, "millimetres to the right, front, head (Slicer)", sign=(-1.0, -1.0, 1.0)),
    )
}


def order_named(name: str) -> Order:
    """The order of this name. Raises `CaseError`."""
    if name not in ORDERS:
        raise CaseError(f"{name} is no order of coordinates; choose one of {', '.join(ORDERS)}.", "--coordinates")
    return ORDERS[name]


def numbers(values: Sequence[float]) -> str:
    """Numbers as people write them: "60, 70.5, 80"."""
    return ", ".join(f"{value:g}" for value in values)
