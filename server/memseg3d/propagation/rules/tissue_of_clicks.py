"""The tissue that a round's clicks add to an object or take from it, on every slice through which it hangs together.

Only up to the next slices that were prompted: what the user has said of these stands, and with it what lies beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels
from memseg3d.propagation.prompts.prompts import PointPrompt, Prompt, nearest_voxel
from memseg3d.propagation.rules.connected_tissue import KnownSlice, connected_tissue
from memseg3d.propagation.rules.one_sign import Edit
from memseg3d.propagation.sight.view import View

MOST_CLICKS = 16
"""Of one round's clicks of an object so many, the newest, speak beyond their slices: each may take a third of a second
in which nobody else is served, and who clicks more often at once has said by hand what they would.
"""


@dataclass(frozen=True, eq=False)
class LastSeen:
    """An object as the last round left it. mask: of a slice by its index, (rows, columns). prompted: all conditioning
    slices of the round to come; changed: those whose prompts it changes.
    """

    labels: LabelVolume
    mask: Callable[[int], np.ndarray]
    prompted: Collection[int]
    changed: Collection[int]


@dataclass(frozen=True)
class TissueOfClicks:
    """Voxels that the clicks speak of. Slices that the user prompted are asked about by nobody but their own clicks."""

    added: Sequence[CoveredVoxels] = ()
    taken: Sequence[CoveredVoxels] = ()

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


def tissue_of_clicks(view: View, added: Sequence[Prompt], last: LastSeen, edit: Edit, alone: bool) -> TissueOfClicks:
    """What the new clicks of a round say beyond their own slices, where they all have one sign.

    added: the round's new prompts. last: the object as the user saw it. What tissue it is made of is read off the
    nearest slice that was prompted before, else off the clicked slice itself. alone: on the clicked slices alone, which
    takes no time.
    """
    if edit is Edit.FREE:
        return TissueOfClicks()
    joining: list[CoveredVoxels] = []
    leaving: list[CoveredVoxels] = []
    clicks = [prompt for prompt in added if isinstance(prompt, PointPrompt)]
    for prompt in clicks[-MOST_CLICKS:]:
        click = _voxel(prompt, view.volume.shape)
        if click is None:
            continue
        at = _known_slice(last, click[view.axis])
        if at is None:
            continue
        cover = connected_tissue(
            view.volume, last.labels, view.axis, click, prompt.positive, KnownSlice(at, last.mask(at)), alone
        )
        if cover is not None:
            (joining if prompt.positive else leaving).append(_up_to_prompted(cover, view.axis, click, last.prompted))
    return TissueOfClicks(joining, leaving)


def _up_to_prompted(
    cover: CoveredVoxels, axis: int, click: tuple[int, int, int], prompted: Collection[int]
) -> CoveredVoxels:
    """What is covered on the slices between the next prompted ones on either side of the click."""
    start = cover.corner[axis]
    below = max((at for at in prompted if at < click[axis]), default=start - 1)
    above = min((at for at in prompted if at > click[axis]), default=start + cover.voxels.shape[axis])
    first = max(below + 1, start)
    kept = cover.voxels.take(range(first - start, min(above - start, cover.voxels.shape[axis])), axis)
    k, j, i = (first if each == axis else at for each, at in enumerate(cover.corner))
    return CoveredVoxels(cover.shape, (k, j, i), kept)


def _voxel(prompt: PointPrompt, shape: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """The clicked voxel (k, j, i); None where it lies outside."""
    k, j, i = (nearest_voxel(at) for at in prompt.position)
    return (k, j, i) if all(0 <= at < size for at, size in zip((k, j, i), shape, strict=True)) else None


def _known_slice(last: LastSeen, clicked: int) -> int | None:
    """The slice nearest to the clicked one that tells what the object is made of; None where no slice does."""
    prompted = sorted(last.prompted, key=lambda each: (abs(each - clicked), each))
    others = [each for each in prompted if each not in last.changed]
    return next((each for each in [*others, clicked] if last.mask(each).any()), None)
