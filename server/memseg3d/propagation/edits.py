"""What a round of clicks may change: clicks of one sign only add or only remove, and some deny a whole part."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np
import SimpleITK as sitk

from memseg3d.propagation.covers import part_at
from memseg3d.propagation.prompts import Prompt, sign_of

HEART = 0.75
"""A click at this part of a mask's greatest depth, or deeper, means the whole part and not a piece of it."""


class Edit(Enum):
    """How a round's masks are bounded by those before it."""

    FREE = "free"
    GROW = "grow"
    SHRINK = "shrink"


def edit_of(added: Sequence[Prompt], withdrew: bool) -> Edit:
    """The edit that new prompts ask for: positive clicks and strokes alone grow, negative ones alone shrink.

    withdrew: True where the round also takes prompts away.
    """
    signs = {sign_of(prompt) for prompt in added}
    if withdrew or len(signs) != 1 or signs == {None}:
        return Edit.FREE
    return Edit.GROW if signs == {True} else Edit.SHRINK


def bounded(edit: Edit, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The slice's mask (rows, columns), bool, kept within what the edit allows."""
    if edit is Edit.GROW:
        return before | after
    if edit is Edit.SHRINK:
        return before & after
    return after


def denied(before: np.ndarray, clicks: Sequence[tuple[float, float]], spacing: tuple[float, float]) -> np.ndarray:
    """Connected parts of a mask whose heart a negative click hit: (rows, columns) bool.

    before: the mask that the user saw; clicks: (row, column) of the slice; spacing: (row, column) mm.
    """
    result = np.zeros(before.shape, bool)
    for click in clicks:
        row, column = (min(max(round(at), 0), size - 1) for at, size in zip(click, before.shape, strict=True))
        if not before[row, column]:
            continue
        part = part_at(before, row, column)
        image = sitk.GetImageFromArray(np.pad(part, 1).astype(np.uint8))
        image.SetSpacing((spacing[1], spacing[0]))
        distance = sitk.SignedMaurerDistanceMap(
            image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True
        )
        # Half a pixel: the map measures to the border pixels' own centres, which lie at 0.
        depth = np.maximum(sitk.GetArrayFromImage(distance)[1:-1, 1:-1], 0) + 0.5 * min(spacing)
        if depth[row, column] >= HEART * depth.max():
            result |= part
    return result
