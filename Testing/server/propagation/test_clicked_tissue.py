"""A click speaks of the tissue that it hits: what hangs together with it, up to the next prompted slice, follows it."""

from __future__ import annotations

import numpy as np
import pytest

from memseg3d.propagation.masks.labelmaps import LabelVolume
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rules.connected_tissue import LARGEST_GAIN, KnownSlice, connected_tissue
from memseg3d.propagation.volume.volume import Volume

from .conftest import ThresholdNetwork, ball, finish

SHAPE = (24, 48, 60)
OBJECT = ball(SHAPE, (12, 24, 20), (8, 14, 12))
BESIDE = ball(SHAPE, (12, 24, 40), (7, 10, 12)) & ~OBJECT
"""Touches the object, on slices 5 to 19."""
BOX = BoxPrompt(1, 0, (12, 9, 7), (12, 39, 52))
WINDOW = Options(window=(0.0, 200.0))


def a_volume(beside: float, noise: float = 4.0) -> Volume:
    """The object at 120, what lies beside it at another grey value, 20 elsewhere; a little noise."""
    grey = np.where(OBJECT, 120.0, np.where(BESIDE, beside, 20.0))
    noisy = grey + np.random.default_rng(0).normal(0, noise, SHAPE)
    return Volume(noisy.astype(np.int16), (2.0, 1.0, 1.0))


def labels_of(mask: np.ndarray) -> LabelVolume:
    labels = LabelVolume(SHAPE)
    labels.apply(labels.delta_to(0, {k: np.packbits(plane, axis=1) for k, plane in enumerate(mask)}))
    return labels


def share(part: np.ndarray, mask: np.ndarray) -> float:
    """The part of `part` that is in the mask."""
    return float((part & mask).sum() / part.sum())


def test_a_leak_of_another_tissue_leaves_all_slices_up_to_the_next_prompted_one_at_one_click() -> None:
    session = Session(a_volume(beside=170.0), ThresholdNetwork(), WINDOW)
    finish(session.begin("box", [BOX]))
    assert share(BESIDE, session.labelmap(1)) > 0.95, "the network has leaked"
    finish(session.begin("click", [PointPrompt(1, (8, 24, 40), positive=False)]))
    found = session.labelmap(1)
    assert share(BESIDE[:12], found[:12]) < 0.1
    assert share(OBJECT, found) > 0.95
    assert share(BESIDE[12:], found[12:]) > 0.95, "what lies behind a prompted slice is corrected there"
    qualities = session.qualities(1)[1]
    assert min(qualities.values()) > 0.4, "slices that only lost tissue are judged as before"


def test_missed_tissue_joins_on_slices_at_one_click() -> None:
    session = Session(a_volume(beside=70.0), ThresholdNetwork(), WINDOW)
    finish(session.begin("box", [BoxPrompt(1, 0, (12, 9, 7), (12, 39, 33))]))
    assert share(BESIDE, session.labelmap(1)) < 0.1, "the network has missed it"
    rim = ball(SHAPE, (12, 24, 32), (6, 6, 6)) & BESIDE
    finish(session.begin("click", [PointPrompt(1, (10, 24, 34))]))
    found = session.labelmap(1)
    assert share(rim[8:12], found[8:12]) > 0.75
    assert not (found & ~(OBJECT | BESIDE)).sum() > 0.02 * OBJECT.sum(), "nothing of what surrounds both"


def test_tissue_that_looks_the_same_is_left_to_the_network() -> None:
    volume = a_volume(beside=121.0)
    before = labels_of(OBJECT | BESIDE)
    assert connected_tissue(volume, before, 0, (8, 24, 42), False, KnownSlice(12, OBJECT[12])) is None


def test_a_click_that_says_nothing_new_changes_nothing() -> None:
    volume, before = a_volume(beside=170.0), labels_of(OBJECT)
    assert connected_tissue(volume, before, 0, (12, 24, 20), True, KnownSlice(12, OBJECT[12])) is None
    assert connected_tissue(volume, before, 0, (12, 24, 45), False, KnownSlice(12, OBJECT[12])) is None


def test_what_would_run_away_is_not_added() -> None:
    everything = np.full(SHAPE, 70.0)
    everything[OBJECT] = 120.0
    # Around the object's known slice it is dark, so that the clicked tissue is told apart everywhere else.
    everything[12][~OBJECT[12]] = 20.0
    volume = Volume(everything.astype(np.int16), (2.0, 1.0, 1.0))
    small = labels_of(ball(SHAPE, (12, 24, 20), (8, 5, 5)))
    cover = connected_tissue(volume, small, 0, (9, 24, 40), True, KnownSlice(12, OBJECT[12]))
    assert cover is None or cover.voxels.sum() <= LARGEST_GAIN * small.voxels()


def test_a_click_on_the_rim_speaks_of_its_slice_alone() -> None:
    volume, before = a_volume(beside=170.0), labels_of(OBJECT | BESIDE)
    rim = int(np.flatnonzero((OBJECT | BESIDE)[8, 24]).max())
    assert connected_tissue(volume, before, 0, (8, 24, rim), False, KnownSlice(12, OBJECT[12])) is None
    assert connected_tissue(volume, before, 0, (8, 24, rim - 5), False, KnownSlice(12, OBJECT[12])) is not None


def test_one_click_never_takes_most_of_the_object() -> None:
    # What the user knows as the object is a small part of what was found.
    small = ball(SHAPE, (12, 24, 20), (3, 4, 4))
    grey = np.where(small, 120.0, np.where(OBJECT, 170.0, 20.0))
    volume = Volume(grey.astype(np.int16), (2.0, 1.0, 1.0))
    assert connected_tissue(volume, labels_of(OBJECT), 0, (12, 24, 26), False, KnownSlice(12, small[12])) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_axis_of_propagation_plays_no_part_in_what_belongs_together(axis: int) -> None:
    order = [axis, *(each for each in range(3) if each != axis)]
    turned = np.argsort(order)
    voxels, leak, whole = (np.ascontiguousarray(a.transpose(turned)) for a in (a_volume(170.0).voxels, BESIDE, OBJECT))
    volume = Volume(voxels, (1.0, 1.0, 1.0))
    labels = LabelVolume(volume.shape)
    union = np.moveaxis(whole | leak, axis, 0)
    labels.apply(labels.delta_to(axis, {n: np.packbits(plane, axis=1) for n, plane in enumerate(union)}))
    click = [8, 24, 40]
    k, j, i = (click[order.index(each)] for each in range(3))
    cover = connected_tissue(volume, labels, axis, (k, j, i), False, KnownSlice(12, np.take(whole, 12, axis)))
    assert cover is not None
    found = np.stack([cover.on(axis, n) for n in range(volume.shape[axis])], axis)
    assert share(leak, found) > 0.9
    assert share(whole, found) < 0.05
