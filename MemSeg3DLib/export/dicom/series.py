"""The DICOM series that a segmentation belongs to: chosen, verified, and matched to a labelmap by geometry alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from MemSeg3DLib.export.dicom.sources.errors import DicomSourceError
from MemSeg3DLib.export.dicom.sources.folder import Found, choose, kept, scan, scan_files
from MemSeg3DLib.export.dicom.sources.headers import Plane, planes_of
from MemSeg3DLib.export.dicom.sources.parts import Part, parts_of
from MemSeg3DLib.export.dicom.sources.stack import Stack, allowed, stacked

__all__ = [
    "DicomSourceError",
    "PatientGrid",
    "SourceSeries",
    "onto_series",
    "read_files",
    "read_series",
    "verify_series",
]


@dataclass(frozen=True)
class PatientGrid:
    """A regular grid: shape (k, j, i) and the 4x4 matrix from (i, j, k, 1) to (x, y, z, 1) in mm, LPS."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine)
        lengths = np.linalg.norm(affine[:3, :3], axis=0) if affine.shape == (4, 4) else np.zeros(3)
        # Relative to the lengths: voxels of a micrometre are a grid, too.
        if not np.isfinite(affine).all() or min(lengths) <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise DicomSourceError("The geometry of the labelmap is no invertible 4x4 matrix; save the labelmap again.")

    @classmethod
    def of_image(cls, image: sitk.Image) -> PatientGrid:
        """The grid of a three-dimensional image."""
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
        i, j, k = image.GetSize()
        return cls((k, j, i), affine)


@dataclass(frozen=True)
class SourceSeries:
    """A verified volume: planes in the order of k, ascending along their normal, and the regular grid they lie on.

    Every plane lies on `grid` to within a tenth of a voxel, or the rounding of positions to 0.1 mm. Pixel data need not
    be loaded. title: how messages name it. notes: sentences for the user about what was chosen and left out.
    """

    planes: tuple[Plane, ...]
    grid: PatientGrid
    title: str = ""
    notes: tuple[str, ...] = ()

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The header of every slice's file; frames of one file share it."""
        return tuple(plane.dataset for plane in self.planes)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the slices, each once, in the order of k."""
        return tuple(dict.fromkeys(plane.file for plane in self.planes))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(sk, sj, si) in mm."""
        lengths = np.linalg.norm(self.grid.affine[:3, :3], axis=0)
        return float(lengths[2]), float(lengths[1]), float(lengths[0])


def read_series(folder: Path, wanted: str | None = None, grid: PatientGrid | None = None) -> SourceSeries:
    """A series in `folder` and below, headers only.

    wanted: UID, number, description, or the words by which messages name a part of a series. grid: of a labelmap, which
    then chooses among what is left; without, the largest volume is taken. Raises `DicomSourceError` where there is no
    volume, where it has a fault, or where the labelmap may belong to several.
    """
    if not folder.is_dir():
        raise DicomSourceError(f"{folder} is no folder; name the folder that holds the DICOM series.")
    found = scan(folder)
    if grid is not None:
        fitting = _fitting(found, wanted, grid)
        if fitting is not None:
            return fitting
    part, stack, notes = choose(found, folder, wanted)
    return _series(part, stack, notes)


def read_files(paths: Iterable[Path], grid: PatientGrid | None = None, wanted: str | None = None) -> SourceSeries:
    """The volume that these files hold, headers only (Slicer's database knows which files a volume came from).

    grid: of the volume, which chooses where frames of one file make several. Raises `DicomSourceError`.
    """
    paths = list(paths)
    found = scan_files(paths)
    unread = len(paths) - len({plane.file for part in found.parts for plane in part.planes})
    if not found.parts and unread:
        raise DicomSourceError(f"A source file of this volume cannot be read: {paths[0].name}.")
    if grid is not None:
        fitting = _fitting(found, wanted, grid)
        if fitting is not None:
            return fitting
    part, stack, notes = choose(found, "The selection", wanted)
    return _series(part, stack, notes)


def verify_series(datasets: Sequence[Dataset]) -> SourceSeries:
    """These headers as one volume. Raises `DicomSourceError` where they are several, or no regular grid."""
    if not datasets:
        raise DicomSourceError("There are no source slices; load the volume from DICOM first.")
    planes = [plane for one in datasets for plane in planes_of(one, Path(str(one.get("filename") or "")))]
    parts = parts_of(planes)
    if len(parts) > 1:
        titles = "; ".join(part.title for part in parts)
        raise DicomSourceError(f"The source slices are not one volume but {len(parts)}: {titles}. Choose one of them.")
    return _series(parts[0], stacked(parts[0]))


