"""Drawings in real slice views become prompts at the right voxels: aligned, oblique, turned, transformed, bent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from lib.scenes import SHAPE, bent_transform, direction_matrix, make_volume, shift_by

from MemSeg3DLib.drawn_prompts import prompt_of
from MemSeg3DLib.errors import PromptError
from MemSeg3DLib.gestures import Drawing, Place
from MemSeg3DLib.prompts import LassoPrompt, to_wire
from MemSeg3DLib.readiness import obstacle, share_transform
from MemSeg3DLib.run_state import SliceLimits
from MemSeg3DLib.scene import ijk_to_world, world_to_ijk
from MemSeg3DLib.slice_preview import SlicePreview
from MemSeg3DLib.slice_views import distance_to_slice, normal, rectangle, to_pixels, to_world

Kji = tuple[float, float, float]


def view_of(volume: Any, kji: Kji, orientation: str | None = None) -> Any:
    """A slice view of 400 x 400 pixels through a voxel: along the volume's slices, or in an anatomical direction."""
    node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSliceNode")
    node.UnRegister(None)
    node.SetLayoutName(f"View {slicer.mrmlScene.GetNumberOfNodes()}")
    node = slicer.mrmlScene.AddNode(node)
    node.SetOrientation(orientation or "Axial")
    node.SetDimensions(400, 400, 1)
    node.SetFieldOfView(60, 60, 1)
    if orientation is None:
        node.RotateToVolumePlane(volume)
    node.JumpSliceByCentering(*ijk_to_world(volume, kji))
    return node


def place(view: Any, xy: tuple[float, float]) -> Place:
    return Place(xy, to_world(view, xy), normal(view))


def seen(view: Any, volume: Any, kji: Kji) -> tuple[float, float]:
    """Where a voxel is seen."""
    return to_pixels(view, [ijk_to_world(volume, kji)])[0]


def box(view: Any, volume: Any, one: tuple[float, float], other: tuple[float, float], tool: str, **more: Any) -> dict:
    """A drawn box as it travels."""
    drawing = Drawing(tool, (place(view, one), place(view, other)))
    prompt = prompt_of(drawing, rectangle(view, one, other), volume, "s", **more)
    return to_wire(prompt, volume, 1)


def test_pixels_and_world_agree_both_ways(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14), "Sagittal")
    points = [to_world(view, xy) for xy in ((0.0, 0.0), (123.25, 301.5), (400.0, 17.0))]
    assert np.allclose(to_pixels(view, points), [(0, 0), (123.25, 301.5), (400, 17)], atol=1e-6)
    assert max(distance_to_slice(view, point) for point in points) < 1e-9


def test_a_click_means_the_voxel_under_it_and_nothing_is_cut_off(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14))
    xy = seen(view, an_oblique_volume, (6.0, 10.4, 14.7))
    wire = to_wire(prompt_of(Drawing("point", (place(view, xy),)), [], an_oblique_volume, "s"), an_oblique_volume, 1)
    assert wire["axis"] == 0
    assert np.allclose(wire["position"], (6, 10.4, 14.7), atol=1e-6)


def test_a_negative_click_says_so(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14))
    click = Drawing("point", (place(view, (200, 200)),))
    assert (
        to_wire(prompt_of(click, [], an_oblique_volume, "s", positive=False), an_oblique_volume, 1)["positive"] is False
    )


def test_a_box_along_the_slices_is_the_box_that_was_drawn(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14))
    one, other = seen(view, an_oblique_volume, (6, 4.5, 8.25)), seen(view, an_oblique_volume, (6, 15, 20))
    wire = box(view, an_oblique_volume, one, other, "box")
    assert wire["type"] == "box"
    assert np.allclose(wire["lower"], (6, 4.5, 8.25), atol=1e-4)
    assert np.allclose(wire["upper"], (6, 15, 20), atol=1e-4)


