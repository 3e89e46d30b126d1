"""What boxes say of their object: that it has the box's middle, and that it lies within a box in space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    LassoPrompt,
    PointPrompt,
    Prompt,
    is_positive,
    nearest_voxel,
)
from memseg3d.propagation.prompts.sets import PromptsBySlice
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.slice_prompts import box_of, extent_of, pixels_in, with_margin


def missed_middle(
    result: SliceLogits, prompts: Sequence[Prompt], axis: int, index: int, shape: tuple[int, int]
) -> PointPrompt | None:
    """A positive click in the middle of the slice's only prompt, a box, where the mask found by it leaves that out.

    A network that was taught tight boxes turns a loose one inside out: the surroundings in the box become the object.
    """
    box = box_of(prompts[0], axis, index) if len(prompts) == 1 and not isinstance(prompts[0], LassoPrompt) else None
    if box is None:
        return None
    row, column = (min(max(nearest_voxel(at), 0), size - 1) for at, size in zip(box.centre, shape, strict=True))
    if result.mask(shape)[row, column]:
        return None
    place = [float(row), float(column)]
    place.insert(axis, float(index))
    return PointPrompt(prompts[0].object, (place[0], place[1], place[2]), True)


def box_walls(slices: PromptsBySlice, axis: int, shape: tuple[int, int]) -> np.ndarray | None:
    """Where the object's boxes in space let it lie on slices across `axis`, bool (rows, columns); None without a box.

    A margin is allowed, and what other positive prompts name beyond it. slices: all prompted ones. Beside such boxes
    propagation has run away.
    """
    said = [(index, prompt) for index, prompts in slices.items() for prompt in prompts if is_positive(prompt)]
    boxes = [box for _, prompt in said if isinstance(prompt, Box3DPrompt) and (box := box_of(prompt, axis, 0))]
    if not boxes:
        return None
    room = with_margin(reduce(Extent.union, boxes))
    for index, prompt in said:
        named = None if isinstance(prompt, Box3DPrompt) else extent_of(prompt, axis, index)
        room = room if named is None else room.union(named)
    return pixels_in(room, shape)
