"""Crops in a session: clicks find their size, the crop follows the object, memories move along, room is bounded."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from memseg3d.network.seam import Features
from memseg3d.propagation.memory.region_tracker import RegionTracker
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.rounds.walks.batching import SETTING
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_images import SeenSlice, region_image
from memseg3d.propagation.sight.view import View
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window

from .conftest import BALL, ThresholdNetwork, ball, finish

WINDOW = Options(window=(0.0, 110.0))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def wandering_tube() -> np.ndarray:
    """A disc of 8 pixels radius that wanders through the slices, growing to 16; it soon has left its first crop."""
    tube = np.zeros((30, 120, 140), bool)
    rows, columns = np.ogrid[:120, :140]
    for k in range(30):
        radius = 8 + 8 * k / 29
        tube[k] = (rows - 20 - k) ** 2 + (columns - 20 - 1.2 * k) ** 2 <= radius**2
    return tube


def crop_session(truth: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Session:
    volume = Volume(np.where(truth, 100, 10).astype(np.int16), spacing)
    return Session(volume, ThresholdNetwork(prefers_crop=True), WINDOW)


def test_the_crop_follows_a_wandering_growing_object() -> None:
    truth = wandering_tube()
    session = crop_session(truth)
    finish(session.begin("first", [BoxPrompt(1, 0, (0, 12, 12), (0, 28, 28))]))
    result = session.labelmap(1)
    for k in range(30):
        assert dice(result[k], truth[k]) > 0.93, k


def test_a_correction_far_from_the_first_slice_fits_in() -> None:
    truth = wandering_tube()
    session = crop_session(truth)
    finish(session.begin("first", [BoxPrompt(1, 0, (0, 12, 12), (0, 28, 28))]))
    slices, _ = finish(session.begin("second", [PointPrompt(1, (28.0, 48.0, 66.0), positive=False)]))
    assert slices[0].index == 28
    assert not slices[0].mask[48, 66]
    assert slices[0].mask[48, 52]
    np.testing.assert_array_equal(session.labelmap(1)[0], truth[0])


@pytest.mark.parametrize("radius", [6, 14, 40])
def test_a_click_alone_finds_the_size_of_its_object(radius: int) -> None:
    truth = ball((9, 120, 140), (4, 60, 70), (4, radius, radius))
    session = crop_session(truth)
    slices, _ = finish(session.begin("first", [PointPrompt(1, (4.0, 60.0, 70.0))]))
    assert slices[0].index == 4
    assert dice(slices[0].mask, truth[4]) > 0.93
    region = session._states[1].stored[4].region
    assert 0.33 < 2 * radius / region.extent.height < 0.72


class SidedNetwork(ThresholdNetwork):
    """For whole slices; takes smaller images as well. sides: of the images that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, image_size=96, logit_size=96, smaller_sides=(24, 48))
        self.sides: set[int] = set()

    def encode(self, images: Tensor) -> Features:
        self.sides.add(images.shape[-1])
        return super().encode(images)


def sided_session(truth: np.ndarray, network: SidedNetwork, options: Options) -> Session:
    return Session(Volume(np.where(truth, 100, 10).astype(np.int16), (1.0, 1.0, 1.0)), network, options)


