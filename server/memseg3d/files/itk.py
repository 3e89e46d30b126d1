"""What every format read by SimpleITK shares: one opened image -> a checked 3D volume of scalars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from memseg3d.files.errors import UnreadableFile
from memseg3d.files.geometry import Geometry

ORTHONORMAL_TOLERANCE = 1e-2
"""Cosine of the angle between two axes up to which a volume counts as perpendicular: half a degree. Labelmaps carry the
input's own axes, so nothing is moved."""


@dataclass(frozen=True)
class VolumeFile:
    """A volume as a file holds it.

    voxels: (k, j, i), C order, native byte order (mapped ones the file's); int8 ... uint32, float32 or float64.
    spacing: (k, j, i) mm. geometry: opaque, for `write_labelmap`. notes: sentences for the user, such as which of
    several series was read. not_finite: voxels that are 0 here and NaN or endless in the file, as its library has it.
    """

    voxels: NDArray[Any]
    spacing: tuple[float, float, float]
    geometry: Geometry
    notes: tuple[str, ...] = ()
    not_finite: int = 0


def read_image(path: Path, shown: str) -> VolumeFile:
    """Read one image file with SimpleITK.

    path: what SimpleITK opens. shown: the name that messages use.
    Raises `UnreadableFile` where it is no image, not 3D, of several components, complex or sheared.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet():
            reader.ReadImageInformation()
            check_header(reader, shown)
            image = reader.Execute()
    except RuntimeError as error:
        raise UnreadableFile(_sentence(shown, str(error))) from error
    return from_image(_three_dimensional(image), shown)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's own warnings off the terminal: what matters is checked and said by this package."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def from_image(image: sitk.Image, shown: str, notes: tuple[str, ...] = ()) -> VolumeFile:
    """The volume of a 3D SimpleITK image of scalars."""
    geometry = Geometry.of_image(image)
    check_perpendicular(geometry, shown)
    return VolumeFile(narrowed(sitk.GetArrayFromImage(image)), geometry.spacing_kji, geometry, notes)


def check_perpendicular(geometry: Geometry, shown: str) -> None:
    """Raise `UnreadableFile` where the axes of the grid are sheared: labelmaps could not be written back on it."""
    axes = np.reshape(geometry.direction, (3, 3))
    if not np.allclose(axes.T @ axes, np.eye(3), atol=ORTHONORMAL_TOLERANCE):
        raise UnreadableFile(_SHEARED.format(shown=shown))


_SHEARED = (
    "The axes of {shown} are not perpendicular (a tilted gantry, for example). "
    "Resample it to a regular grid, for example in 3D Slicer, and save it as NRRD."
)


def check_header(reader: sitk.ImageFileReader, shown: str) -> None:
    """Raise `UnreadableFile` where the image, its information read, is not 3D, of several components or complex."""
    sizes = [int(n) for n in reader.GetSize()]
    if len(sizes) < 3:
        raise UnreadableFile(f"{shown} is a {len(sizes)}D image; MemSeg3D needs a volume of several slices.")
    if 0 in sizes:
        raise UnreadableFile(f"{shown} has a damaged header: one of its sides has no voxels. Copy or export it again.")
    if any(n > 1 for n in sizes[3:]):
        raise UnreadableFile(
            f"{shown} has {len(sizes)} dimensions ({' x '.join(map(str, sizes))}); "
            "save one time point or channel as a 3D volume of its own."
        )
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()).lower():
        raise UnreadableFile(f"{shown} holds complex numbers; save their magnitude as a volume.")
    if reader.GetNumberOfComponents() > 1:
        raise UnreadableFile(
            f"{shown} has {reader.GetNumberOfComponents()} values per voxel (colour or vector); "
            "convert it to one grey value per voxel."
        )


def _three_dimensional(image: sitk.Image) -> sitk.Image:
    while image.GetDimension() > 3:
        size = [*image.GetSize()[:-1], 0]
        image = sitk.Extract(image, size, [0] * image.GetDimension())
    return image


def narrowed(voxels: NDArray[Any]) -> NDArray[Any]:
    """The same values in a type that volumes may have: wide integers in the narrowest that holds them."""
    if voxels.dtype == np.float16:
        return voxels.astype(np.float32)
    if voxels.dtype.kind not in "iu" or voxels.dtype.itemsize <= 2:
        return voxels
    low, high = int(voxels.min()), int(voxels.max())
    for dtype in (np.int16, np.uint16, np.int32, np.uint32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return voxels.astype(dtype)
    return voxels.astype(np.float64)


def _sentence(shown: str, reason: str) -> str:
    if "orthonormal" in reason:
        return _SHEARED.format(shown=shown)
    if "Unable to determine ImageIO reader" in reason:
        return f"{shown} is not an image of the format that its name promises; check that it is the right file."
    return f"{shown} cannot be read: it is damaged or cut off. Copy or export it again."
