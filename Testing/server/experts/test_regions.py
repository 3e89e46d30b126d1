"""Regions of volumes: there and back, beyond the edge, and what clicks may change of a mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from memseg3d.experts.composing import edited
from memseg3d.experts.regions import Extent3, Region3, resized


def test_enlarging_is_trilinear() -> None:
    values = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    expected = functional.interpolate(torch.from_numpy(values)[None, None], size=(9, 8, 13), mode="trilinear")
    np.testing.assert_allclose(resized(values, (9, 8, 13)), expected[0, 0].numpy(), atol=1e-6)


def test_shrinking_keeps_the_mean() -> None:
    values = np.random.default_rng(0).random((30, 30, 30), dtype=np.float32)
    assert resized(values, (10, 10, 10)).mean() == pytest.approx(values.mean(), abs=0.01)
    assert resized(values, (10, 10, 10)).std() < 0.5 * values.std()


def test_what_lies_beyond_the_volume_is_seen_as_nothing_and_never_written() -> None:
    volume = np.ones((10, 10, 10), np.float32)
    region = Region3((-4, 0, 6), (8, 10, 8), (8, 10, 8))
    seen = region.seen(volume)
    assert seen.shape == (8, 10, 8)
    assert seen.sum() == 4 * 10 * 4
    part = region.inside((10, 10, 10))
    assert region.back(seen, (10, 10, 10)).shape == volume[part].shape
    assert region.back(seen, (10, 10, 10)).all()
    assert volume[Region3((20, 0, 0), (4, 4, 4), (4, 4, 4)).inside((10, 10, 10))].size == 0


def test_positions_and_voxels_agree() -> None:
    volume = np.zeros((40, 40, 40), np.float32)
    volume[20, 10, 30] = 1.0
    region = Region3.about((20.0, 12.0, 28.0), (10, 20, 16), (20, 40, 32))
    at = region.to_grid((20.0, 10.0, 30.0))
    seen = region.seen(volume)
    peak = np.argwhere(seen >= 0.99 * seen.max()).mean(axis=0)
    assert at == pytest.approx(tuple(peak), abs=0.01)


def test_a_region_of_one_slice_is_a_region_too() -> None:
    region = Region3.about((0.0, 5.0, 5.0), (1, 10, 10), (8, 8, 8))
    assert region.inside((1, 12, 12))[0] == slice(0, 1)
    assert region.back(region.seen(np.ones((1, 12, 12))), (1, 12, 12)).shape == (1, 10, 10)


def test_a_border_counts_only_where_the_volume_goes_on() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0] = True
    assert Region3((3, 0, 0), (4, 4, 4), (4, 4, 4)).touches_border(mask, (10, 4, 4))
    assert not Region3((0, 0, 0), (4, 4, 4), (4, 4, 4)).touches_border(mask, (10, 4, 4))


def test_an_extent_is_that_of_the_mask() -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[1:3, 2, 3:6] = True
    assert Extent3.of(mask, (10, 0, 0)) == Extent3((11.0, 2.0, 3.0), (12.0, 2.0, 5.0))
    assert Extent3.of(np.zeros((2, 2, 2), bool)) is None


def test_clicks_change_only_the_parts_that_they_concern() -> None:
    old, new = np.zeros((1, 1, 12), bool), np.zeros((1, 1, 12), bool)
    old[..., 0:5] = True
    new[..., [0, 1, 4, 7, 8, 11]] = True
    assert np.flatnonzero(edited(old, new, [(0, 0, 7)], [])).tolist() == [0, 1, 2, 3, 4, 7, 8]
    assert np.flatnonzero(edited(old, new, [], [(0, 0, 2)])).tolist() == [0, 1, 4]
    assert np.flatnonzero(edited(old, new, [(0, 0, 20)], [(0, 0, 11)])).tolist() == [0, 1, 2, 3, 4]
