"""Helpers of the scene tests: volumes on awkward grids, balls to write, segments read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from MemSeg3DLib.base.packing import bounding_extent, extent_slices, out_of, slice_extent
from MemSeg3DLib.scene.grids import read_segment, segmentation_grid
from MemSeg3DLib.segments.writer import SegmentWriter

SHAPE = (14, 22, 30)
"""(k, j, i) of the volumes that tests make."""


def direction_matrix(angles: tuple[float, float], flip: tuple[int, int, int] = (1, 1, 1)) -> np.ndarray:
    """(3, 3) directions: a rotation about z and then x (degrees), columns flipped by sign."""
    a, b = np.radians(angles)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return about_z @ about_x @ np.diag(flip)


def make_volume(
    voxels: np.ndarray,
    spacing: tuple[float, float, float] = (0.8, 0.9, 3.0),
    origin: tuple[float, float, float] = (12.5, -30.25, -101.0),
    directions: np.ndarray | None = None,
    name: str = "volume",
) -> Any:
    """A scalar volume node in the current scene; spacing and origin in (i, j, k) and RAS order, as Slicer has them."""
    image = vtk.vtkImageData()
    k, j, i = voxels.shape
    image.SetDimensions(i, j, k)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image)
    node.SetSpacing(spacing)
    node.SetOrigin(origin)
    matrix = direction_matrix((0, 0)) if directions is None else directions
    node.SetIJKToRASDirections(matrix.tolist())
    return node


def a_ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Boolean (k, j, i): a ball in voxel coordinates."""
    k, j, i = np.indices(shape)
    return (k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2 <= radius**2


def voxels_of(volume: Any, segmentation: Any, segment_id: str) -> np.ndarray:
    """A segment on the segmentation's own grid, boolean (k, j, i)."""
    grid = segmentation_grid(segmentation, volume)
    return read_segment(segmentation, segment_id, grid, grid.whole)


def write_ball(writer: SegmentWriter, segment_id: str, ball: np.ndarray, axis: int = 0) -> None:
    """Send a whole mask through the writer, slice by slice, each as its own extent, as the worker does."""
    for index in range(ball.shape[axis]):
        whole = slice_extent(ball.shape, axis, index)
        inside = ball[extent_slices(whole)]
        tight = bounding_extent(inside)
        if tight is None:
            writer.write_slice(segment_id, axis, index, None, None)
        else:
            writer.write_slice(segment_id, axis, index, out_of(tight, whole), inside[extent_slices(tight)])


def users_editor(segmentation: Any, volume: Any = None) -> Any:
    """The user's own segment editor logic with ten undo states, as Slicer's module sets it up."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(segmentation)
    node.SetAndObserveSourceVolumeNode(volume)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(node)
    history = slicer.vtkSegmentationHistory()
    history.SetMaximumNumberOfStates(10)
    history.SetSegmentation(segmentation.GetSegmentation())
    logic.SetSegmentationHistory(history)
    return logic


def linear_transform(*rows: tuple[float, float, float, float]) -> Any:
    """A linear transform node in the current scene, by the first three rows of its matrix."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            matrix.SetElement(row, column, value)
    node.SetMatrixTransformToParent(matrix)
    return node


def shift_by(x: float, y: float, z: float) -> Any:
    """A transform node that moves by so many mm."""
    return linear_transform((1, 0, 0, x), (0, 1, 0, y), (0, 0, 1, z))


def bent_transform(amplitude: float = 4.0) -> Any:
    """A non-linear transform node: a thin-plate spline that bends space by a few mm."""
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for x in (-80.0, 0.0, 80.0):
        for y in (-80.0, 0.0, 80.0):
            for z in (-160.0, -60.0, 40.0):
                source.InsertNextPoint(x, y, z)
                target.InsertNextPoint(x + amplitude * np.sin(y / 40), y + amplitude * np.cos(z / 50), z)
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    spline.Update()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(spline)
    return node
