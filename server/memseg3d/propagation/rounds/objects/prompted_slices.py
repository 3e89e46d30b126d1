"""Decodes the prompted slices of one object: through which region, and what of earlier rounds the network is shown."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping

import numpy as np

from memseg3d.propagation.memory.conditioning import Conditioning
from memseg3d.propagation.prompts.events import SliceDone
from memseg3d.propagation.prompts.prompts import MaskPrompt, Prompt, is_drawing, is_positive, sign_of
from memseg3d.propagation.rounds.objects.boxed_look import is_boxed, looked_at_again
from memseg3d.propagation.rounds.objects.slice_rules import SliceRules
from memseg3d.propagation.rounds.planning.plan import Plan
from memseg3d.propagation.rounds.records.last_round import LastRound
from memseg3d.propagation.rules.boxes import missed_middle
from memseg3d.propagation.sight.framing import ZOOM_STEPS
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.sight.slice_logits import SliceLogits
from memseg3d.propagation.sight.slice_prompts import lasso_prior
from memseg3d.propagation.sight.view import View, first_region, prompts_extent

Steps = Generator[list[SliceDone], None, SliceLogits]
"""Steps that finish no slice, and at last a result."""


class PromptedSlices:
    """`recall` what earlier rounds know first, then `decode` slice by slice.

    mask_of: a slice's mask (rows, columns) as it stands in this round. looked: what a first look has found on a slice.
    """

    def __init__(
        self,
        view: View,
        plan: Plan,
        last: LastRound,
        conditioning: Conditioning,
        rules: SliceRules,
        mask_of: Callable[[int], np.ndarray],
        looked: Mapping[int, SliceLogits],
    ) -> None:
        self._view = view
        self._plan = plan
        self._last = last
        self._conditioning = conditioning
        self._rules = rules
        self._mask_of = mask_of
        self._looked = looked
        self._boxed: dict[int, SliceLogits] = {}
        """What the network itself has found of slices that a box has begun."""

    def recall(self) -> Iterator[list[SliceDone]]:
        """Remember the conditioning slices of earlier rounds; a step for each that takes computing."""
        for index in self._plan.slices:
            if index in self._plan.lost and index in self._plan.decode:
                # Memory of it shows what the prompt that is gone has found.
                continue
            if self._conditioning.can_recall(index):
                if self._conditioning.recall(index):
                    yield []
            elif index not in self._plan.decode:
                self._adopt(index)
                yield []
        for index in self._plan.anchors:
            self._adopt(index)

    def decode(self, index: int) -> Steps:
        """Decode one slice; what its rules change of the result is also what memory holds of it."""
        prompts = list(self._plan.slices[index])
        if index in self._looked:
            return self._taken(index, prompts, self._looked[index])
        if not any(is_positive(prompt) for prompt in prompts) and not self._conditioning.known:
            # What only takes away needs to know the object: the slices decoded just now tell.
            self._conditioning.remember_decoded()
        result = yield from self._found(index, prompts)
        middle = missed_middle(result, prompts, self._view.axis, index, self._view.slice_shape)
        if middle is not None:
            yield []
            result = yield from self._found(index, prompts, middle)
        if is_boxed(self._view, prompts):
            self._boxed[index] = result
        return self._ruled(index, result, result.mask(self._view.slice_shape))

    def look_again(self, index: int, found: SliceLogits) -> SliceLogits | None:
        """What another look at a slice that a box has begun says (`boxed_look`); None where `found` stands."""
        prompts = list(self._plan.slices[index])
        if index not in self._boxed or self._conditioning.known or self._last.mask(index).any():
            return None
        again = looked_at_again(self._view, index, prompts[0], self._boxed[index])
        return None if again is None else self._ruled(index, again, found.mask(self._view.slice_shape))

    def _ruled(self, index: int, result: SliceLogits, remembered: np.ndarray) -> SliceLogits:
        """A result as the slice's rules leave it, which memory holds as well. remembered: what it holds so far."""
        mask = self._rules.decoded(index, result, self._known_near)
        if not np.array_equal(mask, remembered):
            self._conditioning.correct(index, mask)
        return result if np.array_equal(mask, result.mask(mask.shape)) else SliceLogits.of_mask(mask, result.quality)

    def _taken(self, index: int, prompts: list[Prompt], result: SliceLogits) -> SliceLogits:
        """What a first look has found on a slice, as the slice's rules leave it."""
        mask = self._rules.decoded(index, result, self._known_near)
        region, _ = first_region(self._view.framing, self._view.axis, index, prompts, Extent.of_mask(mask))
        self._conditioning.take(index, region, mask)
        return result if np.array_equal(mask, result.mask(mask.shape)) else SliceLogits.of_mask(mask, result.quality)

    def _found(self, index: int, prompts: list[Prompt], *implied: Prompt) -> Steps:
        """What the network says; where clicks alone leave the region open, one step for each region that is tried.

        implied: what the prompts say besides.
        """
        framing, axis = self._view.framing, self._view.axis
        prior, neighbour = self._prior(index, prompts), self._neighbour(index)
        region, is_guess = first_region(framing, axis, index, prompts, self._known_extent(index))
        said = [*prompts, *implied]
        result = self._conditioning.decode(index, region, said, prior, neighbour)
        for _ in range(ZOOM_STEPS if is_guess else 0):
            named = prompts_extent(prompts, axis, index)
            wanted = None if named is None else framing.zoomed(region, result.extent(self._view.slice_shape), named)
            if wanted is None:
                break
            yield []
            region = wanted
            result = self._conditioning.decode(index, region, said, prior, neighbour)
        return result

    def _prior(self, index: int, prompts: list[Prompt]) -> SliceLogits | None:
        """The result that the prompts correct: a lasso's inside, or what the last round has left."""
        inside = lasso_prior(prompts, self._view.axis, index)
        if inside is not None:
            return SliceLogits.of_mask(inside)
        corrects = self._view.store.network.info.corrects_with_prior
        if self._plan.added and not corrects and all(sign_of(each) is not None for each in prompts):
            return None
        if index in self._plan.lost:
            # What a prompt that was taken back has found here is no guess at the others.
            return None
        last = self._last.result(index)
        says_anew = is_drawing(prompts[-1]) and not isinstance(prompts[-1], MaskPrompt)
        if last is None and not says_anew and any(each != index for each in self._conditioning.known):
            # Propagation has judged this slice as well: that it found nothing is what the clicks correct.
            return SliceLogits.of_mask(np.zeros(self._view.slice_shape, bool))
        return last

    def _neighbour(self, index: int) -> tuple[int, SliceLogits] | None:
        """The slice beside `index` on the side of its nearest conditioning slice, with its last result."""
        others = [each for each in self._conditioning.known if each != index]
        # What a prompt that was taken back has brought to the slice beside is no guess, either.
        if not others or index in self._plan.lost:
            return None
        nearest = min(others, key=lambda at: abs(at - index))
        beside = index + (1 if nearest > index else -1)
        last = self._last.result(beside)
        return None if last is None else (beside, last)

    def _adopt(self, index: int) -> None:
        """Remember a slice of an earlier round from its mask."""
        mask = self._last.mask(index)
        prompts = self._plan.slices.get(index, ())
        region, _ = first_region(self._view.framing, self._view.axis, index, prompts, Extent.of_mask(mask))
        self._conditioning.adopt(index, region, mask)

    def _known_extent(self, index: int) -> Extent | None:
        """The box of the object's mask on the slice, else on its nearest conditioning slice, if no prompt was lost."""
        lost = self._plan.lost
        known = [at for at in self._conditioning.known if at not in lost]
        nearest = sorted(known, key=lambda each: abs(each - index))[:1]
        found = (self._last.extent(at) for at in [index, *nearest] if at not in lost)
        return next((extent for extent in found if extent is not None), None)

    def _known_near(self, index: int) -> np.ndarray | None:
        """The mask on the nearest other conditioning slice that shows the object; None where there is none."""
        others = [at for at in self._conditioning.known if at != index and self._mask_of(at).any()]
        return self._mask_of(min(others, key=lambda at: abs(at - index))) if others else None
