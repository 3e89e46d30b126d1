"""One prompt as markups of the scene, and back: points, ROIs, open and closed curves; what is needed is in attributes.

Points of one segment and sign share a fiducial node, every other prompt has a node of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import vtk

from MemSeg3DLib.prompts.as_json import DRAWN, Drawn, drawn_from_json, drawn_to_json, kind_of, points_of
from MemSeg3DLib.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    PointPrompt,
    ScribblePrompt,
)
from MemSeg3DLib.scene.nodes import ijk_to_world, world_to_ijk
from MemSeg3DLib.scene.transforms import to_numpy, to_vtk

KIND = "MemSeg3D.Prompt"
SEGMENT = "MemSeg3D.Segment"
POSITIVE = "MemSeg3D.Positive"
VALUES = "MemSeg3D.Values"
PLACED = "MemSeg3D.Placed"
"""Attributes of a markups node. VALUES: the prompt as drawn, for all but points; PLACED: an ROI's corners then."""

SEGMENTATION_ROLE = "MemSeg3D.Segmentation"
VOLUME_ROLE = "MemSeg3D.Volume"

_CLASSES = {
    "point": "vtkMRMLMarkupsFiducialNode",
    "box": "vtkMRMLMarkupsROINode",
    "box3d": "vtkMRMLMarkupsROINode",
    "scribble": "vtkMRMLMarkupsCurveNode",
    "lasso": "vtkMRMLMarkupsClosedCurveNode",
    "extreme_points": "vtkMRMLMarkupsFiducialNode",
}
_BOXES = ("box", "box3d")
# Markups keep positions as text in a scene file: what is nearer than this has not been moved.
SAME_PLACE_MM = 1e-3


@dataclass(frozen=True)
class StoredPrompt:
    """A prompt in the scene. point: index of its control point, where it shares its node with others."""

    prompt: Drawn
    node: Any
    point: int | None = None


def is_prompt_node(node: Any) -> bool:
    """True for markups that hold prompts of ours."""
    return node.GetAttribute(KIND) in _CLASSES


def make_node(scene: Any, segmentation_node: Any, volume_node: Any, prompt: Drawn) -> Any:
    """A new markups node that holds the prompt."""
    kind = kind_of(prompt)
    node = scene.AddNewNodeByClass(_CLASSES[kind])
    node.SetAttribute(KIND, kind)
    node.SetAttribute(SEGMENT, prompt.segment_id)
    node.SetAttribute(POSITIVE, "1" if is_positive(prompt) else "0")
    node.SetNodeReferenceID(SEGMENTATION_ROLE, segmentation_node.GetID())
    node.SetNodeReferenceID(VOLUME_ROLE, volume_node.GetID())
    node.CreateDefaultDisplayNodes()
    _style(node, kind)
    if isinstance(prompt, PointPrompt):
        add_point(node, prompt)
    elif isinstance(prompt, BoxPrompt | Box3DPrompt):
        _set_box(node, prompt, volume_node)
        node.SetAttribute(VALUES, json.dumps(drawn_to_json(prompt)))
    else:
        points = vtk.vtkPoints()
        for point in points_of(prompt):
            points.InsertNextPoint(point)
        node.SetControlPointPositionsWorld(points)
        node.SetAttribute(VALUES, json.dumps(drawn_to_json(prompt)))
    return node


def add_point(node: Any, prompt: PointPrompt) -> None:
    """One more point in the fiducial node of its segment and sign."""
    index = node.AddControlPointWorld(*prompt.position)
    _describe(node, index, prompt.id, prompt.axis)
    node.SetNthControlPointLabel(index, "")


def is_positive(prompt: Drawn) -> bool:
    """The prompt's sign; boxes and extreme points have none but plus."""
    return bool(getattr(prompt, "positive", True))


def read_node(node: Any, new_id: Any) -> list[StoredPrompt]:
    """The prompts of a node as they lie now. A point that the user added there gets an id from `new_id()`."""
    kind = node.GetAttribute(KIND)
    if kind == "point":
        return _read_points(node, new_id)
    drawn = drawn_from_json(json.loads(node.GetAttribute(VALUES)))
    count = node.GetNumberOfControlPoints()
    if kind in _BOXES:
        return [StoredPrompt(_read_box(node, drawn), node)]
    if count == 0:
        return []
    now = [_point(node, n) for n in range(count)]
    if not _same(now, points_of(drawn)):
        assert isinstance(drawn, ScribblePrompt | LassoPrompt | ExtremePointsPrompt)
        drawn = replace(drawn, points=tuple(now))
    return [StoredPrompt(drawn, node)]


