"""The robot user makes the published prompts (targets, axes, slices, boxes) and clicks into the worst error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memseg3d.evaluation.baselines import find_baselines, read_baselines
from memseg3d.evaluation.robot import Box, choose_axis, choose_click, choose_slice, draw_box
from memseg3d.evaluation.targets import choose_labels, find_cases, read_case
from memseg3d.files import UnreadableFile

ISOTROPIC = (1.0, 1.0, 1.0)


def a_ball(centre: tuple[int, int, int], radius: float, shape: tuple[int, int, int] = (20, 30, 40)) -> np.ndarray:
    distance = sum((x - c) ** 2 for x, c in zip(np.indices(shape), centre, strict=True))
    return distance <= radius**2


def test_targets_axes_slices_and_boxes_are_the_published_ones(data_folder: Path) -> None:
    table = find_baselines(data_folder)
    if table is None:
        pytest.skip("No table of baselines beside the data folder; set MEMSEG3D_BASELINES.")
    published = {key: (row.axis, row.slice, row.box) for key, row in read_baselines(table).items()}
    ours = {}
    for name, modality in find_cases(data_folder).items():
        case = read_case(data_folder, name, modality)
        axis = choose_axis(case.image.spacing)
        for target in case.targets:
            box = draw_box(case.labels == target.label, axis, target.key)
            in_plane = [a for a in (2, 1, 0) if a != axis]
            corners = tuple(corner[a] for corner in (box.lower, box.upper) for a in in_plane)
            ours[target.key] = (2 - axis, box.index, corners)
    assert len(ours) == 44
    assert ours == published


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((5.0, 1.0, 1.0), 0),
        ((1.0, 5.0, 1.0), 1),
        ((1.0, 1.0, 5.0), 2),
        ((3.27, 5.47, 5.47), 0),
        ((1.0, 1.0, 1.0), 0),
        ((1.0, 1.0, 1.005), 0),
        ((1.0, 1.0, 1.02), 2),
    ],
)
def test_the_axis_is_that_of_the_thickest_slices(spacing: tuple[float, float, float], axis: int) -> None:
    assert choose_axis(spacing) == axis


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_box_holds_the_object_on_its_largest_slice(axis: int) -> None:
    box = draw_box(a_ball((8, 12, 20), 5), axis, "ball/1")
    assert box.index == (8, 12, 20)[axis]
    assert box.lower[axis] == box.upper[axis]
    for a in {0, 1, 2} - {axis}:
        assert (8, 12, 20)[a] - 6 <= box.lower[a] <= (8, 12, 20)[a] - 5
        assert (8, 12, 20)[a] + 5 <= box.upper[a] <= (8, 12, 20)[a] + 6


def test_the_box_is_moved_outward_by_at_most_a_twentieth_and_stays_inside() -> None:
    truth = np.zeros((3, 200, 200), bool)
    truth[1, 0:100, 60:160] = True
    boxes = {draw_box(truth, 0, f"case/{n}") for n in range(40)}
    assert len(boxes) > 30
    assert {b.lower[1] for b in boxes} == {0}
    assert {b.lower[2] for b in boxes} <= set(range(55, 61))
    assert {b.upper[1] for b in boxes} <= set(range(99, 105))
    assert max(b.upper[2] for b in boxes) > 159


def test_the_same_target_gets_the_same_box() -> None:
    truth = a_ball((8, 12, 20), 9)
    assert draw_box(truth, 0, "case/1") == draw_box(truth.copy(), 0, "case/1")


def test_an_empty_truth_has_no_box() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_box(np.zeros((3, 4, 5), bool), 0, "case/1")


def test_the_click_falls_into_the_middle_of_what_was_missed() -> None:
    truth = a_ball((8, 12, 20), 5)
    click = choose_click(truth, np.zeros_like(truth), ISOTROPIC, 0)
    assert click is not None
    assert click.position == (8, 12, 20)
    assert click.positive


def test_the_click_on_what_is_too_much_is_negative() -> None:
    truth, extra = a_ball((8, 12, 20), 2), a_ball((8, 20, 30), 4)
    click = choose_click(truth, truth | extra, ISOTROPIC, 0)
    assert click is not None
    assert click.position == (8, 20, 30)
    assert not click.positive


def test_the_click_takes_the_largest_part_of_the_slice_with_most_error() -> None:
    truth = np.zeros((4, 30, 30), bool)
    truth[1, 2:9, 2:9] = True
    truth[2, 2:8, 2:8] = truth[2, 20:26, 20:27] = True
    click = choose_click(truth, np.zeros_like(truth), ISOTROPIC, 0)
    assert click is not None
    assert click.index == 2
    assert click.position[1:] == (22, 22)


def test_parts_that_touch_at_corners_only_are_apart() -> None:
    truth = np.zeros((3, 12, 12), bool)
    truth[1, 0:3, 0:3] = truth[1, 3:7, 3:7] = True
    click = choose_click(truth, np.zeros_like(truth), ISOTROPIC, 0)
    assert click is not None
    assert min(click.position[1:]) >= 3


def test_the_border_of_the_image_is_a_border_of_the_error() -> None:
    truth = np.zeros((3, 9, 30), bool)
    truth[1] = True
    click = choose_click(truth, np.zeros_like(truth), ISOTROPIC, 0)
    assert click is not None
    assert click.position == (1, 4, 4)


def test_ties_break_along_columns_first() -> None:
    truth = np.zeros((3, 20, 20), bool)
    truth[1, 2:5, 12:15] = truth[1, 12:15, 2:5] = True
    click = choose_click(truth, np.zeros_like(truth), ISOTROPIC, 0)
    assert click is not None
    assert click.position == (1, 13, 3)


def test_the_middle_is_measured_in_millimetres() -> None:
    truth = np.zeros((3, 40, 40), bool)
    truth[1, 5:12, 5:12] = truth[1, 11:32, 5:8] = True
    thin_columns = choose_click(truth, np.zeros_like(truth), (1.0, 1.0, 10.0), 0)
    assert thin_columns is not None
    assert thin_columns.position[1] > 11


@pytest.mark.parametrize("axis", [1, 2])
def test_clicks_work_along_every_axis(axis: int) -> None:
    truth = a_ball((8, 12, 20), 5)
    click = choose_click(truth, np.zeros_like(truth), ISOTROPIC, axis)
    assert click is not None
    assert (click.axis, click.position) == (axis, (8, 12, 20))


def test_without_an_error_there_is_no_click() -> None:
    truth = a_ball((8, 12, 20), 5)
    assert choose_click(truth, truth.copy(), ISOTROPIC, 0) is None


def test_advice_by_quality_names_the_slice_that_is_wrong_and_is_expected_to_be_so_most() -> None:
    errors = np.zeros((6, 4, 4), bool)
    errors[[2, 4], 1, 1] = True
    chosen = choose_slice("quality", errors, 0, {1: 90.0, 2: 20.0, 4: 60.0}, np.random.default_rng(0))
    assert chosen == 4


def test_random_advice_only_names_slices_that_are_wrong() -> None:
    errors = np.zeros((6, 4, 4), bool)
    errors[[2, 4], 1, 1] = True
    rng = np.random.default_rng(0)
    assert {choose_slice("random", errors, 0, {}, rng) for _ in range(30)} == {2, 4}


def test_advice_by_truth_leaves_the_slice_to_the_largest_error() -> None:
    assert choose_slice("truth", np.ones((2, 2, 2), bool), 0, {}, np.random.default_rng(0)) is None


def test_small_and_poor_labels_are_not_scored() -> None:
    sizes = {1: 5000, 2: 299, 3: 300, 4: 900, 5: 10**6, 6: 900, 7: 1000, 8: 301, 9: 4000}
    assert choose_labels("any case", sizes) == [1, 4, 5, 6, 7, 9]
    assert choose_labels("ct_abdopelvis_ccth_a01", sizes) == [1, 4, 6, 7, 8, 9]


def test_an_unknown_case_is_answered_with_those_there_are(data_folder: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"no case nothing\. It has: .*sts003_ct"):
        find_cases(data_folder, ["nothing"])


def test_a_folder_without_manifest_is_no_data_folder(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"MANIFEST\.json"):
        find_cases(tmp_path)


def test_a_box_knows_its_slice() -> None:
    assert Box(1, (0, 7, 2), (4, 7, 9)).index == 7
