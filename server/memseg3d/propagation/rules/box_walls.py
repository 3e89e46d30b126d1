"""A box in space bounds its object on every slice: beside it propagation has run away."""

from __future__ import annotations

from functools import reduce

import numpy as np

from memseg3d.propagation.prompts.prompts import Box3DPrompt, is_positive
from memseg3d.propagation.prompts.sets import PromptsBySlice
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.sight.slice_prompts import box_of, extent_of, pixels_in, with_margin


def box_walls(slices: PromptsBySlice, axis: int, shape: tuple[int, int]) -> np.ndarray | None:
    """Where the object's boxes in space let it lie on slices across `axis`, bool (rows, columns); None without a box.

    A margin is allowed, and what other positive prompts name beyond it. slices: all prompted ones.
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
