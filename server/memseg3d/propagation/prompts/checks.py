"""Checks prompts against the volume's grid: what cannot be used is refused with a sentence that says what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from memseg3d.propagation.prompts.covered_voxels import Shape3
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    Point3,
    PointPrompt,
    Prompt,
    PromptError,
    ScribblePrompt,
    StrokePrompt,
    VoxelsPrompt,
    base_slice,
    in_plane,
    nearest_voxel,
)

MOST_POINTS = 4000
"""Points of one stroke or lasso."""
FARTHEST = 1e6
"""Strokes and lassos may leave the slice by no more than so many voxels."""


def check_prompt(prompt: Prompt, shape: Shape3) -> None:
    """Raise `PromptError` unless the prompt can be used on a volume of (k, j, i) `shape`."""
    if isinstance(prompt.object, bool) or not isinstance(prompt.object, int) or prompt.object < 1:
        raise PromptError(f"Objects are positive whole numbers; {prompt.object!r} is none.")
    if prompt.axis not in (0, 1, 2):
        raise PromptError(f"The axis must be 0, 1 or 2 (k, j or i); it is {prompt.axis!r}.")
    _CHECKS[type(prompt)](prompt, shape)


def _check_point(prompt: PointPrompt, shape: Shape3) -> None:
    _check_inside(prompt.position, shape, "point")


def _check_inside(position: Point3, shape: Shape3, what: str) -> None:
    if len(position) != 3 or not all(math.isfinite(value) for value in position):
        raise PromptError(f"The {what} at {tuple(position)} needs three finite coordinates (k, j, i).")
    if not all(-0.5 <= value < size - 0.5 for value, size in zip(position, shape, strict=True)):
        raise PromptError(f"The {what} at {tuple(position)} lies outside the volume of shape {shape}; place it inside.")


def _check_box(box: BoxPrompt, shape: Shape3) -> None:
    _check_corners(box, shape)
    if nearest_voxel(box.lower[box.axis]) != nearest_voxel(box.upper[box.axis]):
        raise PromptError(
            f"A box lies on one slice: its corners must agree along axis {box.axis}; draw it on one slice."
        )
    _check_area(box)


def _check_box3d(box: Box3DPrompt, shape: Shape3) -> None:
    _check_corners(box, shape)
    if box.upper[box.axis] < box.lower[box.axis]:
        raise PromptError(f"The box ends before it begins along axis {box.axis}; give its lower corner first.")
    _check_area(box)


def _check_corners(box: BoxPrompt | Box3DPrompt, shape: Shape3) -> None:
    _check_inside(box.lower, shape, "box corner")
    _check_inside(box.upper, shape, "box corner")


def _check_area(box: BoxPrompt | Box3DPrompt) -> None:
    lower, upper = in_plane(box.lower, box.axis), in_plane(box.upper, box.axis)
    if not all(high > low for low, high in zip(lower, upper, strict=True)):
        raise PromptError(
            "The box has no area; drag it from its lower to its upper corner over at least two voxels each way."
        )


def _check_extreme_points(prompt: ExtremePointsPrompt, shape: Shape3) -> None:
    if not 4 <= len(prompt.points) <= 6:
        raise PromptError(
            f"Extreme points are four on one slice and at most two beyond it; there are {len(prompt.points)}."
        )
    for point in prompt.points:
        _check_inside(point, shape, "extreme point")
    base = base_slice(prompt)
    at = [nearest_voxel(point[prompt.axis]) for point in prompt.points]
    if at.count(base) < 4:
        raise PromptError("Four of the extreme points must lie on one slice; place them on the slice you look at.")
    if sum(index < base for index in at) > 1 or sum(index > base for index in at) > 1:
        raise PromptError("Both further extreme points lie on the same side; place one on either end of the object.")
    rows, columns = zip(*(in_plane(point, prompt.axis) for point in prompt.points), strict=True)
    if max(rows) <= min(rows) or max(columns) <= min(columns):
        raise PromptError("The extreme points span no area; place them on four sides of the object.")


def _check_scribble(prompt: ScribblePrompt, shape: Shape3) -> None:
    if len(prompt.radii) != 3 or not all(math.isfinite(radius) and 0 <= radius <= FARTHEST for radius in prompt.radii):
        raise PromptError(f"The stroke's radii {tuple(prompt.radii)} must be three numbers of voxels, 0 or more.")
    _check_line(prompt.points, prompt.axis, shape, 1, "stroke")
    _check_covered(prompt, shape, "stroke")


def _check_lasso(prompt: LassoPrompt, shape: Shape3) -> None:
    _check_line(prompt.points, prompt.axis, shape, 3, "lasso")
    _check_covered(prompt, shape, "lasso")


def _check_line(points: Sequence[Point3], axis: int, shape: Shape3, fewest: int, what: str) -> None:
    if not fewest <= len(points) <= MOST_POINTS:
        raise PromptError(f"A {what} has {fewest} to {MOST_POINTS} points; this one has {len(points)}.")
    if not all(len(point) == 3 and all(abs(value) <= FARTHEST for value in point) for point in points):
        raise PromptError(f"Every point of a {what} needs three finite coordinates (k, j, i) near the volume.")
    index = nearest_voxel(points[0][axis])
    if any(nearest_voxel(point[axis]) != index for point in points):
        raise PromptError(f"A {what} lies on one slice: its points must agree along axis {axis}.")
    if not 0 <= index < shape[axis]:
        raise PromptError(f"The {what} lies outside the volume of shape {shape}; draw it inside.")


def _check_covered(prompt: StrokePrompt, shape: Shape3, what: str) -> None:
    if prompt.cover.shape != shape:
        raise PromptError(f"The {what} was made for a volume of shape {prompt.cover.shape}, not {shape}.")
    if not prompt.cover.voxels.any():
        raise PromptError(f"The {what} covers no voxel of the volume; draw it on the image.")


def _check_voxels(prompt: VoxelsPrompt, shape: Shape3) -> None:
    _check_covered(prompt, shape, "set of voxels")


def _check_mask(prompt: MaskPrompt, shape: Shape3) -> None:
    if not 0 <= prompt.index < shape[prompt.axis]:
        raise PromptError(
            f"The mask's slice {prompt.index} lies outside the volume, which has {shape[prompt.axis]} along axis "
            f"{prompt.axis}."
        )
    expected = tuple(size for other, size in enumerate(shape) if other != prompt.axis)
    if prompt.mask.shape != expected or prompt.mask.dtype != np.bool_:
        raise PromptError(f"The mask must be boolean of shape {expected} (rows, columns); it is {prompt.mask.shape}.")


_CHECKS: dict[type, Callable[[Any, Shape3], None]] = {
    PointPrompt: _check_point,
    BoxPrompt: _check_box,
    Box3DPrompt: _check_box3d,
    ExtremePointsPrompt: _check_extreme_points,
    ScribblePrompt: _check_scribble,
    LassoPrompt: _check_lasso,
    VoxelsPrompt: _check_voxels,
    MaskPrompt: _check_mask,
}
