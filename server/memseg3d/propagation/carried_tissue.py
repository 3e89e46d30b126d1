"""The tissue that a round's clicks add to an object or take from it, on every slice through which it hangs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.clicked_tissue import Known, clicked_tissue
from memseg3d.propagation.covers import Cover
from memseg3d.propagation.edits import Edit
from memseg3d.propagation.last_round import LastRound
from memseg3d.propagation.plan import Plan
from memseg3d.propagation.prompts import PointPrompt, nearest_voxel
from memseg3d.propagation.view import View


@dataclass(frozen=True)
class CarriedTissue:
    """Voxels that the clicks speak of. Slices that the user prompted are asked about by nobody but their own clicks."""

    added: Sequence[Cover] = ()
    taken: Sequence[Cover] = ()

    def on(self, mask: np.ndarray, axis: int, index: int) -> np.ndarray:
        """The mask (rows, columns) of the slice at `index` across `axis` with it and without it."""
        for cover in self.added:
            mask = mask | cover.on(axis, index)
        for cover in self.taken:
            mask = mask & ~cover.on(axis, index)
        return mask

    def slices(self, axis: int) -> set[int]:
        """Indices across `axis` of the slices that hold some of it."""
        return {index for cover in (*self.added, *self.taken) for index in cover.slices(axis)}


def carried_tissue(view: View, plan: Plan, last: LastRound, edit: Edit, alone: bool) -> CarriedTissue:
    """What the new clicks of a round say beyond their own slices, where they all have one sign.

    last: the object as the user saw it. What tissue it is made of is read off the nearest slice that was prompted
    before, else off the clicked slice itself. alone: on the clicked slices alone, which takes no time.
    """
    if edit is Edit.FREE:
        return CarriedTissue()
    added: list[Cover] = []
    taken: list[Cover] = []
    for prompt in plan.added:
        if not isinstance(prompt, PointPrompt):
            continue
        click = _voxel(prompt, view.volume.shape)
        if click is None:
            continue
        at = _known_slice(plan, last, click[view.axis])
        if at is None:
            continue
        cover = clicked_tissue(
            view.volume, last.labels, view.axis, click, prompt.positive, Known(at, last.mask(at)), alone
        )
        if cover is not None:
            (added if prompt.positive else taken).append(cover)
    return CarriedTissue(added, taken)


def _voxel(prompt: PointPrompt, shape: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """The clicked voxel (k, j, i); None where it lies outside."""
    k, j, i = (nearest_voxel(at) for at in prompt.position)
    return (k, j, i) if all(0 <= at < size for at, size in zip((k, j, i), shape, strict=True)) else None


def _known_slice(plan: Plan, last: LastRound, clicked: int) -> int | None:
    """The slice nearest to the clicked one that tells what the object is made of; None where no slice does."""
    prompted = sorted(plan.slices, key=lambda each: (abs(each - clicked), each))
    others = [each for each in prompted if each not in plan.changed]
    return next((each for each in [*others, clicked] if last.mask(each).any()), None)
