"""Where a volume's voxels lie in the patient: carried from the file that is read to the labelmap that is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from memseg3d.files.nifti_forms import NiftiForms

SAME_LENGTH = 1e-5
SAME_PLACE = 0.05
"""Grids whose corners lie so far apart (`Geometry.apart`) are one: files round their numbers, and forms of NIfTI do."""
ON_IMAGE = 0.5
"""So far apart labels of a published set may lie and still be those of the image, voxel by voxel."""


@dataclass(frozen=True)
class Geometry:
    """A regular grid in patient space. The worker never interprets it: it only hands it back.

    shape: (k, j, i) voxels. spacing: (i, j, k) mm. origin: centre of voxel 0 in LPS mm. direction: 3x3 row by row, its
    columns the unit vectors of i, j and k in LPS. nifti: the header fields of a NIfTI input, which a NIfTI labelmap
    gets as they are; None for volumes of other formats.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    nifti: NiftiForms | None = None

    @classmethod
    def regular(cls, shape: Sequence[int], spacing: Sequence[float]) -> Geometry:
        """An unrotated grid at the origin, for voxels that came without one. shape, spacing: (k, j, i), mm."""
        k, j, i = (int(n) for n in shape)
        sk, sj, si = (float(s) for s in spacing)
        return cls((k, j, i), (si, sj, sk), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))

    @classmethod
    def of_image(cls, image: sitk.Image | sitk.ImageFileReader) -> Geometry:
        """The grid of a 3D SimpleITK image, or of one whose information a reader has read."""
        i, j, k = image.GetSize()
        si, sj, sk = image.GetSpacing()
        x, y, z = image.GetOrigin()
        return cls((k, j, i), (si, sj, sk), (x, y, z), tuple(image.GetDirection()))

    @classmethod
    def of_nifti(cls, shape: Sequence[int], forms: NiftiForms) -> Geometry:
        """The grid of a NIfTI file with (k, j, i) voxels, by the form that counts."""
        matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ forms.position()
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        k, j, i = (int(n) for n in shape)
        # Where they say the same, the header's own lengths are free of rounding, and the library's.
        stated = np.abs(forms.pixdim[1:]) * forms.millimetres
        near = np.isfinite(stated) & (np.abs(stated - lengths) <= SAME_LENGTH * lengths)
        si, sj, sk = (float(n) for n in np.where(near, stated, lengths))
        x, y, z = (float(n) for n in matrix[:3, 3])
        return cls((k, j, i), (si, sj, sk), (x, y, z), tuple((matrix[:3, :3] / lengths).ravel().tolist()), forms)

    @classmethod
    def from_json(cls, words: dict[str, Any]) -> Geometry:
        """The grid that `to_json` described."""
        k, j, i = words["shape"]
        si, sj, sk = words["spacing"]
        x, y, z = words["origin"]
        forms = NiftiForms(bytes.fromhex(words["nifti"])) if words.get("nifti") else None
        return cls((k, j, i), (si, sj, sk), (x, y, z), tuple(words["direction"]), forms)

    def to_json(self) -> dict[str, Any]:
        """Plain lists of numbers, without loss: floats survive JSON."""
        words: dict[str, Any] = {
            "shape": list(self.shape),
            "spacing": list(self.spacing),
            "origin": list(self.origin),
            "direction": list(self.direction),
        }
        return words if self.nifti is None else {**words, "nifti": self.nifti.fields.hex()}

    @property
    def spacing_kji(self) -> tuple[float, float, float]:
        """Spacing in the order of the arrays, (k, j, i), mm."""
        si, sj, sk = self.spacing
        return sk, sj, si

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4 matrix from voxel indices (i, j, k) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm³."""
        return float(np.prod(self.spacing))

    def apart(self, other: Geometry) -> float:
        """How far the farthest corner of another grid of the same shape lies from this one's, in the smallest side of a
        voxel.
        """
        k, j, i = self.shape
        corners = np.array([[a, b, c, 1.0] for a in (0, i - 1) for b in (0, j - 1) for c in (0, k - 1)])
        moved = corners @ (self.affine - other.affine).T
        return float(np.linalg.norm(moved[:, :3], axis=1).max()) / min(self.spacing)

    def place(self, image: sitk.Image) -> None:
        """Lay a 3D image of the same shape on this grid."""
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
