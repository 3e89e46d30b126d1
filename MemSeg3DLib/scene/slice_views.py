"""Slice views without Qt: from pixels of a view to the world and back, through the slice node's own matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from MemSeg3DLib.scene.transforms import Ras, to_numpy

Xy = tuple[float, float]
"""A place in a view in its pixels, from the lower left."""


def to_world(slice_node: Any, xy: Xy, page: float = 0.0) -> Ras:
    """The world point (RAS mm) under a pixel; any orientation, zoom and field of view.

    page: which of a light box's slices, 0 elsewhere.
    """
    x, y, z, _ = slice_node.GetXYToRAS().MultiplyPoint((float(xy[0]), float(xy[1]), float(page), 1.0))
    return (float(x), float(y), float(z))


def to_pixels(slice_node: Any, points: Sequence[Ras]) -> list[Xy]:
    """Where world points (RAS mm) are seen in a view, straight along the view's normal."""
    if not points:
        return []
    to_view = np.linalg.inv(to_numpy(slice_node.GetXYToRAS()))
    seen = np.asarray(points) @ to_view[:2, :3].T + to_view[:2, 3]
    return [(float(x), float(y)) for x, y in seen]


def normal(slice_node: Any) -> Ras:
    """The unit vector (RAS) across the view's slice."""
    column = to_numpy(slice_node.GetSliceToRAS())[:3, 2]
    x, y, z = column / np.linalg.norm(column)
    return (float(x), float(y), float(z))


def distance_to_slice(slice_node: Any, point: Ras) -> float:
    """How far a world point lies from the view's slice, in mm, never negative."""
    slice_to_world = to_numpy(slice_node.GetSliceToRAS())
    return float(abs(np.dot(np.asarray(point) - slice_to_world[:3, 3], np.asarray(normal(slice_node)))))


def rectangle(slice_node: Any, one: Xy, other: Xy, page: float = 0.0) -> list[Ras]:
    """The four corners, in order round it, of the rectangle that two opposite pixels span in the view."""
    (x0, y0), (x1, y1) = one, other
    return [to_world(slice_node, corner, page) for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]


def is_light_box(slice_node: Any) -> bool:
    """Whether the view shows several slices side by side."""
    return int(slice_node.GetLayoutGridRows()) * int(slice_node.GetLayoutGridColumns()) > 1


def is_over_handle(scene: Any) -> bool:
    """Whether the mouse is over a handle: of a markup, of the lines where slices meet, or of a transform.

    It is about to be dragged, not drawn upon.
    """
    return (
        any(_is_markup_held(node) for node in _of_class(scene, "vtkMRMLMarkupsDisplayNode"))
        or any(
            node.GetIntersectingSlicesVisibility() and node.HasActiveComponent()
            for node in _of_class(scene, "vtkMRMLSliceDisplayNode")
        )
        # -1 is a node that was never asked, 0 is no handle.
        or any(
            node.GetEditorVisibility() and node.GetActiveInteractionType() > 0
            for node in _of_class(scene, "vtkMRMLTransformDisplayNode")
        )
    )


def _is_markup_held(node: Any) -> bool:
    handles = {
        node.ComponentControlPoint,
        node.ComponentCenterPoint,
        node.ComponentRotationHandle,
        node.ComponentTranslationHandle,
        node.ComponentScaleHandle,
    }
    return bool(node.GetVisibility()) and node.GetActiveComponentType() in handles


def _of_class(scene: Any, name: str) -> list[Any]:
    nodes = scene.GetNodesByClass(name)
    # GetNodesByClass hands over a reference that Python also counts.
    nodes.UnRegister(None)
    return [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
