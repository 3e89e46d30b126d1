"""One object's round with volumetric experts: after propagation, or in its place; answers stay in their regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from memseg3d.experts.composing import edited
from memseg3d.experts.seam import VolumeExpert
from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.masks.soft_slices import SoftSlice
from memseg3d.propagation.memory.conditioning import Memories
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.events import SliceDone, WeakPrompt
from memseg3d.propagation.prompts.prompts import MaskPrompt, Prompt, is_edit
from memseg3d.propagation.rounds.objects.expert_look import Look, Looks, block
from memseg3d.propagation.rounds.objects.expert_prompts import voxels_of
from memseg3d.propagation.rounds.objects.object_run import ObjectRun
from memseg3d.propagation.rounds.objects.running_object import RunningObject
from memseg3d.propagation.rounds.walks.fronts import FrontBatch
from memseg3d.propagation.sight.view import View


class ExpertRun:
    """Stages what experts make of one object.

    `walk` takes the steps of propagation, `run` keeps what is found within what the round may change. Clicks on an
    object that stands change only the parts that they concern; anything else is answered anew within the region.
    """

    def __init__(
        self,
        run: ObjectRun,
        walk: RunningObject | None,
        experts: Sequence[VolumeExpert],
        prompts: Sequence[Prompt],
        labels: LabelVolume,
        known: Mapping[int, SoftSlice],
    ) -> None:
        """walk: None where experts answer alone. prompts: all of the object. labels, known: before the round, the masks
        and how sure they are by slice.
        """
        self.number = run.number
        self.masks = run.masks
        self.qualities = run.qualities
        self.soft: dict[int, SoftSlice | None] = run.soft
        self._run = run
        self._walk = walk
        self._experts = experts
        self._prompts = list(prompts)
        self._labels = labels
        self._known = known
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
        """Ask the experts, and stage the slices that they change."""
        axis, volume = self.view.axis, self.view.volume
        drawn = self._own_slices()
        yield [done for index, mask in drawn.items() if (done := self._own(index, mask)) is not None]
        before = self._labels.copy()
        before.apply(before.delta_to(axis, self.masks))
        # what an expert has found with a prompt that was taken back tells nothing
        is_afresh = self._walk is None and self._run.plan.withdrew
        is_new = is_afresh or not before.voxels()
        added = self._prompts if is_new else list(self._run.plan.added)
        looks = Looks(self._experts, self.view, self._prompts, added)
        is_anew = is_new or not added or not all(is_edit(prompt) for prompt in added)
        is_first = True
        while (look := (yield from looks.next(before, is_new and is_first))) is not None:
            if is_first and is_afresh:
                yield [
                    self._run.replace(int(index), np.zeros(self.view.slice_shape, bool), 0.0)
                    for index in before.slices_with_content(axis)
                    if index not in drawn
                ]
                before = LabelVolume(volume.shape)
            # what further patches find is added to what the first one has found
            clicked = [] if is_first and (is_anew or look.expert.info.answers_whole) else added
            yield from self._staged(look, before, drawn, clicked)
            before.apply(before.delta_to(axis, self.masks))
            is_first = False

    def _staged(
        self, look: Look, before: LabelVolume, drawn: dict[int, np.ndarray], clicked: Sequence[Prompt]
    ) -> Iterator[list[SliceDone]]:
        """Stage the slices that one answer changes. drawn: the user's own, which stay. clicked: prompts that alone say
        which parts change; none: the answer stands whole.
        """
        axis, shape = self.view.axis, self.view.volume.shape
        part = look.region.inside(shape)
        start, stop = part[axis].start, part[axis].stop
        if start >= stop:
            return
        rest = tuple(each for other, each in enumerate(part) if other != axis)
        logits = look.region.back(look.answer.logits, shape)
        weighing = look.expert.info.weighing
        if self._walk is not None and not weighing.is_alone:
            known = [self._sureness(before, index)[rest] for index in range(start, stop)]
            logits = weighing.joined(logits, np.stack(known, axis))
        found = logits > 0
        if clicked:
            found = _edited(block(before, part), found, part, clicked)
        found, logits = np.moveaxis(found, axis, 0), np.moveaxis(logits, axis, 0)
        held = set(before.slices_with_content(axis).tolist())
        for index in range(start, stop):
            if index not in held and not found[index - start].any():
                continue
            mask = before.slice(axis, index)
            if index in drawn or np.array_equal(mask[rest], found[index - start]):
                continue
            mask = mask.copy()
            mask[rest] = found[index - start]
            probability = self._sureness(before, index)
            probability[rest] = 1.0 / (1.0 + np.exp(-logits[index - start]))
            yield [self._run.replace(index, mask, look.answer.quality, probability)]

    def _sureness(self, before: LabelVolume, index: int) -> np.ndarray:
        """float32 (rows, columns): how sure a slice's mask is as it stands, 0 beyond it; 1 where that is not known."""
        mask = before.slice(self.view.axis, index)
        soft = self.soft.get(index) if index in self.masks else self._known.get(index)
        return mask.astype(np.float32) if soft is None else np.where(mask, soft.on(mask.shape), np.float32(0))

    def _own_slices(self) -> dict[int, np.ndarray]:
        """The user's own masks of slices, which no expert changes."""
        axis = self.view.axis
        return {each.index: each.mask for each in self._prompts if isinstance(each, MaskPrompt) and each.axis == axis}

    def _own(self, index: int, mask: np.ndarray) -> SliceDone | None:
        if self._walk is not None or np.array_equal(self._labels.slice(self.view.axis, index), mask):
            return None
        return self._run.replace(index, mask, 1.0)


def _edited(old: np.ndarray, new: np.ndarray, part: tuple[slice, ...], clicked: Sequence[Prompt]) -> np.ndarray:
    """What of an answer becomes the object in its region: the connected parts that clicks and strokes concern."""
    corner = np.array([each.start for each in part])
    positive, negative = (
        [tuple((np.array(voxel) - corner).tolist()) for voxel in voxels_of(clicked, sign)] for sign in (True, False)
    )
    return edited(old, new, positive, negative)
