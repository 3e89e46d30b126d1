"""Strokes, lassos, 3D boxes and extreme points land where they were drawn: on any grid, plane and parent transform."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from lib.scenes import SHAPE, bent_transform, direction_matrix, linear_transform, make_volume

from MemSeg3DLib.base.errors import PromptError
from MemSeg3DLib.base.packing import extent_slices, unpack_bits
from MemSeg3DLib.prompts.drawing import voxels_touched
from MemSeg3DLib.prompts.prompts import (
    Box3DPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Ras,
    ScribblePrompt,
    refuse_unknown,
    slice_axis,
    to_wire,
)
from MemSeg3DLib.scene.nodes import ijk_to_world, world_to_ijk

KNOWN = {"prompts": ["point", "box", "mask", "box3d", "scribble", "lasso", "extreme_points", "voxels"]}


@pytest.fixture(params=["none", "linear", "bent"])
def a_volume(request: pytest.FixtureRequest, an_oblique_volume: Any) -> Any:
    """An oblique, anisotropic volume without a parent transform, under a turned one, and under a bent one."""
    if request.param == "linear":
        turned = direction_matrix((40, 15)) * 1.2
        rows = [(*row, move) for row, move in zip(turned.tolist(), (30.0, -12.0, 7.0), strict=True)]
        an_oblique_volume.SetAndObserveTransformNodeID(linear_transform(*rows).GetID())
    elif request.param == "bent":
        an_oblique_volume.SetAndObserveTransformNodeID(bent_transform().GetID())
    return an_oblique_volume


def world(volume: Any, *points: tuple[float, float, float]) -> list[Ras]:
    return [ijk_to_world(volume, point) for point in points]


def covered(wire: dict[str, Any], shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """The voxels (k, j, i) that a wire prompt of type voxels names."""
    result = np.zeros(shape, bool)
    extent = tuple(tuple(pair) for pair in wire["extent"])
    result[extent_slices(extent)] = unpack_bits(wire["bits"], [b - a for a, b in extent])  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_stroke_on_a_slice_travels_by_its_points(a_volume: Any, axis: int) -> None:
    line = [(4.0, 5.0, 6.0), (4.0, 9.0, 12.0), (4.0, 15.0, 13.0)]
    drawn = [tuple(np.roll(point, axis)) for point in line]
    wire = to_wire(ScribblePrompt("one", world(a_volume, *drawn), False, axis, 3.0), a_volume, 2)
    assert (wire["type"], wire["object"], wire["axis"], wire["positive"]) == ("scribble", 2, axis, False)
    assert np.allclose(wire["points"], drawn, atol=0.03)
    assert all(point[axis] == 4.0 for point in wire["points"])


def test_the_width_of_a_stroke_is_meant_in_the_world(an_oblique_volume: Any) -> None:
    an_oblique_volume.SetAndObserveTransformNodeID(linear_transform((2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 2, 0)).GetID())
    stroke = ScribblePrompt("one", world(an_oblique_volume, (4, 5, 6), (4, 9, 6)), width_mm=6.0)
    spacing = np.array(an_oblique_volume.GetSpacing())[::-1]
    assert np.allclose(to_wire(stroke, an_oblique_volume, 1)["radii"], 3.0 / (2 * spacing))
    two_voxels = ScribblePrompt("one", stroke.points)
    finest = min(spacing[1:])
    assert np.allclose(to_wire(two_voxels, an_oblique_volume, 1)["radii"], finest / spacing)


def test_a_lasso_on_a_slice_travels_by_its_points(a_volume: Any) -> None:
    line = [(7.2, 3.0, 4.0), (6.8, 3.0, 20.0), (7.0, 18.0, 12.0)]
    wire = to_wire(LassoPrompt("one", world(a_volume, *line)), a_volume, 1)
    assert wire["type"] == "lasso"
    assert np.allclose(np.array(wire["points"])[:, 1:], np.array(line)[:, 1:], atol=0.03)
    assert {point[0] for point in wire["points"]} == {7.0}


def tilted_lasso(volume: Any) -> np.ndarray:
    """Corners in the world (4, 3) of a rectangle that climbs from slice 3 to slice 10."""
    corners = [(3.0, 4.0, 6.0), (10.0, 4.0, 22.0), (10.0, 17.0, 22.0), (3.0, 17.0, 6.0)]
    return np.array(world(volume, *corners))


@pytest.mark.parametrize("which", ["none", "linear"])
def test_a_lasso_on_a_tilted_plane_is_the_voxels_that_the_plane_passes_through(
    an_oblique_volume: Any, which: str
) -> None:
    if which == "linear":
        an_oblique_volume.SetAndObserveTransformNodeID(
            linear_transform((0, -1, 0, 5), (1, 0, 0, 8), (0, 0, 1, -4)).GetID()
        )
    drawn = tilted_lasso(an_oblique_volume)
    wire = to_wire(LassoPrompt("one", [tuple(point) for point in drawn], axis=0), an_oblique_volume, 1)
    assert wire["type"] == "voxels"
    found = covered(wire)
    k, j, i = np.indices(SHAPE)
    height = 3.0 + (i - 6.0) * 7.0 / 16.0
    # The column of voxels at (j, i) meets the plane at this height: there its voxel is covered, and none other is
    # further from it than half of itself and the slope across its own width.
    inside = (j >= 4) & (j <= 17) & (i >= 6) & (i <= 22)
    assert found[inside & (np.abs(k - height) < 0.49)].all()
    off = np.abs(k - height) > 0.5 + 7.0 / 32.0 + 1e-6
    beyond = (j < 3.5) | (j > 17.5) | (i < 5.5) | (i > 22.5)
    assert not found[off | beyond].any()


def test_every_voxel_of_a_tilted_drawing_holds_a_drawn_point(a_volume: Any) -> None:
    """Through any transform: the nearest point of the drawn plane lies within the voxel, or at its very edge."""
    drawn = tilted_lasso(a_volume)
    flat = drawn - drawn.mean(axis=0)
    normal = np.linalg.svd(flat)[2][2]
    found = voxels_touched(drawn, a_volume, 0, None)
    assert found is not None
    extent, mask = found
    for voxel in np.argwhere(mask) + [low for low, _ in extent]:
        corners = [voxel + np.array(at) for at in np.ndindex(2, 2, 2)] - np.array(0.5)
        sides = [(np.array(ijk_to_world(a_volume, tuple(c))) - drawn.mean(axis=0)) @ normal for c in corners]
        assert min(sides) <= 1e-2 <= max(sides) + 2e-2


@pytest.mark.parametrize("width", [1.0, 8.0])
def test_a_tilted_stroke_covers_its_width_on_its_plane(an_oblique_volume: Any, width: float) -> None:
    line = np.array(world(an_oblique_volume, (3, 6, 8), (10, 6, 20), (10, 16, 20)))
    wire = to_wire(ScribblePrompt("one", [tuple(p) for p in line], axis=0, width_mm=width), an_oblique_volume, 1)
    assert wire["type"] == "voxels"
    found = covered(wire)
    half_diagonal = np.linalg.norm(an_oblique_volume.GetSpacing()) / 2
    for voxel in np.argwhere(found):
        point = np.array(ijk_to_world(an_oblique_volume, tuple(voxel)))
        assert distance(point, line) <= width / 2 + half_diagonal + 1e-6
    for place in np.linspace(0, 1, 60):
        for start, end in itertools.pairwise(line):
            at = ijk_voxel(an_oblique_volume, start + place * (end - start))
            assert found[at]


def test_a_straight_tilted_stroke_lies_on_the_plane_nearest_to_the_slices(an_oblique_volume: Any) -> None:
    stroke = ScribblePrompt("one", world(an_oblique_volume, (3, 10, 8), (10, 10, 20)), axis=0, width_mm=6.0)
    found = covered(to_wire(stroke, an_oblique_volume, 1))
    rows = np.flatnonzero(found.any(axis=(0, 2)))
    assert rows.min() <= 7 <= 13 <= rows.max(), "it is as wide across the slices' rows as it is drawn"
    # Along its middle it is no thicker than the climb of the line within a voxel.
    assert found[:, 10, :].sum(axis=0).max() <= 2


def distance(point: np.ndarray, line: np.ndarray) -> float:
    best = np.inf
    for start, end in itertools.pairwise(line):
        along = end - start
        place = np.clip((point - start) @ along / (along @ along), 0, 1)
        best = min(best, float(np.linalg.norm(point - start - place * along)))
    return best


def ijk_voxel(volume: Any, point: np.ndarray) -> tuple[int, int, int]:
    k, j, i = (math.floor(c + 0.5) for c in world_to_ijk(volume, tuple(point)))
    return k, j, i


def test_very_many_points_of_a_stroke_are_thinned_and_keep_its_shape(an_oblique_volume: Any) -> None:
    turns = np.linspace(0, 40 * np.pi, 20_000)
    drawn = [(4.0, 11 + 8 * np.sin(t), 15 + 12 * np.cos(t)) for t in turns]
    wire = to_wire(ScribblePrompt("one", world(an_oblique_volume, *drawn)), an_oblique_volume, 1)
    kept = np.array(wire["points"])
    assert 200 < len(kept) <= 4000
    assert np.allclose(kept[-1], drawn[-1], atol=1e-6)
    assert max(np.abs(kept - point).sum(axis=1).min() for point in drawn[::97]) < 1.0


def test_a_box_in_space_is_clipped_to_the_volume(a_volume: Any) -> None:
    corners = world(a_volume, (9.0, 2.0, -8.0), (3.0, 30.0, 12.0))
    wire = to_wire(Box3DPrompt("one", corners[0], corners[1], axis=1), a_volume, 1)
    assert (wire["type"], wire["axis"]) == ("box3d", 1)
    assert np.allclose(wire["lower"], [3, 2, 0], atol=0.05)
    assert np.allclose(wire["upper"], [9, SHAPE[1] - 1, 12], atol=0.05)


def test_extreme_points_lie_on_whole_slices(an_oblique_volume: Any) -> None:
    points = [(5.2, 4, 10), (4.8, 15, 10), (5, 10, 4), (5, 10, 20), (2.1, 10, 10)]
    wire = to_wire(ExtremePointsPrompt("one", world(an_oblique_volume, *points)), an_oblique_volume, 1)
    assert wire["type"] == "extreme_points"
    assert [point[0] for point in wire["points"]] == [5, 5, 5, 5, 2]


def test_an_empty_mask_travels_as_a_slice_without_a_bit(an_oblique_volume: Any) -> None:
    wire = to_wire(MaskPrompt("one", np.zeros((SHAPE[0], SHAPE[2]), bool), 7, 1), an_oblique_volume, 1)
    assert wire["extent"][1] == [7, 8]
    assert not unpack_bits(wire["bits"], [b - a for a, b in wire["extent"]]).any()


BAD = [
    (lambda w: ScribblePrompt("one", []), "empty"),
    (lambda w: ScribblePrompt("one", w((40, 5, 5), (40, 9, 9))), "outside"),
    (lambda w: ScribblePrompt("one", w((4, 60, 60), (4, 70, 60))), "outside"),
    (lambda w: ScribblePrompt("one", w((4, 5, 5)), width_mm=0.0), "wider brush"),
    (lambda w: ScribblePrompt("one", w((40, 5, 5), (60, 9, 9))), "outside"),
    (lambda w: LassoPrompt("one", w((4, 5, 5), (4, 9, 9))), "no area"),
    (lambda w: LassoPrompt("one", w((4, 5, 5), (4, 5, 6), (4, 5, 20))), "no area"),
    (lambda w: LassoPrompt("one", w((4, 60, 60), (4, 70, 60), (4, 70, 70))), "outside"),
    (lambda w: Box3DPrompt("one", *w((4, 5, 5), (4, 9, 9))), "no volume"),
    (lambda w: Box3DPrompt("one", *w((20, 5, 5), (30, 9, 9))), "outside"),
    (lambda w: ExtremePointsPrompt("one", w((4, 5, 5), (4, 9, 9))), "four"),
    (lambda w: ExtremePointsPrompt("one", w(*[(4, 5, 90)] * 4)), "outside"),
    (lambda w: PointPrompt("one", (math.nan, 0.0, 0.0)), "no place"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_drawings_that_mean_nothing_are_refused(an_oblique_volume: Any, make: Any, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        to_wire(make(lambda *points: world(an_oblique_volume, *points)), an_oblique_volume, 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_view_along_a_volume_axis_is_found(a_volume: Any, axis: int) -> None:
    middle = [(n - 1) / 2 for n in SHAPE]
    one, two = list(middle), list(middle)
    others = [other for other in range(3) if other != axis]
    one[others[0]] += 0.01
    two[others[1]] += 0.01
    origin, a, b = (np.array(ijk_to_world(a_volume, tuple(point))) for point in (middle, one, two))
    normal = np.cross(a - origin, b - origin)
    assert slice_axis(a_volume, tuple(normal)) == (axis, False)
    assert slice_axis(a_volume, tuple(-5 * normal)) == (axis, False)
    turned = normal / np.linalg.norm(normal) + 0.3 * (a - origin) / np.linalg.norm(a - origin)
    assert slice_axis(a_volume, tuple(turned)) == (axis, True)


def test_a_tilt_that_stays_on_the_slice_is_none(scene: Any) -> None:
    volume = make_volume(np.zeros((10, 100, 100), np.int16), (1.0, 1.0, 5.0))
    half_diagonal = math.hypot(50, 50)
    for offset, oblique in ((2.4, False), (2.6, True)):
        angle = math.asin(offset / half_diagonal)
        assert slice_axis(volume, (math.sin(angle), 0.0, math.cos(angle))) == (0, oblique)
    with pytest.raises(PromptError, match="direction"):
        slice_axis(volume, (0.0, 0.0, 0.0))


def test_slicers_own_views_agree(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), directions=direction_matrix((0, 0)))
    node = scene.AddNewNodeByClass("vtkMRMLSliceNode", "view")
    for name, axis in (("Axial", 0), ("Coronal", 1), ("Sagittal", 2)):
        node.SetOrientation(name)
        matrix = node.GetSliceToRAS()
        normal = tuple(matrix.GetElement(row, 2) for row in range(3))
        assert slice_axis(volume, normal) == (axis, False)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"prompts": ["point", "box", "mask"]}, "too old for this prompt"),
        ({**KNOWN}, "a slice is empty"),
        ({**KNOWN, "features": ["empty_mask"]}, "first and last slice"),
    ],
)
def test_an_older_worker_is_told_apart(an_oblique_volume: Any, info: dict[str, Any], words: str) -> None:
    prompts = [
        to_wire(Box3DPrompt("one", *world(an_oblique_volume, (3, 3, 3), (6, 9, 9))), an_oblique_volume, 1),
        to_wire(MaskPrompt("one", np.zeros(SHAPE[1:], bool), 2), an_oblique_volume, 1),
    ]
    limits = {"1": {"axis": 0, "first": 1, "last": 9}}
    with pytest.raises(PromptError, match=words):
        refuse_unknown(prompts, limits, info)
    refuse_unknown(prompts, limits, {**KNOWN, "features": ["limits", "empty_mask"]})
    refuse_unknown([{"type": "point"}], {}, {"prompts": ["point", "box", "mask"]})