@pytest.mark.parametrize(("orientation", "axis"), [("Axial", 0), ("Coronal", 1), ("Sagittal", 2)])
def test_a_box_of_an_oblique_view_is_laid_flat_about_its_middle(
    an_oblique_volume: Any, orientation: str, axis: int
) -> None:
    """20 degrees of tilt: the same middle, on one slice, and sides as long as they were drawn."""
    middle = (6.0, 10.0, 14.0)
    view = view_of(an_oblique_volume, middle, orientation)
    wire = box(view, an_oblique_volume, (180, 176), (220, 224), "box")
    assert wire["axis"] == axis
    lower, upper = np.array(wire["lower"]), np.array(wire["upper"])
    assert lower[axis] == upper[axis] == middle[axis]
    assert np.allclose((lower + upper) / 2, middle, atol=1e-3)
    spacing = np.array((3.0, 0.9, 0.8))
    drawn = sorted((40 * 60 / 400, 48 * 60 / 400))
    sides = sorted((upper - lower)[[other for other in range(3) if other != axis]] * spacing[np.arange(3) != axis])
    # A rectangle that is also turned in its plane is framed: never smaller than drawn, at most by the turn larger.
    turn = np.cos(np.radians(22)) + np.sin(np.radians(22))
    for side, length in zip(sides, drawn, strict=True):
        assert 0.97 * length <= side <= 1.3 * turn * length


def test_a_3d_box_is_as_deep_as_it_is_wide(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14))
    one, other = seen(view, an_oblique_volume, (6, 4, 8)), seen(view, an_oblique_volume, (6, 16, 20))
    wire = box(view, an_oblique_volume, one, other, "box3d")
    wide = np.sqrt(12 * 0.9 * 12 * 0.8)
    assert wire["type"] == "box3d"
    assert np.allclose((wire["lower"][0], wire["upper"][0]), (6 - wide / 6, 6 + wide / 6), atol=1e-3)
    assert np.allclose(wire["lower"][1:], (4, 8), atol=1e-4)


def test_first_and_last_slice_are_the_depth_of_a_3d_box(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14))
    wire = box(view, an_oblique_volume, (150, 150), (250, 250), "box3d", limits=SliceLimits(0, 2, 12))
    assert np.allclose((wire["lower"][0], wire["upper"][0]), (2, 12), atol=1e-6)


def test_limits_across_another_axis_do_not_bound_a_3d_box(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14))
    plain = box(view, an_oblique_volume, (150, 150), (250, 250), "box3d")
    limited = box(view, an_oblique_volume, (150, 150), (250, 250), "box3d", limits=SliceLimits(1, 2, 12))
    assert plain["lower"] == limited["lower"]


def test_a_3d_box_at_the_end_of_the_volume_stays_inside(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (13, 10, 14))
    wire = box(view, an_oblique_volume, (100, 100), (300, 300), "box3d")
    assert wire["upper"][0] == SHAPE[0] - 1
    assert wire["lower"][0] < 12


def test_an_oblique_3d_box_holds_all_that_was_framed(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14), "Axial")
    wire = box(view, an_oblique_volume, (165, 170), (235, 230), "box3d")
    for corner in rectangle(view, (165, 170), (235, 230)):
        kji = np.array(world_to_ijk(an_oblique_volume, corner))
        assert (kji >= np.array(wire["lower"]) - 1e-3).all()
        assert (kji <= np.array(wire["upper"]) + 1e-3).all()


@pytest.mark.parametrize("tool", ["box", "box3d", "extreme"])
def test_what_only_adds_has_no_negative(an_oblique_volume: Any, tool: str) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14))
    drawing = Drawing(tool, (place(view, (100, 100)), place(view, (200, 200))))
    with pytest.raises(PromptError, match="negative point, scribble or lasso"):
        prompt_of(drawing, rectangle(view, (100, 100), (200, 200)), an_oblique_volume, "s", positive=False)


@pytest.mark.parametrize("tool", ["scribble", "lasso"])
@pytest.mark.parametrize("orientation", [None, "Axial"])
def test_strokes_keep_the_points_that_were_drawn(an_oblique_volume: Any, tool: str, orientation: str | None) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14), orientation)
    places = tuple(place(view, xy) for xy in ((180, 180), (230, 185), (225, 230), (185, 220)))
    prompt = prompt_of(Drawing(tool, places), [], an_oblique_volume, "s", positive=False)
    assert [tuple(point) for point in prompt.points] == [one.world for one in places]
    assert isinstance(prompt, LassoPrompt) == (tool == "lasso")
    assert to_wire(prompt, an_oblique_volume, 1)["positive"] is False


