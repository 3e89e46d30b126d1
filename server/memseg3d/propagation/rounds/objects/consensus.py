"""Consensus of three axes: a round's result is propagated along the two other axes as well, and voxels are voted on.

Six directions in all, forward and backward along each axis, as Medical-SAM2 (arXiv 2408.00874) does for volumes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from memseg3d.propagation.masks.cross_sections import areas, best_slices
from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.memory.conditioning import Memories
from memseg3d.propagation.memory.stored_slices import StoredSlice
from memseg3d.propagation.prompts.events import ConsensusCost, SliceDone, WeakPrompt
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import MaskPrompt, Prompt, is_edit
from memseg3d.propagation.prompts.sets import by_slice
from memseg3d.propagation.rounds.objects.object_run import ObjectRun
from memseg3d.propagation.rounds.objects.running_object import RunningObject
from memseg3d.propagation.rounds.planning.plan import plan_round
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.rounds.walks.fronts import FrontBatch
from memseg3d.propagation.sight.view import View

MARGIN = 0.1
"""The other axes are walked so much further than the object reaches, by two slices at least."""


class ConsensusRun:
    """Stages one object's round with a vote of three axes after it.

    Slices with prompts stay as they were decoded. Of the others those that the round computed take, in every voxel,
    what two of the three axes say; an object that is computed afresh may also gain slices on which the two others
    agree.
    """

    def __init__(
        self,
        run: ObjectRun,
        prompts: Sequence[Prompt],
        labels: LabelVolume,
        options: Options,
        folder: Path | None,
        is_afresh: bool,
    ) -> None:
        """run: along the prompted axis. prompts: all of the object. labels: before the round. folder: of large
        labelmaps. is_afresh: nothing of an earlier round along this axis stands.
        """
        self.number = run.number
        self.masks = run.masks
        self.qualities = run.qualities
        self.soft = run.soft
        self.cost = ConsensusCost()
        self._run = run
        self._prompts = [each for each in prompts if is_edit(each)]
        self._labels = labels
        self._options = options
        self._folder = folder
        self._is_afresh = is_afresh
        self._walks_left = 0

    @property
    def view(self) -> View:
        """How the slices of the prompted axis are seen."""
        return self._run.view

    @property
    def batch(self) -> FrontBatch | None:
        """What steps this object's fronts along with those of others."""
        return self._run.batch

    @batch.setter
    def batch(self, batch: FrontBatch | None) -> None:
        self._run.batch = batch

    @property
    def steps_left(self) -> int:
        """How many steps are left at most; those of the other axes once they are known."""
        return self._run.steps_left + self._walks_left

    @property
    def weak(self) -> WeakPrompt | None:
        """Where its prompts were too weak."""
        return self._run.weak

    def stored(self) -> dict[int, StoredSlice | None]:
        """What the round changes of the stored conditioning slices."""
        return self._run.stored()

    def memories(self) -> Memories:
        """What the next round can make use of."""
        return self._run.memories()

    def decode_prompted(self) -> Iterator[list[SliceDone]]:
        """As along one axis."""
        return self._run.decode_prompted()

    def propagate(self) -> Iterator[list[SliceDone]]:
        """Along the prompted axis, then along the others, then the vote; one slice a step."""
        yield from self._run.propagate()
        walk = self._agreed()
        while True:
            started = time.perf_counter()
            done = next(walk, None)
            self.cost = replace(self.cost, seconds=self.cost.seconds + time.perf_counter() - started)
            if done is None:
                return
            yield done

    def _agreed(self) -> Iterator[list[SliceDone]]:
        axis = self.view.axis
        if not self._run.plan.slices or not self.masks:
            return
        staged = self._labels.copy()
        staged.apply(staged.delta_to(axis, self.masks))
        votes = []
        for across in [each for each in range(3) if each != axis]:
            walk = self._across(across, staged)
            if walk is None:
                return
            yield from self._walked(walk)
            votes.append(self._new_labels())
            votes[-1].apply(votes[-1].delta_to(across, walk.masks))
        for index in self._scope(staged, votes):
            own, first, second = (each.slice(axis, index) for each in (staged, *votes))
            mask = (own & first) | (own & second) | (first & second)
            if np.array_equal(mask, own):
                continue
            quality = self.qualities.get(index)
            done = self._run.replace(index, mask, _agreement(first, second) if quality is None else quality)
            yield [done] if not np.array_equal(done.mask, own) else []

    def _walked(self, walk: ObjectRun) -> Iterator[list[SliceDone]]:
        """All steps of the walk along another axis; what it finds is not shown before the vote."""
        walk.batch = self.batch
        for steps in (walk.decode_prompted(), walk.propagate()):
            for done in steps:
                self._walks_left = walk.steps_left
                self.cost = replace(self.cost, slices=self.cost.slices + len(done))
                yield []
        self._walks_left = 0

    def _across(self, axis: int, staged: LabelVolume) -> ObjectRun | None:
        """The object propagated along another axis from its best known slices; None where nothing is there."""
        shared = areas(staged, self.view.axis, axis)
        known = {index: quality for index, quality in self.qualities.items() if quality is not None}
        chosen = best_slices(shared, known)
        if not chosen:
            return None
        content = np.flatnonzero(shared.any(axis=0))
        first, last = int(content[0]), int(content[-1])
        said = by_slice(self._prompts, axis)
        slices: dict[int, list[Prompt]] = {}
        for index in sorted({*chosen, *(each for each in said if first <= each <= last)}):
            mask = staged.slice(axis, index)
            if mask.any():
                slices[index] = [MaskPrompt(self.number, axis, index, mask), *said.get(index, [])]
        margin = max(2, round(MARGIN * (last - first + 1)))
        limits = max(0, first - margin), min(staged.shape[axis] - 1, last + margin)
        plan = plan_round({}, slices, limits, afresh=True)
        view = self._view(axis)
        return ObjectRun(self.number, view, plan, LastRound(view, self._new_labels(), {}, {}), {}, self._options)

    def _scope(self, staged: LabelVolume, votes: Sequence[LabelVolume]) -> list[int]:
        """Slices along the prompted axis that the vote may change."""
        run, axis = self._run, self.view.axis
        computed = set(self.masks)
        if self._is_afresh:
            found = [set(each.slices_with_content(axis).tolist()) for each in votes]
            first, last = self._bounds(staged)
            computed |= {index for index in found[0] & found[1] if first <= index <= last}
        return sorted(computed - set(run.plan.slices))

    def _bounds(self, staged: LabelVolume) -> tuple[int, int]:
        """Between which slices along the prompted axis the object may lie at all."""
        plan, axis = self._run.plan, self.view.axis
        first, last = self._options.limits(staged.shape[axis])
        for narrower in (plan.confined_to, (plan.limits.first, plan.limits.last) if plan.limits else None):
            on_axis = narrower is plan.confined_to or (plan.limits is not None and plan.limits.axis == axis)
            if narrower is not None and on_axis:
                first, last = max(first, narrower[0]), min(last, narrower[1])
        content = staged.slices_with_content(axis)
        for index in plan.slices:
            # A prompted slice without the object says that it has ended there.
            if content.size and not staged.slice(axis, index).any():
                first = max(first, index + 1) if index < content[0] else first
                last = min(last, index - 1) if index > content[-1] else last
        return first, last

    def _view(self, axis: int) -> View:
        """The object's slices across another axis, through the same windows."""
        volume, framing = self.view.volume, self.view.framing
        return View(
            volume,
            axis,
            replace(framing, slice_shape=volume.slice_shape(axis), spacing=volume.slice_spacing(axis)),
            self.view.windows,
            self.view.store,
        )

    def _new_labels(self) -> LabelVolume:
        return LabelVolume(self._labels.shape, self._folder)


def _agreement(one: np.ndarray, two: np.ndarray) -> float:
    """Intersection over union of two masks, 0 where both are empty."""
    union = int(np.count_nonzero(one | two))
    return int(np.count_nonzero(one & two)) / union if union else 0.0


def total_cost(objects: Sequence[RunningObject]) -> ConsensusCost | None:
    """Of all objects of a round together; None where none had a consensus."""
    costs = [each.cost for each in objects if isinstance(each, ConsensusRun)]
    if not costs:
        return None
    return ConsensusCost(sum(each.slices for each in costs), sum(each.seconds for each in costs))
