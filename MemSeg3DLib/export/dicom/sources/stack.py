"""Whether the planes of a part are a volume: in order along their normal, on a regular grid, or a sentence why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from MemSeg3DLib.export.dicom.sources.errors import DicomSourceError, NoVolume
from MemSeg3DLib.export.dicom.sources.headers import Plane
from MemSeg3DLib.export.dicom.sources.parts import Part

SHARE = 0.1
"""How far a plane may lie from its place on the grid, as a share of the distance between planes or of a pixel."""
ROUNDED = 0.1
"""In mm: positions are rounded so far by some scanners; allowed up to a quarter of the distance or pixel."""
PERPENDICULAR = 1e-2


@dataclass(frozen=True)
class Stack:
    """Planes in order along the normal, and their grid.

    origin: LPS mm. axes: (3, 3), its columns the unit vectors of i, j and k in LPS. lengths: of (i, j, k) in mm.
    """

    planes: tuple[Plane, ...]
    origin: tuple[float, float, float]
    axes: NDArray[np.float64]
    lengths: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i)."""
        return (len(self.planes), *self.planes[0].size)


def stacked(part: Part) -> Stack:
    """The grid of a part. Raises `NoVolume` where it is no volume, `DicomSourceError` where it is one with a fault."""
    title = f"The {part.title}"
    planes = part.planes
    _check_kind(planes, title)
    _check_identity(planes, title)
    row, column = _directions(planes, title)
    normal = np.cross(row, column)
    order = np.argsort([np.dot(one.position, normal) for one in planes], kind="stable")
    ordered = tuple(planes[n] for n in order)
    positions = np.array([one.position for one in ordered])
    spacing = np.median([one.spacing for one in planes], axis=0)
    step = _step(positions, normal, float(spacing.min()), title)
    x, y, z = (float(n) for n in positions[0])
    axes = np.stack([row, column, normal], axis=1)
    return Stack(ordered, (x, y, z), axes, (float(spacing[1]), float(spacing[0]), step))


def _check_kind(planes: Sequence[Plane], title: str) -> None:
    if planes[0].components > 1:
        raise NoVolume(f"{title} is in colour; MemSeg3D needs one grey value per voxel.")
    if planes[0].unplaced_frames:
        raise NoVolume(f"{title} is a multi-frame file that does not say where its frames lie; it is no volume.")
    if not all(len(one.position) == 3 and len(one.orientation) == 6 for one in planes):
        raise NoVolume(f"{title} has images without a position in the patient; it is no volume.")
    if len(planes) == 1:
        raise NoVolume(f"{title} has a single slice; MemSeg3D needs several.")
    if min(planes[0].size) < 1:
        raise NoVolume(f"{title} has no pixels; it is no volume.")
    if not all(len(one.spacing) == 2 and min(one.spacing) > 0 for one in planes):
        raise DicomSourceError(
            f"{title} does not say how large its pixels are (Pixel Spacing is missing): lengths and volumes would be "
            "guesses. Export the original images."
        )


def _check_identity(planes: Sequence[Plane], title: str) -> None:
    fields = {
        "Series Instance UID": [one.series for one in planes],
        "Study Instance UID": [one.owner[1] for one in planes],
        "SOP Instance UID": [one.instance for one in planes],
    }
    missing = [name for name, values in fields.items() if not all(values)]
    if missing:
        raise DicomSourceError(
            f"{title} lacks the {missing[0]} by which DICOM tells what belongs together. Export it again from the "
            "archive, or convert it to NIfTI."
        )
    if len({(one.instance, one.frame) for one in planes}) < len(planes):
        raise DicomSourceError(f"{title} has different images with one SOP Instance UID. Export the series again.")


def _directions(planes: Sequence[Plane], title: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along rows and columns that all planes have in common."""
    cosines = np.array([one.orientation for one in planes]).reshape(-1, 2, 3)
    lengths = np.linalg.norm(cosines, axis=2, keepdims=True)
    if lengths.min() < 0.5:
        raise NoVolume(f"{title} has images without a position in the patient; it is no volume.")
    common = np.median(cosines / lengths, axis=0)
    row, column = common / np.linalg.norm(common, axis=1, keepdims=True)
    if abs(float(row @ column)) > PERPENDICULAR:
        raise DicomSourceError(f"The rows and columns of the {title.removeprefix('The ')} are not perpendicular.")
    return row, column


def _step(positions: NDArray[np.float64], normal: NDArray[np.float64], pixel: float, title: str) -> float:
    """Distance between planes in mm; positions: (n, 3) LPS mm in order along `normal`."""
    heights = (positions - positions[0]) @ normal
    gaps = np.diff(heights)
    step = float(heights[-1]) / len(gaps)
    typical = float(np.median(gaps))
    if step <= 0 or gaps.min() <= 0.01 * step:
        raise DicomSourceError(
            f"{title} has several images at one position, and its headers do not tell them apart (a time series?); "
            "export one of them alone."
        )
    if np.abs(heights - np.arange(len(heights)) * step).max() > allowed(step):
        worst = int(np.abs(gaps - typical).argmax())
        raise DicomSourceError(
            f"{title} has irregular gaps: slices {worst + 1} and {worst + 2} are {_mm(gaps[worst])} mm apart, others "
            f"{_mm(typical)} mm. A slice may be missing: export the series again, or resample it to even spacing."
        )
    sideways = positions - positions[0] - heights[:, None] * normal
    if np.linalg.norm(sideways, axis=1).max() > allowed(pixel):
        raise DicomSourceError(
            f"The slices of the {title.removeprefix('The ')} are shifted against each other (a tilted gantry). "
            "Open it in 3D Slicer, which straightens it, and save it as NRRD."
        )
    return step


def allowed(length: float) -> float:
    """How far in mm a plane may lie from its place, along a distance or pixel of this length."""
    return max(SHARE * length, min(ROUNDED, 0.25 * length))


def _mm(length: float) -> str:
    return f"{length:.2f}" if length >= 0.1 else f"{length:.3g}"
