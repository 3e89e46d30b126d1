"""The demo's user draws and clicks as the protocol says, and slices are shown as a radiologist expects."""

from __future__ import annotations

import numpy as np
import pytest

from demo.planes import display_plane
from demo.results import dice
from demo.user import correct, draw_box, working_axis


@pytest.fixture
def a_block() -> np.ndarray:
    """Rows 4 to 9 and columns 6 to 15 on slices 3 to 8; slice 5 is larger by one row."""
    truth = np.zeros((12, 20, 24), bool)
    truth[3:9, 4:10, 6:16] = True
    truth[5, 10, 6:16] = True
    return truth


def test_the_box_lies_tight_on_the_largest_slice(a_block: np.ndarray) -> None:
    box = draw_box(a_block, axis=0)
    assert (box.index, box.lower, box.upper) == (5, (5, 4, 6), (5, 10, 15))


def test_the_box_may_lie_across_another_axis(a_block: np.ndarray) -> None:
    box = draw_box(a_block, axis=2)
    assert (box.axis, box.lower, box.upper) == (2, (3, 4, 6), (8, 10, 6))


def test_a_missing_part_gets_a_positive_click_in_its_depth(a_block: np.ndarray) -> None:
    mask = a_block.copy()
    mask[7, 4:9, 6:11] = False
    click = correct(mask, a_block, 0, (1.0, 1.0, 1.0))
    assert click is not None
    assert (click.position, click.positive) == ((7, 6, 8), True)


def test_a_leak_gets_a_negative_click(a_block: np.ndarray) -> None:
    mask = a_block.copy()
    mask[4, 12:19, 16:23] = True
    click = correct(mask, a_block, 0, (1.0, 1.0, 1.0))
    assert click is not None
    assert (click.position, click.positive) == ((4, 15, 19), False)


def test_nothing_wrong_needs_no_click(a_block: np.ndarray) -> None:
    assert correct(a_block, a_block, 0, (1.0, 1.0, 1.0)) is None


@pytest.mark.parametrize(
    ("spacing", "axis"), [((3.0, 2.0, 2.0), 0), ((1.0, 1.0, 6.5), 2), ((1.0, 1.0, 1.0), 0), ((1.0, 4.0, 1.0), 1)]
)
def test_the_user_looks_across_the_thickest_slices(spacing: tuple[float, float, float], axis: int) -> None:
    assert working_axis(spacing) == axis


def test_dice_counts_shared_voxels(a_block: np.ndarray) -> None:
    half = a_block.copy()
    half[:6] = False
    assert dice(a_block, a_block) == 1
    assert dice(half, a_block) == pytest.approx(2 * half.sum() / (half.sum() + a_block.sum()))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)])
@pytest.mark.parametrize("across", [0, 1, 2])
def test_a_volume_of_any_orientation_is_shown_alike(signs: tuple[int, int, int], across: int) -> None:
    """The voxel at the patient's left, back and foot side is shown right and below, whichever way the array runs."""
    affine = np.diag([*(2.0 * np.array(signs)), 1.0])
    shape = (5, 6, 7)
    # Index (k, j, i) of the corner that lies left (+x), behind (+y) and towards the feet (-z).
    corner = [0 if signs[2] > 0 else 4, 5 if signs[1] > 0 else 0, 6 if signs[0] > 0 else 0]
    volume = np.zeros(shape, bool)
    volume[tuple(corner)] = True
    plane = display_plane(affine, across)
    shown = plane.cut(volume, corner[across])
    row, column = np.argwhere(shown)[0]
    assert row == shown.shape[0] - 1
    assert column == shown.shape[1] - 1
    assert plane.place((corner[0], corner[1], corner[2]), shape) == (row, column)
