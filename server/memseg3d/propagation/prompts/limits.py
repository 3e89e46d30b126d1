"""Limits of a round: between which slices an object may change, and how far a box in space lets it reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.prompts.covered_voxels import Shape3
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    PromptError,
    base_slice,
    is_positive,
    nearest_voxel,
    slices_of,
)

DEPTH_MARGIN = 0.1
"""An object may reach beyond a box in space by this part of the box's depth, and by one slice at least."""


@dataclass(frozen=True)
class SliceLimits:
    """Slices `first` to `last` across `axis`, inclusive: outside of them a round changes no voxel of the object."""

    axis: int
    first: int
    last: int

    def check(self, number: int, shape: Shape3, added: Sequence[Prompt]) -> None:
        """Raise `PromptError` unless the limits lie in the volume and the object's new prompts within them."""
        if self.axis not in (0, 1, 2):
            raise PromptError(
                f"Limits lie along axis 0, 1 or 2 (k, j or i); those of object {number} name {self.axis}."
            )
        if self.first > self.last:
            raise PromptError(
                f"The first slice of object {number} ({self.first}) lies beyond its last ({self.last}); swap them."
            )
        if self.first < 0 or self.last >= shape[self.axis]:
            raise PromptError(
                f"The limits {self.first} to {self.last} of object {number} reach outside the volume, which has "
                f"{shape[self.axis]} slices along axis {self.axis}."
            )
        for prompt in added:
            low, high = _span(prompt, self.axis)
            if high < self.first or low > self.last:
                raise PromptError(
                    f"A prompt on slice {low} of object {number} lies beyond its limits {self.first} to {self.last}; "
                    "widen the limits or prompt within them."
                )

    def within(self, before: np.ndarray, after: np.ndarray, axis: int, index: int) -> np.ndarray:
        """The mask `after` (rows, columns) of a slice across `axis` within the limits, and `before` outside them."""
        if axis == self.axis:
            return after if self.first <= index <= self.last else before
        result = before.copy()
        across = self.axis if self.axis < axis else self.axis - 1
        inside = [slice(None), slice(None)]
        inside[across] = slice(self.first, self.last + 1)
        result[tuple(inside)] = after[tuple(inside)]
        return result

    def to_json(self) -> dict[str, int]:
        """The wire's JSON object."""
        return {"axis": self.axis, "first": self.first, "last": self.last}


def box_limits(prompts: Sequence[Prompt], axis: int, count: int) -> tuple[int, int] | None:
    """First and last slice (inclusive) across `axis` between which the newest box in space lets the object lie.

    A margin is allowed, and what positive prompts name beyond it. None where no such box stands. prompts: the object's
    own, in order; count: slices along `axis`.
    """
    boxes = [(prompt, ends) for prompt in prompts if (ends := _ends(prompt, axis)) is not None]
    if not boxes:
        return None
    newest, (low, high) = boxes[-1]
    depth = (high if high is not None else base_of(newest)) - (low if low is not None else base_of(newest))
    margin = max(1, math.ceil(DEPTH_MARGIN * depth))
    first, last = (0 if low is None else low - margin), (count - 1 if high is None else high + margin)
    for prompt in prompts:
        at = slices_of(prompt, axis) if is_positive(prompt) else []
        first, last = (
            min([first, *(index - 1 for index in at if index < first)]),
            max([last, *(index + 1 for index in at if index > last)]),
        )
    return max(first, 0), min(last, count - 1)


def base_of(prompt: Prompt) -> int:
    """The slice of a box in space that is decoded."""
    return slices_of(prompt, prompt.axis)[0]


def _ends(prompt: Prompt, axis: int) -> tuple[int | None, int | None] | None:
    """The slices where a prompt says that the object ends; None for an open end, or for a prompt that says nothing."""
    if prompt.axis != axis:
        return None
    if isinstance(prompt, Box3DPrompt):
        return nearest_voxel(prompt.lower[axis]), nearest_voxel(prompt.upper[axis])
    if isinstance(prompt, ExtremePointsPrompt):
        base = base_slice(prompt)
        at = [nearest_voxel(point[axis]) for point in prompt.points]
        low, high = min(at), max(at)
        if low < base or high > base:
            return low if low < base else None, high if high > base else None
    return None


def _span(prompt: Prompt, axis: int) -> tuple[int, int]:
    """First and last slice across `axis` that a prompt touches."""
    if isinstance(prompt, PointPrompt):
        low = high = nearest_voxel(prompt.position[axis])
    elif isinstance(prompt, BoxPrompt | Box3DPrompt):
        if prompt.axis == axis:
            low = high = base_of(prompt)
        else:
            low, high = nearest_voxel(prompt.lower[axis]), nearest_voxel(prompt.upper[axis])
    elif isinstance(prompt, ExtremePointsPrompt):
        at = [nearest_voxel(point[axis]) for point in prompt.points]
        low, high = (base_slice(prompt),) * 2 if prompt.axis == axis else (min(at), max(at))
    elif isinstance(prompt, MaskPrompt):
        if prompt.axis == axis:
            return prompt.index, prompt.index
        across = axis if axis < prompt.axis else axis - 1
        found = np.flatnonzero(prompt.mask.any(axis=1 - across))
        low, high = (int(found[0]), int(found[-1])) if found.size else (0, 2**31)
    else:
        at = prompt.cover.slices(axis)
        low, high = at[0], at[-1]
    return low, high
