"""SimpleITK's filters on the calling thread: the same values as its own functions give, and nothing goes by these."""

import resource
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import memseg3d.propagation
from memseg3d.propagation.masks.filters import alone, connected_parts, dilated, distance_map, slope_map, watershed


def some_mask(*shape: int) -> np.ndarray:
    coarse = np.random.default_rng(sum(shape)).random([-(-side // 4) for side in shape]) < 0.4
    return np.kron(coarse, np.ones([4] * len(shape), bool))[tuple(slice(side) for side in shape)]


def image_of(mask: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(mask.astype(np.uint8))


@pytest.mark.parametrize("shape", [(37, 50), (9, 33, 41), (1, 1), (5, 1)])
def test_distances_parts_and_dilation_are_simpleitks_own(shape: tuple[int, ...]) -> None:
    mask = some_mask(*shape)
    spacing = (2.5, 0.7, 1.3)[-len(shape) :]
    image = image_of(mask)
    in_voxels = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False)
    image.SetSpacing(spacing[::-1])
    in_mm = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    np.testing.assert_array_equal(distance_map(mask), sitk.GetArrayFromImage(in_voxels))
    np.testing.assert_array_equal(distance_map(mask, spacing), sitk.GetArrayFromImage(in_mm))
    for by_corners in (False, True):
        own = sitk.GetArrayFromImage(sitk.ConnectedComponent(image_of(mask), by_corners))
        np.testing.assert_array_equal(connected_parts(mask, by_corners), own)
    grown = sitk.BinaryDilate(image_of(mask), [3] * len(shape), sitk.sitkBall)
    np.testing.assert_array_equal(dilated(mask, 3), sitk.GetArrayFromImage(grown).astype(bool))


def test_slope_and_watershed_are_simpleitks_own() -> None:
    values = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    smooth = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(values), 1.0)
    slope = slope_map(values)
    np.testing.assert_array_equal(slope, sitk.GetArrayFromImage(sitk.GradientMagnitude(smooth)))
    levels, markers = (4000 * slope).astype(np.uint16), np.zeros((30, 40), np.uint8)
    markers[3, 3], markers[25, 30] = 1, 2
    flooded = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(levels), sitk.GetImageFromArray(markers), markWatershedLine=False, fullyConnected=False
    )
    np.testing.assert_array_equal(watershed(levels, markers), sitk.GetArrayFromImage(flooded))


def waits_of(tool: sitk.SignedMaurerDistanceMapImageFilter) -> int:
    """How often this process waited for a thread in so many calls."""
    image = image_of(some_mask(60, 60))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for _ in range(200):
        tool.Execute(image)
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before


def test_filters_compute_on_the_calling_thread() -> None:
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(4)
    try:
        assert waits_of(sitk.SignedMaurerDistanceMapImageFilter()) > 200
        assert waits_of(alone(sitk.SignedMaurerDistanceMapImageFilter())) < 100
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def test_propagation_uses_no_filter_that_waits_for_other_threads() -> None:
    """Where a click is answered, ITK's own threads would be waited for on a busy computer."""
    room = Path(memseg3d.propagation.__file__).parent
    users = {file.name for file in room.rglob("*.py") if "import SimpleITK" in file.read_text(encoding="utf-8")}
    assert users == {"filters.py"}
