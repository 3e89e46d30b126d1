"""One object's round with a volumetric expert: after propagation, or in its place; its answer stays in its region."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np

from memseg3d.experts.composing import edited
from memseg3d.experts.regions import Extent3, Region3
from memseg3d.experts.seam import Answer, Request, Sighting, VolumeExpert
from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.masks.soft_slices import SoftSlice
from memseg3d.propagation.memory.conditioning import Memories
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.events import SliceDone, WeakPrompt
from memseg3d.propagation.prompts.prompts import MaskPrompt, PointPrompt, Prompt, StrokePrompt, is_drawing
from memseg3d.propagation.rounds.objects.expert_prompts import clicks_in, drawn_in, told_extent, voxels_of
from memseg3d.propagation.rounds.objects.object_run import ObjectRun
from memseg3d.propagation.rounds.objects.running_object import RunningObject
from memseg3d.propagation.rounds.walks.fronts import FrontBatch
from memseg3d.propagation.sight.view import View

MOST_LOOKS = 5
"""Wider regions are looked through so often at most."""
TIGHTER = 0.4
"""An object is looked at again where a region made for it has less than this part of the voxels of the first."""
_TOUCH = 4
"""Voxels of the grid at a face of the region that make the object reach beyond it."""


class ExpertRun:
    """Stages what an expert makes of one object.

    `walk` takes the steps of propagation, `run` keeps what is found within what the round may change. Clicks on an
    object that stands change only the parts that they concern; anything else is answered anew within the region.
    """

    def __init__(
        self,
        run: ObjectRun,
        walk: RunningObject | None,
        expert: VolumeExpert,
        prompts: Sequence[Prompt],
        labels: LabelVolume,
    ) -> None:
        """walk: None where the expert answers alone. prompts: all of the object. labels: before the round."""
        self.number = run.number
        self.masks = run.masks
        self.qualities = run.qualities
        self.soft: dict[int, SoftSlice | None] = run.soft
        self._run = run
        self._walk = walk
        self._expert = expert
        self._prompts = list(prompts)
        self._labels = labels
        self._is_over = False

    @property
    def view(self) -> View:
        """How the slices are seen."""
        return self._run.view

    @property
    def batch(self) -> FrontBatch | None:
        """What steps this object's fronts along with those of others."""
        return None if self._walk is None else self._walk.batch

    @batch.setter
    def batch(self, batch: FrontBatch | None) -> None:
        if self._walk is not None:
            self._walk.batch = batch

    @property
    def steps_left(self) -> int:
        """How many steps are left at most; the expert's own count as one."""
        return (0 if self._walk is None else self._walk.steps_left) + (0 if self._is_over else 1)

    @property
    def weak(self) -> WeakPrompt | None:
        """Where the prompts of propagation were too weak; of an expert nothing is known of that."""
        return None if self._walk is None else self._walk.weak

    def stored(self) -> dict[int, StoredSlice | None]:
        """What the round changes of the stored conditioning slices."""
        return self._run.stored()

    def memories(self) -> Memories:
        """What the next round can make use of."""
        return self._run.memories()

    def decode_prompted(self) -> Iterator[list[SliceDone]]:
        """The prompted slices of propagation; an expert that is alone answers here, for the user waits for it."""
        if self._walk is not None:
            yield from self._walk.decode_prompted()
        elif not self._run.plan.slices:
            yield from self._run.decode_prompted()
        else:
            yield from self._answered()

    def propagate(self) -> Iterator[list[SliceDone]]:
        """Propagation, then the expert on what it has found."""
        if self._walk is not None:
            yield from self._walk.propagate()
            if self._run.plan.slices:
                yield from self._answered()
        self._is_over = True

    def _answered(self) -> Iterator[list[SliceDone]]:
        """Ask the expert, and stage the slices that it changes."""
        axis, volume = self.view.axis, self.view.volume
        drawn = self._own_slices()
        yield [done for index, mask in drawn.items() if (done := self._own(index, mask)) is not None]
        before = self._labels.copy()
        before.apply(before.delta_to(axis, self.masks))
        # what an expert has found with a prompt that was taken back tells nothing
        is_afresh = self._walk is None and self._run.plan.withdrew
        is_new = is_afresh or not before.voxels()
        region, answer = yield from self._asked(before, is_new)
        part = region.inside(volume.shape)
        start, stop = part[axis].start, part[axis].stop
        if is_afresh:
            yield [
                self._run.replace(int(index), np.zeros(self.view.slice_shape, bool), 0.0)
                for index in before.slices_with_content(axis)
                if index not in drawn
            ]
            before = LabelVolume(volume.shape)
        if start >= stop:
            return
        old = _block(before, part)
        sure = 1.0 / (1.0 + np.exp(-region.back(answer.logits, volume.shape)))
        new = self._composed(old, sure > 0.5, part, is_new)
        rest = tuple(each for other, each in enumerate(part) if other != axis)
        for index in range(start, stop):
            own, found = old.take(index - start, axis), new.take(index - start, axis)
            if np.array_equal(own, found) or index in drawn:
                continue
            mask = before.slice(axis, index).copy()
            mask[rest] = found
            probability = mask.astype(np.float32)
            probability[rest] = sure.take(index - start, axis)
            yield [self._run.replace(index, mask, answer.quality, probability)]

    def _asked(self, before: LabelVolume, is_new: bool) -> Generator[list[SliceDone], None, tuple[Region3, Answer]]:
        """Look through the region that fits, wider ones while the object reaches beyond, closer if it is small."""
        volume = self.view.volume
        sighting = self._sighting(before, is_new)
        region = self._expert.region(sighting)
        previous: LabelVolume | None = None if is_new else before
        has_widened = False
        for look in range(MOST_LOOKS):
            answer = yield from self._looked(region, previous)
            mask = answer.logits > 0
            if look == MOST_LOOKS - 1:
                break
            if region.touches_border(mask, volume.shape, _TOUCH):
                wider = self._expert.wider(region, sighting)
                if wider is None:
                    break
                region, has_widened = wider, True
                continue
            closer = None if has_widened or sighting.box or sighting.mask else self._closer(region, mask, sighting)
            if closer is None:
                break
            region, has_widened = closer, True
        return region, answer

    def _looked(self, region: Region3, previous: LabelVolume | None) -> Generator[list[SliceDone], None, Answer]:
        volume = self.view.volume
        prompts = drawn_in(region, self._prompts)
        seen = None
        if previous is not None:
            part = region.inside(volume.shape)
            inner = _block(previous, part)
            seen = Region3(
                (region.start[0] - part[0].start, region.start[1] - part[1].start, region.start[2] - part[2].start),
                region.size,
                region.grid,
            ).seen(inner)
        added = len(drawn_in(region, self._new(previous is None)))
        request = Request(volume.key, region, region.seen(volume.voxels), seen, prompts, added)
        steps = self._expert.segment(request)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                answer: Answer = end.value
                return answer
            yield []

    def _sighting(self, before: LabelVolume, is_new: bool) -> Sighting:
        """What is known of where the object lies. A box in space tells it; one on a slice only while nothing stands."""
        volume = self.view.volume
        box, is_deep = told_extent(self._prompts, volume.spacing)
        mask = None if is_new else _extent_of(before)
        if mask is not None and not is_deep:
            box = None
        new = clicks_in(self._new(is_new))
        return Sighting(volume.shape, volume.spacing, box, mask, new or clicks_in(self._prompts))

    def _closer(self, region: Region3, mask: np.ndarray, sighting: Sighting) -> Region3 | None:
        extent = Extent3.of(mask)
        if extent is None:
            return None
        scale = [size / cells for size, cells in zip(region.size, region.grid, strict=True)]
        lower, upper = (
            [start + (at + 0.5) * step - 0.5 for start, at, step in zip(region.start, corner, scale, strict=True)]
            for corner in (extent.lower, extent.upper)
        )
        found = Extent3((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
        closer = self._expert.region(Sighting(sighting.shape, sighting.spacing, None, found, sighting.clicks))
        is_small = np.prod(closer.size, dtype=float) < TIGHTER * np.prod(region.size, dtype=float)
        return closer if is_small else None

    def _composed(self, old: np.ndarray, new: np.ndarray, part: tuple[slice, ...], is_new: bool) -> np.ndarray:
        """What of the answer stays in the region."""
        added = self._new(is_new)
        if is_new or not added or self._expert.info.answers_whole or not all(_is_edit(prompt) for prompt in added):
            return new
        corner = np.array([each.start for each in part])
        positive, negative = (
            [tuple(np.array(voxel) - corner) for voxel in voxels_of(added, sign)] for sign in (True, False)
        )
        return edited(old, new, positive, negative)

    def _new(self, is_new: bool) -> list[Prompt]:
        """The prompts of this round; all of them where nothing stands."""
        return self._prompts if is_new else list(self._run.plan.added)

    def _own_slices(self) -> dict[int, np.ndarray]:
        """The user's own masks of slices, which no expert changes."""
        axis = self.view.axis
        return {each.index: each.mask for each in self._prompts if isinstance(each, MaskPrompt) and each.axis == axis}

    def _own(self, index: int, mask: np.ndarray) -> SliceDone | None:
        if self._walk is not None or np.array_equal(self._labels.slice(self.view.axis, index), mask):
            return None
        return self._run.replace(index, mask, 1.0)


def _is_edit(prompt: Prompt) -> bool:
    return isinstance(prompt, PointPrompt) or (isinstance(prompt, StrokePrompt) and not is_drawing(prompt))


def _block(labels: LabelVolume, part: tuple[slice, slice, slice]) -> np.ndarray:
    return labels.block(((part[0].start, part[0].stop), (part[1].start, part[1].stop), (part[2].start, part[2].stop)))


def _extent_of(labels: LabelVolume) -> Extent3 | None:
    lower, upper = [], []
    for axis in range(3):
        content = labels.slices_with_content(axis)
        if content.size == 0:
            return None
        lower.append(float(content[0]))
        upper.append(float(content[-1]))
    return Extent3((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
