"""What the demo segments: the phantom by default, or a volume of one's own with truth or with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from demo.phantom import make_phantom, write_phantom
from demo.phantom_anatomy import LIVER, STOMACH
from demo.results import Box, Case, DemoError, Target
from demo.user import draw_box, working_axis
from MemSeg3DLib.export.dicom.series import PatientGrid, SourceSeries, read_series
from MemSeg3DLib.export.dicom.terminology import SegmentDescription, describe

COLOURS = ((236, 137, 98), (88, 190, 160), (150, 150, 235), (230, 190, 80))


def phantom_case(folder: Path) -> Case:
    """The torso phantom, written into `folder`. Targets: the liver, which a box finds, and the stomach, whose air and
    fluid look so unlike that a box is not enough.
    """
    phantom = make_phantom()
    image, _ = write_phantom(phantom, folder)
    targets = [
        Target(phantom.labels[label], draw_box(phantom.mask(label), axis=0), phantom.mask(label))
        for label in (LIVER, STOMACH)
    ]
    affine = np.diag([*phantom.spacing[::-1], 1.0])
    affine[:3, 3] = phantom.origin
    return Case("Torso phantom (CT)", image, phantom.voxels, affine, phantom.spacing, targets)


def own_case(volume: Path, truth: Path | None, boxes: Sequence[str], folder: Path) -> Case:
    """A volume of one's own: NIfTI, NRRD or MetaImage, or the folder of a DICOM series.

    Targets: the two largest labels of `truth`, or each box, written as name:k0,j0,i0,k1,j1,i1. A left-handed volume is
    turned over along k, as Slicer does when it reads one, so that voxels mean the same here and in the scene. Boxes are
    in the file's own voxels. Raises `DemoError`.
    """
    if not truth and not boxes:
        raise DemoError('Without TRUTH the demo needs a box: make demo VOLUME=... BOX="liver:60,40,30,60,110,120".')
    image, file, series = _open(volume, folder)
    is_left_handed = np.linalg.det(_affine(image)[:3, :3]) < 0
    k, j, i = (float(s) for s in image.GetSpacing()[::-1])
    spacing = (k, j, i)
    if truth:
        targets = _targets_of(_labels(_read(truth), image), is_left_handed, spacing)
    else:
        targets = [_boxed(n, text, image.GetSize()[::-1], is_left_handed) for n, text in enumerate(boxes, 1)]
    if is_left_handed:
        image = sitk.Flip(image, (False, False, True))
    voxels = sitk.GetArrayFromImage(image)
    name = volume.name.split(".")[0] or str(volume)
    if volume.parent.name and name == "image":
        name = volume.parent.name
    return Case(name, file, voxels, _affine(image), spacing, targets, series)


def _open(volume: Path, folder: Path) -> tuple[sitk.Image, Path, SourceSeries | None]:
    """The image, the file that the scene opens, and the series where the volume is DICOM."""
    if not volume.is_dir():
        return _read(volume), volume, None
    series = read_series(volume)
    image = sitk.ReadImage([str(dataset.filename) for dataset in series.datasets])
    # Voxels and geometry only: the patient's header stays in the series.
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    file = folder / "volume.nrrd"
    sitk.WriteImage(image, str(file))
    return image, file, series


def _read(path: Path) -> sitk.Image:
    if not path.exists():
        raise DemoError(f"There is no file {path}; check the path.")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise DemoError(f"{path} cannot be read; the demo takes NIfTI, NRRD, MetaImage or a DICOM folder.") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise DemoError(f"{path} is no three-dimensional grey image; the demo takes one volume of one channel.")
    return image


def _affine(image: sitk.Image) -> NDArray[np.float64]:
    return PatientGrid.of_image(image).affine


def _labels(truth: sitk.Image, image: sitk.Image) -> NDArray[np.int64]:
    if truth.GetSize() != image.GetSize() or not np.allclose(_affine(truth), _affine(image), atol=0.01):
        raise DemoError("TRUTH is not on the grid of VOLUME; resample it first.")
    return np.rint(sitk.GetArrayFromImage(truth)).astype(np.int64)


def _targets_of(labels: NDArray[np.int64], is_left_handed: bool, spacing: tuple[float, float, float]) -> list[Target]:
    labels = labels[::-1] if is_left_handed else labels
    values, counts = np.unique(labels[labels > 0], return_counts=True)
    if not len(values):
        raise DemoError("TRUTH holds no label; it must have at least one value above 0.")
    largest = values[np.argsort(-counts, kind="stable")][:2]
    axis = working_axis(spacing)
    targets = []
    for number, value in enumerate(largest.tolist(), 1):
        mask = labels == value
        targets.append(Target(_described(number, f"label {value}"), draw_box(mask, axis), mask))
    return targets


def _boxed(number: int, text: str, shape: tuple[int, ...], is_left_handed: bool) -> Target:
    form = f"{text!r} is no box; write name:k0,j0,i0,k1,j1,i1 with k0 = k1 (or j0 = j1, or i0 = i1)."
    name, _, numbers = text.rpartition(":")
    try:
        values = [float(value) for value in numbers.split(",")]
    except ValueError as error:
        raise DemoError(form) from error
    if not name or len(values) != 6:
        raise DemoError(form)
    lower, upper = (values[0], values[1], values[2]), (values[3], values[4], values[5])
    flat = [axis for axis in range(3) if lower[axis] == upper[axis]]
    if len(flat) != 1 or any(a > b for a, b in zip(lower, upper, strict=True)):
        raise DemoError(form)
    if any(a < 0 or b > n - 1 for a, b, n in zip(lower, upper, shape, strict=True)):
        raise DemoError(f"The box {text!r} leaves the volume, which has {shape} voxels (k, j, i).")
    if is_left_handed:
        last = shape[0] - 1.0
        lower, upper = (last - upper[0], *lower[1:]), (last - lower[0], *upper[1:])
    return Target(_described(number, name), Box(flat[0], lower, upper))


def _described(number: int, name: str) -> SegmentDescription:
    segment = describe(number, name)
    return segment if segment.colour else replace(segment, colour=COLOURS[(number - 1) % len(COLOURS)])
