"""What a prompted slice says of tracked ones: figures that any volume gives, and a word that keeps to its bounds."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memseg3d.network.loading import load_network
from memseg3d.network.nano.config import TRACKED_WEIGHTS
from memseg3d.network.seam import Network
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.verdicts.shown import ShownObject
from memseg3d.propagation.rules.verdicts.small_network import HIDDEN
from memseg3d.propagation.rules.verdicts.tracked import (
    BAND,
    FIGURES,
    FOUND,
    WEIGHTS,
    TrackedSlice,
    TrackedVerdict,
    VoxelsOfSlice,
)
from memseg3d.propagation.rules.verdicts.tracked_slices import JudgedSlices
from memseg3d.propagation.volume.volume import Volume

from .conftest import ball, finish

SHAPE = (20, 48, 56)
OBJECT = ball(SHAPE, (10, 24, 28), (8, 12, 12))
EMBEDDED = Path(__file__).resolve().parents[3] / "Resources" / "Models" / "memseg3d-nano.safetensors"
PIXELS = (1.0, 1.0)
LIKENESS = 8
"""Place of the figure that tells how much likelier a grey value is in the object than about it."""


def weights_for(likeness: float = 0.0, constant: float = 0.0) -> tuple[float, ...]:
    """Of a network whose logit is so many times that figure, and a constant."""
    first, second, last = np.zeros((FIGURES, HIDDEN)), np.zeros((HIDDEN, HIDDEN)), np.zeros(HIDDEN)
    # One unit for each sign, handed on.
    first[LIKENESS, :2] = 1, -1
    second[0, 0] = second[1, 1] = 1
    last[:2] = likeness, -likeness
    none = np.zeros(HIDDEN)
    return tuple(float(each) for part in (first, none, second, none, last, [constant]) for each in np.ravel(part))


def greys(mask: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 5, mask.shape)
    return (100.0 * mask + noise).astype(np.float32)


def found_as(mask: np.ndarray, pixels: np.ndarray, index: int = 12, way: float = 2.0) -> TrackedSlice:
    return TrackedSlice(index, pixels, mask, np.where(mask, 0.9, 0.1), 0.8, way)


def with_rule(weights: tuple[float, ...] | None) -> Network:
    network = load_network(EMBEDDED)
    network.info = replace(network.info, tracked=weights)
    return network


def test_the_network_that_judges_has_as_many_numbers_as_a_checkpoint_holds() -> None:
    assert WEIGHTS == TRACKED_WEIGHTS
    published = load_network(EMBEDDED).info.tracked
    assert published is not None
    assert len(published) == WEIGHTS


def test_what_looks_like_the_surroundings_goes_and_what_looks_like_the_object_comes() -> None:
    pixels = greys(OBJECT[10])
    shown = ShownObject(pixels, OBJECT[10], PIXELS, 0.9)
    assert shown.size == pytest.approx(np.sqrt(OBJECT[10].sum()))
    leaked = np.roll(OBJECT[12], 5, axis=1)
    far = np.zeros_like(leaked)
    far[:6, :6] = True
    seen = greys(OBJECT[12] | far)
    judged = TrackedVerdict(weights_for(likeness=5.0)).judged(found_as(leaked, seen), shown, PIXELS)
    wrong = judged ^ OBJECT[12]
    assert wrong.sum() < 0.25 * (leaked ^ OBJECT[12]).sum()
    assert not judged[:6, :6].any(), "it looks like the object and lies beyond the band"


def test_a_band_about_the_mask_is_judged() -> None:
    mask = ball((1, 60, 60), (0, 30, 30), (1, 10, 10))[0]
    shown = ShownObject(greys(mask), mask, PIXELS, 0.9)
    judged = TrackedVerdict(weights_for(constant=20.0)).judged(found_as(mask, greys(mask)), shown, PIXELS)
    rows, columns = np.argwhere(judged & ~mask).T
    away = np.hypot(rows - 30, columns - 30)
    assert away.max() < 10 + BAND + 1.5
    assert judged.sum() > np.pi * (10 + BAND - 1.5) ** 2
    voxels = VoxelsOfSlice(found_as(mask, greys(mask)), shown, PIXELS)
    assert voxels.figures.shape == (int(voxels.band.sum()), FIGURES)
    assert np.array_equal(voxels.figures[:, FOUND] > 0.5, mask[voxels.window][voxels.band])


def test_a_large_object_is_judged_by_some_of_its_pixels() -> None:
    """A slice of 2000 pixels a side would take a gigabyte."""
    rows, columns = np.ogrid[:400, :480]
    mask = np.hypot(rows - 200, columns - 200) < 150
    shown = ShownObject(greys(mask), mask, PIXELS, 0.9)
    leaked = np.roll(mask, 60, axis=1)
    found = found_as(leaked, greys(mask))
    whole = shown.outline((slice(0, 400), slice(0, 480)))
    assert np.array_equal(shown.outline((slice(40, 90), slice(10, 30)), 3), whole[120:270:3, 30:90:3])
    judged = TrackedVerdict(weights_for(likeness=5.0)).judged(found, shown, PIXELS)
    removed = leaked & ~judged
    assert removed.sum() > 0.7 * (leaked & ~mask).sum()
    assert (removed & mask).sum() < 0.05 * mask.sum()
    kept = TrackedVerdict(weights_for(constant=-20.0)).judged(found, shown, PIXELS)
    assert np.array_equal(kept, leaked), "nothing is likely, and no slice is emptied"
    even = TrackedVerdict(weights_for(constant=0.0)).judged(found, shown, PIXELS)
    assert not (leaked & ~even).any(), "at even chances what was found stays"
    assert not (even & ~leaked).any()


def test_a_slice_is_not_emptied() -> None:
    pixels = greys(OBJECT[10])
    shown = ShownObject(pixels, OBJECT[10], PIXELS, 0.9)
    judged = TrackedVerdict(weights_for(constant=-20.0)).judged(found_as(OBJECT[12], pixels), shown, PIXELS)
    assert np.array_equal(judged, OBJECT[12])


@pytest.mark.parametrize("shape", [(3, 40), (1, 30), (40, 40)], ids=["a strip", "a line", "a slice"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (5.0, 0.2), (0.01, 0.01)])
def test_figures_are_finite_on_any_slice(shape: tuple[int, int], spacing: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    flat = np.full(shape, 7.0, np.float32)
    for pixels in (flat, rng.normal(0, 1e6, shape).astype(np.float32), (100 * rng.random(shape)).astype(np.int16)):
        for mask in (np.ones(shape, bool), rng.random(shape) < 0.5, np.eye(*shape, dtype=bool)):
            try:
                shown = ShownObject(pixels, mask, spacing, 0.5)
            except ValueError as error:
                assert "on this slice" in str(error)  # noqa: PT017
                continue
            for found in (mask, np.eye(*shape, dtype=bool)):
                for chance in (0.0, 0.5, 1.0):
                    seen = TrackedSlice(1, pixels, found, np.full(shape, chance), 0.5, 3.0)
                    assert np.isfinite(VoxelsOfSlice(seen, shown, spacing).figures).all()


def test_the_outline_is_told_in_any_window() -> None:
    mask = OBJECT[10]
    shown = ShownObject(greys(mask), mask, PIXELS, 0.9)
    whole = shown.outline((slice(0, 48), slice(0, 56)))
    assert np.array_equal(whole >= 0, mask)
    assert np.array_equal(shown.outline((slice(20, 30), slice(4, 50))), whole[20:30, 4:50])
    beyond = ShownObject(greys(OBJECT[3]), OBJECT[3], PIXELS, 0.9).outline((slice(0, 2), slice(0, 2)))
    assert (beyond < 0).all()


def test_the_nearest_prompted_slice_that_shows_the_object_judges() -> None:
    view = Session(Volume(greys(OBJECT), (1.0, 1.0, 1.0)), load_network(EMBEDDED), Options()).foresee(
        [BoxPrompt(1, 0, (10, 12, 16), (10, 36, 40))]
    )[1][0]
    asked: list[tuple[float, float, float]] = []

    class Heard(TrackedVerdict):
        def judged(self, found: TrackedSlice, shown: ShownObject, spacing: tuple[float, float]) -> np.ndarray:
            asked.append((found.way, shown.size, found.share))
            return found.mask

    empty = np.zeros(SHAPE[1:], bool)
    judging = JudgedSlices(
        Heard(weights_for()), view, {4, 10, 13}, lambda at: empty if at == 13 else OBJECT[at], lambda _: 0.9
    )
    for index in (5, 12, 19):
        judging.on(index, OBJECT[10], 0.9, OBJECT[10].astype(float))
    sizes = [float(np.sqrt(OBJECT[at].sum())) for at in (4, 10, 10)]
    assert [way for way, _, _ in asked] == [1.0, 2.0, 9.0]
    assert [size for _, size, _ in asked] == pytest.approx(sizes)
    assert [share for _, _, share in asked] == pytest.approx([1 / 6, 0, 0]), "between slices 4 and 10 alone"
    assert not judging.on(6, empty, 0.0, empty.astype(float)).any()
    assert len(asked) == 3, "nothing was found there"


def test_what_prompts_say_has_the_last_word() -> None:
    """A rule that takes all for the object grows every tracked slice, and nothing that somebody has said."""
    volume = Volume(greys(OBJECT), (1.0, 1.0, 1.0))
    plain, grown = (Session(volume, with_rule(rule), Options(first=3, last=17)) for rule in (None, weights_for(0, 20)))
    approved = MaskPrompt(1, 0, 14, OBJECT[14])
    for session in (plain, grown):
        finish(session.begin("1", [BoxPrompt(1, 0, (10, 12, 16), (10, 36, 40)), approved]))
    one, two = (session.labelmap(1) for session in (plain, grown))
    assert np.array_equal(one[10], two[10])
    assert np.array_equal(two[14], OBJECT[14])
    assert two[12].sum() > one[12].sum()
    assert not two[:3].any()
    assert not two[18:].any()
    click = PointPrompt(1, (12, 24, 28), positive=False)
    finish(grown.begin("2", [click]))
    after = grown.labelmap(1)
    assert not after[12, 24, 28]
    assert np.array_equal(after[14], OBJECT[14])
    assert not (after & ~two).any(), "a negative click adds nothing"


def test_a_round_is_the_same_when_it_is_played_again() -> None:
    network, volume = load_network(EMBEDDED), Volume(greys(OBJECT | ball(SHAPE, (10, 24, 44), (4, 5, 5))), (2, 1, 1))
    prompts = [BoxPrompt(1, 0, (10, 12, 16), (10, 36, 40)), PointPrompt(1, (12, 24, 34), positive=False)]
    masks = []
    for _ in range(2):
        session = Session(volume, network, Options())
        for number, prompt in enumerate(prompts):
            finish(session.begin(str(number), [prompt]))
        masks.append(session.labelmap(1))
    assert np.array_equal(*masks)
    session.undo()
    finish(session.begin("again", [prompts[1]]))
    assert np.array_equal(masks[0], session.labelmap(1))


def test_the_fit_hears_of_every_tracked_slice_and_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    fit_clicks, fit_tracked = (importlib.import_module(name) for name in ("fit_clicks", "fit_tracked"))
    target = fit_clicks.Target("a ball", greys(OBJECT), (1.0, 1.0, 1.0), OBJECT, 0)
    network = with_rule(None)
    rounds = list(fit_tracked.play(network, target, np.random.default_rng(3)))
    assert rounds
    assert all(each.figures.shape == (len(each.sides), FIGURES) for each in rounds)
    assert np.mean(np.concatenate([each.sides == (each.figures[:, FOUND] > 0.5) for each in rounds])) > 0.8
    rule = fit_tracked.fit(rounds, seed=1, noise=0.1, epochs=2)
    chances = TrackedVerdict(rule).chances(rounds[0].figures.astype(np.float32))
    assert ((chances > 0.5) == rounds[0].sides).mean() > 0.9