def test_extreme_points_of_an_oblique_view_lie_on_one_slice(an_oblique_volume: Any) -> None:
    view = view_of(an_oblique_volume, (6, 10, 14), "Axial")
    places = tuple(place(view, xy) for xy in ((170, 200), (230, 200), (200, 170), (200, 230)))
    wire = to_wire(prompt_of(Drawing("extreme", places), [], an_oblique_volume, "s"), an_oblique_volume, 1)
    assert {point[0] for point in wire["points"]} == {6.0}


def test_the_ends_of_extreme_points_keep_their_slices(an_oblique_volume: Any) -> None:
    here, above = view_of(an_oblique_volume, (6, 10, 14)), view_of(an_oblique_volume, (9, 10, 14))
    places = (place(above, (200, 200)), *(place(here, xy) for xy in ((170, 200), (230, 200), (200, 170), (200, 230))))
    wire = to_wire(prompt_of(Drawing("extreme", places), [], an_oblique_volume, "s"), an_oblique_volume, 1)
    assert [round(point[0], 3) for point in wire["points"]] == [9, 6, 6, 6, 6]


def test_drawings_go_through_the_volumes_transform(an_oblique_volume: Any) -> None:
    an_oblique_volume.SetAndObserveTransformNodeID(shift_by(40, -20, 15).GetID())
    view = view_of(an_oblique_volume, (6, 10, 14))
    one, other = seen(view, an_oblique_volume, (6, 5, 9)), seen(view, an_oblique_volume, (6, 12, 21))
    wire = box(view, an_oblique_volume, one, other, "box")
    assert np.allclose((wire["lower"], wire["upper"]), ((6, 5, 9), (6, 12, 21)), atol=1e-4)


def test_a_click_through_a_bent_transform_means_the_voxel_under_it(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, dtype=np.int16), directions=direction_matrix((0, 0)))
    volume.SetAndObserveTransformNodeID(bent_transform().GetID())
    view = view_of(volume, (6, 10, 14), "Axial")
    click = place(view, (200, 200))
    wire = to_wire(prompt_of(Drawing("point", (click,)), [], volume, "s"), volume, 1)
    assert np.allclose(wire["position"][1:], world_to_ijk(volume, click.world)[1:], atol=1e-6)


def test_what_is_missing_is_said(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> None:
    assert obstacle(an_oblique_volume, a_segmentation, segment_ids[0]) is None
    assert "source volume" in obstacle(None, a_segmentation, segment_ids[0]).text
    assert "segmentation" in obstacle(an_oblique_volume, None, "").text
    assert "segment" in obstacle(an_oblique_volume, a_segmentation, "gone").text


def test_another_bent_transform_is_refused_with_a_remedy_that_works(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    an_oblique_volume.SetAndObserveTransformNodeID(bent_transform().GetID())
    trouble = obstacle(an_oblique_volume, a_segmentation, segment_ids[0])
    assert trouble.other_transform
    share_transform(a_segmentation, an_oblique_volume)
    assert a_segmentation.GetParentTransformNode() is an_oblique_volume.GetParentTransformNode()
    assert obstacle(an_oblique_volume, a_segmentation, segment_ids[0]) is None


def test_another_linear_transform_is_no_obstacle(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    an_oblique_volume.SetAndObserveTransformNodeID(shift_by(10, 0, 0).GetID())
    assert obstacle(an_oblique_volume, a_segmentation, segment_ids[0]) is None


def test_a_preview_is_seen_on_any_image(scene: Any) -> None:
    preview = SlicePreview()
    assert not any(actor.GetVisibility() for actor in preview.actors)
    preview.show_line([(0, 0), (10, 0), (10, 10)], closed=True)
    halo, core = preview.actors
    assert preview.points == 4
    assert halo.GetProperty().GetLineWidth() > core.GetProperty().GetLineWidth()
    for positive in (True, False):
        preview.set_colour((0.9, 0.8, 0.1), positive)
        lights = [sum(actor.GetProperty().GetColor()) for actor in preview.actors]
        assert abs(lights[0] - lights[1]) > 1.0
    preview.clear()
    assert not any(actor.GetVisibility() for actor in preview.actors)
