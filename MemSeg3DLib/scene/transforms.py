"""Matrices and transforms between nodes of a scene, linear and non-linear."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

Ras = tuple[float, float, float]
"""World point in RAS mm."""

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""(4, 4): millimetres as DICOM and ITK count them from those of the scene, and back."""


def to_numpy(matrix: Any) -> np.ndarray:
    """A vtkMatrix4x4 as float64 (4, 4)."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def to_vtk(matrix: np.ndarray) -> Any:
    """A (4, 4) array as vtkMatrix4x4."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy([float(value) for value in np.asarray(matrix).ravel()])
    return result


def ijk_to_local_matrix(volume_node: Any) -> np.ndarray:
    """(4, 4) from (i, j, k, 1) to RAS mm in the volume's own coordinates, before its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return to_numpy(matrix)


def transform_between(source: Any, target: Any) -> Any:
    """vtkGeneralTransform from under transform node `source` to under `target`; None is the world."""
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, general)
    return general


def linear_between(source: Any, target: Any) -> np.ndarray | None:
    """The same as a (4, 4) matrix, or None where the way between the two is not linear."""
    if source is target:
        return np.eye(4)
    general = transform_between(source, target)
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(general):
        return None
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, matrix)
    return to_numpy(matrix)


def transform_point(source: Any, target: Any, point: tuple[float, float, float]) -> tuple[float, float, float]:
    """One point (RAS mm) from under `source` to under `target`."""
    x, y, z = transform_between(source, target).TransformPoint(point)
    return (float(x), float(y), float(z))


def transform_points(source: Any, target: Any, points: np.ndarray) -> np.ndarray:
    """Many points (N, 3) in RAS mm from under `source` to under `target`."""
    matrix = linear_between(source, target)
    if matrix is not None:
        return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    before.SetData(numpy_to_vtk(np.ascontiguousarray(points, dtype=np.float64), deep=True))
    after.SetDataTypeToDouble()
    transform_between(source, target).TransformPoints(before, after)
    return vtk_to_numpy(after.GetData()).copy()


def relation_stamp(source: Any, target: Any) -> tuple[object, ...]:
    """A value that changes when the way from `source` to `target` changes."""
    matrix = linear_between(source, target)
    if matrix is not None:
        return tuple(np.round(matrix, 9).ravel().tolist())
    return tuple(
        (node.GetID(), node.GetTransformToWorldMTime()) if node is not None else None for node in (source, target)
    )
