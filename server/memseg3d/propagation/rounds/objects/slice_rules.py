"""What may stay of a found mask on each slice of one object: what its prompts say of single voxels bends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from memseg3d.propagation.prompts.covered_voxels import CoveredVoxels
from memseg3d.propagation.prompts.prompts import PointPrompt, in_plane, nearest_voxel
from memseg3d.propagation.rounds.planning.plan import Plan
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.rules.boxes import box_walls
from memseg3d.propagation.rules.negative_clicks import ClickBall, balls_of_clicks, removed_by_clicks, within_balls
from memseg3d.propagation.rules.one_sign import Edit, edit_of, within_edit
from memseg3d.propagation.rules.tissue_of_clicks import MOST_CLICKS, LastSeen, TissueOfClicks, tissue_of_clicks
from memseg3d.propagation.rules.verdicts.judged import JudgingClicks, judging_clicks
from memseg3d.propagation.rules.voxel_limits import VoxelLimits
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.slice_prompts import with_drawn_voxels
from memseg3d.propagation.sight.view import View

GOOD = 0.7
"""Predicted quality from which on a slice that the last round has found is taken for one of the object."""


class SliceRules:
    """The rules of one object's round. Masks are boolean (rows, columns); each method gives one of its own."""

    def __init__(self, view: View, plan: Plan, last: LastRound, held: VoxelLimits | None = None) -> None:
        """held: voxels that cannot be the object's in this round."""
        self._view = view
        self._plan = plan
        self._last = last
        self._held = held
        self._edit = edit_of(plan.added, plan.withdrew)
        self._only_clicks = (
            bool(plan.added) and not plan.withdrew and all(isinstance(each, PointPrompt) for each in plan.added)
        )
        self._is_denied = False
        """Whether a slice that was decoded in this round shows nothing of the object."""
        self._balls: list[ClickBall] = []
        """How far the round's clicks speak; empty: as far as the network finds."""
        self._judging: JudgingClicks | None = None
        """What the round's clicks say of the voxels about them, where a rule for it fits the network."""
        clicks = [each for each in plan.added if isinstance(each, PointPrompt)] if self._only_clicks else []
        own = {nearest_voxel(each.position[view.axis]) for each in clicks}
        # A click that contradicts what was drawn across another axis changes what that said elsewhere as well.
        if clicks and self._edit is not Edit.FREE and plan.changed <= own:
            if self._edit is Edit.SHRINK:
                self._balls = balls_of_clicks(view, clicks, last.mask, plan.slices)
            self._judging = judging_clicks(view, last.labels, clicks, plan.slices)
        self._walls = box_walls(plan.slices, view.axis, view.slice_shape)
        self._tissue = TissueOfClicks()

    def follow_clicks(self) -> None:
        """From now on masks have the tissue that the round's clicks speak of on their own slices, or lack it."""
        self._tissue = tissue_of_clicks(self._view, self._plan.added, self._seen(), self._edit, alone=True)

    def follow_clicks_through(self) -> Iterator[None]:
        """The same through all slices, once all clicks are followed: each takes long, so others have turns between."""
        added: list[CoveredVoxels] = []
        taken: list[CoveredVoxels] = []
        clicks = [each for each in self._plan.added if isinstance(each, PointPrompt)]
        for place, click in enumerate(clicks[-MOST_CLICKS:]):
            if place:
                yield
            tissue = tissue_of_clicks(self._view, [click], self._seen(), self._edit, alone=False)
            added += tissue.added
            taken += tissue.taken
        self._tissue = TissueOfClicks(added, taken)

    def _seen(self) -> LastSeen:
        return LastSeen(self._last.labels, self._last.mask, self._plan.slices, self._plan.changed)

    def decoded(self, index: int, result: SliceLogits, known_near: Callable[[int], np.ndarray | None]) -> np.ndarray:
        """The mask of a decoded slice as its box and its new clicks ask. known_near: the object's mask on the nearest
        other conditioning slice that shows it.
        """
        shape, axis, prompts = self._view.slice_shape, self._view.axis, self._plan.slices[index]
        before = self._last.mask(index)
        mask = within_edit(self._edit, before, result.mask(shape))
        points = [prompt for prompt in prompts if isinstance(prompt, PointPrompt)]
        if len(points) == len(prompts) and not any(point.positive for point in points):
            clicks = [in_plane(point.position, axis) for point in points if point in self._plan.added]
            if clicks:
                pixels = np.asarray(self._view.volume.slice(axis, index))
                mask &= ~removed_by_clicks(before, clicks, self._view.framing.spacing, known_near(index), pixels)
        mask = self._tissue.on(mask, axis, index)
        if not mask.any() and any(ball.is_central for ball in self._balls if ball.index == index):
            # The object is not on this slice: where it ends is asked anew.
            self._balls = []
        if self._balls:
            mask = within_balls(self._balls, before, mask, index)
        if self._judging is not None:
            self._judging.hear(index, mask)
            mask = self._judging.on(index, mask)
        mask = with_drawn_voxels(mask, prompts, axis, index)
        confined = self._plan.confined_to
        if confined is not None and not confined[0] <= index <= confined[1]:
            # Only what takes away stands here; a click beside the object would leave the rest of it.
            mask = np.zeros(shape, bool)
        mask = self._within_held(index, mask)
        self._is_denied |= not mask.any()
        return mask

    def drawn(self, index: int, mask: np.ndarray) -> np.ndarray:
        """The mask of any slice with what its strokes, drawings of other axes and clicks say of its voxels."""
        session = self._plan.session_limits
        if session is not None and not session[0] <= index <= session[1]:
            return np.zeros_like(mask)
        if index not in self._plan.slices:
            mask = self._tissue.on(mask, self._view.axis, index)
        if self._balls and index not in self._plan.decode:
            mask = within_balls(self._balls, self._last.mask(index), mask, index)
        if self._judging is not None and index not in self._plan.slices:
            mask = self._judging.on(index, mask)
        if self._walls is not None:
            mask = mask & self._walls
        for crossing in self._plan.crossings_on(index):
            mask = crossing.on(mask, self._view.axis, index)
        prompts = self._plan.exclusions.get(index)
        if prompts is not None:
            mask = with_drawn_voxels(mask, prompts, self._view.axis, index)
        return self._within_held(index, mask)

    def allowed(self, index: int, mask: np.ndarray) -> np.ndarray:
        """The mask that the round may leave on a slice: `drawn`, and within the round's edit and its limits.

        Clicks move the object's ends, and empty no good slice on the way there: only where one shows that the object is
        absent do such slices go.
        """
        before = self._last.mask(index)
        # A tracked slice was judged for memory as well: the second time reads what the first has mended about it.
        mask = within_edit(self._edit, before, self.drawn(index, mask))
        if not mask.any() and self._only_clicks and not self._is_denied and self._is_good(index):
            mask = before
        mask = self._within_held(index, mask)
        return mask if self._plan.limits is None else self._plan.limits.within(before, mask, self._view.axis, index)

    def concerned(self) -> set[int]:
        """Slices that a drawing across another axis, clicked tissue or limits of voxels say something about, whatever
        is found there.
        """
        axis = self._view.axis
        drawn = {index for each in self._plan.crossings for index in each.indices(axis)}
        held = set(self._last.content) if self._held else set()
        taken = {index for ball in self._balls for index in ball.slices}
        taken |= self._judging.slices if self._judging is not None else set()
        return drawn | held | ((self._tissue.slices(axis) | taken) - set(self._plan.slices))

    def _is_good(self, index: int) -> bool:
        """Whether a slice without prompts surely is one of the object: between prompted ones, or well found before."""
        prompted = self._plan.slices
        if index in prompted:
            return False
        between = any(at < index for at in prompted) and any(at > index for at in prompted)
        return between or self._last.qualities.get(index, 0.0) >= GOOD

    def _within_held(self, index: int, mask: np.ndarray) -> np.ndarray:
        return self._held.on(mask, self._view.axis, index) if self._held else mask
