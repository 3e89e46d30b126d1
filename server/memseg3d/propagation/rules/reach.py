"""How far propagation may go from what was drawn, and how far a click speaks: up to the next prompted slices."""

from __future__ import annotations

import math
from collections.abc import Collection

from memseg3d.propagation.prompts.prompts import is_drawing, sign_of
from memseg3d.propagation.prompts.sets import PromptsBySlice
from memseg3d.propagation.sight.view import prompts_extent
from memseg3d.propagation.volume.volume import Volume

BY_CLICK = 0.25
"""A positive click on another slice takes propagation so much of a box's reach beyond it."""


def between_prompted(index: int, prompted: Collection[int], count: int) -> tuple[int, int]:
    """First and last of `count` slices that a click on slice `index` may speak of: up to the next prompted ones."""
    first = max((at + 1 for at in prompted if at < index), default=0)
    return first, min((at - 1 for at in prompted if at > index), default=count - 1)


def within_reach(
    slices: PromptsBySlice, limits: tuple[int, int], axis: int, reach: float | None, volume: Volume
) -> tuple[int, int]:
    """The limits (first, last slice, inclusive) narrowed to `reach` larger box sides about the drawn slices.

    Clicks alone tell no size: the limits then stay as they are, and so they do where reach is None.
    """
    if reach is None:
        return limits
    rows, columns = volume.slice_spacing(axis)
    sides = {}
    for index, prompts in slices.items():
        drawn = [prompt for prompt in prompts if is_drawing(prompt)]
        if drawn:
            extent = prompts_extent(drawn, axis, index)
            assert extent is not None
            sides[index] = max(extent.height * rows, extent.width * columns)
    if not sides:
        return limits
    step = volume.spacing[axis]
    reached = {index: reach * side / step for index, side in sides.items()}
    beyond = BY_CLICK * max(reached.values())
    for index, prompts in slices.items():
        if index not in reached and any(sign_of(each) for each in prompts):
            reached[index] = beyond
    first = min(math.floor(index - length) for index, length in reached.items())
    last = max(math.ceil(index + length) for index, length in reached.items())
    return max(limits[0], first), min(limits[1], last)
