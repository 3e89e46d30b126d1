"""One object in a running round: decode its prompted slices, propagate, and gather what changes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np

from memseg3d.propagation.denial import denied
from memseg3d.propagation.edits import bounded, edit_of
from memseg3d.propagation.ending import HasEnded, never_ends, tissue_ends
from memseg3d.propagation.events import SliceDone
from memseg3d.propagation.framing import ZOOM_STEPS
from memseg3d.propagation.fronts import Front, FrontStep, Joint, alternating, directions, one_after_the_other
from memseg3d.propagation.labelmaps import LabelVolume
from memseg3d.propagation.options import BankMode
from memseg3d.propagation.parts import lasso_prior, obeyed
from memseg3d.propagation.plan import Interval, Plan
from memseg3d.propagation.prompts import MaskPrompt, PointPrompt, Prompt, in_plane, is_drawing, is_positive, sign_of
from memseg3d.propagation.region_tracker import RegionTracker
from memseg3d.propagation.regions import Extent, Region
from memseg3d.propagation.slice_logits import SliceLogits, blended
from memseg3d.propagation.view import View, first_region, prompts_extent


@dataclass(frozen=True)
class LiveObject:
    """What is kept of an object between rounds to save work; a session works without it, from the labelmap.

    tracker: conditioning slices only. logits: last results of slices, where the network makes use of them.
    """

    tracker: RegionTracker
    logits: dict[int, SliceLogits] = field(default_factory=dict)


class ObjectRun:
    """Stages one object's round; the session's own state stays as it is until the run has closed.

    labels: the object's labelmap before the round. live: what is known from the last round along the same axis, or
    None.
    """

    def __init__(
        self,
        number: int,
        view: View,
        plan: Plan,
        labels: LabelVolume,
        live: LiveObject | None,
        mode: BankMode,
        memory: str = "default",
    ) -> None:
        """mode, memory: the session's options `bidirectional` and `memory`."""
        self.number = number
        self.view = view
        self.plan = plan
        self.masks: dict[int, np.ndarray] = {}
        """Finished slices: `numpy.packbits(mask, axis=1)` by index."""
        self.qualities: dict[int, float | None] = {}
        self.joint: Joint | None = None
        """What steps this object's fronts along with those of others; None: each on its own."""
        self._labels = labels
        self._edit = edit_of(plan.added, plan.withdrew)
        self._mode = mode
        self._tracker = RegionTracker(view, memory=memory) if live is None else live.tracker.clone()
        self._logits = {} if live is None else dict(live.logits)
        self._waiting: dict[int, FrontStep] = {}
        self._fronts: list[Front] = []
        paths = sum((each.last - each.first + 1) * len(directions(each)) for each in plan.intervals)
        self._steps_left = 1 if not plan.slices else len(plan.decode) + paths
        self._beyond = self._content_beyond()

    @property
    def steps_left(self) -> int:
        """How many steps are left at most."""
        return sum(front.remaining for front in self._fronts) if self._fronts else self._steps_left

    def live(self) -> LiveObject:
        """What the next round can make use of."""
        return LiveObject(self._tracker, self._logits)

    def decode_prompted(self) -> Iterator[list[SliceDone]]:
        """Decode the slices whose prompts changed; one step a decode, with the slices that it finished."""
        slices = self.plan.slices
        if not slices:
            yield [self._emptied(index) for index in self._beyond]
            self._steps_left = 0
            return
        self._tracker.forget(index for index in self._tracker.conditioning if index not in slices)
        known = self._tracker.conditioning
        for index in [each for each in slices if each not in self.plan.decode and each not in known]:
            self._adopt(index)
            yield []
        for index in self.plan.anchors:
            self._adopt(index)
        for index in self.plan.decode:
            if not any(is_positive(prompt) for prompt in slices[index]) and not self._tracker.conditioning:
                # What only takes away needs to know the object: the slices decoded just now tell.
                self._tracker.remember_prompted()
            result = yield from self._decoded(index, list(slices[index]))
            result = self._obeyed(index, result)
            self._logits[index] = result
            self._steps_left -= 1
            yield [self._finished(index, result.mask(self.view.slice_shape), result.quality, prompted=True)]

    def propagate(self) -> Iterator[list[SliceDone]]:
        """Walk through the plan's intervals; one step a tracked slice, with the slices that it finished."""
        if self.plan.slices and self._beyond:
            yield [self._emptied(index) for index in self._beyond]
        shared = self._tracker.clone(keep_all=True) if self._mode == "shared" else None
        for interval in self.plan.intervals:
            starts = self._starts(interval)
            if not starts:
                yield [self._emptied(index) for index in self._content(interval)]
            for direction, start in starts.items():
                tracker = self._tracker.clone() if shared is None else shared
                region, alone = self._start_region(start), len(starts) == 1
                ending = self._ending(start) if alone else never_ends
                front = Front(interval, direction, tracker, region, self._prior, alone, self._left_out, ending)
                front.joint = self.joint if tracker.tracker.joins else None
                if front.joint is not None and shared is None:
                    # a front of a shared bank reads what the one before it leaves: it is joined when its turn comes
                    front.joint.follow(front)
                self._fronts.append(front)
        for step in alternating(self._fronts) if shared is None else one_after_the_other(self._fronts):
            yield self._done(step)
        self._steps_left = 0

    def replace(self, index: int, mask: np.ndarray, quality: float) -> SliceDone:
        """Another mask (rows, columns) of a slice than propagation found, within what the round may change."""
        self._logits.pop(index, None)
        return self._finished(index, mask, quality, prompted=False)

    def _done(self, step: FrontStep) -> list[SliceDone]:
        """The slices that a step of a front has finished: between two conditioning slices it takes both fronts."""
        shape, index = self.view.slice_shape, step.index
        if not step.is_settled and not step.front.is_alone:
            return []
        if step.front.is_alone:
            if self._keeps_tracked:
                self._logits[index] = step.result
            done = [self._finished(index, step.mask, step.result.quality, prompted=False)]
            return done + [
                self._emptied(each) for each in step.unreached if self._labels.slice(self.view.axis, each).any()
            ]
        other = self._waiting.pop(index, None)
        if other is None:
            self._waiting[index] = step
            return []
        forward, backward = (step, other) if step.front.direction > 0 else (other, step)
        interval = step.front.interval
        assert interval.below is not None
        assert interval.above is not None
        weight = (index - interval.below) / (interval.above - interval.below)
        mask, quality = blended(forward.result, backward.result, weight, shape)
        # Neither result is the blended one: the next round takes its prior from the labelmap.
        self._logits.pop(index, None)
        return [self._finished(index, mask, quality, prompted=False)]

    def _starts(self, interval: Interval) -> dict[int, int]:
        """Conditioning slice that a front starts from, by direction. None starts where the object is said to be absent:
        beyond such a slice the object has ended, and between it and another one the other knows more.
        """
        ends = {direction: interval.below if direction > 0 else interval.above for direction in directions(interval)}
        return {direction: at for direction, at in ends.items() if at is not None and self._mask(at).any()}

    def _content(self, interval: Interval) -> list[int]:
        """Slices of the interval that hold some of the object."""
        content = self._labels.slices_with_content(self.view.axis)
        return [int(index) for index in content if interval.first <= index <= interval.last]

    def _content_beyond(self) -> list[int]:
        """Slices with some of the object where it must not be: all without prompts, else what lies beyond its box."""
        plan, axis = self.plan, self.view.axis
        if plan.slices and plan.confined is None:
            return []
        content = [int(index) for index in self._labels.slices_with_content(axis)]
        if plan.limits is not None and plan.limits.axis == axis:
            content = [index for index in content if plan.limits.first <= index <= plan.limits.last]
        if not plan.slices:
            return content
        assert plan.confined is not None
        return [index for index in content if not plan.confined[0] <= index <= plan.confined[1]]

    def _obeyed(self, index: int, result: SliceLogits) -> SliceLogits:
        """The decoded slice within what its new clicks allow; where that differs, it is also what memory holds."""
        shape, axis = self.view.slice_shape, self.view.axis
        before, found = self._labels.slice(axis, index), result.mask(shape)
        mask = bounded(self._edit, before, found)
        points = [prompt for prompt in self.plan.slices[index] if isinstance(prompt, PointPrompt)]
        if len(points) == len(self.plan.slices[index]) and not any(point.positive for point in points):
            fresh = [point for point in points if point in self.plan.added]
            clicks = [in_plane(point.position, axis) for point in fresh]
            if clicks:
                pixels = np.asarray(self.view.volume.slice(axis, index))
                mask &= ~denied(before, clicks, self.view.framing.spacing, self._known_near(index), pixels)
        mask = obeyed(mask, self.plan.slices[index], axis, index)
        if np.array_equal(mask, found):
            return result
        self._tracker.adopt(index, self._tracker.region_of(index), mask)
        return SliceLogits.of_mask(mask, result.quality)

    def _ending(self, start: int) -> HasEnded:
        """Judges whether a slice lies beyond the object's end, seen from conditioning slice `start`."""
        view, weights = self.view, self.view.store.network.info.ending
        if weights is None:
            return never_ends
        return tissue_ends(weights, self._mask(start), start, lambda at: view.volume.slice(view.axis, at))

    def _known_near(self, index: int) -> np.ndarray | None:
        """The mask on the nearest other conditioning slice that shows the object; None where there is none."""
        others = [at for at in self._tracker.conditioning if at != index and self._mask(at).any()]
        return self._mask(min(others, key=lambda at: abs(at - index))) if others else None

    def _left_out(self, index: int, mask: np.ndarray) -> np.ndarray:
        """A tracked slice's mask without what the strokes of this slice leave out."""
        prompts = self.plan.held.get(index)
        return mask if prompts is None else obeyed(mask, prompts, self.view.axis, index)

    def _decoded(self, index: int, prompts: list[Prompt]) -> Generator[list[SliceDone], None, SliceLogits]:
        """Decode one slice; where clicks alone leave the region open, one step for each region that is tried."""
        framing, shape = self.view.framing, self.view.slice_shape
        last, neighbour = self._last(index), self._neighbour(index)
        says_anew = is_drawing(prompts[-1]) and not isinstance(prompts[-1], MaskPrompt)
        if last is None and not says_anew and any(each != index for each in self._tracker.conditioning):
            # Propagation has judged this slice as well: that it found nothing is what the clicks correct.
            last = self._logits.get(index) or SliceLogits.of_mask(np.zeros(shape, bool))
        if self.plan.added and not self._corrects_with_prior and all(sign_of(each) is not None for each in prompts):
            last = None
        inside = lasso_prior(prompts, self.view.axis, index)
        if inside is not None:
            last = SliceLogits.of_mask(inside)
        region, is_guess = first_region(framing, self.view.axis, index, prompts, self._known_extent(index))
        result = self._tracker.prompt(index, region, prompts, last, neighbour)
        for _ in range(ZOOM_STEPS if is_guess else 0):
            named = prompts_extent(prompts, self.view.axis, index)
            wanted = None if named is None else framing.zoomed(region, result.extent(shape), named)
            if wanted is None:
                break
            yield []
            region = wanted
            result = self._tracker.prompt(index, region, prompts, last, neighbour)
        return result

    def _adopt(self, index: int) -> None:
        """Remember a conditioning slice of an earlier round from its mask."""
        mask = self._labels.slice(self.view.axis, index)
        prompts = self.plan.slices.get(index, ())
        region, _ = first_region(self.view.framing, self.view.axis, index, prompts, Extent.of_mask(mask))
        self._tracker.adopt(index, region, mask)

    def _start_region(self, start: int) -> Region:
        """The region of the first slice beside conditioning slice `start`."""
        return self.view.framing.following(self._tracker.region_of(start), Extent.of_mask(self._mask(start)))

    def _mask(self, index: int) -> np.ndarray:
        """The slice's mask as it stands in this round."""
        return self._unpacked(index) if index in self.masks else self._labels.slice(self.view.axis, index)

    def _last(self, index: int) -> SliceLogits | None:
        """The slice's result of the last round; None where it had no foreground."""
        mask = self._labels.slice(self.view.axis, index)
        if not mask.any():
            return None
        return self._logits.get(index) or SliceLogits.of_mask(mask)

    def _known_extent(self, index: int) -> Extent | None:
        """The box of the object's mask on the slice, else on its nearest conditioning slice."""
        known = self._tracker.conditioning
        for at in [index, *sorted(known, key=lambda each: abs(each - index))[:1]]:
            extent = Extent.of_mask(self._labels.slice(self.view.axis, at))
            if extent is not None:
                return extent
        return None

    def _neighbour(self, index: int) -> tuple[int, SliceLogits] | None:
        """The slice beside `index` on the side of its nearest conditioning slice, with its last result."""
        others = [each for each in self._tracker.conditioning if each != index]
        if not others:
            return None
        nearest = min(others, key=lambda at: abs(at - index))
        beside = index + (1 if nearest > index else -1)
        last = self._last(beside)
        return None if last is None else (beside, last)

    def _prior(self, index: int) -> SliceLogits | None:
        """What a tracked slice is given of its last result."""
        return self._last(index) if self._keeps_tracked else None

    @property
    def _corrects_with_prior(self) -> bool:
        return self.view.store.network.info.corrects_with_prior

    @property
    def _keeps_tracked(self) -> bool:
        return self.view.store.network.info.tracks_with_prior

    def _finished(self, index: int, mask: np.ndarray, quality: float, prompted: bool) -> SliceDone:
        before = self._labels.slice(self.view.axis, index)
        mask = self._left_out(index, mask)
        mask = bounded(self._edit, before, mask)
        if self.plan.limits is not None:
            mask = self.plan.limits.kept(before, mask, self.view.axis, index)
        self.masks[index] = np.packbits(mask, axis=1)
        self.qualities[index] = quality if mask.any() else None
        return SliceDone(self.number, self.view.axis, index, mask, quality, prompted)

    def _emptied(self, index: int) -> SliceDone:
        self._logits.pop(index, None)
        return self._finished(index, np.zeros(self.view.slice_shape, bool), 0.0, prompted=False)

    def _unpacked(self, index: int) -> np.ndarray:
        return np.unpackbits(self.masks[index], axis=1, count=self.view.slice_shape[1]).astype(bool)
