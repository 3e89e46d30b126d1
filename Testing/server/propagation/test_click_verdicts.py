"""What a click says of the voxels about it: figures that any volume gives, and a word that stays within its ball."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from memseg3d.network.loading import load_network
from memseg3d.network.nano.config import CLICK_WEIGHTS
from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.verdicts.figures import FIGURES, MOST_SLICES, NOW, REACH, SpotInMask, VoxelsAboutClick
from memseg3d.propagation.rules.verdicts.judged import MOST_CLICKS, JudgingClicks, judging_clicks
from memseg3d.propagation.rules.verdicts.verdict import WEIGHTS, ClickVerdict
from memseg3d.propagation.volume.volume import Volume

from .conftest import ball, finish

SHAPE = (20, 40, 48)
OBJECT = ball(SHAPE, (10, 20, 24), (8, 12, 12))
EMBEDDED = Path(__file__).resolve().parents[3] / "Resources" / "Models" / "memseg3d-nano.safetensors"


def volume_of(mask: np.ndarray, spacing: tuple[float, float, float] = (2.0, 1.0, 1.0)) -> Volume:
    noise = np.random.default_rng(0).normal(0, 5, mask.shape)
    return Volume((100.0 * mask + noise).astype(np.float32), spacing)


def labels_of(mask: np.ndarray, axis: int = 0) -> LabelVolume:
    labels = LabelVolume((mask.shape[0], mask.shape[1], mask.shape[2]))
    planes = np.moveaxis(mask, axis, 0)
    labels.apply(labels.delta_to(axis, {at: np.packbits(plane, axis=1) for at, plane in enumerate(planes)}))
    return labels


def always(chance: bool) -> ClickVerdict:
    """Says that all voxels are of the click's side, or none."""
    weights = np.zeros(WEIGHTS)
    weights[-1] = 20.0 if chance else -20.0
    return ClickVerdict(weights.tolist())


def about(click: SpotInMask, mask: np.ndarray = OBJECT, between: tuple[int, int] = (0, 19)) -> VoxelsAboutClick:
    return VoxelsAboutClick(volume_of(mask), labels_of(mask), 0, click, mask[click.index], between)


def test_the_network_that_judges_has_as_many_numbers_as_a_checkpoint_holds() -> None:
    assert WEIGHTS == CLICK_WEIGHTS
    published = load_network(EMBEDDED).info.clicks
    assert published is not None
    assert len(published) == WEIGHTS


