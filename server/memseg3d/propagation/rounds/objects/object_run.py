"""One object in a running round: decode its prompted slices, propagate, and gather what changes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np

from memseg3d.propagation.memory.conditioning import Conditioning, Memories
from memseg3d.propagation.memory.region_tracker import RegionTracker
from memseg3d.propagation.memory.stored_slices import KeptSlice
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import (
    MaskPrompt,
    PointPrompt,
    Prompt,
    in_plane,
    is_drawing,
    is_positive,
    sign_of,
)
from memseg3d.propagation.rounds.planning.plan import Interval, Plan
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.rounds.walks.fronts import (
    Front,
    FrontStep,
    Joint,
    alternating,
    directions,
    one_after_the_other,
)
from memseg3d.propagation.rules.agreement import settles
from memseg3d.propagation.rules.box_fit import boxed
from memseg3d.propagation.rules.carried_tissue import CarriedTissue, LastSeen, carried_tissue
from memseg3d.propagation.rules.negative_clicks import denied
from memseg3d.propagation.rules.object_end import HasEnded, never_ends, tissue_ends
from memseg3d.propagation.rules.one_sign import bounded, edit_of
from memseg3d.propagation.rules.quality_calibration import Judge
from memseg3d.propagation.sight.framing import ZOOM_STEPS
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.sight.slice_logits import SliceLogits, blended
from memseg3d.propagation.sight.slice_prompts import lasso_prior, obeyed
from memseg3d.propagation.sight.view import View, first_region, prompts_extent


class ObjectRun:
    """Stages one object's round; the session's own state stays as it is until the run has closed.

    last: what the rounds before left, along the same axis. memories: of its kept slices, as far as they are encoded.
    """

    def __init__(
        self, number: int, view: View, plan: Plan, last: LastRound, memories: Memories, options: Options
    ) -> None:
        self.number = number
        self.view = view
        self.plan = plan
        self.masks: dict[int, np.ndarray] = {}
        """Finished slices: `numpy.packbits(mask, axis=1)` by index."""
        self.qualities: dict[int, float | None] = {}
        self.joint: Joint | None = None
        """What steps this object's fronts along with those of others; None: each on its own."""
        self._last = last
        self._edit = edit_of(plan.added, plan.withdrew)
        self._mode = options.bidirectional
        self._tolerance = 0.0 if plan.is_afresh else options.tolerance
        self._conditioning = Conditioning(view, last.kept, memories, options.memory)
        self._tissue = CarriedTissue()
        area = view.framing.spacing[0] * view.framing.spacing[1]
        weights = view.store.network.info.calibration
        self._judge = Judge(weights, plan.slices, view.volume.spacing[view.axis], area, self._mask)
        self._waiting: dict[int, FrontStep] = {}
        self._fronts: list[Front] = []
        self._corrections: set[Front] = set()
        paths = sum((each.last - each.first + 1) * len(directions(each)) for each in plan.intervals)
        self._steps_left = 1 if not plan.slices else len(plan.decode) + paths
        self._beyond = self._content_beyond()

    @property
    def steps_left(self) -> int:
        """How many steps are left at most."""
        return sum(front.remaining for front in self._fronts) if self._fronts else self._steps_left

    def kept(self) -> dict[int, KeptSlice | None]:
        """What the round changes of the kept conditioning slices; None where a slice is none any more."""
        return dict.fromkeys(self._last.forgotten) | self._conditioning.changes(self.plan.slices)

    def memories(self) -> Memories:
        """What the next round can make use of; it goes without as well."""
        return self._conditioning.memories(self.plan.slices)

    def decode_prompted(self) -> Iterator[list[SliceDone]]:
        """Decode the slices whose prompts changed; one step a decode, with the slices that it finished."""
        slices = self.plan.slices
        if not slices:
            yield [self._emptied(index) for index in self._beyond]
            self._steps_left = 0
            return
        self._tissue = self._clicked(alone=True)
        for index in slices:
            if index in self.plan.lost and index in self.plan.decode:
                # Memory of it shows what the prompt that is gone has found.
                continue
            if self._conditioning.can_recall(index):
                if self._conditioning.recall(index):
                    yield []
            elif index not in self.plan.decode:
                self._adopt(index)
                yield []
        for index in self.plan.anchors:
            self._adopt(index)
        for index in self.plan.decode:
            if not any(is_positive(prompt) for prompt in slices[index]) and not self._conditioning.known:
                # What only takes away needs to know the object: the slices decoded just now tell.
                self._conditioning.remember_decoded()
            result = yield from self._decoded(index, list(slices[index]))
            result = self._obeyed(index, result)
            self._steps_left -= 1
            yield [self._finished(index, result.mask(self.view.slice_shape), self._judge(index, result.quality), True)]

    def propagate(self) -> Iterator[list[SliceDone]]:
        """Walk through the plan's intervals; one step a tracked slice, with the slices that it finished."""
        if self.plan.slices and self._beyond:
            yield [self._emptied(index) for index in self._beyond]
        self._tissue = self._clicked(alone=False)
        tracker = self._conditioning.tracker(self.plan.slices)
        shared = tracker.clone(keep_all=True) if self._mode == "shared" else None
        for interval in self.plan.intervals:
            starts = self._starts(interval)
            if not starts:
                yield [self._emptied(index) for index in self._last.content if index in interval.slices]
            correcting = self.plan.correcting(interval) if self._tolerance and len(starts) == 2 else None
            if correcting is not None:
                interval = interval.nearer_half(correcting)
            for direction in starts if correcting is None else [correcting]:
                front = self._front(interval, direction, shared or tracker.clone(), len(starts) == 1)
                front.joint = self.joint if front.tracker.tracker.joins else None
                if front.joint is not None and shared is None:
                    # a front of a shared bank reads what the one before it leaves: it is joined when its turn comes
                    front.joint.follow(front)
                self._fronts.append(front)
                if correcting is not None:
                    self._corrections.add(front)
        for step in alternating(self._fronts) if shared is None else one_after_the_other(self._fronts):
            yield self._done(step)
        yield from self._unreached()
        self._steps_left = 0

    def _unreached(self) -> Iterator[list[SliceDone]]:
        """Slices that no front has reached although a drawing across another axis, or clicked tissue, concerns them."""
        first, last = self.plan.confined or (0, self.view.volume.shape[self.view.axis] - 1)
        wanted = {index for each in self.plan.crossings for index in each.indices(self.view.axis)}
        wanted |= self._tissue.slices(self.view.axis) - set(self.plan.slices)
        for index in sorted(wanted - set(self.masks)):
            mask = self._mask(index)
            if first <= index <= last and not np.array_equal(mask, self._allowed(index, mask)):
                yield [self._finished(index, mask, self._last.qualities.get(index, 0.0), prompted=False)]

    def replace(self, index: int, mask: np.ndarray, quality: float) -> SliceDone:
        """Another mask (rows, columns) of a slice than propagation found, within what the round may change."""
        return self._finished(index, mask, quality, prompted=False)

    def _clicked(self, alone: bool) -> CarriedTissue:
        """What the round's clicks say of tissue: of the clicked slices alone, or through all slices."""
        seen = LastSeen(self._last.labels, self._last.mask, self.plan.slices, self.plan.changed)
        return carried_tissue(self.view, self.plan.added, seen, self._edit, alone)

    def _done(self, step: FrontStep) -> list[SliceDone]:
        """The slices that a step of a front has finished: between two conditioning slices it takes both fronts."""
        shape, index = self.view.slice_shape, step.index
        if not step.is_settled and not step.front.is_alone:
            return []
        step = replace(step, result=replace(step.result, quality=self._judge(index, step.result.quality)))
        if step.front in self._corrections:
            share = step.front.interval.share_of_above(index)
            own = share if step.front.direction < 0 else 1 - share
            known = self._last.qualities.get(index, step.result.quality)
            mask, quality = blended(SliceLogits.of_mask(self._last.mask(index), known), step.result, own, shape)
            return [self._finished(index, mask, quality, prompted=False)]
        if step.front.is_alone:
            done = [self._finished(index, step.mask, step.result.quality, prompted=False)]
            return done + [self._emptied(each) for each in step.unreached if self._last.mask(each).any()]
        other = self._waiting.pop(index, None)
        if other is None:
            self._waiting[index] = step
            return []
        forward, backward = (step, other) if step.front.direction > 0 else (other, step)
        mask, quality = blended(forward.result, backward.result, step.front.interval.share_of_above(index), shape)
        return [self._finished(index, mask, quality, prompted=False)]

    def _starts(self, interval: Interval) -> list[int]:
        """The directions in which fronts walk. None starts where the object is said to be absent: beyond such a slice
        the object has ended, and between it and another one the other knows more.
        """
        ends = {direction: interval.below if direction > 0 else interval.above for direction in directions(interval)}
        return [direction for direction, at in ends.items() if at is not None and self._mask(at).any()]

    def _content_beyond(self) -> list[int]:
        """Slices with some of the object where it must not be: all without prompts, else what lies beyond its box."""
        plan = self.plan
        if plan.slices and plan.confined is None:
            return []
        content = self._last.content
        if plan.limits is not None and plan.limits.axis == self.view.axis:
            content = [index for index in content if plan.limits.first <= index <= plan.limits.last]
        if not plan.slices:
            return content
        assert plan.confined is not None
        return [index for index in content if not plan.confined[0] <= index <= plan.confined[1]]

    def _obeyed(self, index: int, result: SliceLogits) -> SliceLogits:
        """The decoded slice as its box and its new clicks ask; where that differs, it is also what memory holds."""
        shape, axis = self.view.slice_shape, self.view.axis
        before, found = self._last.mask(index), result.mask(shape)
        mask = bounded(self._edit, before, boxed(result, self.plan.slices[index], axis, index, shape))
        points = [prompt for prompt in self.plan.slices[index] if isinstance(prompt, PointPrompt)]
        if len(points) == len(self.plan.slices[index]) and not any(point.positive for point in points):
            fresh = [point for point in points if point in self.plan.added]
            clicks = [in_plane(point.position, axis) for point in fresh]
            if clicks:
                pixels = np.asarray(self.view.volume.slice(axis, index))
                mask &= ~denied(before, clicks, self.view.framing.spacing, self._known_near(index), pixels)
        mask = obeyed(self._tissue.on(mask, axis, index), self.plan.slices[index], axis, index)
        if self.plan.confined is not None and not self.plan.confined[0] <= index <= self.plan.confined[1]:
            # Only what takes away stands here; a click beside the object would leave the rest of it.
            mask = np.zeros(shape, bool)
        if np.array_equal(mask, found):
            return result
        self._conditioning.correct(index, mask)
        return SliceLogits.of_mask(mask, result.quality)

    def _front(self, interval: Interval, direction: int, tracker: RegionTracker, is_alone: bool) -> Front:
        """The front through an interval in one direction."""
        start, far = (interval.below, interval.above)[::direction]
        assert start is not None
        region = self.view.framing.following(tracker.region_of(start), Extent.of_mask(self._mask(start)))
        ending = self._ending(start, far) if is_alone else never_ends
        has_moved = far is None and self.plan.ends_moved[direction > 0]
        tolerance = 0.0 if has_moved else self._tolerance
        settling = settles(tolerance, self._last.mask, self.plan.changed, direction, far)
        return Front(interval, direction, tracker, region, self._prior, is_alone, self._left_out, ending, settling)

    def _ending(self, start: int, absent: int | None) -> HasEnded:
        """Judges whether a slice lies beyond the object's end, seen from conditioning slice `start`. absent: the slice
        at the far end where the user has said that there is none of it.
        """
        view, weights = self.view, self.view.store.network.info.ending
        if weights is None:
            return never_ends
        return tissue_ends(weights, self._mask(start), start, lambda at: view.volume.slice(view.axis, at), absent)

    def _known_near(self, index: int) -> np.ndarray | None:
        """The mask on the nearest other conditioning slice that shows the object; None where there is none."""
        others = [at for at in self._conditioning.known if at != index and self._mask(at).any()]
        return self._mask(min(others, key=lambda at: abs(at - index))) if others else None

    def _left_out(self, index: int, mask: np.ndarray) -> np.ndarray:
        """A slice's mask with what its strokes, drawings of other axes and clicked tissue say of single voxels."""
        if self.plan.session is not None and not self.plan.session[0] <= index <= self.plan.session[1]:
            return np.zeros_like(mask)
        if index not in self.plan.slices:
            mask = self._tissue.on(mask, self.view.axis, index)
        for crossing in self.plan.crossings_on(index):
            mask = crossing.on(mask, self.view.axis, index)
        prompts = self.plan.held.get(index)
        return mask if prompts is None else obeyed(mask, prompts, self.view.axis, index)

    def _decoded(self, index: int, prompts: list[Prompt]) -> Generator[list[SliceDone], None, SliceLogits]:
        """Decode one slice; where clicks alone leave the region open, one step for each region that is tried."""
        framing, shape = self.view.framing, self.view.slice_shape
        # What a prompt that was taken away has found here, or brought to the slice beside, is no guess at the others.
        has_lost = index in self.plan.lost
        last, neighbour = (None, None) if has_lost else (self._last.result(index), self._neighbour(index))
        says_anew = is_drawing(prompts[-1]) and not isinstance(prompts[-1], MaskPrompt)
        if last is None and not has_lost and not says_anew and any(each != index for each in self._conditioning.known):
            # Propagation has judged this slice as well: that it found nothing is what the clicks correct.
            last = SliceLogits.of_mask(np.zeros(shape, bool))
        if self.plan.added and not self._corrects_with_prior and all(sign_of(each) is not None for each in prompts):
            last = None
        inside = lasso_prior(prompts, self.view.axis, index)
        if inside is not None:
            last = SliceLogits.of_mask(inside)
        region, is_guess = first_region(framing, self.view.axis, index, prompts, self._known_extent(index))
        result = self._conditioning.decode(index, region, prompts, last, neighbour)
        for _ in range(ZOOM_STEPS if is_guess else 0):
            named = prompts_extent(prompts, self.view.axis, index)
            wanted = None if named is None else framing.zoomed(region, result.extent(shape), named)
            if wanted is None:
                break
            yield []
            region = wanted
            result = self._conditioning.decode(index, region, prompts, last, neighbour)
        return result

    def _adopt(self, index: int) -> None:
        """Remember a slice of an earlier round from its mask."""
        mask = self._last.mask(index)
        prompts = self.plan.slices.get(index, ())
        region, _ = first_region(self.view.framing, self.view.axis, index, prompts, Extent.of_mask(mask))
        self._conditioning.adopt(index, region, mask)

    def _mask(self, index: int) -> np.ndarray:
        """The slice's mask as it stands in this round."""
        return self._unpacked(index) if index in self.masks else self._last.mask(index)

    def _known_extent(self, index: int) -> Extent | None:
        """The box of the object's mask on the slice, else on its nearest conditioning slice, if no prompt was lost."""
        lost = self.plan.lost
        known = [at for at in self._conditioning.known if at not in lost]
        nearest = sorted(known, key=lambda each: abs(each - index))[:1]
        found = (self._last.extent(at) for at in [index, *nearest] if at not in lost)
        return next((extent for extent in found if extent is not None), None)

    def _neighbour(self, index: int) -> tuple[int, SliceLogits] | None:
        """The slice beside `index` on the side of its nearest conditioning slice, with its last result."""
        others = [each for each in self._conditioning.known if each != index]
        if not others:
            return None
        nearest = min(others, key=lambda at: abs(at - index))
        beside = index + (1 if nearest > index else -1)
        last = self._last.result(beside)
        return None if last is None else (beside, last)

    def _prior(self, index: int) -> SliceLogits | None:
        """What a tracked slice is given of its last result."""
        return self._last.result(index) if self.view.store.network.info.tracks_with_prior else None

    @property
    def _corrects_with_prior(self) -> bool:
        return self.view.store.network.info.corrects_with_prior

    def _finished(self, index: int, mask: np.ndarray, quality: float, prompted: bool) -> SliceDone:
        mask = self._allowed(index, mask)
        self.masks[index] = np.packbits(mask, axis=1)
        self.qualities[index] = quality if mask.any() else None
        return SliceDone(self.number, self.view.axis, index, mask, quality, prompted)

    def _allowed(self, index: int, mask: np.ndarray) -> np.ndarray:
        """A found mask within what the slice's strokes, the round's edit and its limits allow."""
        before = self._last.mask(index)
        mask = bounded(self._edit, before, self._left_out(index, mask))
        return mask if self.plan.limits is None else self.plan.limits.kept(before, mask, self.view.axis, index)

    def _emptied(self, index: int) -> SliceDone:
        return self._finished(index, np.zeros(self.view.slice_shape, bool), 0.0, prompted=False)

    def _unpacked(self, index: int) -> np.ndarray:
        return np.unpackbits(self.masks[index], axis=1, count=self.view.slice_shape[1]).astype(bool)
