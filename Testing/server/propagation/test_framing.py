"""Framing: the region around prompts, and how it follows the object."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.regions import Extent, Region

FRAMING = Framing((200, 300), (1.0, 1.0), 128, crop=True)
OBJECT = Extent(79.5, 99.5, 119.5, 139.5)


def test_a_network_for_whole_slices_always_sees_the_whole_slice() -> None:
    framing = Framing((200, 300), (1.0, 1.0), 128, crop=False)
    whole = Region.whole((200, 300), 128)
    assert framing.around(OBJECT) == framing.around_points(OBJECT) == whole
    assert framing.following(whole, OBJECT) == whole
    assert framing.zoomed(whole, OBJECT, OBJECT) is None


def test_a_crop_leaves_a_margin_around_the_box() -> None:
    region = FRAMING.around(OBJECT)
    assert region.extent.height == pytest.approx(1.6 * 40, rel=0.1)
    assert region.extent.centre == pytest.approx(OBJECT.centre, abs=64 / 32)


def test_a_tiny_box_still_gets_twelve_pixels() -> None:
    region = FRAMING.around(Extent(50, 50, 51, 51))
    assert region.extent.height == pytest.approx(12, rel=0.1)


def test_the_crop_stays_while_the_object_hardly_moves() -> None:
    region = FRAMING.around(OBJECT)
    moved = Extent(OBJECT.top + 3, OBJECT.left - 3, OBJECT.bottom + 3, OBJECT.right - 3)
    assert FRAMING.following(region, moved) == region
    assert FRAMING.following(region, None) == region


def test_the_crop_follows_an_object_that_moves_away() -> None:
    region = FRAMING.around(OBJECT)
    moved = Extent(OBJECT.top + 10, OBJECT.left, OBJECT.bottom + 10, OBJECT.right)
    followed = FRAMING.following(region, moved)
    assert followed != region
    assert followed.extent.centre == pytest.approx(moved.centre, abs=2)


def test_the_crop_shrinks_with_the_object() -> None:
    smaller = Extent(89.5, 109.5, 109.5, 129.5)
    assert FRAMING.following(FRAMING.around(OBJECT), smaller).extent.height == pytest.approx(32, rel=0.1)


def test_the_crop_grows_when_the_mask_touches_its_border() -> None:
    region = FRAMING.around(OBJECT)
    cut = Extent(region.extent.top, 99.5, 119.5, 139.5)
    assert FRAMING.touches_border(region, cut)
    assert FRAMING.following(region, cut).extent.height > 1.4 * region.extent.height


def test_the_border_of_the_slice_is_no_border_of_the_crop() -> None:
    at_the_edge = Extent(-0.5, 99.5, 39.5, 139.5)
    region = Region(Extent(-0.5, 89.5, 63.5, 153.5), 128)
    assert not FRAMING.touches_border(region, at_the_edge)


def test_clicks_start_from_a_third_of_the_slice() -> None:
    region = FRAMING.around_points(Extent(99.5, 149.5, 100.5, 150.5))
    assert region.extent.height == pytest.approx(200 / 3, rel=0.1)


@pytest.mark.parametrize(("side", "change"), [(60.0, 0), (45.0, 1), (200.0, -1)])
def test_zooming_brings_the_object_to_a_good_size(side: float, change: int) -> None:
    region = Region.crop(OBJECT.centre, side, (1.0, 1.0), 128)
    click = Extent(99.5, 119.5, 100.5, 120.5)
    wanted = FRAMING.zoomed(region, OBJECT, click)
    if change == 0:
        assert wanted is None
    else:
        assert wanted is not None
        assert (wanted.extent.height > region.extent.height) == (change > 0)


def test_zooming_ends_within_its_steps() -> None:
    region: Region | None = FRAMING.around_points(Extent(99.5, 119.5, 100.5, 120.5))
    tiny = Extent(97.5, 117.5, 102.5, 122.5)
    for _ in range(4):
        assert region is not None
        region = FRAMING.zoomed(region, tiny, tiny)
        if region is None:
            break
    assert region is None or region.extent.height < 20


def test_a_crop_is_square_in_mm_on_anisotropic_slices() -> None:
    framing = Framing((60, 200), (4.0, 1.0), 128, crop=True)
    region = framing.around(Extent(19.5, 79.5, 29.5, 119.5))
    assert region.extent.height * 4 == pytest.approx(region.extent.width)
    assert region.extent.width == pytest.approx(1.6 * 40, rel=0.1)


@pytest.mark.parametrize(("side", "pixels"), [(20, 32), (60, 64), (80, 96), (90, 128), (180, 128)])
def test_a_crop_has_as_few_pixels_as_leave_it_as_sharp_as_the_whole_slice(side: float, pixels: int) -> None:
    framing = Framing((200, 300), (1.0, 1.0), 128, crop=True, smaller=(32, 64, 96))
    region = framing.around(Extent(0, 0, side, side))
    assert region.size == pixels
    whole = Region.whole((200, 300), 128)
    assert region.extent.height / region.size <= whole.extent.height / whole.size or region.size == 128
    assert replace(region, size=128) == replace(framing, smaller=()).around(Extent(0, 0, side, side))
