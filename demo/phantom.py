"""The torso phantom: a small CT of made-up organs with its truth, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from demo.phantom_anatomy import LABELS, Canvas, paint_torso
from demo.phantom_shapes import Grid, deformed, regular_grid, smooth_noise
from MemSeg3DLib.export.dicom.terminology import SegmentDescription, write_labels

SHAPE = (80, 160, 160)
SPACING = (3.0, 2.0, 2.0)
NOISE = 13.0
"""Standard deviation of the noise in HU in the middle of the body: a standard-dose abdomen in 3 mm slices."""


@dataclass(frozen=True)
class Phantom:
    """A CT volume with its truth; arrays (k, j, i) in patient axes: k to the head, j to the back, i to the left.

    voxels: int16 HU. truth: uint8, keys of `labels`, 0 elsewhere. spacing: (sk, sj, si) in mm.
    """

    voxels: NDArray[np.int16]
    truth: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    labels: dict[int, SegmentDescription]

    @property
    def origin(self) -> tuple[float, float, float]:
        """Centre of the first voxel as (x, y, z) in mm, LPS; the middle of the volume is at x = y = 0."""
        _, rows, columns = self.voxels.shape
        return -(columns - 1) / 2 * self.spacing[2], -(rows - 1) / 2 * self.spacing[1], -1100.0

    def mask(self, label: int) -> NDArray[np.bool_]:
        """The whole structure, with the labels that lie inside it (a liver includes its lesion)."""
        return np.isin(self.truth, [label, *self.labels[label].includes])

    def image(self, array: NDArray[np.generic]) -> sitk.Image:
        """An array on the phantom's grid as an ITK image with its geometry."""
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.spacing[::-1])
        image.SetOrigin(self.origin)
        return image


def make_phantom(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Phantom:
    """The phantom of a seed; the same seed and shape give the same voxels.

    shape (k, j, i): the field of view about the middle of the torso, at most `SHAPE`; small ones are quick.
    """
    if any(n < 8 or n > full for n, full in zip(shape, SHAPE, strict=True)):
        raise ValueError(f"The phantom's shape must lie between (8, 8, 8) and {SHAPE}, not {shape}.")
    rng = np.random.default_rng(seed)
    crop = tuple(slice((full - n) // 2, (full - n) // 2 + n) for full, n in zip(SHAPE, shape, strict=True))
    torso = regular_grid(SHAPE, SPACING)
    grid = Grid(torso.x[crop].copy(), torso.y[crop].copy(), torso.z[crop].copy())
    canvas = Canvas(shape, SPACING)
    paint_torso(canvas, grid, deformed(grid, rng, SPACING), rng)
    blurred = ndimage.gaussian_filter(canvas.hu, (0.35, 0.55, 0.55))
    voxels = blurred + _noise(rng, canvas.inside)
    rounded = np.clip(np.rint(voxels), -1024, 3071).astype(np.int16)
    return Phantom(rounded, canvas.truth, SPACING, LABELS)


def write_phantom(phantom: Phantom, folder: Path) -> tuple[Path, Path]:
    """Write image.nii.gz, truth.nii.gz and labels.json into `folder`; returns the paths of the first two."""
    folder.mkdir(parents=True, exist_ok=True)
    image, truth = folder / "image.nii.gz", folder / "truth.nii.gz"
    sitk.WriteImage(phantom.image(phantom.voxels), str(image), useCompression=True)
    sitk.WriteImage(phantom.image(phantom.truth), str(truth), useCompression=True)
    write_labels(list(phantom.labels.values()), folder / "labels.json")
    return image, truth


def _noise(rng: np.random.Generator, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Noise of filtered backprojection: a ramp times a Hann window in the plane, slightly correlated between slices,
    stronger where more tissue is in the beam.
    """
    white = rng.standard_normal(inside.shape).astype(np.float32)
    rows, columns = inside.shape[1:]
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(rows), np.fft.fftfreq(columns), indexing="ij"))
    response = radius * (0.5 + 0.5 * np.cos(np.pi * np.clip(radius / 0.5, 0, 1)))
    shaped = np.fft.ifft2(np.fft.fft2(white, axes=(1, 2)) * response, axes=(1, 2)).real
    shaped = ndimage.gaussian_filter1d(shaped, 0.4, axis=0)
    depth = ndimage.gaussian_filter(inside.astype(np.float32), (2, 14, 14))
    drift = smooth_noise(rng, inside.shape, SPACING, 60.0, 1.5)
    return (shaped / shaped.std() * NOISE * (0.25 + 0.85 * depth) + drift).astype(np.float32)
