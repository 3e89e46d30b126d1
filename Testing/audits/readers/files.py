"""Series of six geometries, and what the product makes of two segments on each: DICOM-SEG, NIfTI, NRRD, .seg.nrrd."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demo.phantom_dicom import Geometry, write_phantom_series
from memseg3d.files import read_volume, write_labelmap
from MemSeg3DLib.cases.dicom_volume import load_series
from MemSeg3DLib.export.dicom.segmentation import write_dicom_seg
from MemSeg3DLib.export.dicom.series import read_series
from MemSeg3DLib.export.dicom.terminology import describe
from MemSeg3DLib.export.seg_nrrd import write_seg_nrrd
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation
from MemSeg3DLib.segments.writer import SegmentWriter
from Testing.lib.scenes import write_ball

LENGTHS = (0.8, 0.7, 2.5)


@dataclass(frozen=True)
class Case:
    """A geometry. shape: (k, j, i). axes: unit vectors of i and j in LPS. slices: those with something in them."""

    shape: tuple[int, int, int]
    axes: tuple[tuple[float, ...], tuple[float, ...]]
    slices: tuple[int, ...]


def _turned(degrees: float, about: int) -> np.ndarray:
    angle = np.radians(degrees)
    first, second = [n for n in range(3) if n != about]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


_OBLIQUE = _turned(21.6, 0) @ _turned(10.0, 1)
_ALL = tuple(range(2, 9))
CASES = {
    "axial": Case((12, 16, 16), ((1, 0, 0), (0, 1, 0)), _ALL),
    "oblique": Case((12, 16, 16), (tuple(_OBLIQUE[:, 0]), tuple(_OBLIQUE[:, 1])), _ALL),
    "sagittal": Case((12, 16, 16), ((0, 1, 0), (0, 0, -1)), _ALL),
    "head-down": Case((12, 16, 16), ((1, 0, 0), (0, -1, 0)), _ALL),
    "odd matrix": Case((12, 13, 11), ((1, 0, 0), (0, 1, 0)), _ALL),
    "sparse slices": Case((12, 16, 16), ((1, 0, 0), (0, 1, 0)), (2, 5, 9)),
}


@dataclass(frozen=True)
class Made:
    """Files of one geometry, and where in LPS mm the voxels of both segments lie: (n, 3) each."""

    folder: Path
    points: dict[int, np.ndarray]


def masks_of(case: Case) -> dict[int, np.ndarray]:
    """Two segments that do not touch, different in every slice."""
    first, second = np.zeros(case.shape, bool), np.zeros(case.shape, bool)
    for n, k in enumerate(case.slices):
        first[k, 2 : 4 + n % 5, 2:6] = True
        second[k, 5:9, 7 : 9 + n % 3] = True
        first[k, 10:11, 3:4] = True
    return {1: first, 2: second}


def make(case: Case, folder: Path, scene: Any) -> Made:
    """Write the series and everything that the product makes of it."""
    i, j = (np.array(axis, float) for axis in case.axes)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([i, j, np.cross(i, j)], axis=1) * LENGTHS
    affine[:3, 3] = (-12.0, 34.5, -56.25)
    voxels = np.random.default_rng(0).integers(-200, 300, case.shape).astype(np.int16)
    write_phantom_series(voxels, Geometry(affine), folder / "dicom", "CT")
    masks = masks_of(case)
    series = read_series(folder / "dicom")
    write_dicom_seg(series, [describe(1, "liver"), describe(2, "spleen")], masks, folder / "seg.dcm")
    volume = read_volume(folder / "dicom")
    labels = (masks[1] + 2 * masks[2]).astype(np.uint8)
    for suffix in ("nii.gz", "nrrd"):
        write_labelmap(folder / f"labels.{suffix}", labels, volume.geometry)
    _write_seg_nrrd(folder, masks, scene)
    points = {}
    for number, mask in masks.items():
        kji = np.argwhere(mask)
        points[number] = kji[:, ::-1] @ series.grid.affine[:3, :3].T + series.grid.affine[:3, 3]
    return Made(folder, points)


def _write_seg_nrrd(folder: Path, masks: dict[int, np.ndarray], scene: Any) -> None:
    volume, _ = load_series(scene, sorted((folder / "dicom").iterdir()), "CT")
    segmentation = add_segmentation(scene, volume)
    for number, mask in masks.items():
        segment = add_segment(segmentation, f"segment {number}")
        writer = SegmentWriter(segmentation, volume, [segment])
        write_ball(writer, segment, mask)
        writer.close()
    write_seg_nrrd(segmentation, folder / "labels.seg.nrrd")
    scene.RemoveNode(segmentation)
    scene.RemoveNode(volume)
