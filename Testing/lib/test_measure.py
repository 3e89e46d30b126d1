"""The measurement row agrees with brute force, on anisotropic, oblique, sheared and left-handed volumes."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from lib.scenes import SHAPE, a_ball, bent_transform, direction_matrix, linear_transform, make_volume, write_ball

from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world, load_volume, volume_array
from MemSeg3DLib.segments.diameters import longest_diameters
from MemSeg3DLib.segments.measurements import HEADER, SegmentMeasurement, as_table, measure, prepare_measurement
from MemSeg3DLib.segments.writer import SegmentWriter

PIXEL = (np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]))


def fill(volume: Any, segmentation: Any, segment: str, mask: np.ndarray) -> None:
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, mask)
    writer.close()


def outline_in_mm(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Middles of all edges between voxels inside and outside, in 3D mm: every one of them, for brute force."""
    padded = np.pad(plane, 1)
    points = []
    for j, i in np.argwhere(plane):
        for dj, di in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            if not padded[j + 1 + dj, i + 1 + di]:
                points.append((j + 0.5 * dj) * rows + (i + 0.5 * di) * columns)
    return np.array(points)


def brute_force(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[int, float, float]:
    """Slice, longest diameter over all pairs of points, and the longest chord across it over many parallel lines."""
    best = (0, -1.0, 0.0)
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        points = outline_in_mm(mask[index], rows, columns)
        apart = np.linalg.norm(points[:, None] - points[None], axis=2)
        if apart.max() > best[1] + 1e-9:
            a, b = np.unravel_index(int(apart.argmax()), apart.shape)
            along = (points[b] - points[a]) / apart.max()
            normal = np.cross(rows, columns)
            across = np.cross(normal / np.linalg.norm(normal), along)
            best = (int(index), float(apart.max()), longest_chord(points @ along, points @ across))
    return best


def longest_chord(t: np.ndarray, u: np.ndarray) -> float:
    """Of the convex hull of points (t, u), at right angles to t: highest minus lowest line between any two points."""
    left, right = np.meshgrid(np.arange(len(t)), np.arange(len(t)), indexing="ij")
    pairs = t[left] < t[right]
    ta, tb, ua, ub = t[left][pairs], t[right][pairs], u[left][pairs], u[right][pairs]
    longest = 0.0
    for at in np.unique(np.round(t, 9)):
        crossed = (ta <= at + 1e-12) & (at <= tb + 1e-12)
        heights = ua[crossed] + (at - ta[crossed]) / (tb[crossed] - ta[crossed]) * (ub[crossed] - ua[crossed])
        heights = np.concatenate([heights, u[np.abs(t - at) < 1e-9]])
        longest = max(longest, float(np.ptp(heights)))
    return longest


def test_a_row_of_ten_voxels_is_ten_millimetres_long() -> None:
    mask = np.zeros((3, 9, 14), bool)
    mask[1, 4, 2:12] = True
    found = longest_diameters(mask, *PIXEL)
    assert found is not None
    assert (found.index, found.longest, found.perpendicular) == (1, 10.0, 1.0)


def test_one_voxel_has_the_size_of_a_voxel() -> None:
    mask = np.zeros((1, 3, 3), bool)
    mask[0, 1, 1] = True
    found = longest_diameters(mask, 2.0 * PIXEL[0], PIXEL[1])
    assert found is not None
    assert (found.longest, found.perpendicular) == (2.0, 1.0)


def test_nothing_has_no_diameter() -> None:
    assert longest_diameters(np.zeros((2, 3, 4), bool), *PIXEL) is None


@pytest.mark.parametrize("seed", range(12))
def test_diameters_are_those_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 13, 17)
    blobs = [a_ball(shape, tuple(rng.uniform(0, n) for n in shape), rng.uniform(1, 4)) for _ in range(3)]  # type: ignore[arg-type]
    mask = np.logical_or.reduce(blobs) & (rng.random(shape) > 0.2)
    turn = direction_matrix((float(rng.uniform(0, 90)), float(rng.uniform(0, 90))))
    shear = np.array([[1.0, 0.3 * (seed % 2), 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rows, columns = turn @ shear @ [0, rng.uniform(0.5, 2), 0], turn @ shear @ [rng.uniform(0.5, 2), 0, 0]
    found = longest_diameters(mask, rows, columns)
    assert found is not None
    index, longest, perpendicular = brute_force(mask, rows, columns)
    assert found.longest == pytest.approx(longest, abs=1e-9)
    assert found.index == index
    ends = [np.subtract(*pair) @ np.array([rows, columns]) for pair in (found.longest_ends, found.perpendicular_ends)]
    assert np.linalg.norm(ends[0]) == pytest.approx(found.longest)
    assert np.linalg.norm(ends[1]) == pytest.approx(found.perpendicular)
    assert abs(ends[0] @ ends[1]) < 1e-6 * found.longest * max(found.perpendicular, 1)
    # Where several diameters are equally long, the one that brute force met first may lie otherwise.
    points = outline_in_mm(mask[index], rows, columns)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    if int((apart > longest - 1e-9).sum()) == 2:
        assert found.perpendicular == pytest.approx(perpendicular, abs=1e-6)


def test_the_row_agrees_with_plain_counting(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    mask = a_ball(SHAPE, (6, 10, 12), 5)
    fill(an_oblique_volume, a_segmentation, segment_ids[0], mask)
    values = volume_array(an_oblique_volume)[mask]
    result = measure(a_segmentation, segment_ids[0], an_oblique_volume)
    assert result.voxels == mask.sum()
    assert result.millilitres == pytest.approx(mask.sum() * 0.8 * 0.9 * 3.0 / 1000)
    assert (result.mean, result.deviation) == pytest.approx((values.mean(), values.std()))
    assert (result.minimum, result.maximum) == (values.min(), values.max())
    assert (result.index, result.axis) == (6, 0)
    assert result.longest == pytest.approx(brute_force(mask, np.array([0, 0.9, 0]), np.array([0.8, 0, 0]))[1])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("flip", [(1, 1, 1), (1, -1, 1)])
def test_the_lines_lie_on_the_segment_in_the_world(scene: Any, axis: int, flip: tuple[int, int, int]) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), directions=direction_matrix((20, -10), flip))
    volume.SetAndObserveTransformNodeID(linear_transform((0, -1, 0, 7), (1, 0, 0, -3), (0, 0, 1, 11)).GetID())
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "one")
    mask = np.zeros(SHAPE, bool)
    mask[4:9, 5:17, 6:26] = True
    fill(volume, segmentation, segment, mask)
    result = measure(segmentation, segment, volume, axis)
    assert result.longest_line is not None
    assert result.perpendicular_line is not None
    ends = [np.array(point) for point in result.longest_line]
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(result.longest)
    along, across = (np.subtract(*line) for line in (result.longest_line, result.perpendicular_line))
    assert abs(along @ across) < 1e-6 * float(np.linalg.norm(along) * np.linalg.norm(across))
    # A box's corners and sides in the world, from the volume's own transforms.
    low, high = [4, 5, 6], [8, 16, 25]
    inside = [(a, b) for n, (a, b) in enumerate(zip(low, high, strict=True)) if n != axis]
    middles = []
    for row, column in itertools.product(*[(a - 0.5, *range(a, b + 1), b + 0.5) for a, b in inside]):
        is_row_end = row in (inside[0][0] - 0.5, inside[0][1] + 0.5)
        if is_row_end != (column in (inside[1][0] - 0.5, inside[1][1] + 0.5)):
            kji = [row, column]
            kji.insert(axis, float(low[axis]))
            middles.append(ijk_to_world(volume, tuple(kji)))  # type: ignore[arg-type]
    apart = np.linalg.norm(np.array(middles)[:, None] - np.array(middles)[None], axis=2)
    assert result.longest == pytest.approx(apart.max())


def test_a_transform_that_scales_counts(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[0], a_ball(SHAPE, (6, 10, 12), 5))
    before = measure(a_segmentation, segment_ids[0], an_oblique_volume)
    doubled = linear_transform((2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 2, 0)).GetID()
    an_oblique_volume.SetAndObserveTransformNodeID(doubled)
    a_segmentation.SetAndObserveTransformNodeID(doubled)
    after = measure(a_segmentation, segment_ids[0], an_oblique_volume)
    assert after.millilitres == pytest.approx(8 * before.millilitres)
    assert (after.longest, after.perpendicular) == pytest.approx((2 * before.longest, 2 * before.perpendicular))  # type: ignore[operator]


def test_under_a_bent_transform_the_untransformed_volume_counts(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    fill(an_oblique_volume, a_segmentation, segment_ids[0], a_ball(SHAPE, (6, 10, 12), 5))
    before = measure(a_segmentation, segment_ids[0], an_oblique_volume)
    bent = bent_transform().GetID()
    an_oblique_volume.SetAndObserveTransformNodeID(bent)
    a_segmentation.SetAndObserveTransformNodeID(bent)
    after = measure(a_segmentation, segment_ids[0], an_oblique_volume)
    assert (after.millilitres, after.longest) == pytest.approx((before.millilitres, before.longest))
    assert after.longest_line is None


@pytest.mark.parametrize(
    ("shape", "step", "scale"), [((20, 40, 40), 1.0, 1.0), ((10, 10, 10), 4.0, 1.0), ((10, 10, 10), 4.0, 2.0)]
)
def test_millilitres_are_the_segments_own_on_a_shorter_or_coarser_volume(
    scene: Any, shape: tuple[int, int, int], step: float, scale: float
) -> None:
    drawn_on = make_volume(np.zeros((40, 40, 40), np.int16), (1.0, 1.0, 1.0))
    segmentation = add_segmentation(scene, drawn_on)
    segment = add_segment(segmentation, "lesion")
    ball = a_ball((40, 40, 40), (20, 20, 20), 10)
    fill(drawn_on, segmentation, segment, ball)
    other = make_volume(np.full(shape, 7, np.int16), (step, step, step))
    parent = linear_transform((scale, 0, 0, 3), (0, scale, 0, 0), (0, 0, scale, 0))
    for node in (segmentation, other):
        node.SetAndObserveTransformNodeID(parent.GetID())
    result = measure(segmentation, segment, other)
    assert result.millilitres == pytest.approx(ball.sum() * scale**3 / 1000)
    assert 0 < result.voxels < ball.sum()
    assert result.mean == 7
    far = make_volume(np.zeros((5, 5, 5), np.int16), (0.5, 0.5, 0.5))
    far.SetAndObserveTransformNodeID(parent.GetID())
    missed = measure(segmentation, segment, far)
    assert (missed.millilitres, missed.voxels, missed.mean) == (result.millilitres, 0, None)


def test_an_empty_segment_measures_nothing(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> None:
    result = measure(a_segmentation, segment_ids[1], an_oblique_volume)
    assert (result.voxels, result.millilitres, result.longest, result.mean) == (0, 0.0, None, None)
    assert result.as_text() == "two\t0.00\t\t\t\t\t\tintensity"


def coded(value: str, meaning: str) -> Any:
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(value, "UCUM", meaning)
    return entry


@pytest.mark.parametrize(
    ("value", "meaning", "unit"),
    [("[hnsf'U]", "Hounsfield unit", "HU"), ("{SUVbw}g/ml", "SUV", "SUVbw"), ("mm2/s", "mm2/s", "mm2/s")],
)
def test_the_unit_is_what_the_volume_says(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], value: str, meaning: str, unit: str
) -> None:
    assert measure(a_segmentation, segment_ids[0], an_oblique_volume).unit == "intensity"
    an_oblique_volume.SetVoxelValueUnits(coded(value, meaning))
    assert measure(a_segmentation, segment_ids[0], an_oblique_volume).unit == unit


def test_rows_can_be_pasted_into_a_spreadsheet() -> None:
    row = SegmentMeasurement("a\tname\nof two lines", 10, 1.234, "HU", 0, 7, 12.34, 5.67, None, None, -3.21, 4.0, -9, 9)
    assert row.as_text() == "a name of two lines\t1.23\t12.3\t5.7\t7\t-3.2\t4.0\tHU"
    lines = as_table([row, row]).splitlines()
    assert {len(line.split("\t")) for line in lines} == {len(HEADER)}


def test_a_real_tumour_is_measured_as_by_brute_force(scene: Any, data_folder: Path) -> None:
    folder = data_folder / "mr_glioma_remind022"
    volume, label = load_volume(scene, folder / "image.nii.gz"), load_volume(scene, folder / "label.nii.gz")
    mask = volume_array(label) > 0
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "tumour")
    fill(volume, segmentation, segment, mask)
    result = measure(segmentation, segment, volume)
    steps = [np.subtract(ijk_to_world(volume, kji), ijk_to_world(volume, (0, 0, 0))) for kji in ((0, 1, 0), (0, 0, 1))]
    index, longest, perpendicular = brute_force(mask, *steps)
    assert (result.index, result.longest) == (index, pytest.approx(longest))
    assert result.perpendicular == pytest.approx(perpendicular, abs=1e-3)


def test_a_large_liver_is_measured_while_one_reads(scene: Any) -> None:
    volume = make_volume(np.zeros((160, 512, 512), np.int16), spacing=(0.8, 0.8, 1.5))
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "liver")
    k, j, i = np.ogrid[:160, :512, :512]
    mask = ((k - 80) / 70) ** 2 + ((j - 250) / 110) ** 2 + ((i - 250) / 150) ** 2 < 1
    fill(volume, segmentation, segment, mask)
    job = prepare_measurement(segmentation, segment, volume)
    # Of the processor alone: what else the machine does must not count.
    began = time.process_time()
    result = job.run()
    assert time.process_time() - began < 2.0, "it runs on a thread of its own, but nobody should wait for it"
    assert result.voxels == mask.sum()
    assert result.longest == pytest.approx(300 * 0.8, abs=1.0)
    assert result.perpendicular == pytest.approx(220 * 0.8, abs=1.0)
