"""A box says where its object is: what a mask that leaves out the box's middle may mean."""

from __future__ import annotations

from collections.abc import Sequence

from memseg3d.propagation.prompts.prompts import LassoPrompt, PointPrompt, Prompt, nearest_voxel
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.slice_prompts import box_of


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
