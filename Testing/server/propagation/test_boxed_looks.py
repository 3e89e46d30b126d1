"""Boxes that leave room about their object: figures of two looks, whose word counts, and what sessions make of it."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memseg3d.evaluation.metrics import dice
from memseg3d.network.loading import load_network
from memseg3d.network.nano import NanoNetwork
from memseg3d.network.nano.config import BOX_WEIGHTS
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import Box3DPrompt, BoxPrompt, PointPrompt, Prompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.verdicts.boxes import FIGURES, MOST_PIXELS, WEIGHTS, BoxVerdict, Look, figures_of
from memseg3d.propagation.sight.regions import Extent
from memseg3d.propagation.volume.volume import Volume
from memseg3d.training.nano.roomy import NO_RULE

from .conftest import ball, finish

SHAPE = (9, 64, 72)
OBJECT = ball(SHAPE, (4, 30, 34), (6, 12, 12))
EMBEDDED = Path(__file__).resolve().parents[3] / "Resources" / "Models" / "memseg3d-nano.safetensors"
TIGHT, LOOSE = (18.0, 22.0, 42.0, 46.0), (11.0, 15.0, 49.0, 53.0)
"""Boxes about the object on slice 4: first row and column, last row and column."""
ALWAYS, NEVER = 30.0, -30.0


def rule(constant: float) -> tuple[float, ...]:
    """Of a network whose logit is a constant."""
    return (*(0.0,) * (WEIGHTS - 1), constant)


def boxed(sides: tuple[float, float, float, float]) -> BoxPrompt:
    return BoxPrompt(1, 0, (4.0, *sides[:2]), (4.0, *sides[2:]))


def with_rule(constant: float) -> Network:
    network = load_network(EMBEDDED)
    network.info = replace(network.info, boxes=rule(constant))
    return network


def volume() -> Volume:
    grey = 100.0 * OBJECT + np.random.default_rng(3).normal(0, 12, SHAPE)
    return Volume(grey.astype(np.float32), (1.0, 1.0, 1.0))


def masks(network: Network, *prompts: Prompt) -> list[np.ndarray]:
    """Slice 4 after each round."""
    session, found = Session(volume(), network, Options(first=4, last=4)), []
    for turn, prompt in enumerate(prompts):
        finish(session.begin(str(turn), [prompt]))
        found.append(session.labelmap(1)[4] > 0)
    return found


def test_a_checkpoint_holds_as_many_numbers_as_the_network_has() -> None:
    assert WEIGHTS == BOX_WEIGHTS
    network = load_network(EMBEDDED)
    assert network.info.boxes is not None
    assert len(network.info.boxes) == WEIGHTS
    assert isinstance(network, NanoNetwork)
    assert network.roomy is not None


def test_figures_tell_how_far_each_look_fills_the_box() -> None:
    pixels = np.asarray(volume().slice(0, 4))
    box = Extent(10.5, 14.5, 49.5, 53.5)
    shell = np.zeros(pixels.shape)
    shell[12:48, 16:52] = 0.9
    told = figures_of(pixels, box, Look(shell, 0.7), Look(0.9 * OBJECT[4], 0.6))
    assert told is not None
    assert told.shape == (FIGURES,)
    assert np.isfinite(told).all()
    assert told[3] == pytest.approx(36 / 39)
    assert told[5] == pytest.approx(25 / 39)
    assert told[9] == pytest.approx(OBJECT[4].sum() / 36**2, rel=1e-3)
    around, core = told[13], told[19]
    assert core > around, "what the wide look alone has found looks less like the object than what both have"


def test_a_large_box_is_read_by_some_of_its_pixels() -> None:
    """A box about a slice of 2000 pixels a side would hold everybody up for a second."""
    pixels, box = np.asarray(volume().slice(0, 4)), Extent(10.5, 14.5, 49.5, 53.5)
    wide, found = 0.9 * ball((1, 64, 72), (0, 30, 34), (1, 18, 18))[0], 0.9 * OBJECT[4]
    small = figures_of(pixels, box, Look(wide, 0.7), Look(found, 0.6))
    grown = [np.kron(each, np.ones((20, 20))) for each in (pixels, wide, found)]
    corners = (20 * (side + 0.5) - 0.5 for side in (box.top, box.left, box.bottom, box.right))
    large = figures_of(grown[0], Extent(*corners), Look(grown[1], 0.7), Look(grown[2], 0.6))
    assert small is not None
    assert large is not None
    same = [*range(13), 25, 26, 27]
    same.remove(25)
    assert np.allclose(small[same], large[same], atol=0.03)
    assert large[25] <= np.log(MOST_PIXELS**2)


@pytest.mark.parametrize(
    "box",
    [Extent(-0.5, -0.5, 63.5, 71.5), Extent(70.5, 14.5, 80.5, 53.5), Extent(20.5, 20.5, 20.5, 20.5)],
    ids=["nothing lies outside", "outside the slice", "without pixels"],
)
def test_boxes_that_tell_too_little_have_no_figures(box: Extent) -> None:
    pixels = np.asarray(volume().slice(0, 4))
    everything, nothing = Look(np.ones(pixels.shape), 0.9), Look(np.zeros(pixels.shape), 0.1)
    assert figures_of(pixels, box, everything, nothing) is None


def test_looks_that_found_nothing_have_no_figures() -> None:
    pixels = np.asarray(volume().slice(0, 4))
    nothing = Look(np.zeros(pixels.shape), 0.1)
    assert figures_of(pixels, Extent(10.5, 14.5, 49.5, 53.5), nothing, nothing) is None


def test_the_rule_before_it_is_fitted_takes_no_box_for_loose() -> None:
    assert not BoxVerdict(NO_RULE).is_roomy(np.zeros(FIGURES, np.float32))
    assert not BoxVerdict(rule(0.0)).is_roomy(np.zeros(FIGURES, np.float32))
    assert BoxVerdict(rule(ALWAYS)).is_roomy(np.zeros(FIGURES, np.float32))


def test_the_rule_says_which_look_counts() -> None:
    tight, roomy = masks(with_rule(NEVER), boxed(LOOSE))[0], masks(with_rule(ALWAYS), boxed(LOOSE))[0]
    without = load_network(EMBEDDED)
    without.info = replace(without.info, boxes=None)
    assert np.array_equal(tight, masks(without, boxed(LOOSE))[0])
    assert not np.array_equal(tight, roomy)
    assert dice(OBJECT[4], roomy) > dice(OBJECT[4], tight)


def test_a_loose_box_finds_the_object_with_the_published_rule_and_a_tight_one_stays_as_it_was() -> None:
    published = load_network(EMBEDDED)
    for sides in (TIGHT, LOOSE):
        found, before = masks(published, boxed(sides))[0], masks(with_rule(NEVER), boxed(sides))[0]
        assert dice(OBJECT[4], found) >= dice(OBJECT[4], before)
        assert dice(OBJECT[4], found) > 0.85


def test_memory_remembers_what_both_looks_make_of_the_slice() -> None:
    session = Session(volume(), with_rule(ALWAYS), Options())
    finish(session.begin("box", [boxed(LOOSE)]))
    kept = session.labelmap(1)[4] > 0
    again = Session(volume(), with_rule(NEVER), Options())
    finish(again.begin("box", [boxed(LOOSE)]))
    beside = [(each.labelmap(1)[5] > 0).sum() for each in (session, again)]
    assert dice(OBJECT[4], kept) > 0.85
    assert beside[0] != beside[1], "the slice beside follows the mask that was kept"


@pytest.mark.parametrize(
    "first",
    [
        Box3DPrompt(1, 0, (1.0, 18.0, 22.0), (7.0, 42.0, 46.0)),
        PointPrompt(1, (4.0, 30.0, 34.0), True, 0),
    ],
    ids=["a box in space", "a click"],
)
def test_other_first_prompts_and_boxes_that_correct_are_looked_at_once(first: Prompt) -> None:
    one, other = (masks(with_rule(each), first, boxed(LOOSE)) for each in (ALWAYS, NEVER))
    for found, expected in zip(one, other, strict=True):
        assert np.array_equal(found, expected)


def test_a_checkpoint_whose_rule_is_another_version_s_does_without(tmp_path: Path) -> None:
    fit = importlib.import_module("Testing.benchmarks.checkpoint_rules")
    file = tmp_path / "memseg3d-nano.safetensors"
    fit.write_rule("boxes", (0.0,) * (WEIGHTS - 1), EMBEDDED, file)
    network = load_network(file)
    assert isinstance(network, NanoNetwork)
    assert network.roomy is None
    assert network.info.boxes is None


def test_the_fit_hears_of_both_looks_and_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    fit_clicks, fit_boxes = (importlib.import_module(name) for name in ("fit_clicks", "fit_boxes"))
    grey = np.asarray(volume().voxels)
    target = fit_clicks.Target("a ball", grey, (1.0, 1.0, 1.0), OBJECT, 0)
    boxes = list(fit_boxes.play(with_rule(ALWAYS), target, np.random.default_rng(3)))
    assert 1 <= len(boxes) <= 4
    for each in boxes:
        assert each.figures.shape == (len(each.sides), FIGURES)
        assert len(set(each.sides)) == 1
