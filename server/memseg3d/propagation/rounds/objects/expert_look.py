"""How experts are asked about one object: which one, through which regions, and what it is shown."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from memseg3d.experts.dispatch import chosen
from memseg3d.experts.regions import Extent3, Region3
from memseg3d.experts.seam import Answer, Request, Sighting, VolumeExpert
from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.prompts import Prompt
from memseg3d.propagation.rounds.objects.expert_prompts import clicks_in, drawn_in, told_extent
from memseg3d.propagation.sight.view import View

MOST_LOOKS = 5
"""Wider regions are looked through so often at most."""
TIGHTER = 0.4
"""An object is looked at again where a region made for it has less than this part of the voxels of the first."""
_TOUCH = 4
"""Voxels of the grid at a face of the region that make the object reach beyond it."""
MOST_PATCHES = 8
"""Patches around clicks of one round, at most."""


@dataclass(frozen=True, eq=False)
class Look:
    """An answer, by whom, and through which region."""

    expert: VolumeExpert
    region: Region3
    answer: Answer


class Looks:
    """One round's questions about one object. prompts: all that stand; new: those of the round."""

    def __init__(
        self, experts: Sequence[VolumeExpert], view: View, prompts: Sequence[Prompt], new: Sequence[Prompt]
    ) -> None:
        self._volume = view.volume
        window = view.windows[0]
        self._window = window.low, window.high
        self._prompts, self._new = list(prompts), list(new)
        self._experts = experts
        self._expert: VolumeExpert | None = None
        self._left: list[tuple[float, float, float]] | None = None

    def next(self, before: LabelVolume, is_new: bool) -> Generator[list[SliceDone], None, Look | None]:
        """The next answer; None once everything was looked at. before: the object as it stands by now.

        One that sees the whole object is asked once; one that sees a patch, around each click that no patch has shown.
        """
        sighting = self._sighting(before, is_new)
        if self._left is not None:
            if self._expert is None or not self._expert.info.sees_patch or not self._left:
                return None
            sighting = replace(sighting, clicks=tuple(self._left))
        if self._expert is None:
            self._expert = chosen(self._experts, sighting)
        look = yield from self._asked(self._expert, before, sighting, is_new)
        unseen = [click for click in sighting.clicks if not look.region.holds(click)]
        self._left = unseen[-MOST_PATCHES + 1 :] if self._left is None else unseen
        return look

    def _asked(
        self, expert: VolumeExpert, before: LabelVolume, sighting: Sighting, is_new: bool
    ) -> Generator[list[SliceDone], None, Look]:
        """Look through the region that fits, wider ones while the object reaches beyond, closer if it is small."""
        shape = self._volume.shape
        region = expert.region(sighting)
        previous = None if is_new else before
        has_widened = expert.info.sees_patch
        for look in range(MOST_LOOKS):
            answer = yield from self._looked(expert, region, previous)
            mask = answer.logits > 0
            if look == MOST_LOOKS - 1:
                break
            if region.touches_border(mask, shape, _TOUCH):
                # an object that stood beyond the patch already is no reason to look further
                is_known = sighting.mask is not None and expert.info.sees_patch
                wider = None if is_known else expert.wider(region, sighting)
                if wider is None:
                    break
                region, has_widened = wider, True
                continue
            closer = None if has_widened or sighting.box or sighting.mask else _closer(expert, region, mask, sighting)
            if closer is None:
                break
            region, has_widened = closer, True
        return Look(expert, region, answer)

    def _looked(
        self, expert: VolumeExpert, region: Region3, previous: LabelVolume | None
    ) -> Generator[list[SliceDone], None, Answer]:
        volume = self._volume
        prompts = drawn_in(region, self._prompts)
        seen = None
        if previous is not None:
            part = region.inside(volume.shape)
            k, j, i = (start - one.start for start, one in zip(region.start, part, strict=True))
            seen = Region3((k, j, i), region.size, region.grid).seen(block(previous, part))
        added = len(drawn_in(region, self._prompts if previous is None else self._new))
        shown = region.seen(volume.voxels)
        request = Request(volume.key, region, shown, seen, prompts, added, self._window, volume.shape)
        steps = expert.segment(request)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                answer: Answer = end.value
                return answer
            yield []

    def _sighting(self, before: LabelVolume, is_new: bool) -> Sighting:
        """What is known of where the object lies. A box in space tells it; one on a slice only while nothing stands."""
        volume = self._volume
        box, is_deep = told_extent(self._prompts, volume.spacing)
        mask = None if is_new else _extent_of(before)
        if mask is not None and not is_deep:
            box = None
        new = clicks_in(self._prompts if is_new else self._new)
        return Sighting(volume.shape, volume.spacing, box, mask, new or clicks_in(self._prompts))


def block(labels: LabelVolume, part: tuple[slice, slice, slice]) -> np.ndarray:
    """Boolean (n, m, o), a part of a labelmap."""
    return labels.block(((part[0].start, part[0].stop), (part[1].start, part[1].stop), (part[2].start, part[2].stop)))


def _closer(expert: VolumeExpert, region: Region3, mask: np.ndarray, sighting: Sighting) -> Region3 | None:
    extent = Extent3.of(mask)
    if extent is None:
        return None
    scale = [size / cells for size, cells in zip(region.size, region.grid, strict=True)]
    lower, upper = (
        [start + (at + 0.5) * step - 0.5 for start, at, step in zip(region.start, corner, scale, strict=True)]
        for corner in (extent.lower, extent.upper)
    )
    found = Extent3((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
    closer = expert.region(Sighting(sighting.shape, sighting.spacing, None, found, sighting.clicks))
    is_small = np.prod(closer.size, dtype=float) < TIGHTER * np.prod(region.size, dtype=float)
    return closer if is_small else None


def _extent_of(labels: LabelVolume) -> Extent3 | None:
    lower, upper = [], []
    for axis in range(3):
        content = labels.slices_with_content(axis)
        if content.size == 0:
            return None
        lower.append(float(content[0]))
        upper.append(float(content[-1]))
    return Extent3((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
