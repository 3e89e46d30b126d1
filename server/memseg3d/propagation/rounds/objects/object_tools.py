"""How one object's part of a round begins, and what it leaves once its result is in the labelmap."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memseg3d.experts.companions import answers_alone, experts_of
from memseg3d.experts.dispatch import goes_alone
from memseg3d.network.seam import Network
from memseg3d.propagation.masks.labelmaps import Delta, LabelVolume
from memseg3d.propagation.memory.conditioning import Memories
from memseg3d.propagation.prompts.object_limits import ObjectLimits
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import Prompt, is_drawing, is_edit
from memseg3d.propagation.prompts.sets import PromptsBySlice, by_slice, lost_slices, propagation_axis
from memseg3d.propagation.rounds.objects.consensus import ConsensusRun
from memseg3d.propagation.rounds.objects.expert_run import ExpertRun
from memseg3d.propagation.rounds.objects.object_run import ObjectRun
from memseg3d.propagation.rounds.objects.running_object import RunningObject
from memseg3d.propagation.rounds.planning.object_plan import plan_object
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.rounds.records.object_states import ObjectState
from memseg3d.propagation.rounds.records.records import ObjectChange
from memseg3d.propagation.rules.voxel_limits import VoxelLimits
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.other_axes import drawn_elsewhere
from memseg3d.propagation.sight.view import View, first_region, window_of_object, window_prompts
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window


@dataclass(frozen=True)
class ObjectTools:
    """What all objects of a session share. window: the session's. labels_of: an object's labelmap as it stands, None
    where there is none. folder: of large labelmaps.
    """

    volume: Volume
    network: Network
    options: Options
    store: FeatureStore
    window: Window
    labels_of: Callable[[int], LabelVolume | None]
    folder: Path | None = None

    def axis(self, prompts: Sequence[Prompt], state: ObjectState | None) -> int:
        """The axis along which an object is propagated; one that has lost all prompts keeps its own."""
        if prompts or state is None:
            return propagation_axis(prompts, self.options.axis)
        return state.axis

    def object_run(
        self,
        number: int,
        prompts: Sequence[Prompt],
        state: ObjectState | None,
        labels: LabelVolume,
        memories: Memories,
        bounds: ObjectLimits | None,
        tolerance: float | None = None,
    ) -> RunningObject:
        """The object's part of a round after which its prompts are `prompts`.

        state, labels: as the last round left them. memories: of the stored slices, as far as they are encoded. bounds:
        the round's limits. tolerance: None takes the session's.
        """
        axis = self.axis(prompts, state)
        before = state if state is not None and state.axis == axis and state.prompts else None
        if before is not None and drawn_elsewhere(before.prompts, axis) != drawn_elsewhere(prompts, axis):
            before = None
        lost: Collection[int] = ()
        if state is not None:
            lost = lost_slices(state.prompts, prompts, axis, self.volume.shape[axis])
        said = by_slice(prompts, axis)
        looks_anew = bool(said) and said.keys() <= set(lost) and not any(is_drawing(each) for each in prompts)
        if state is not None and (looks_anew or state.has_lost_window(prompts)):
            # Seen through another window, or by clicks of which some are gone, nothing that was found tells anything.
            state, before, lost = replace(state, window=None), None, range(self.volume.shape[axis])
        plan = plan_object(
            prompts, axis, before, labels, self.volume, self.options, None if bounds is None else bounds.slices
        )
        plan = replace(plan, lost=frozenset(lost))
        view = self.view(axis, plan.slices, state)
        known = ({}, {}) if before is None else (before.stored, before.qualities)
        forgotten = sorted(state.stored) if before is None and state is not None and state.axis == axis else ()
        last = LastRound(view, labels, *known, forgotten)
        options = self.options if tolerance is None else replace(self.options, tolerance=tolerance)
        held = None if bounds is None else VoxelLimits(self.volume, bounds, self.labels_of, self.folder)
        run = ObjectRun(number, view, plan, last, memories, options, held)
        experts = experts_of(self.network)
        sure = {} if before is None else before.soft
        corrects = bool(plan.added) and not plan.withdrew and all(map(is_edit, plan.added)) and bool(labels.voxels())
        if experts and (answers_alone(self.network) or goes_alone(experts, corrects)):
            return ExpertRun(run, None, experts, prompts, labels, sure)
        walk: RunningObject = run
        if options.consensus:
            walk = ConsensusRun(run, prompts, labels, options, self.folder, is_afresh=before is None)
        return ExpertRun(run, walk, experts, prompts, labels, sure) if experts else walk

    def view(self, axis: int, slices: PromptsBySlice, state: ObjectState | None) -> View:
        """How an object is seen across `axis`; its prompted `slices` tell its window where `state` does not."""
        info = self.network.info
        crop = self.options.region == "crop" or (self.options.region == "auto" and info.prefers_crop)
        shape, spacing = self.volume.slice_shape(axis), self.volume.slice_spacing(axis)
        framing = Framing(shape, spacing, info.image_size, crop, info.smaller_sides)
        if info.channels != 2:
            return View(self.volume, axis, framing, (self.window,), self.store)
        if state is not None and state.prompts and state.window is not None:
            own, told = state.window, state.window_from
        else:
            own, told = self._object_window(axis, slices, framing)
        return View(self.volume, axis, framing, (self.window, own), self.store, told)

    def _object_window(self, axis: int, slices: PromptsBySlice, framing: Framing) -> tuple[Window, tuple[str, ...]]:
        """The object's own window, and the ids of the prompts that tell it: else the session's, and none."""
        for index, prompts in slices.items():
            region, _ = first_region(framing, axis, index, prompts, None)
            window = window_of_object(self.volume, axis, index, prompts, region)
            if window is not None:
                return window, tuple(str(prompt.id) for prompt in window_prompts(prompts))
        return self.window, ()


def applied_change(staged: RunningObject, labels: LabelVolume, delta: Delta) -> ObjectChange:
    """Apply an object's change to its labelmap; what the round's record says of it."""
    labels.apply(delta)
    own = staged.view.windows[1] if len(staged.view.windows) > 1 else None
    summary = labels.voxels(), labels.checksum()
    told = staged.view.window_from
    return ObjectChange(staged.view.axis, delta, staged.qualities, *summary, own, told, staged.stored(), staged.soft)
