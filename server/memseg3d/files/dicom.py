"""Reads one series of a DICOM folder as a volume: chooses it, checks that it is a regular grid, stacks its slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from memseg3d.files.dicom_pixels import check_whole
from memseg3d.files.dicom_series import DicomSeries, DicomSlice, find_series
from memseg3d.files.errors import UnreadableFile
from memseg3d.files.geometry import Geometry
from memseg3d.files.itk import VolumeFile, from_image, quiet

GRID_TOLERANCE = 0.1
"""How far a slice may lie from its place on the regular grid, as a share of the slice spacing or pixel size."""


def read_dicom_folder(folder: Path, wanted: str | None = None) -> VolumeFile:
    """Read a DICOM series: the largest under `folder`, or the one whose UID, number or description is `wanted`.

    Voxels are rescaled values (Hounsfield units for CT). Slices are ordered along the normal of the image plane.
    Raises `UnreadableFile`: no series, none of that name, colour, multi-frame, gaps, doubled or shifted slices.
    """
    with quiet():
        series, notes = _choose(find_series(folder), folder, wanted)
    slices, geometry = _grid(series)
    for one in slices:
        check_whole(Path(one.file), series.title)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([one.file for one in slices])
    if any(one.pixel_id in (sitk.sitkFloat32, sitk.sitkFloat64) for one in slices):
        reader.SetOutputPixelType(sitk.sitkFloat32)  # slopes differ per slice (PET): the first must not decide
    else:
        reader.SetOutputPixelType(max(one.pixel_id for one in slices))
    try:
        with quiet():
            image = reader.Execute()
    except RuntimeError as error:
        raise UnreadableFile(f"A file of the {series.title} is damaged or cut off. Export the series again.") from error
    geometry.place(image)
    return from_image(image, series.title, notes)


def _choose(found: list[DicomSeries], folder: Path, wanted: str | None) -> tuple[DicomSeries, tuple[str, ...]]:
    if not found:
        raise UnreadableFile(f"{folder} holds no DICOM images; give the folder of a CT, MR or PET series.")
    titles = "; ".join(one.title for one in found)
    named = [one for one in found if wanted is None or one.is_named(wanted)]
    if not named:
        raise UnreadableFile(f"{folder} holds no series '{wanted}'. It holds: {titles}.")
    if len(found) == 1:
        return named[0], ()
    reason = "the largest" if wanted is None else "as named"
    others = "; ".join(one.title for one in found if one is not named[0])
    return named[0], (f"Read {named[0].title}, {reason}. Also in the folder: {others}.",)


def _grid(series: DicomSeries) -> tuple[list[DicomSlice], Geometry]:
    """The slices in order, and the regular grid that they form."""
    first = series.slices[0]
    title = f"The {series.title}"
    if first.components > 1:
        raise UnreadableFile(f"{title} is in colour; MemSeg3D needs one grey value per voxel.")
    if len(first.size) > 2 and first.size[2] > 1:
        raise UnreadableFile(f"{title} is a multi-frame file; open it in 3D Slicer and save the volume as NRRD.")
    if not all(one.position and one.orientation for one in series.slices):
        raise UnreadableFile(f"{title} has images without a position in the patient; it is no volume.")
    if len(series.slices) == 1:
        raise UnreadableFile(f"{title} has a single slice; MemSeg3D needs several.")
    row, column = np.reshape(first.orientation, (2, 3))
    normal = np.cross(row, column)
    positions = np.array([one.position for one in series.slices])
    order = np.argsort(positions @ normal, kind="stable")
    slices = [series.slices[n] for n in order]
    spacing = _slice_spacing(positions[order], normal, min(first.spacing), title)
    geometry = Geometry(
        shape=(len(slices), first.size[1], first.size[0]),
        spacing=(*first.spacing, spacing),
        origin=slices[0].position,
        direction=tuple(np.stack([row, column, normal], axis=1).ravel().tolist()),
    )
    return slices, geometry


def _slice_spacing(positions: NDArray[np.float64], normal: NDArray[np.float64], pixel: float, title: str) -> float:
    """Distance between slices in mm; positions: (n, 3) LPS mm in order along `normal`."""
    heights = (positions - positions[0]) @ normal
    gaps = np.diff(heights)
    typical = float(np.median(gaps))
    if gaps.min() <= 1e-3:
        raise UnreadableFile(f"{title} has several images at one position (a time series?); export one of them alone.")
    step = float(heights[-1]) / len(gaps)
    ideal = np.arange(len(heights)) * step
    if np.abs(heights - ideal).max() > GRID_TOLERANCE * step or np.abs(gaps - typical).max() > GRID_TOLERANCE * typical:
        worst = int(np.abs(gaps - typical).argmax())
        raise UnreadableFile(
            f"{title} has irregular gaps: slices {worst + 1} and {worst + 2} are {gaps[worst]:.2f} mm apart, others "
            f"{typical:.2f} mm. A slice may be missing: export the series again, or resample it to even spacing."
        )
    sideways = positions - positions[0] - heights[:, None] * normal
    if np.linalg.norm(sideways, axis=1).max() > GRID_TOLERANCE * pixel:
        raise UnreadableFile(
            f"The slices of the {title.removeprefix('The ')} are shifted against each other (a tilted gantry). "
            "Open it in 3D Slicer, which straightens it, and save it as NRRD."
        )
    return step
