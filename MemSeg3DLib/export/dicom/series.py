"""The DICOM series that a segmentation belongs to: its slices read, sorted, verified and matched to a labelmap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from MemSeg3DLib.base.errors import MemSeg3DError

DIRECTION_TOLERANCE = 1e-3
LARGEST_SHIFT = 0.1
"""How far in mm a slice may lie from where a regular stack would put it: scanners round positions, some to 0.1 mm."""
NO_SOURCES = ("SEG", "RTDOSE", "RTSTRUCT", "PR", "SR", "KO", "REG")


class DicomSourceError(MemSeg3DError):
    """A series cannot serve as the source of a segmentation; the message says why and what to do."""


@dataclass(frozen=True)
class PatientGrid:
    """A regular grid: shape (k, j, i) and the 4x4 matrix from (i, j, k, 1) to (x, y, z, 1) in mm, LPS."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if np.asarray(self.affine).shape != (4, 4) or abs(np.linalg.det(np.asarray(self.affine)[:3, :3])) < 1e-12:
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
    """A verified series of single-frame slices: `datasets` follow k, ascending along the normal of the image plane.

    Every dataset lies on `grid` to within `LARGEST_SHIFT`. Pixel data need not be loaded.
    """

    datasets: tuple[Dataset, ...]
    grid: PatientGrid

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(sk, sj, si) in mm."""
        lengths = np.linalg.norm(self.grid.affine[:3, :3], axis=0)
        return float(lengths[2]), float(lengths[1]), float(lengths[0])


def read_series(folder: Path, series_uid: str | None = None) -> SourceSeries:
    """The image series in `folder` and below, headers only. `series_uid` chooses where there are several.

    Files that are no DICOM are passed over. Raises `DicomSourceError` where no single, regular series is found.
    """
    if not folder.is_dir():
        raise DicomSourceError(f"{folder} is no folder; name the folder that holds the DICOM series.")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(slices[0].get("SeriesInstanceUID", "")): slices for slices in group_series(files)}
    if series_uid is not None:
        if series_uid not in found:
            raise DicomSourceError(f"There is no image series {series_uid} in {folder}.")
        return verify_series(found[series_uid])
    if not found:
        raise DicomSourceError(f"There is no DICOM image series in {folder}; name the folder of one.")
    if len(found) > 1:
        listed = "; ".join(
            f"{uid} ({len(slices)} {slices[0].get('Modality', '?')} slices)" for uid, slices in found.items()
        )
        raise DicomSourceError(f"{folder} holds {len(found)} image series; choose one by its UID: {listed}.")
    return verify_series(next(iter(found.values())))


def group_series(files: Iterable[Path]) -> list[list[Dataset]]:
    """Headers of the image slices among DICOM files, one list a series, in the order of the series' numbers."""
    found: dict[str, list[Dataset]] = {}
    for dataset in _headers_of(files):
        if "Rows" in dataset and dataset.get("Modality") not in NO_SOURCES:
            found.setdefault(str(dataset.get("SeriesInstanceUID", "")), []).append(dataset)
    return sorted(found.values(), key=lambda slices: (int(slices[0].get("SeriesNumber") or 0), len(slices)))


def read_files(paths: Iterable[Path]) -> SourceSeries:
    """The series made of exactly these files, headers only (Slicer's database knows which files a volume came from)."""
    try:
        return verify_series([pydicom.dcmread(path, stop_before_pixels=True) for path in paths])
    except (OSError, InvalidDicomError) as error:
        raise DicomSourceError(f"A source file of this volume cannot be read: {error}") from error


def verify_series(datasets: Sequence[Dataset]) -> SourceSeries:
    """Sort the slices of one series along their normal and check that they form a regular grid.

    Raises `DicomSourceError` for mixed patients, studies, series, frames of reference, sizes, orientations or spacings,
    for missing, doubled or unevenly placed slices, for a tilted stack and for multi-frame objects.
    """
    if not datasets:
        raise DicomSourceError("There are no source slices; load the volume from DICOM first.")
    _check_identity(datasets)
    first = datasets[0]
    across, down = _orientation(first)
    normal = np.cross(across, down)
    rows, columns = int(first.Rows), int(first.Columns)
    for dataset in datasets:
        if not np.allclose(_orientation(dataset), (across, down), atol=DIRECTION_TOLERANCE):
            raise DicomSourceError(
                f"{_slice(dataset)} has another orientation than the first slice; export one stack only."
            )
        if not np.allclose(_floats(dataset, "PixelSpacing"), _floats(first, "PixelSpacing"), rtol=1e-4):
            raise DicomSourceError(f"{_slice(dataset)} has another pixel spacing than the first slice.")
        if (int(dataset.Rows), int(dataset.Columns)) != (rows, columns):
            raise DicomSourceError(f"{_slice(dataset)} has another size than the first slice.")
    ordered = sorted(datasets, key=lambda dataset: float(normal @ _floats(dataset, "ImagePositionPatient")))
    positions = np.array([_floats(dataset, "ImagePositionPatient") for dataset in ordered])
    step = _regular_step(ordered, positions, normal)
    row_spacing, column_spacing = _floats(first, "PixelSpacing")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = across * column_spacing, down * row_spacing, step
    affine[:3, 3] = positions[0]
    return SourceSeries(tuple(ordered), PatientGrid((len(ordered), rows, columns), affine))