def test_a_ball_holds_what_the_click_can_change_as_far_as_twice_its_depth() -> None:
    seen = about(SpotInMask(10, 20, 28, positive=False))
    assert seen.depth == pytest.approx(8.0, abs=1.0), "from column 28 to the border at 36"
    for index in seen.slices:
        rows, columns = np.ogrid[seen.window]
        away = np.sqrt((2.0 * (index - 10)) ** 2 + (rows - 20) ** 2 + (columns - 28) ** 2)
        expected = (away <= REACH * seen.depth) & OBJECT[index][seen.window]
        assert np.array_equal(seen.ball(index), expected)
    figures = seen.figures(10, OBJECT[10])
    assert figures.shape == (int(seen.ball(10).sum()), FIGURES)
    assert not figures[:, NOW].any(), "the object still holds what a negative click denies"


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((2, 40, 40), (1.0, 1.0, 1.0)), ((20, 3, 40), (0.1, 5.0, 0.5)), ((4, 5, 6), (40.0, 0.5, 0.5))],
    ids=["two slices", "a thin strip", "thick slices"],
)
def test_figures_are_finite_in_any_volume(
    positive: bool, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(1)
    flat = np.full(shape, 7.0, np.float32)
    flat[-1, -1, -1] = 1.0
    for voxels in (flat, rng.normal(0, 1e6, shape).astype(np.float32)):
        for mask in (np.zeros(shape, bool), np.ones(shape, bool), rng.random(shape) < 0.5):
            for found in (mask[0], ~mask[0]):
                click = SpotInMask(0, shape[1] - 1, 0, positive)
                labels = labels_of(mask)
                seen = VoxelsAboutClick(Volume(voxels, spacing), labels, 0, click, found, (0, shape[0] - 1))
                for index in seen.slices:
                    assert np.isfinite(seen.figures(index, found)).all()


def test_a_click_changes_nothing_beyond_its_ball_and_the_next_prompted_slice() -> None:
    clicks = [PointPrompt(1, (10, 20, 32), positive=False)]
    judging = JudgingClicks(always(True), volume_of(OBJECT), 0, labels_of(OBJECT), clicks, {8, 10, 13})
    judging.hear(10, OBJECT[10])
    assert judging.slices == {9, 10, 11, 12}
    after = judging.on(11, OBJECT[11])
    ball_there = about(SpotInMask(10, 20, 32, positive=False)).ball(11)
    assert ball_there.any()
    assert after.sum() == OBJECT[11].sum() - ball_there.sum()
    beyond = OBJECT[14]
    assert judging.on(14, beyond) is beyond


def test_a_click_that_says_what_the_mask_says_or_lies_outside_judges_nothing() -> None:
    clicks = [PointPrompt(1, (10, 20, 24)), PointPrompt(1, (10, 200, 24), positive=False)]
    judging = JudgingClicks(always(True), volume_of(OBJECT), 0, labels_of(OBJECT), clicks, {10})
    judging.hear(10, OBJECT[10])
    assert not judging.slices


def test_of_a_thousand_clicks_the_newest_few_judge() -> None:
    network, grey = load_network(EMBEDDED), volume_of(OBJECT)
    view = Session(grey, network, Options()).foresee([BoxPrompt(1, 0, (10, 7, 11), (10, 33, 37))])[1][0]
    clicks = [PointPrompt(1, (index, 20, 24), positive=False) for index in range(3, 17)] * 70
    judging = judging_clicks(view, labels_of(OBJECT), clicks, set(range(20)))
    assert judging is not None
    for index in range(3, 17):
        judging.hear(index, OBJECT[index])
    assert judging.slices == set(range(17 - MOST_CLICKS, 17)), "each on its slice, as the next ones are prompted too"


def test_whether_the_object_is_on_a_slice_at_all_is_not_judged() -> None:
    small = ball(SHAPE, (10, 20, 24), (3, 4, 4))
    clicks = [PointPrompt(1, (10, 20, 25), positive=False)]
    judging = JudgingClicks(always(True), volume_of(small), 0, labels_of(small), clicks, {10})
    judging.hear(10, small[10])
    assert judging.on(10, small[10]).any()


def test_what_the_network_took_too_much_comes_back() -> None:
    clicks = [PointPrompt(1, (10, 20, 33), positive=False)]
    judging = JudgingClicks(always(False), volume_of(OBJECT), 0, labels_of(OBJECT), clicks, {10})
    judging.hear(10, OBJECT[10])
    empty = np.zeros_like(OBJECT[10])
    found = judging.on(10, empty)
    assert found.any()
    assert not (found & ~OBJECT[10]).any()


def test_a_round_with_the_rule_is_the_same_when_it_is_played_again() -> None:
    network, grey = load_network(EMBEDDED), volume_of(OBJECT | ball(SHAPE, (10, 20, 40), (4, 5, 5)))
    prompts = [BoxPrompt(1, 0, (10, 7, 11), (10, 33, 37)), PointPrompt(1, (12, 20, 30), positive=False)]
    masks = []
    for _ in range(2):
        session = Session(grey, network, Options())
        for number, prompt in enumerate(prompts):
            finish(session.begin(str(number), [prompt]))
        masks.append(session.labelmap(1))
    assert np.array_equal(*masks)
    session.undo()
    finish(session.begin("again", [prompts[1]]))
    assert np.array_equal(masks[0], session.labelmap(1))


def test_the_fit_finds_what_figures_tell_and_writes_it_into_checkpoint_and_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    checkpoint_rules, fit_clicks = (importlib.import_module(name) for name in ("checkpoint_rules", "fit_clicks"))
    rng = np.random.default_rng(0)
    clicks = []
    for _ in range(40):
        figures = rng.normal(0, 1, (500, FIGURES)).astype(np.float32)
        clicks.append(fit_clicks.Voxels(figures, figures[:, 0] + figures[:, 5] > 0))
    rule = fit_clicks.fit(clicks, seed=1, noise=0.2, epochs=6)
    chances = ClickVerdict(rule).chances(clicks[0].figures)
    assert ((chances > 0.5) == clicks[0].sides).mean() > 0.9
    out = tmp_path / "nano.safetensors"
    out.with_suffix(".json").write_text('{"sha256": "of the old one", "rules": {"ending": 1}}', encoding="utf-8")
    checkpoint_rules.write_rule("clicks", rule, EMBEDDED, out, {"fitted_to": "chance"})
    written = load_network(out).info.clicks
    assert written == pytest.approx(rule, abs=1e-3)
    card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert card["rules"] == {"ending": 1, "clicks": {"fitted_to": "chance"}}


def test_slices_much_thinner_than_pixels_bound_what_one_click_judges() -> None:
    thin = np.zeros((120, 24, 24), bool)
    thin[:, 2:22, 2:22] = True
    volume = volume_of(thin, (0.05, 1.0, 1.0))
    seen = VoxelsAboutClick(volume, labels_of(thin), 0, SpotInMask(60, 12, 12, False), thin[60], (0, 119))
    assert list(seen.slices) == list(range(60 - MOST_SLICES, 60 + MOST_SLICES + 1))
