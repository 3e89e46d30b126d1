"""Small volumes on disk, on grids of every kind, and DICOM series written slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk


def rotation(degrees: float, axis: str) -> np.ndarray:
    """3x3 rotation about x, y or z."""
    angle = np.radians(degrees)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def an_image(direction: np.ndarray | None = None, dtype: type = np.int16) -> sitk.Image:
    """7 slices of 9 rows of 11 columns with a number of its own in each voxel, as far as the type allows."""
    voxels = np.arange(7 * 9 * 11).reshape(7, 9, 11).astype(dtype)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-31.5, 12.25, 840.125))
    image.SetDirection((np.eye(3) if direction is None else direction).ravel().tolist())
    return image


GRIDS = {
    "straight": np.eye(3),
    "flipped": np.diag([1.0, -1.0, 1.0]),
    "mirrored": np.diag([-1.0, -1.0, -1.0]),
    "sagittal": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "oblique": rotation(21.6, "x") @ rotation(-8.0, "y") @ rotation(4.0, "z"),
    "oblique and flipped": rotation(33.0, "y") @ rotation(12.0, "z") @ np.diag([1.0, -1.0, 1.0]),
}


@pytest.fixture(params=GRIDS)
def image_on_any_grid(request: pytest.FixtureRequest) -> sitk.Image:
    """A volume on a straight, flipped, turned or oblique grid."""
    return an_image(GRIDS[request.param])


@pytest.fixture
def an_ordinary_image() -> sitk.Image:
    """A volume on a straight grid."""
    return an_image()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image under a name."""

    def save(image: sitk.Image, name: str, compressed: bool = False) -> Path:
        sitk.WriteImage(image, str(tmp_path / name), useCompression=compressed)
        return tmp_path / name

    return save


@pytest.fixture
def a_dicom_series(tmp_path: Path) -> Callable[..., Path]:
    """Writes DICOM slices into `tmp_path/dicom`, in an order that is not theirs in space."""

    def write(
        heights: list[float],
        uid: str = "1.2.3.1",
        shear: float = 0.0,
        tags: dict[str, str] | None = None,
        orientation: np.ndarray | None = None,
        prefix: str = "slice",
    ) -> Path:
        folder = tmp_path / "dicom"
        folder.mkdir(exist_ok=True)
        axes = np.eye(3) if orientation is None else orientation
        for number, height in enumerate(heights):
            image = sitk.GetImageFromArray(np.full((6, 8), 100 * number, np.int16))
            image.SetSpacing((0.5, 0.75))
            position = axes @ np.array([5.0, -7.0 + shear * height, height])
            words = {
                "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
                "0008|0018": f"{uid}.{number + 1}",
                "0008|0060": "CT",
                "0008|103e": f"series of {uid}",
                "0010|0010": "NOBODY^AT ALL",
                "0020|000d": "1.2.3",
                "0020|000e": uid,
                "0020|0011": uid.rpartition(".")[2],
                "0020|0032": "\\".join(f"{p:.6f}" for p in position),
                "0020|0037": "\\".join(f"{c:.6f}" for c in [*axes[:, 0], *axes[:, 1]]),
                "0028|0030": "0.75\\0.5",
                **(tags or {}),
            }
            for key, value in words.items():
                image.SetMetaData(key, value)
            writer = sitk.ImageFileWriter()
            writer.KeepOriginalImageUIDOn()
            writer.SetFileName(str(folder / f"{prefix}-{(number * 3) % len(heights):02d}.{number}.dcm"))
            writer.Execute(image)
        return folder

    return write
