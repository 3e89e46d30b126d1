"""Slices in millimetres: the number that Slicer's views show, for straight, flipped, turned and moved volumes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import vtk
from lib.scenes import make_volume

from MemSeg3DLib.scene.nodes import ijk_to_world
from MemSeg3DLib.scene.slice_places import slice_places

pytestmark = pytest.mark.usefixtures("scene")
VOXELS = np.zeros((10, 8, 6), np.int16)


def test_a_straight_volume_counts_in_the_worlds_axes() -> None:
    volume = make_volume(VOXELS, spacing=(2.0, 3.0, 4.0), origin=(10.0, 20.0, -30.5))
    for axis in range(3):
        places = slice_places(volume, axis)
        assert places.letter == "SAR"[axis]
        kji = [0.0, 0.0, 0.0]
        kji[axis] = 5.0
        world = ijk_to_world(volume, (kji[0], kji[1], kji[2]))
        assert places.millimetres(5) == pytest.approx(world["RAS".index(places.letter)])


def test_a_flipped_volume_counts_down() -> None:
    volume = make_volume(VOXELS, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0))
    volume.SetIJKToRASDirections(1, 0, 0, 0, 1, 0, 0, 0, -1)
    volume.SetSpacing(1.0, 1.0, 2.5)
    assert slice_places(volume, 0).letter == "S"
    assert slice_places(volume, 0).step == pytest.approx(-2.5)
    assert slice_places(volume, 0).words(4) == "S -10.0 mm"


def test_a_turned_volume_is_the_offset_of_a_view_that_was_turned_to_it() -> None:
    volume = make_volume(VOXELS, spacing=(2.0, 2.0, 2.0), origin=(1.0, 2.0, 3.0))
    angle = math.radians(25)
    c, s = math.cos(angle), math.sin(angle)
    volume.SetIJKToRASDirections(1, 0, 0, 0, c, -s, 0, s, c)
    places, normal = slice_places(volume, 0), np.array([0.0, -s, c])
    for index in (0, 7):
        # Any point of the slice has the same offset along the view's normal.
        for corner in ((index, 0, 0), (index, 7, 5)):
            world = np.array(ijk_to_world(volume, corner))
            assert places.millimetres(index) == pytest.approx(float(world @ normal))


def test_a_volume_under_a_transform_lies_where_it_is_seen(scene: Any) -> None:
    volume = make_volume(VOXELS, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0))
    moved = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 100.0)
    moved.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(moved.GetID())
    assert slice_places(volume, 0).words(3) == "S 103.0 mm"
