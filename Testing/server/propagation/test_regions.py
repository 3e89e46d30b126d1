"""Regions: slice pixels to network pixels and back, to a part of a pixel."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from memseg3d.propagation.sight.regions import Extent, Region

CENTRES = st.tuples(st.floats(-20, 120), st.floats(-20, 120))
SPACINGS = st.tuples(st.floats(0.2, 6), st.floats(0.2, 6))


def disc(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1


def sampled(region: Region, image: np.ndarray) -> np.ndarray:
    shape = (image.shape[0], image.shape[1])
    return region.sample(image[region.rows_and_columns(shape)], shape)


@settings(max_examples=60, deadline=None)
@given(CENTRES, st.floats(5, 500), SPACINGS, CENTRES)
def test_points_come_back_from_a_crop(
    centre: tuple[float, float], side: float, spacing: tuple[float, float], point: tuple[float, float]
) -> None:
    region = Region.crop(centre, side, spacing, 128)
    np.testing.assert_allclose(region.to_slice(region.to_network(np.array(point))), point, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(CENTRES, st.floats(5, 500), SPACINGS)
def test_a_crop_is_square_in_mm_and_near_what_was_asked(
    centre: tuple[float, float], side: float, spacing: tuple[float, float]
) -> None:
    region = Region.crop(centre, side, spacing, 128)
    height, width = region.extent.height * spacing[0], region.extent.width * spacing[1]
    assert height == pytest.approx(width)
    assert 2**-0.125 <= height / side * 1.000001 <= 2**0.125 * 1.00001
    for asked, got, step in zip(centre, region.extent.centre, spacing, strict=True):
        assert abs(asked - got) * step <= height / 32 * 1.000001


def test_crops_of_nearly_the_same_place_are_the_same() -> None:
    assert Region.crop((50.0, 60.0), 40.0, (1.0, 1.0), 128) == Region.crop((50.2, 59.9), 41.0, (1.0, 1.0), 128)


def test_the_corners_of_the_whole_slice_are_the_corners_of_the_square() -> None:
    region = Region.whole((40, 60), 128)
    np.testing.assert_allclose(region.to_network(np.array([-0.5, -0.5])), [-0.5, -0.5])
    np.testing.assert_allclose(region.to_network(np.array([39.5, 59.5])), [127.5, 127.5])


def test_enlarging_the_whole_slice_is_bilinear() -> None:
    image = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(image)[None, None], size=(128, 128), mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(sampled(Region.whole((40, 60), 128), image), expected, atol=1e-5)


def test_shrinking_averages_areas() -> None:
    image = np.random.default_rng(0).random((64, 96)).astype(np.float32)
    expected = image.reshape(16, 4, 16, 6).mean(axis=(1, 3))
    np.testing.assert_allclose(sampled(Region.whole((64, 96), 16), image), expected, atol=1e-5)


def test_what_lies_outside_the_slice_is_zero_and_the_edge_is_not_darkened() -> None:
    region = Region(Extent(-10.5, -10.5, 29.5, 29.5), 80)
    seen = sampled(region, np.ones((20, 25), np.float32))
    inside = np.zeros((80, 80), np.float32)
    inside[20:60, 20:70] = 1.0
    np.testing.assert_allclose(seen, inside, atol=1e-6)


def test_a_region_beside_the_slice_sees_nothing() -> None:
    region = Region(Extent(100.0, 100.0, 120.0, 120.0), 32)
    assert not sampled(region, np.ones((20, 25), np.float32)).any()
    rows, columns = region.covered((20, 25))
    assert rows.start == rows.stop
    assert columns.start == columns.stop
    assert region.logits_to_slice(np.ones((32, 32), np.float32), (20, 25)).size == 0


@pytest.mark.parametrize("side", [30.0, 60.0, 100.0, 200.0])
@pytest.mark.parametrize("grid", [32, 128])
def test_a_mask_comes_back_where_it_was(side: float, grid: int) -> None:
    shape, spacing = (90, 70), (1.0, 1.5)
    mask = disc(shape, (41.3, 30.7), (8, 6))
    region = Region.crop((41.3, 30.7), side, spacing, grid)
    logits = 20 * sampled(region, mask.astype(np.float32)) - 10
    back = np.zeros(shape, bool)
    back[region.covered(shape)] = region.logits_to_slice(logits, shape) > 0
    pixel = max(region.extent.height, region.extent.width) / grid
    overlap = (mask & back).sum() / (mask | back).sum()
    assert overlap > 1 - 0.06 * max(1.0, pixel)
    if pixel <= 1:
        centre = np.argwhere(back).mean(axis=0)
        np.testing.assert_allclose(centre, np.argwhere(mask).mean(axis=0), atol=0.1)


def test_a_line_is_found_at_its_network_pixel() -> None:
    image = np.zeros((64, 64), np.float32)
    image[20, :] = 1.0
    region = Region.crop((22.0, 30.0), 24.0, (1.0, 1.0), 240)
    profile = sampled(region, image).sum(axis=1)
    position = (profile * np.arange(240)).sum() / profile.sum()
    assert position == pytest.approx(region.to_network(np.array([20.0, 0.0]))[0], abs=0.05)


def test_a_box_covers_the_same_area_on_both_sides() -> None:
    region = Region(Extent(9.5, 9.5, 29.5, 29.5), 200)
    first, last = region.box_to_network(Extent(14.5, 19.5, 15.5, 24.5))
    np.testing.assert_allclose(first, [50.0, 100.0])
    np.testing.assert_allclose(last, [59.0, 149.0])
    np.testing.assert_allclose(last - first + 1, [10.0, 50.0])


def test_the_extent_of_a_mask_is_that_of_its_pixels() -> None:
    mask = np.zeros((10, 12), bool)
    assert Extent.of_mask(mask) is None
    mask[3, 4:7] = True
    assert Extent.of_mask(mask) == Extent(2.5, 3.5, 3.5, 6.5)


def test_resampling_takes_one_core_where_one_thread_is_asked_for() -> None:
    code = (
        "import time, numpy, torch; from memseg3d.propagation.sight.regions import Region\n"
        "torch.set_num_threads(1); image = numpy.ones((512, 512), numpy.int16)\n"
        "region = Region.whole((512, 512), 128)\n"
        "begun = time.process_time(), time.thread_time()\n"
        "for _ in range(300): region.sample(image, (512, 512))\n"
        "print((time.process_time() - begun[0]) / (time.thread_time() - begun[1]))"
    )
    environment = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1.3


def test_what_cannot_be_written_to_or_lies_the_other_way_round_is_resampled_alike() -> None:
    image = np.random.default_rng(0).normal(0, 1, (40, 50)).astype(np.float32)
    region = Region.whole((40, 50), 32)
    flipped = np.ascontiguousarray(image[::-1])
    flipped.flags.writeable = False
    assert np.array_equal(region.sample(flipped[::-1], (40, 50)), region.sample(image, (40, 50)))
