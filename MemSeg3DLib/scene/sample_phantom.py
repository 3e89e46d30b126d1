"""A small made-up CT with its truth, for the first try and for the self-test inside Slicer: nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

SHAPE = (40, 112, 144)
SPACING = (4.0, 2.5, 2.5)
NOISE = 12.0
"""Standard deviation in HU."""

AIR, FAT, MUSCLE, BONE = -1000.0, -95.0, 50.0, 330.0

LIVER, KIDNEY_LEFT, KIDNEY_RIGHT = 1, 2, 3
NAMES = {LIVER: "liver", KIDNEY_LEFT: "left kidney", KIDNEY_RIGHT: "right kidney"}
_HU = {LIVER: 115.0, KIDNEY_LEFT: 190.0, KIDNEY_RIGHT: 190.0}

# Ellipsoids in mm from the middle of the volume: centre and half axes, both (to the head, to the back, to the left).
_BODY = ((0.0, 5.0, 0.0), (400.0, 105.0, 160.0))
_WALL = ((0.0, 5.0, 0.0), (400.0, 92.0, 147.0))
_CAVITY = ((0.0, -5.0, 0.0), (400.0, 72.0, 128.0))
_SPINE = ((0.0, 70.0, 0.0), (400.0, 20.0, 24.0))
_ORGANS = {
    LIVER: (((15.0, -10.0, -62.0), (52.0, 52.0, 58.0)), ((22.0, -30.0, -10.0), (30.0, 30.0, 45.0))),
    KIDNEY_LEFT: (((-12.0, 38.0, 62.0), (46.0, 24.0, 22.0)),),
    KIDNEY_RIGHT: (((-24.0, 46.0, -66.0), (40.0, 22.0, 21.0)),),
}


@dataclass(frozen=True)
class Sample:
    """voxels: int16 HU; truth: uint8, keys of NAMES; both (k, j, i), k to the head. spacing: (k, j, i) in mm."""

    voxels: np.ndarray
    truth: np.ndarray
    spacing: tuple[float, float, float]


def make_sample(seed: int = 0) -> Sample:
    """The sample of a seed; the same seed gives the same voxels."""
    rng = np.random.default_rng(seed)
    grid = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, SPACING, strict=True)]
    k, j, i = np.meshgrid(*grid, indexing="ij")
    # A gentle bend, so that no organ is an ellipse on every slice.
    j, i = j + 4.0 * np.sin(k / 35.0 + i / 60.0), i + 5.0 * np.sin(k / 45.0 - j / 50.0)
    values = np.full(SHAPE, AIR)
    for tissue, shape in ((FAT, _BODY), (MUSCLE, _WALL), (FAT, _CAVITY), (BONE, _SPINE)):
        values[_inside(k, j, i, *shape)] = tissue
    truth = np.zeros(SHAPE, dtype=np.uint8)
    for label, parts in _ORGANS.items():
        organ = np.logical_or.reduce([_inside(k, j, i, *part) for part in parts]) & (truth == 0)
        truth[organ] = label
        values[organ] = _HU[label]
    for axis in range(3):
        values = _smoothed(values, axis)
    noisy = values + rng.normal(0.0, NOISE, SHAPE)
    return Sample(np.clip(np.rint(noisy), -1024, 3071).astype(np.int16), truth, SPACING)


def add_sample(scene: Any, sample: Sample, name: str = "MemSeg3D phantom") -> Any:
    """The sample as a volume node of the scene, the middle of the body at the origin; returns the node."""
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(sample.voxels.shape))
    image.GetPointData().SetScalars(numpy_to_vtk(sample.voxels.ravel(), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image)
    # Columns run to the patient's left and rows to the back, as in a CT series: both against RAS.
    node.SetIJKToRASDirections([[-1, 0, 0], [0, -1, 0], [0, 0, 1]])
    node.SetSpacing(*reversed(sample.spacing))
    half = [(n - 1) / 2 * s for n, s in zip(sample.voxels.shape, sample.spacing, strict=True)]
    node.SetOrigin(half[2], half[1], -half[0])
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(400.0, 50.0)
    return node


def _inside(
    k: np.ndarray, j: np.ndarray, i: np.ndarray, centre: tuple[float, ...], half: tuple[float, ...]
) -> np.ndarray:
    pairs = zip((k, j, i), centre, half, strict=True)
    return np.asarray(sum(((x - c) / h) ** 2 for x, c, h in pairs) <= 1.0)


def _smoothed(values: np.ndarray, axis: int) -> np.ndarray:
    """Partial volume at the borders: a binomial filter of three voxels."""
    padded = np.concatenate([values.take([0], axis), values, values.take([-1], axis)], axis)
    n = values.shape[axis]
    before, after = padded.take(range(n), axis), padded.take(range(2, n + 2), axis)
    return np.asarray(0.25 * before + 0.5 * values + 0.25 * after)