def _series(part: Part, stack: Stack, notes: tuple[str, ...] = ()) -> SourceSeries:
    affine = np.eye(4)
    affine[:3, :3] = stack.axes * np.array(stack.lengths)
    affine[:3, 3] = stack.origin
    return SourceSeries(stack.planes, PatientGrid(stack.shape, affine), part.title, notes)


def _fitting(found: Found, wanted: str | None, grid: PatientGrid) -> SourceSeries | None:
    """The volume on whose grid a labelmap lies; None where it lies on none.

    Among parts of one series (echoes, phases) the first is taken, as for segmenting, and said; of several series, which
    may be several patients', none.
    """
    fitting = []
    for part in kept(found, wanted):
        try:
            found.check_broken(part)
            series = _series(part, stacked(part))
            onto_series(np.zeros(grid.shape, bool), grid, series)
        except DicomSourceError:
            continue
        fitting.append((part, series))
    if not fitting:
        return None
    titles = [part.title for part, _ in fitting]
    owners = {(part.series, part.planes[0].owner) for part, _ in fitting}
    if len(owners) > 1:
        raise DicomSourceError(
            f"The labelmap lies on the grid of {len(fitting)} volumes: {'; '.join(titles)}. Name its own by --series."
        )
    notes = found.notes
    if len(fitting) > 1:
        notes = (f"Written for {titles[0]}; the labelmap lies on {'; '.join(titles[1:])} as well.", *notes)
    series = fitting[0][1]
    return SourceSeries(series.planes, series.grid, series.title, notes)


def onto_series(array: NDArray[np.generic], grid: PatientGrid, series: SourceSeries) -> NDArray[np.generic]:
    """`array` (k, j, i) of a labelmap's `grid`, with axes turned and flipped so that it follows the series' own grid.

    Corners of both grids are held against each other. Raises `DicomSourceError` where the two do not hold the same
    voxels; nothing is ever resampled.
    """
    if tuple(array.shape) != tuple(grid.shape):
        raise DicomSourceError(f"The labelmap has shape {array.shape}, its geometry says {grid.shape}; save it again.")
    to_series = np.linalg.inv(series.grid.affine) @ grid.affine
    turn = np.rint(to_series[:3, :3]).astype(int)
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        raise DicomSourceError(_not_the_grid("its axes point elsewhere or its voxels have another size"))
    source_axis = [int(np.flatnonzero(turn[axis])[0]) for axis in range(3)]
    flips = [axis for axis in range(3) if turn[axis, source_axis[axis]] < 0]
    turned = np.transpose(array, [2 - source_axis[2], 2 - source_axis[1], 2 - source_axis[0]])
    if turned.shape != series.grid.shape:
        raise DicomSourceError(_not_the_grid(f"it has {turned.shape} voxels (k, j, i), the series {series.grid.shape}"))
    turned = np.flip(turned, tuple(2 - axis for axis in flips))
    _check_corners(_turned_affine(grid, source_axis, flips), series)
    return np.ascontiguousarray(turned)


def _turned_affine(grid: PatientGrid, source_axis: list[int], flips: list[int]) -> NDArray[np.float64]:
    """The labelmap's matrix after its array has been transposed and flipped as `onto_series` does."""
    sizes = grid.shape[::-1]
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, source_axis]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (sizes[source_axis[axis]] - 1)
        affine[:3, axis] *= -1
    return affine


def _check_corners(affine: NDArray[np.float64], series: SourceSeries) -> None:
    """Hold the corners of the labelmap's grid against those of the verified one, by the tolerance of the latter."""
    ends = np.array(series.grid.shape[::-1]) - 1
    corners = np.column_stack([np.array([*np.ndindex(2, 2, 2)]) * ends, np.ones(8)])
    lengths = np.array(series.spacing[::-1])
    # In voxels of the series: as far as planes may lie from their places on it.
    off = (corners @ affine.T @ np.linalg.inv(series.grid.affine).T - corners)[:, :3] * lengths
    worst = int(np.abs(off / np.array([allowed(one) for one in lengths])).max(axis=1).argmax())
    if (np.abs(off[worst]) > [allowed(one) for one in lengths]).any():
        k = int(corners[worst, 2])
        apart = float(np.linalg.norm(off[worst]))
        raise DicomSourceError(_not_the_grid(f"slice {k} lies {apart:.2g} mm away from where the series has it"))


def _not_the_grid(reason: str) -> str:
    return (
        f"The labelmap is not on the grid of the DICOM series: {reason}. "
        "Export the segments with the series' own volume as reference."
    )