def onto_series(array: NDArray[np.generic], grid: PatientGrid, series: SourceSeries) -> NDArray[np.generic]:
    """`array` (k, j, i) of a labelmap's `grid`, with axes turned and flipped so that it follows the series' own grid.

    Each slice is held against the position, orientation and spacing of its own source image. Raises `DicomSourceError`
    where the two grids do not hold the same voxels; nothing is ever resampled.
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
    _check_slices(_turned_affine(grid, source_axis, flips), series)
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


def _check_slices(affine: NDArray[np.float64], series: SourceSeries) -> None:
    """Hold every slice of the labelmap against its own source image, corner by corner."""
    _, rows, columns = series.grid.shape
    allowed = min(LARGEST_SHIFT, 0.1 * min(series.spacing)) + 0.02
    corners = np.array([(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)], float)
    for k, dataset in enumerate(series.datasets):
        across, down = _orientation(dataset)
        row_spacing, column_spacing = _floats(dataset, "PixelSpacing")
        position = _floats(dataset, "ImagePositionPatient")
        theirs = position + corners[:, :1] * across * column_spacing + corners[:, 1:] * down * row_spacing
        ours = np.column_stack([corners, np.full(4, k), np.ones(4)]) @ affine[:3].T
        apart = float(np.linalg.norm(ours - theirs, axis=1).max())
        if apart > allowed:
            raise DicomSourceError(_not_the_grid(f"slice {k} lies {apart:.2f} mm away from {_slice(dataset)}"))


def _not_the_grid(reason: str) -> str:
    return (
        f"The labelmap is not on the grid of the DICOM series: {reason}. "
        "Export the segments with the series' own volume as reference."
    )


def _headers_of(files: Iterable[Path]) -> Iterable[Dataset]:
    for path in files:
        try:
            yield pydicom.dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        except OSError as error:
            raise DicomSourceError(f"{path} cannot be read: {error.strerror or error}.") from error


def _check_identity(datasets: Sequence[Dataset]) -> None:
    """One patient, study, series and frame of reference; every slice with its own UID and the fields of a plane."""
    words = {
        "SOPClassUID": "type of object",
        "StudyInstanceUID": "study",
        "SeriesInstanceUID": "series",
        "FrameOfReferenceUID": "frame of reference",
    }
    for dataset in datasets:
        if int(dataset.get("NumberOfFrames") or 1) > 1:
            raise DicomSourceError(
                "The source is a multi-frame object, which cannot be referenced yet; use single-frame slices."
            )
        needed = [
            *words,
            "SOPInstanceUID",
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "Rows",
            "Columns",
        ]
        missing = [keyword for keyword in needed if not dataset.get(keyword)]
        if missing:
            raise DicomSourceError(f"{_slice(dataset)} lacks {', '.join(missing)}; such a series cannot be referenced.")
    for keyword, word in words.items():
        if len({str(dataset[keyword].value) for dataset in datasets}) > 1:
            raise DicomSourceError(f"The source slices belong to more than one {word}; choose a single series.")
    if len({str(dataset.get("PatientID", "")) for dataset in datasets}) > 1:
        raise DicomSourceError("The source slices belong to more than one patient; choose a single series.")
    if len({str(dataset.SOPInstanceUID) for dataset in datasets}) < len(datasets):
        raise DicomSourceError("The series holds the same slice twice; remove the duplicate files.")


def _regular_step(
    ordered: Sequence[Dataset], positions: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The vector from one slice to the next in mm, once all gaps are equal and run along the normal."""
    count = len(ordered)
    if count == 1:
        thickness = ordered[0].get("SpacingBetweenSlices") or ordered[0].get("SliceThickness") or 1.0
        return normal * abs(float(thickness))
    mean = (positions[-1] - positions[0]) / (count - 1)
    usual = float(np.median(np.diff(positions @ normal)))
    gaps = list(zip(ordered[1:], np.diff(positions @ normal), strict=True))
    for dataset, gap in gaps:
        if gap < 1e-3:
            raise DicomSourceError(f"{_slice(dataset)} lies where another slice lies; choose one phase or echo.")
    for dataset, gap in gaps:
        if abs(gap - usual) > 0.25 * usual:
            raise DicomSourceError(
                f"{_slice(dataset)} lies {gap:.2f} mm after the slice before it, the others {usual:.2f} mm: "
                "slices are missing or unevenly spaced, and a labelmap cannot describe that."
            )
    sideways = np.linalg.norm(np.cross(positions - positions[0], normal), axis=1).max()
    if sideways > LARGEST_SHIFT:
        raise DicomSourceError(
            f"The slices are shifted sideways by up to {sideways:.2f} mm (tilted gantry): "
            "their voxels form no regular grid, and a labelmap cannot describe that."
        )
    strays = np.linalg.norm(positions - positions[0] - np.arange(count)[:, None] * mean, axis=1).max()
    if strays > LARGEST_SHIFT:
        raise DicomSourceError(
            f"The slices lie up to {strays:.2f} mm from an even spacing, and a labelmap cannot describe that."
        )
    return mean


def _orientation(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors across the columns and down the rows, LPS."""
    values = _floats(dataset, "ImageOrientationPatient")
    if values.shape != (6,) or min(np.linalg.norm(values[:3]), np.linalg.norm(values[3:])) < 1e-6:
        raise DicomSourceError(f"{_slice(dataset)} has no valid orientation.")
    return values[:3] / np.linalg.norm(values[:3]), values[3:] / np.linalg.norm(values[3:])


def _floats(dataset: Dataset, keyword: str) -> NDArray[np.float64]:
    return np.array([float(value) for value in dataset[keyword].value], np.float64)


def _slice(dataset: Dataset) -> str:
    return f"Slice {dataset.get('InstanceNumber', '?')} ({dataset.get('SOPInstanceUID', 'without UID')})"
