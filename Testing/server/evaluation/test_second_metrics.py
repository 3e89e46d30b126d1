"""Dice, NSD and HD95 agree with a second implementation, written here from their definitions alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from memseg3d.evaluation.metrics import dice, surface_scores

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
Mask = np.ndarray


@cache
def area_of(code: int, spacing: tuple[float, float, float]) -> float:
    """Area of the surface that marching cubes draws between eight voxels, the n-th of which is set where bit n is."""
    corners = np.array([(code >> bit) & 1 for bit in range(8)], float).reshape(2, 2, 2)
    if corners.min() == corners.max():
        return 0.0
    vertices, faces, _, _ = marching_cubes(corners, 0.5, spacing=spacing)
    return float(mesh_surface_area(vertices, faces))


def surface(mask: Mask, spacing: tuple[float, float, float]) -> Mask:
    """Area of the surface in every cell between eight voxels."""
    padded = np.pad(mask.astype(int), 1)
    code = np.zeros(tuple(size - 1 for size in padded.shape), int)
    for bit in range(8):
        k, j, i = bit >> 2 & 1, bit >> 1 & 1, bit & 1
        ends = (size - 1 + at for size, at in zip(padded.shape, (k, j, i), strict=True))
        code |= padded[tuple(slice(at, end) for at, end in zip((k, j, i), ends, strict=True))] << bit
    return np.vectorize(lambda each: area_of(int(each), spacing), otypes=[float])(code)


def second(
    truth: Mask, found: Mask, spacing: tuple[float, float, float], tolerance: float
) -> tuple[float, float, float]:
    """Dice, NSD, HD95."""
    overlap = 2 * (truth & found).sum() / (truth.sum() + found.sum())
    areas = [surface(mask, spacing) for mask in (truth, found)]
    away = [ndimage.distance_transform_edt(area == 0, sampling=spacing) for area in areas]
    near, hausdorff = 0.0, []
    for one, other in ((0, 1), (1, 0)):
        on = areas[one] > 0
        distances, weights = away[other][on], areas[one][on]
        near += weights[distances <= tolerance].sum()
        order = np.argsort(distances)
        reached = np.cumsum(weights[order]) / weights.sum()
        hausdorff.append(distances[order][np.searchsorted(reached, 0.95)])
    return overlap, near / sum(area.sum() for area in areas), max(hausdorff)


def blob(seed: int) -> Mask:
    """A smooth random shape of one large part."""
    rng = np.random.default_rng(seed)
    k, j, i = np.indices((18, 26, 24)).astype(float)
    bumps = ndimage.gaussian_filter(rng.normal(0, 1, k.shape), 3) * 25
    return (k - 9) ** 2 / 36 + (j - 13) ** 2 / 80 + (i - 12) ** 2 / 60 + bumps < 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.7)], ids=["even", "uneven"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scores_agree_with_a_second_implementation(seed: int, spacing: tuple[float, float, float]) -> None:
    truth, found = blob(seed), np.roll(blob(seed + 10), 1, axis=1)
    expected = second(truth, found, spacing, 2.0)
    nsd, hd95 = surface_scores(truth, found, spacing, 2.0)
    assert dice(truth, found) == pytest.approx(expected[0], abs=1e-12)
    assert nsd == pytest.approx(expected[1], abs=2e-3)
    assert hd95 == pytest.approx(expected[2], abs=1e-6)


def test_distances_of_empty_masks_are_not_made_up() -> None:
    nothing = np.zeros((4, 4, 4), bool)
    some = nothing.copy()
    some[1, 1, 1] = True
    assert surface_scores(nothing, nothing, (1, 1, 1)) == (1.0, 0.0)
    assert surface_scores(some, nothing, (1, 1, 1)) == (0.0, None)
    apart = np.zeros((4, 4, 12), bool)
    apart[:, :, :2] = True
    assert surface_scores(apart, np.roll(apart, 3, 2), (1, 1, 2))[1] == pytest.approx(6.0)