@pytest.mark.parametrize("setting", ["never", "always"])
def test_a_crop_of_few_pixels_gets_more_with_its_object(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    """Memories move along from one number of pixels to the next, also in a batch with another object."""
    monkeypatch.setenv(SETTING, setting)
    truth = wandering_tube()
    other = ball((30, 120, 140), (15, 95, 30), (8, 18, 18))
    network = SidedNetwork()
    session = sided_session(truth | other, network, replace(WINDOW, region="crop"))
    finish(session.begin("first", [BoxPrompt(1, 0, (0, 12, 12), (0, 28, 28))]))
    assert network.sides == {24, 48}
    for k in range(30):
        assert dice(session.labelmap(1)[k], truth[k]) > 0.93, k
    again = sided_session(truth | other, network, replace(WINDOW, region="crop"))
    both = [BoxPrompt(1, 0, (0, 12, 12), (0, 28, 28)), BoxPrompt(2, 0, (15, 77, 12), (15, 113, 48))]
    finish(again.begin("first", both))
    np.testing.assert_array_equal(again.labelmap(1), session.labelmap(1))
    assert dice(again.labelmap(2), other) > 0.93
    finish(again.begin("second", [PointPrompt(1, (28.0, 48.0, 66.0), positive=False)]))
    assert not again.labelmap(1)[28, 48, 66]
    np.testing.assert_array_equal(again.labelmap(1)[0], session.labelmap(1)[0])


def test_rounds_are_gone_on_from_where_the_network_takes_no_smaller_sides() -> None:
    """As on an accelerator, with what a CPU has stored; and the other way round."""
    truth = wandering_tube()
    first, few = sided_session(truth, SidedNetwork(), replace(WINDOW, region="crop")), SidedNetwork()
    finish(first.begin("first", [BoxPrompt(1, 0, (0, 12, 12), (0, 28, 28))]))
    few.info = replace(few.info, smaller_sides=())
    there = sided_session(truth, few, first.options)
    there.restore(json.loads(json.dumps([each.to_json() for each in first.rounds])))
    finish(there.begin("second", [PointPrompt(1, (28.0, 48.0, 66.0), positive=False)]))
    assert few.sides == {96}
    for k in range(26):
        assert dice(there.labelmap(1)[k], truth[k]) > 0.93, k
    back = sided_session(truth, SidedNetwork(), first.options)
    back.restore(json.loads(json.dumps([each.to_json() for each in there.rounds])))
    finish(back.begin("third", [PointPrompt(1, (20.0, 40.0, 44.0), positive=True)]))
    assert dice(back.labelmap(1)[20], truth[20]) > 0.9


def test_whole_slices_keep_all_pixels() -> None:
    network = SidedNetwork()
    session = sided_session(BALL, network, WINDOW)
    finish(session.begin("first", [BoxPrompt(1, 0, (12, 8, 8), (12, 32, 36))]))
    assert network.sides == {96}


@pytest.mark.parametrize("spacing", [(5.0, 1.0, 1.0), (1.0, 2.0, 0.5)])
def test_spacing_of_any_kind_is_followed(spacing: tuple[float, float, float]) -> None:
    session = crop_session(BALL, spacing)
    finish(session.begin("first", [BoxPrompt(1, 0, (12, 8, 8), (12, 32, 36))]))
    assert dice(session.labelmap(1), BALL) > 0.93


def a_view(volume: Volume, store: FeatureStore) -> View:
    framing = Framing(volume.slice_shape(0), volume.slice_spacing(0), store.network.info.image_size, crop=True)
    return View(volume, 0, framing, (Window(0.0, 110.0),), store)


def test_memories_are_moved_into_the_region_of_the_slice_that_reads_them(a_ball: Volume) -> None:
    store = FeatureStore(ThresholdNetwork(prefers_crop=True))
    view = a_view(a_ball, store)
    tracker = RegionTracker(view)
    small, large = Region.crop((20, 22), 40.0, (1.0, 1.0), 48), Region.crop((24, 26), 80.0, (1.0, 1.0), 48)
    tracker.prompt(12, small, [MaskPrompt(1, 0, 12, BALL[12])], None)
    tracker.track(13, small, 1, None)
    assert tracker.region_of(12) == tracker.region_of(13) == small
    tracker.track(14, large, 1, None)
    assert tracker.region_of(12) == tracker.region_of(13) == tracker.region_of(14) == large
    moved = tracker.tracker.bank.conditioning[12].memory
    assert moved is not None
    expected = large.sample(BALL[12][large.rows_and_columns((40, 44))], (40, 44)) > 0.5
    assert (moved.tensors["mask"][0, 0].numpy() != expected).mean() < 0.01


def test_features_are_kept_within_their_room(a_ball: Volume) -> None:
    region = Region.whole((40, 44), 48)
    one = 48 * 48 * 4
    store = FeatureStore(ThresholdNetwork(), capacity=3 * one)
    view = a_view(a_ball, store)
    for index in (0, 1, 2, 0, 3):
        view.features(index, region)
    assert store.encoded == 4
    assert store.bytes == 3 * one
    view.features(0, region)
    assert store.encoded == 4, "slice 0 was used last but one and is still there"
    view.features(1, region)
    assert store.encoded == 5, "slice 1 was the oldest"
    store.forget(a_ball.key)
    assert store.bytes == 0


def test_one_store_serves_several_volumes(a_ball: Volume) -> None:
    store = FeatureStore(ThresholdNetwork())
    other = Volume(a_ball.voxels[::-1].copy(), a_ball.spacing)
    region = Region.whole((40, 44), 48)
    mine, theirs = a_view(a_ball, store).features(3, region), a_view(other, store).features(3, region)
    assert store.encoded == 2
    assert not torch.equal(mine.levels[0], theirs.levels[0]) or np.array_equal(a_ball.voxels[3], other.voxels[3])


def test_a_network_of_two_channels_sees_two_windows(a_ball: Volume) -> None:
    region = Region.whole((40, 44), 48)
    image = region_image(SeenSlice(a_ball, 0, 12, region, (Window(0.0, 110.0), Window(90.0, 110.0))))
    assert image.shape == (2, 48, 48)
    assert image[0].min() == pytest.approx(10 / 110)
    assert image[1].min() == 0.0
    assert image[1].max() == pytest.approx(0.5)
