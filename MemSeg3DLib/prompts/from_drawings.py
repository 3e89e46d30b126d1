"""From a drawing in a slice view, also one oblique to the volume, to the prompt that it means on the volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from MemSeg3DLib.base.errors import PromptError
from MemSeg3DLib.prompts.gestures import Drawing, Place, on_one_slice
from MemSeg3DLib.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    PointPrompt,
    Prompt,
    Ras,
    ScribblePrompt,
    slice_axis,
)
from MemSeg3DLib.prompts.slice_limits import SliceLimits
from MemSeg3DLib.scene.nodes import ijk_to_world, volume_array, volume_spacing, world_to_ijk

UNSIGNED = frozenset({"box", "box3d", "extreme"})
"""Tools whose drawings always say what belongs to the object."""


def prompt_of(
    drawing: Drawing,
    corners: Sequence[Ras],
    volume_node: Any,
    segment_id: str,
    positive: bool = True,
    limits: SliceLimits | None = None,
) -> Prompt:
    """The prompt that a drawing means for a segment.

    corners: for boxes, the four corners of the drawn rectangle (RAS mm), in order round it. limits: the segment's first
    and last slice; they are the depth of a 3D box where they lie along its axis.
    Raises PromptError for a drawing that means nothing on this volume.
    """
    if drawing.tool in UNSIGNED and not positive:
        raise PromptError(
            "This tool only says what belongs to the object: use a negative point, scribble or lasso to take away."
        )
    first = drawing.places[0]
    axis, _ = slice_axis(volume_node, first.normal)
    points = tuple(place.world for place in drawing.places)
    if drawing.tool == "point":
        return PointPrompt(segment_id, first.world, positive, axis)
    if drawing.tool == "box":
        return BoxPrompt(segment_id, *_flat_box(corners, axis, volume_node), axis=axis)
    if drawing.tool == "box3d":
        return Box3DPrompt(segment_id, *_deep_box(corners, axis, volume_node, limits), axis=axis)
    if drawing.tool == "scribble":
        return ScribblePrompt(segment_id, points, positive, axis)
    if drawing.tool == "lasso":
        return LassoPrompt(segment_id, points, positive, axis)
    if drawing.tool == "extreme":
        return ExtremePointsPrompt(segment_id, _flat_points(drawing.places, axis, volume_node), axis)
    raise PromptError(f"There is no tool {drawing.tool}: choose another one.")


def _flat_box(corners: Sequence[Ras], axis: int, volume_node: Any) -> tuple[Ras, Ras]:
    """Two corners on the volume slice through the rectangle's middle.

    A rectangle of an oblique view is laid flat about its middle and keeps its sides: what it frames is about as large
    there, while its shadow would be smaller.
    """
    spacing = np.array(volume_spacing(volume_node))
    voxels = _voxels(volume_node, corners) * spacing
    middle = voxels.mean(axis=0)
    half = np.zeros(3)
    for side in (voxels[1] - voxels[0], voxels[3] - voxels[0]):
        flat = side.copy()
        flat[axis] = 0.0
        length = np.linalg.norm(flat)
        if length < 1e-6:
            raise PromptError("The view runs along the volume's slices: draw the box in another view.")
        half += np.abs(flat / length * np.linalg.norm(side)) / 2
    return _world(volume_node, (middle - half) / spacing), _world(volume_node, (middle + half) / spacing)


def _flat_points(places: Sequence[Place], axis: int, volume_node: Any) -> tuple[Ras, ...]:
    """Extreme points: those drawn on one slice laid on one slice of the volume; the ends of the object as they are."""
    thickness = volume_spacing(volume_node)[axis]
    together = on_one_slice(places, thickness)
    voxels = _voxels(volume_node, [one.world for one in places])
    flat = [index for index, one in enumerate(places) if one in together]
    voxels[flat, axis] = voxels[flat, axis].mean()
    return tuple(_world(volume_node, one) for one in voxels)


def _deep_box(corners: Sequence[Ras], axis: int, volume_node: Any, limits: SliceLimits | None) -> tuple[Ras, Ras]:
    """Two corners of the box that holds the rectangle and goes as far across as it is wide, or from limit to limit."""
    voxels = _voxels(volume_node, corners)
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    last = volume_array(volume_node).shape[axis] - 1
    if limits is not None and limits.axis == axis:
        low[axis], high[axis] = float(limits.first), float(limits.last)
        return _world(volume_node, low), _world(volume_node, high)
    if high[axis] < -0.5 or low[axis] > last + 0.5:
        raise PromptError("The box lies outside the source volume: draw it on the image.")
    spacing = np.array(volume_spacing(volume_node))
    sides = [float(np.linalg.norm((voxels[n] - voxels[0]) * spacing)) for n in (1, 3)]
    half = float(np.sqrt(sides[0] * sides[1])) / 2 / spacing[axis]
    middle = (low[axis] + high[axis]) / 2
    # At least one slice to either side: a box of one slice would be no 3D box.
    half = max(half, 1.0)
    low[axis] = max(min(low[axis], middle - half), 0.0)
    high[axis] = min(max(high[axis], middle + half), float(last))
    return _world(volume_node, low), _world(volume_node, high)


def _voxels(volume_node: Any, points: Sequence[Ras]) -> np.ndarray:
    """World points as voxel coordinates (N, 3) in (k, j, i)."""
    voxels = np.array([world_to_ijk(volume_node, point) for point in points])
    if not np.isfinite(voxels).all():
        raise PromptError("The drawing has no place in the volume: its transform cannot be inverted there.")
    return voxels


def _world(volume_node: Any, kji: np.ndarray) -> Ras:
    return ijk_to_world(volume_node, (float(kji[0]), float(kji[1]), float(kji[2])))
