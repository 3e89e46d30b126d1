"""What the user says about an object: clicks, boxes, strokes, lassos and masks, on the volume's own grid."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels, Shape3, polygon, stroke
from memseg3d.propagation.volume.errors import PropagationError

Point3 = tuple[float, float, float]


class PromptError(PropagationError):
    """A prompt cannot be used; the sentence says which and why."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_prompt", message)


@dataclass(frozen=True)
class PointPrompt:
    """A click. position: (k, j, i) floats, voxel centres at integers. axis: the axis of the slice it was clicked on."""

    object: int
    position: Point3
    positive: bool = True
    axis: int = 0
    id: str | None = None


@dataclass(frozen=True)
class BoxPrompt:
    """A rectangle on one slice. lower, upper: (k, j, i) inclusive corners that agree along `axis`."""

    object: int
    axis: int
    lower: Point3
    upper: Point3
    id: str | None = None


@dataclass(frozen=True)
class Box3DPrompt:
    """A box in space: a rectangle on its middle slice across `axis`, and the slices between which the object lies.

    lower, upper: (k, j, i) inclusive corners.
    """

    object: int
    axis: int
    lower: Point3
    upper: Point3
    id: str | None = None


@dataclass(frozen=True)
class ExtremePointsPrompt:
    """Points on the object's edge: four on one slice across `axis`, and up to two on the slices where it ends."""

    object: int
    axis: int
    points: tuple[Point3, ...]
    id: str | None = None


@dataclass(frozen=True)
class ScribblePrompt:
    """A stroke on one slice across `axis`: all voxels under it belong to the object, or (negative) none.

    points: (k, j, i) of a polyline, which may leave the slice; radii: (k, j, i) half the stroke's width in voxels along
    each axis; shape: of the volume.
    """

    object: int
    axis: int
    points: tuple[Point3, ...]
    radii: Point3
    shape: Shape3
    positive: bool = True
    id: str | None = None

    @cached_property
    def cover(self) -> CoveredVoxels:
        """The voxels under the stroke."""
        size = in_plane(self.shape, self.axis)
        radii = in_plane(self.radii, self.axis)
        pixels = stroke(_flat(self.points, self.axis), radii, (int(size[0]), int(size[1])))
        return CoveredVoxels.of_slice(self.shape, self.axis, nearest_voxel(self.points[0][self.axis]), pixels)


@dataclass(frozen=True)
class LassoPrompt:
    """A closed line on one slice across `axis`: the object is what is inside, or (negative) has no part of it.

    points: (k, j, i) of the line, which may leave the slice; shape: of the volume.
    """

    object: int
    axis: int
    points: tuple[Point3, ...]
    shape: Shape3
    positive: bool = True
    id: str | None = None

    @cached_property
    def cover(self) -> CoveredVoxels:
        """The voxels inside the line."""
        size = in_plane(self.shape, self.axis)
        pixels = polygon(_flat(self.points, self.axis), (int(size[0]), int(size[1])))
        return CoveredVoxels.of_slice(self.shape, self.axis, nearest_voxel(self.points[0][self.axis]), pixels)


@dataclass(frozen=True, eq=False)
class VoxelsPrompt:
    """Voxels that belong to the object, or (negative) do not; nothing is said about others. Such as a tilted stroke.

    axis: of the slices that they were drawn on, or nearly on.
    """

    object: int
    axis: int
    cover: CoveredVoxels
    positive: bool = True
    id: str | None = None


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """The user's own mask of one slice. mask: (rows, columns) bool of the whole slice at `index` across `axis`.

    An empty one says that the object is not on the slice.
    """

    object: int
    axis: int
    index: int
    mask: np.ndarray
    id: str | None = None


StrokePrompt = ScribblePrompt | LassoPrompt | VoxelsPrompt
"""Prompts with a `cover` and a sign."""
Prompt = (
    PointPrompt
    | BoxPrompt
    | Box3DPrompt
    | ExtremePointsPrompt
    | ScribblePrompt
    | LassoPrompt
    | VoxelsPrompt
    | MaskPrompt
)


def with_id(prompt: Prompt, name: str) -> Prompt:
    """The same prompt under an id; what it covers is not found anew."""
    twin = replace(prompt, id=name)
    if isinstance(prompt, ScribblePrompt | LassoPrompt) and "cover" in vars(prompt):
        vars(twin)["cover"] = prompt.cover
    return twin


def nearest_voxel(coordinate: float) -> int:
    """The voxel that a coordinate lies in: halves go up."""
    return math.floor(coordinate + 0.5)


def slices_of(prompt: Prompt, axis: int) -> list[int]:
    """The slices across `axis` that a prompt says something about: none where it was drawn across another axis.

    Clicks and strokes count on the slices of any axis that they touch.
    """
    if isinstance(prompt, PointPrompt):
        return [nearest_voxel(prompt.position[axis])]
    if isinstance(prompt, StrokePrompt) and not is_drawing(prompt):
        return prompt.cover.slices(axis)
    if prompt.axis != axis:
        return []
    if isinstance(prompt, MaskPrompt):
        return [prompt.index]
    if isinstance(prompt, BoxPrompt):
        return [nearest_voxel(prompt.lower[axis])]
    if isinstance(prompt, Box3DPrompt):
        return [nearest_voxel((prompt.lower[axis] + prompt.upper[axis]) / 2)]
    if isinstance(prompt, ExtremePointsPrompt):
        return [base_slice(prompt)]
    return prompt.cover.slices(axis)


def is_drawing(prompt: Prompt) -> bool:
    """True for what outlines the object on its own slice, and so decides along which axis it is propagated."""
    if isinstance(prompt, MaskPrompt):
        return bool(prompt.mask.any())
    if isinstance(prompt, LassoPrompt):
        return prompt.positive
    return isinstance(prompt, BoxPrompt | Box3DPrompt | ExtremePointsPrompt)


def is_edit(prompt: Prompt) -> bool:
    """Whether a prompt corrects an object where one stands, and says something on slices of every axis: clicks and
    strokes do.
    """
    return isinstance(prompt, PointPrompt) or (isinstance(prompt, StrokePrompt) and not is_drawing(prompt))


def sign_of(prompt: Prompt) -> bool | None:
    """True for what can only add to the object, False for what can only take away, None for what does both."""
    if isinstance(prompt, MaskPrompt):
        return None if prompt.mask.any() else False
    if is_drawing(prompt):
        return None
    assert isinstance(prompt, PointPrompt | StrokePrompt)
    return prompt.positive


def is_positive(prompt: Prompt) -> bool:
    """True for what says that there is something of the object."""
    return sign_of(prompt) is not False


def base_slice(prompt: ExtremePointsPrompt) -> int:
    """The slice across the prompt's axis that most of its points lie on; of several the middle one."""
    at = [nearest_voxel(point[prompt.axis]) for point in prompt.points]
    middle = sum(at) / len(at)
    count = Counter(at)
    return min(count, key=lambda index: (-count[index], abs(index - middle), index))


def in_plane(position: tuple[float, float, float], axis: int) -> tuple[float, float]:
    """(row, column) of a position on the slices across `axis`."""
    row, column = (value for other, value in enumerate(position) if other != axis)
    return row, column


def _flat(points: tuple[Point3, ...], axis: int) -> np.ndarray:
    return np.array([in_plane(point, axis) for point in points])
