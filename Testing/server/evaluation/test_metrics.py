"""Dice and surface Dice agree with geometry, and with the published figures of a method that needs no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memseg3d.evaluation.baselines import find_baselines, read_baselines
from memseg3d.evaluation.metrics import dice, surface_dice, tolerance_for
from memseg3d.evaluation.robot import Box, choose_axis, draw_box
from memseg3d.evaluation.targets import find_cases, read_case

# The reference implementation calls SciPy by names that are on their way out.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")


def a_cube(start: int, size: int = 10) -> np.ndarray:
    mask = np.zeros((30, 30, 30), bool)
    mask[10 : 10 + size, 10 : 10 + size, start : start + size] = True
    return mask


NOTHING = np.zeros((30, 30, 30), bool)


def test_dice_counts_the_overlap() -> None:
    assert dice(a_cube(10), a_cube(10)) == 1.0
    assert dice(a_cube(10), a_cube(15)) == pytest.approx(0.5)
    assert dice(a_cube(10), NOTHING) == 0.0
    assert dice(NOTHING, NOTHING) == 1.0


def test_an_empty_prediction_has_no_surface_in_common() -> None:
    assert surface_dice(a_cube(10), NOTHING, (1, 1, 1)) == 0.0
    assert surface_dice(NOTHING, a_cube(10), (1, 1, 1)) == 0.0
    assert surface_dice(NOTHING, NOTHING, (1, 1, 1)) == 1.0


def test_the_tolerance_is_in_millimetres_along_each_axis() -> None:
    assert surface_dice(a_cube(10), a_cube(12), (1, 1, 1)) == 1.0
    assert surface_dice(a_cube(10), a_cube(12), (1, 1, 1.5)) < 0.9
    assert surface_dice(a_cube(10), a_cube(12), (1.5, 1, 1)) == 1.0
    assert surface_dice(a_cube(10), a_cube(12), (1, 1, 1), tolerance=1.0) < 0.9


def test_surfaces_do_not_depend_on_where_the_masks_lie_in_the_volume() -> None:
    truth, prediction = a_cube(10), a_cube(13)
    at_the_border = (slice(10, None), slice(10, None), slice(10, None))
    expected = surface_dice(truth, prediction, (1, 1, 1))
    assert surface_dice(truth[at_the_border], prediction[at_the_border], (1, 1, 1)) == pytest.approx(expected)


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        dice(NOTHING, NOTHING[1:])


def test_microscopy_is_judged_in_voxels() -> None:
    assert tolerance_for("microscopy", (0.15, 0.15)) == pytest.approx(0.3)
    assert tolerance_for("CT", (0.9, 0.9)) == 2.0


def swept_ellipse(box: Box, shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """The floor of the baselines: the ellipse inscribed in an axial box, on slices within 0.6 x its larger side."""
    low, high = np.array(box.lower[1:]), np.array(box.upper[1:])
    centre, half = (low + high) / 2, (high - low + 1) / 2
    rows, columns = np.ogrid[: shape[1], : shape[2]]
    disc = ((rows - centre[0]) / half[0]) ** 2 + ((columns - centre[1]) / half[1]) ** 2 <= 1
    depth = 0.6 * max((high - low + 1) * np.array(spacing[1:])) / spacing[0]
    mask = np.zeros(shape, bool)
    first = max(0, round(box.index - depth))
    mask[first : round(box.index + depth) + 1] = disc
    return mask


@pytest.mark.parametrize("name", ["sts003_pet", "mr_hippocampus_003", "mr_hippocampus_088", "mr_cord_t2_sct"])
def test_the_published_floor_is_reproduced(data_folder: Path, name: str) -> None:
    table = find_baselines(data_folder)
    if table is None:
        pytest.skip("No table of baselines beside the data folder; set MEMSEG3D_BASELINES.")
    rows = read_baselines(table, "D_swept")
    case = read_case(data_folder, name, find_cases(data_folder, [name])[name])
    for target in case.targets:
        truth = case.labels == target.label
        box = draw_box(truth, choose_axis(case.image.spacing), target.key)
        prediction = swept_ellipse(box, truth.shape, case.image.spacing)
        assert dice(truth, prediction) == pytest.approx(rows[target.key].dice[0], abs=2e-4)
        assert surface_dice(truth, prediction, case.image.spacing) == pytest.approx(rows[target.key].nsd[0], abs=2e-4)
