"""What drawings on slices of another axis say where the object is propagated along this one: nothing drawn is lost.

A slice across one axis meets every slice across another in a line of voxels; on that line the drawing holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.prompts.covered_voxels import Shape3
from memseg3d.propagation.prompts.prompts import (
    MaskPrompt,
    PointPrompt,
    Prompt,
    in_plane,
    is_drawing,
    nearest_voxel,
    slices_of,
)
from memseg3d.propagation.sight.slice_prompts import with_drawn_voxels


@dataclass(frozen=True, eq=False)
class CrossingDrawing:
    """The drawings of one slice at `index` across `axis`: the newest that no later click has contradicted.

    inside, within: bool (rows, columns) of that slice: voxels that the object has, and those that it may have at most.
    place: of the newest drawing among the object's prompts.
    """

    axis: int
    index: int
    inside: np.ndarray
    within: np.ndarray
    place: int

    def on(self, mask: np.ndarray, axis: int, index: int) -> np.ndarray:
        """The mask (rows, columns) of slice `index` across another axis with what is drawn on the shared line."""
        line = _line(axis, self.axis, self.index)
        drawn = _line(self.axis, axis, index)
        result = mask.copy()
        result[line] = (mask[line] & self.within[drawn]) | self.inside[drawn]
        return result

    def indices(self, axis: int) -> list[int]:
        """Slices across another axis on which the object has voxels of this drawing."""
        others = [each for each in range(3) if each != self.axis]
        return [int(each) for each in np.flatnonzero(self.inside.any(axis=1 - others.index(axis)))]


def crossing_drawings(prompts: Sequence[Prompt], axis: int, shape: Shape3) -> tuple[CrossingDrawing, ...]:
    """The crossings of an object that is propagated along `axis`. prompts: its own, in order; shape: of the volume."""
    drawn = {slice_of for prompt in prompts if (slice_of := _drawn_slice(prompt, axis)) is not None}
    found = (_crossing(prompts, across, index, shape) for across, index in sorted(drawn))
    return tuple(each for each in found if each is not None)


def redrawn_slices(before: Sequence[CrossingDrawing], now: Sequence[CrossingDrawing], axis: int) -> set[int]:
    """Slices across `axis` on which drawings of other axes no longer say what they said."""
    old, new = ({(each.axis, each.index): each for each in found} for found in (before, now))
    result: set[int] = set()
    for place in sorted(old.keys() | new.keys()):
        sides = [each for each in (old.get(place), new.get(place)) if each is not None]
        # Where there is no drawing, no voxel is held in and none is kept out.
        held = np.logical_xor.reduce([each.inside for each in sides])
        kept_out = np.logical_xor.reduce([~each.within for each in sides])
        others = [each for each in range(3) if each != place[0]]
        differs = (held | kept_out).any(axis=1 - others.index(axis))
        result |= {int(index) for index in np.flatnonzero(differs)}
    return result


def drawn_elsewhere(prompts: Sequence[Prompt], axis: int) -> list[Prompt]:
    """The prompts that `crossing_drawings` is made of."""
    return [prompt for prompt in prompts if _drawn_slice(prompt, axis) is not None]


def _drawn_slice(prompt: Prompt, axis: int) -> tuple[int, int] | None:
    """Axis and index of the slice that a drawing lies on, where it does not lie across `axis`."""
    if prompt.axis == axis or not (is_drawing(prompt) or isinstance(prompt, MaskPrompt)):
        return None
    return prompt.axis, slices_of(prompt, prompt.axis)[0]


def _crossing(prompts: Sequence[Prompt], axis: int, index: int, shape: Shape3) -> CrossingDrawing | None:
    """What stands of the slice's drawings after everything that was said of it later; None: nothing."""
    rows, columns = (size for each, size in enumerate(shape) if each != axis)
    inside, within, place = np.zeros((rows, columns), bool), np.ones((rows, columns), bool), -1
    for at, prompt in enumerate(prompts):
        if index not in slices_of(prompt, axis):
            continue
        if isinstance(prompt, MaskPrompt):
            inside, within, place = prompt.mask, prompt.mask, at
        elif is_drawing(prompt):
            everything = np.ones((rows, columns), bool)
            inside, within, place = ~everything, with_drawn_voxels(everything, [prompt], axis, index), at
        elif place >= 0 and isinstance(prompt, PointPrompt):
            spot = tuple(nearest_voxel(each) for each in in_plane(prompt.position, axis))
            if inside[spot] if not prompt.positive else not within[spot]:
                # The click says otherwise than the drawing: what propagation finds counts again.
                inside, within, place = np.zeros((rows, columns), bool), np.ones((rows, columns), bool), -1
        elif place >= 0:
            inside, within = (with_drawn_voxels(each, [prompt], axis, index) for each in (inside, within))
    return CrossingDrawing(axis, index, inside, within, place) if place >= 0 else None


def _line(axis: int, across: int, index: int) -> tuple[slice | int, ...]:
    """Where a slice across `axis` meets the slice at `index` across another axis."""
    others = [each for each in range(3) if each != axis]
    return (index, slice(None)) if others[0] == across else (slice(None), index)