def rename(stored: StoredPrompt, new_id: str) -> None:
    """Give a prompt another id, as it lies now."""
    prompt = replace(stored.prompt, id=new_id)
    if stored.point is not None:
        _describe(stored.node, stored.point, new_id, prompt.axis)
    else:
        stored.node.SetAttribute(VALUES, json.dumps(drawn_to_json(prompt)))


def _describe(node: Any, index: int, prompt_id: str, axis: int) -> None:
    node.SetNthControlPointDescription(index, f"{prompt_id} {axis}")


def _read_points(node: Any, new_id: Any) -> list[StoredPrompt]:
    found = []
    axis = 0
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) != node.PositionDefined:
            continue
        words = node.GetNthControlPointDescription(index).split()
        if len(words) == 2 and words[1] in ("0", "1", "2"):
            prompt_id, axis = words[0], int(words[1])
        else:
            prompt_id = new_id()
            _describe(node, index, prompt_id, axis)
        x, y, z = node.GetNthControlPointPositionWorld(index)
        sign = node.GetAttribute(POSITIVE) == "1"
        found.append(
            StoredPrompt(PointPrompt(node.GetAttribute(SEGMENT), (x, y, z), sign, axis, prompt_id), node, index)
        )
    return found


def _point(node: Any, index: int) -> tuple[float, float, float]:
    x, y, z = node.GetNthControlPointPositionWorld(index)
    return (float(x), float(y), float(z))


def _read_box(node: Any, drawn: Drawn) -> Drawn:
    assert isinstance(drawn, BoxPrompt | Box3DPrompt)
    matrix = to_numpy(node.GetObjectToWorldMatrix())
    half = np.array(node.GetSize()) / 2
    if isinstance(drawn, BoxPrompt):
        half[2 - drawn.axis] = 0.0
    now = [matrix @ [*(sign * half), 1.0] for sign in (-1, 1)]
    corners = [(float(x), float(y), float(z)) for x, y, z, _ in now]
    placed = node.GetAttribute(PLACED)
    if placed and _same(corners, json.loads(placed)):
        return drawn
    return replace(drawn, corner_1=corners[0], corner_2=corners[1])


def _set_box(node: Any, prompt: BoxPrompt | Box3DPrompt, volume_node: Any) -> None:
    """An ROI along the volume's axes; thin across the slice of a box on one slice."""
    one, two = (np.array(world_to_ijk(volume_node, c)) for c in (prompt.corner_1, prompt.corner_2))
    middle = (one + two) / 2
    directions, spacing = _axes_at(volume_node, middle)
    size = np.abs(one - two)[::-1] * spacing
    if isinstance(prompt, BoxPrompt):
        size[2 - prompt.axis] = spacing[2 - prompt.axis]
    matrix = np.eye(4)
    matrix[:3, :3] = directions
    matrix[:3, 3] = ijk_to_world(volume_node, (float(middle[0]), float(middle[1]), float(middle[2])))
    node.SetAndObserveObjectToNodeMatrix(to_vtk(matrix))
    node.SetSize(*size)
    half = np.array(node.GetSize()) / 2
    if isinstance(prompt, BoxPrompt):
        half[2 - prompt.axis] = 0.0
    # Under a transform that shears, an ROI cannot be the drawn box: it counts once the user has moved it.
    corners = [[float(c) for c in (matrix @ [*(sign * half), 1.0])[:3]] for sign in (-1, 1)]
    node.SetAttribute(PLACED, json.dumps(corners))


def _axes_at(volume_node: Any, kji: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The volume's i, j and k directions in the world, as columns of a rotation, and the mm of a voxel (i, j, k)."""
    k, j, i = (float(c) for c in kji)
    origin = np.array(ijk_to_world(volume_node, (k, j, i)))
    ends = [ijk_to_world(volume_node, at) for at in ((k, j, i + 1), (k, j + 1, i), (k + 1, j, i))]
    steps = np.column_stack([np.array(end) - origin for end in ends])
    left, _, right = np.linalg.svd(steps)
    directions = left @ right
    if np.linalg.det(directions) < 0:
        # A box is the same mirrored, and an ROI must not be left-handed.
        directions[:, 0] *= -1
    return np.asarray(directions), np.linalg.norm(steps, axis=0)


def _same(points: Any, others: Any) -> bool:
    one, two = np.asarray(points, dtype=float), np.asarray(others, dtype=float)
    return one.shape == two.shape and bool(np.all(np.abs(one - two) < SAME_PLACE_MM))


def _style(node: Any, kind: str) -> None:
    display = node.GetDisplayNode()
    if display is None:
        return
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    if kind in _BOXES:
        display.SetFillOpacity(0.1)
        display.SetHandlesInteractive(True)
        display.SetRotationHandleVisibility(False)
    if kind in ("scribble", "lasso"):
        node.SetCurveTypeToLinear()
        display.SetGlyphScale(0.5)


assert set(_CLASSES) == set(DRAWN)
