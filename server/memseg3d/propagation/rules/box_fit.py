"""A box says how far the object reaches and where it is: what a mask that contradicts its box may mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memseg3d.propagation.prompts.prompts import LassoPrompt, PointPrompt, Prompt, nearest_voxel
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.slice_prompts import box_of

LEAST_SPAN = 0.6
"""Share of a box's side that a mask spans at least. Users leave room around an object, but hardly so much."""
ENOUGH_SPAN = 0.8
"""Share of each side at which a mask that spanned too little has been widened enough."""
STEP, LOWEST_LOGIT = 0.5, -3.0


def fitted_to_box(
    result: SliceLogits, prompts: Sequence[Prompt], axis: int, index: int, shape: tuple[int, int]
) -> np.ndarray:
    """The slice's mask, boolean (rows, columns); wider, inside the box, where it contradicts the only prompt, a box.

    prompts: of the slice. Where no logit above `LOWEST_LOGIT` makes it span `ENOUGH_SPAN` of both sides, it stays.
    """
    mask = result.mask(shape)
    box = box_of(prompts[0], axis, index) if len(prompts) == 1 and not isinstance(prompts[0], LassoPrompt) else None
    if box is None or not result.present or _span(mask, box) >= LEAST_SPAN:
        return mask
    logits = np.full(shape, -np.inf, np.float32)
    logits[result.region.covered(shape)] = result.region.logits_to_slice(result.logits, shape)
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    inside = (rows >= box.top) & (rows <= box.bottom) & (columns >= box.left) & (columns <= box.right)
    for threshold in np.arange(-STEP, LOWEST_LOGIT - STEP, -STEP):
        wider = mask | (inside & (logits > threshold))
        if _span(wider, box) >= ENOUGH_SPAN:
            return wider
    return mask


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


def _span(mask: np.ndarray, box: Extent) -> float:
    """The share of the box's height or width that the mask spans, whichever is less."""
    found = Extent.of_mask(mask)
    return 0.0 if found is None else min(found.height / box.height, found.width / box.width)
