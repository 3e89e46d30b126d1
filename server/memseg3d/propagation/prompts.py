"""What the user says about an object: points, boxes and masks, checked against the volume's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.errors import PropagationError

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


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """The user's own mask of one slice. mask: (rows, columns) bool of the whole slice at `index` across `axis`."""

    object: int
    axis: int
    index: int
    mask: np.ndarray
    id: str | None = None


Prompt = PointPrompt | BoxPrompt | MaskPrompt


def nearest_slice(prompt: Prompt, axis: int) -> int:
    """Index of the slice across `axis` that the prompt lies on (a point: the nearest one)."""
    if isinstance(prompt, MaskPrompt):
        return prompt.index
    position = prompt.position if isinstance(prompt, PointPrompt) else prompt.lower
    return math.floor(position[axis] + 0.5)


def in_plane(position: Point3, axis: int) -> tuple[float, float]:
    """(row, column) of a position on the slices across `axis`."""
    row, column = (value for other, value in enumerate(position) if other != axis)
    return row, column


def check_prompt(prompt: Prompt, shape: tuple[int, int, int]) -> None:
    """Raise `PromptError` unless the prompt can be used on a volume of (k, j, i) `shape`."""
    if isinstance(prompt.object, bool) or not isinstance(prompt.object, int) or prompt.object < 1:
        raise PromptError(f"Objects are positive whole numbers; {prompt.object!r} is none.")
    if prompt.axis not in (0, 1, 2):
        raise PromptError(f"The axis must be 0, 1 or 2 (k, j or i); it is {prompt.axis!r}.")
    if isinstance(prompt, PointPrompt):
        _check_inside(prompt.position, shape, "point")
    elif isinstance(prompt, BoxPrompt):
        _check_box(prompt, shape)
    else:
        _check_mask(prompt, shape)


def _check_inside(position: Point3, shape: tuple[int, int, int], what: str) -> None:
    if len(position) != 3 or not all(math.isfinite(value) for value in position):
        raise PromptError(f"The {what} at {tuple(position)} needs three finite coordinates (k, j, i).")
    if not all(-0.5 <= value < size - 0.5 for value, size in zip(position, shape, strict=True)):
        raise PromptError(f"The {what} at {tuple(position)} lies outside the volume of shape {shape}; place it inside.")


def _check_box(box: BoxPrompt, shape: tuple[int, int, int]) -> None:
    _check_inside(box.lower, shape, "box corner")
    _check_inside(box.upper, shape, "box corner")
    if nearest_slice(box, box.axis) != math.floor(box.upper[box.axis] + 0.5):
        raise PromptError(
            f"A box lies on one slice: its corners must agree along axis {box.axis}; draw it on one slice."
        )
    lower, upper = in_plane(box.lower, box.axis), in_plane(box.upper, box.axis)
    if not all(high > low for low, high in zip(lower, upper, strict=True)):
        raise PromptError(
            "The box has no area; drag it from its lower to its upper corner over at least two voxels each way."
        )


def _check_mask(prompt: MaskPrompt, shape: tuple[int, int, int]) -> None:
    if not 0 <= prompt.index < shape[prompt.axis]:
        raise PromptError(
            f"The mask's slice {prompt.index} lies outside the volume, which has {shape[prompt.axis]} along axis "
            f"{prompt.axis}."
        )
    expected = tuple(size for other, size in enumerate(shape) if other != prompt.axis)
    if prompt.mask.shape != expected or prompt.mask.dtype != np.bool_:
        raise PromptError(f"The mask must be boolean of shape {expected} (rows, columns); it is {prompt.mask.shape}.")
    if not prompt.mask.any():
        raise PromptError("The mask is empty; paint at least one voxel, or place a negative point instead.")
