"""Slice views and the slices of a volume: which slice is on screen, and how to show another one."""

from __future__ import annotations

from typing import Any

import slicer

from MemSeg3DLib.prompts.prompts import nearest, slice_axis
from MemSeg3DLib.scene.nodes import ijk_to_world, volume_array, world_to_ijk


def slice_nodes() -> list[Any]:
    """The slice nodes of the present layout; the red one, where most people look, first."""
    layout = slicer.app.layoutManager()
    if layout is None:
        return []
    names = sorted(layout.sliceViewNames(), key=lambda name: name != "Red")
    widgets = [layout.sliceWidget(name) for name in names]
    return [widget.mrmlSliceNode() for widget in widgets if widget is not None]


def volume_on_screen() -> Any:
    """The scalar volume in the background of the first view that shows one; None where none does."""
    layout = slicer.app.layoutManager()
    names = sorted(layout.sliceViewNames(), key=lambda name: name != "Red") if layout is not None else []
    for name in names:
        shown = layout.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID()
        node = slicer.mrmlScene.GetNodeByID(shown) if shown else None
        if node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode":
            return node
    return None


def view_axis(volume_node: Any, slice_node: Any) -> int:
    """The volume axis (0 slice, 1 row, 2 column) that a view looks along, or nearly so."""
    matrix = slice_node.GetSliceToRAS()
    return slice_axis(volume_node, tuple(matrix.GetElement(row, 2) for row in range(3)))[0]


def first_axis(volume_node: Any) -> int:
    """The axis that the first view looks along: where prompts will most likely be drawn."""
    nodes = slice_nodes()
    return view_axis(volume_node, nodes[0]) if nodes else 0


def current_slice(volume_node: Any, axis: int) -> int | None:
    """Index of the slice across `axis` on screen; None where no view looks along it, or it lies outside the volume."""
    for node in slice_nodes():
        if view_axis(volume_node, node) == axis:
            index = nearest(_centre(volume_node, node)[axis])
            return index if 0 <= index < volume_array(volume_node).shape[axis] else None
    return None


def show_slice(volume_node: Any, axis: int, index: int) -> bool:
    """Move every view that looks along `axis` to the slice, without moving it sideways; False where there is none."""
    found = False
    for node in slice_nodes():
        if view_axis(volume_node, node) == axis:
            target = list(_centre(volume_node, node))
            target[axis] = float(index)
            node.JumpSliceByOffsetting(*ijk_to_world(volume_node, (target[0], target[1], target[2])))
            found = True
    return found


def align_views(volume_node: Any) -> None:
    """Turn every slice view to the volume's own axes."""
    for node in slice_nodes():
        node.RotateToVolumePlane(volume_node)


def _centre(volume_node: Any, slice_node: Any) -> tuple[float, float, float]:
    """The middle of the view in the volume's (k, j, i)."""
    matrix = slice_node.GetSliceToRAS()
    x, y, z = (matrix.GetElement(row, 3) for row in range(3))
    return world_to_ijk(volume_node, (x, y, z))
