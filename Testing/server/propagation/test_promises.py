"""What holds whatever a network finds: clicks are obeyed, approved slices stay, a click goes no further than it may."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memseg3d.network.nano.config import CLICK_WEIGHTS
from memseg3d.network.seam import Conditioned, Decoded, Prompts
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt, ScribblePrompt
from memseg3d.propagation.rounds.objects.slice_rules import GOOD
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import SIZE, ThresholdNetwork, finish

SHAPE = (10, 16, 18)
VOLUME = Volume(np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16), (2.0, 1.0, 1.0))
MIDDLE = 5


class WilfulNetwork(ThresholdNetwork):
    """Finds blobs of chance everywhere, whatever it is asked for; sometimes nothing. Half of them judge clicks so."""

    def __init__(self, seed: int) -> None:
        super().__init__(prefers_crop=bool(seed % 2))
        if seed % 4 < 2:
            weights = np.random.default_rng(seed).normal(0, 0.5, CLICK_WEIGHTS)
            self.info = replace(self.info, clicks=tuple(weights.tolist()))
        self._chance = torch.Generator().manual_seed(seed)

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        found = super().decode(conditioned, prompts, prior)
        count = len(found.logits)
        coarse = torch.randn(count, 1, 6, 6, generator=self._chance) + 0.3
        logits = torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear") * 6
        present = torch.where(torch.rand(count, 1, generator=self._chance) < 0.8, 5.0, -5.0)
        return Decoded(logits.to(found.logits.dtype), found.quality, present, found.chosen)


def a_session(seed: int) -> Session:
    """An object begun by a box on the middle slice."""
    session = Session(VOLUME, WilfulNetwork(seed), Options(window=(0.0, 110.0), tolerance=0.0))
    finish(session.begin("box", [BoxPrompt(1, 0, (MIDDLE, 4, 4), (MIDDLE, 11, 13))]))
    return session


places = st.tuples(*(st.integers(0, size - 1) for size in SHAPE))
clicks = st.builds(lambda at, yes: PointPrompt(1, tuple(float(each) for each in at), yes), places, st.booleans())


@st.composite
def strokes(draw: st.DrawFn) -> ScribblePrompt:
    k = draw(st.integers(0, SHAPE[0] - 1))
    ends = [(float(k), float(draw(st.integers(0, 15))), float(draw(st.integers(0, 17)))) for _ in range(2)]
    return ScribblePrompt(1, 0, tuple(ends), (0.5, 0.8, 0.8), SHAPE, draw(st.booleans()))


def marks(prompts: list[Prompt]) -> np.ndarray:
    """int8 (k, j, i): 1 where the newest prompt says object, -1 where it says none, 0 where none says anything."""
    said = np.zeros(SHAPE, np.int8)
    for prompt in prompts:
        if isinstance(prompt, PointPrompt):
            said[tuple(int(at) for at in prompt.position)] = 1 if prompt.positive else -1
        elif isinstance(prompt, MaskPrompt):
            said[prompt.index] = np.where(prompt.mask, 1, -1)
        elif isinstance(prompt, ScribblePrompt):
            index = int(prompt.points[0][0])
            cover = prompt.cover.on(0, index)
            said[index][cover] = 1 if prompt.positive else -1
    return said


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 99), st.lists(st.lists(clicks | strokes(), min_size=1, max_size=2), min_size=1, max_size=4))
def test_the_mask_has_what_positive_prompts_mark_and_nothing_that_negative_ones_mark(
    seed: int, given_rounds: list[list[Prompt]]
) -> None:
    session, said = a_session(seed), []
    for place, prompts in enumerate(given_rounds):
        finish(session.begin(str(place), prompts))
        said += prompts
        mask, expected = session.labelmap(1), marks(said)
        newest = prompts[-1]
        at = int(newest.position[0] if isinstance(newest, PointPrompt) else newest.points[0][0])
        assert mask[at][marks([newest])[at] > 0].all()
        assert not mask[at][marks([newest])[at] < 0].any()
        if all(isinstance(each, PointPrompt) for each in said):
            assert mask[expected > 0].all()
            assert not mask[expected < 0].any()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 99), st.lists(clicks, min_size=2, max_size=6))
def test_a_click_changes_nothing_beyond_the_next_prompted_slice(seed: int, given_clicks: list[PointPrompt]) -> None:
    session, prompted = a_session(seed), {MIDDLE}
    for place, click in enumerate(given_clicks):
        before, at = session.labelmap(1), int(click.position[0])
        finish(session.begin(str(place), [click]))
        changed = set(np.flatnonzero((before != session.labelmap(1)).any((1, 2))).tolist())
        low = max((index for index in prompted if index < at), default=-1)
        high = min((index for index in prompted if index > at), default=SHAPE[0])
        assert changed <= set(range(low + 1, high)), (at, sorted(prompted), sorted(changed))
        prompted.add(at)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 99), st.integers(0, SHAPE[0] - 1), st.lists(clicks | strokes(), min_size=1, max_size=4))
def test_an_approved_slice_changes_only_by_prompts_on_it(seed: int, index: int, later: list[Prompt]) -> None:
    session = a_session(seed)
    approved = session.labelmap(1)[index]
    finish(session.begin("approved", [MaskPrompt(1, 0, index, approved, "approved/0")]))
    for place, prompt in enumerate(later):
        before = session.labelmap(1)[index]
        finish(session.begin(str(place), [prompt]))
        at = int(prompt.position[0] if isinstance(prompt, PointPrompt) else prompt.points[0][0])
        assert at == index or np.array_equal(session.labelmap(1)[index], before)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 99), st.lists(clicks, min_size=1, max_size=4))
def test_a_click_empties_no_good_slice_but_its_own(seed: int, given_clicks: list[PointPrompt]) -> None:
    session, prompted = a_session(seed), {MIDDLE}
    for place, click in enumerate(given_clicks):
        before, at, qualities = session.labelmap(1), int(click.position[0]), session.qualities(1)[1]
        finish(session.begin(str(place), [click]))
        prompted.add(at)
        after = session.labelmap(1)
        good = {index for index in range(SHAPE[0]) if min(prompted) < index < max(prompted)}
        good |= {index for index, quality in qualities.items() if quality >= GOOD}
        emptied = {index for index in range(SHAPE[0]) if before[index].any() and not after[index].any()}
        assert emptied & good <= {at} or not after[at].any()


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_of_a_box_stays_within_it_and_a_margin(seed: int) -> None:
    mask = a_session(seed).labelmap(1)[MIDDLE]
    allowed = np.zeros(mask.shape, bool)
    allowed[2:14, 2:16] = True
    assert not (mask & ~allowed).any()
