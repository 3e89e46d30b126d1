"""The effect in Slicer's own Segment Editor: mouse events in slice views become prompts, or a sentence says why not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
from desktop.session import Session
from lib.scenes import bent_transform

from MemSeg3DLib.sample_phantom import add_sample, make_sample
from MemSeg3DLib.scene import add_segment, add_segmentation, ijk_to_world, volume_array, world_to_ijk

MIDDLE = (20.0, 56.0, 72.0)


@pytest.fixture
def an_editor(slicer_session: Session) -> Iterator[Any]:
    """Slicer's Segment Editor on the phantom, with the effect active and prompts collected, not run."""
    from MemSeg3DPanel.application import application

    session = slicer_session
    volume = add_sample(session.scene, make_sample())
    segmentation = add_segmentation(session.scene, volume)
    segmentation.CreateDefaultDisplayNodes()
    ids = [add_segment(segmentation, name) for name in ("one", "two")]
    session.show_volume(volume)
    editor = session.show_module("SegmentEditor").editor
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
    editor.setCurrentSegmentID(ids[0])
    editor.setActiveEffectByName("MemSeg3D")
    bench = application().workbench
    bench.auto_run = False
    said: list[str] = []
    forget = bench.message.connect(lambda message: said.append(message.text))
    yield SimpleNamespace(
        session=session, editor=editor, effect=editor.activeEffect(), bench=bench, volume=volume,
        segmentation=segmentation, ids=ids, said=said,
    )  # fmt: skip
    forget()


def choose(an_editor: Any, tool: str, sign: str = "positive") -> None:
    """The user chooses a tool and a sign."""
    an_editor.effect.setParameter("Tool", tool)
    an_editor.effect.setParameter("Sign", sign)


def world(an_editor: Any, *kji: float) -> tuple[float, float, float]:
    return ijk_to_world(an_editor.volume, (kji[0], kji[1], kji[2]))


def click(an_editor: Any, view: str, ras: tuple[float, float, float], **held: bool) -> None:
    an_editor.session.click(view, ras=ras, **held)


def lines(an_editor: Any) -> int:
    """Flat actors in all slice views: the previews that are shown."""
    names = ("Red", "Yellow", "Green")
    renderers = [an_editor.effect.renderer(an_editor.session.view(name)) for name in names]
    return sum(renderer.GetActors2D().GetNumberOfItems() for renderer in renderers)


def kinds(an_editor: Any) -> list[tuple[str, bool]]:
    return [(entry.kind, entry.positive) for entry in an_editor.bench.prompts()]


def test_the_effect_is_offered_and_active(an_editor: Any) -> None:
    assert "MemSeg3D" in an_editor.editor.availableEffectNames()
    assert an_editor.effect.name == "MemSeg3D"
    assert an_editor.bench.segment_id == an_editor.ids[0]


def test_a_click_is_a_point_where_it_was_made(an_editor: Any) -> None:
    choose(an_editor, "point")
    ras = world(an_editor, *MIDDLE)
    click(an_editor, "Red", ras)
    (entry,) = an_editor.bench.prompts()
    assert (entry.kind, entry.positive, entry.axis, entry.index) == ("point", True, 0, 20)
    node = slicer.mrmlScene.GetNodeByID(entry.node_id)
    placed = np.array(node.GetNthControlPointPositionWorld(0))
    # A pixel of the view is 0.7 mm or so: no more than half of one may be lost.
    assert np.linalg.norm(placed - ras) < 1.0


def test_alt_gives_the_other_sign(an_editor: Any) -> None:
    choose(an_editor, "point")
    click(an_editor, "Red", world(an_editor, *MIDDLE))
    click(an_editor, "Red", world(an_editor, 21, 60, 60), alt=True)
    choose(an_editor, "point", "negative")
    click(an_editor, "Red", world(an_editor, 22, 40, 60))
    click(an_editor, "Red", world(an_editor, 23, 40, 80), alt=True)
    signs = {entry.index: entry.positive for entry in an_editor.bench.prompts()}
    assert signs == {20: True, 21: False, 22: False, 23: True}


@pytest.mark.parametrize("held", [{"shift": True}, {"ctrl": True}])
def test_shift_and_ctrl_stay_the_views_own(an_editor: Any, held: dict[str, bool]) -> None:
    choose(an_editor, "point")
    click(an_editor, "Red", world(an_editor, *MIDDLE), **held)
    assert kinds(an_editor) == []
    assert an_editor.said == []


@pytest.mark.parametrize(("view", "axis"), [("Red", 0), ("Green", 1), ("Yellow", 2)])
def test_a_dragged_box_is_a_box_on_its_slice(an_editor: Any, view: str, axis: int) -> None:
    choose(an_editor, "box")
    lower, upper = list(MIDDLE), list(MIDDLE)
    for other in {0, 1, 2} - {axis}:
        lower[other], upper[other] = MIDDLE[other] - 8, MIDDLE[other] + 8
    an_editor.session.drag(view, [world(an_editor, *lower), world(an_editor, *MIDDLE), world(an_editor, *upper)])
    (entry,) = an_editor.bench.prompts()
    assert (entry.kind, entry.axis, entry.index) == ("box", axis, int(MIDDLE[axis]))


def test_a_3d_box_a_scribble_and_a_lasso_are_kept(an_editor: Any) -> None:
    corner, opposite = world(an_editor, 20, 40, 50), world(an_editor, 20, 70, 90)
    choose(an_editor, "box3d")
    an_editor.session.drag("Red", [corner, opposite])
    circle = [world(an_editor, 20, 56 + 12 * math.cos(t / 3), 72 + 12 * math.sin(t / 3)) for t in range(19)]
    choose(an_editor, "scribble", "negative")
    an_editor.session.drag("Red", circle[:7])
    choose(an_editor, "lasso")
    an_editor.session.drag("Red", circle)
    assert sorted(kinds(an_editor)) == [("box3d", True), ("lasso", True), ("scribble", False)]
    assert an_editor.said == []


def test_four_clicks_are_extreme_points_and_backspace_takes_one_back(an_editor: Any) -> None:
    choose(an_editor, "extreme")
    clicks = [world(an_editor, 20, *at) for at in ((30, 72), (80, 72), (56, 40), (56, 100))]
    for ras in clicks[:3]:
        click(an_editor, "Red", ras)
    assert lines(an_editor) == 2
    an_editor.session.event("Red", "KeyPressEvent", xy=(5, 5), key="BackSpace")
    click(an_editor, "Red", clicks[2])
    assert kinds(an_editor) == []
    click(an_editor, "Red", clicks[3])
    assert [kind for kind, _ in kinds(an_editor)] == ["extreme_points"]
    assert lines(an_editor) == 0


def test_a_line_follows_the_mouse_and_is_gone_afterwards(an_editor: Any) -> None:
    choose(an_editor, "box")
    an_editor.session.press("Red", ras=world(an_editor, 20, 40, 50))
    an_editor.session.move("Red", ras=world(an_editor, 20, 60, 80))
    assert lines(an_editor) == 2
    an_editor.session.release("Red", ras=world(an_editor, 20, 60, 80))
    assert lines(an_editor) == 0


def test_leaving_in_mid_drag_leaves_no_line_and_no_prompt(an_editor: Any) -> None:
    choose(an_editor, "lasso")
    an_editor.session.press("Red", ras=world(an_editor, 20, 40, 50))
    an_editor.session.move("Red", ras=world(an_editor, 20, 60, 80))
    an_editor.editor.setActiveEffectByName("")
    an_editor.session.release("Red", ras=world(an_editor, 20, 60, 80))
    assert (lines(an_editor), kinds(an_editor)) == (0, [])


def test_scrolling_in_mid_drag_drops_the_drawing_and_says_so(an_editor: Any) -> None:
    choose(an_editor, "scribble")
    an_editor.session.press("Red", ras=world(an_editor, 20, 40, 50))
    an_editor.session.move("Red", ras=world(an_editor, 20, 42, 60))
    an_editor.session.go_to("Red", world(an_editor, 24, 40, 50))
    assert "slice changed" in an_editor.said[-1]
    an_editor.session.release("Red", ras=world(an_editor, 24, 40, 50))
    assert (lines(an_editor), kinds(an_editor)) == (0, [])


def test_zooming_keeps_extreme_points_on_their_places(an_editor: Any) -> None:
    choose(an_editor, "extreme")
    click(an_editor, "Red", world(an_editor, 20, 30, 72))
    node = an_editor.session.view("Red").mrmlSliceNode()
    node.SetFieldOfView(*(0.5 * size for size in node.GetFieldOfView()[:2]), node.GetFieldOfView()[2])
    for at in ((80, 72), (56, 40), (56, 100)):
        click(an_editor, "Red", world(an_editor, 20, *at))
    assert [kind for kind, _ in kinds(an_editor)] == ["extreme_points"]


def test_a_double_click_is_two_clicks(an_editor: Any) -> None:
    """Its second press comes as an event of its own; where both come, they are one click."""
    choose(an_editor, "point")
    xy = an_editor.session.xy("Red", world(an_editor, 20, 56, 72))
    an_editor.session.go_to("Red", world(an_editor, 20, 56, 72))
    an_editor.session.press("Red", xy=xy)
    an_editor.session.release("Red", xy=xy)
    an_editor.session.event("Red", "LeftButtonPressEvent", xy=(xy[0] + 30, xy[1]))
    an_editor.session.event("Red", "LeftButtonDoubleClickEvent", xy=(xy[0] + 30, xy[1]))
    an_editor.session.release("Red", xy=(xy[0] + 30, xy[1]))
    an_editor.session.event("Red", "LeftButtonDoubleClickEvent", xy=(xy[0], xy[1] + 30))
    an_editor.session.release("Red", xy=(xy[0], xy[1] + 30))
    assert len(kinds(an_editor)) == 3


def test_many_quick_clicks_are_all_kept(an_editor: Any) -> None:
    choose(an_editor, "point")
    for n in range(20):
        click(an_editor, "Red", world(an_editor, 20, 40 + n, 50 + 2 * n))
    assert len(kinds(an_editor)) == 20


def test_a_click_in_an_oblique_view_means_the_voxel_under_it(an_editor: Any) -> None:
    choose(an_editor, "point")
    node = an_editor.session.view("Red").mrmlSliceNode()
    matrix = node.GetSliceToRAS()
    tilt = np.radians(25)
    for row, values in enumerate(((1, 0, 0), (0, np.cos(tilt), -np.sin(tilt)), (0, np.sin(tilt), np.cos(tilt)))):
        for column, value in enumerate(values):
            matrix.SetElement(row, column, float(value))
    node.UpdateMatrices()
    ras = world(an_editor, 22, 50, 80)
    click(an_editor, "Red", ras)
    (entry,) = an_editor.bench.prompts()
    placed = np.array(slicer.mrmlScene.GetNodeByID(entry.node_id).GetNthControlPointPositionWorld(0))
    assert np.linalg.norm(placed - ras) < 1.0
    assert np.allclose(world_to_ijk(an_editor.volume, tuple(placed)), (22, 50, 80), atol=0.5)


# Refused, with a sentence.


def test_a_click_outside_the_volume_is_refused(an_editor: Any) -> None:
    choose(an_editor, "point")
    k, _, _ = volume_array(an_editor.volume).shape
    click(an_editor, "Red", world(an_editor, 20, -20, -20))
    click(an_editor, "Red", world(an_editor, k + 3, 56, 72))
    assert kinds(an_editor) == []
    assert len(an_editor.said) == 2
    assert all("outside the source volume" in text for text in an_editor.said)


def test_a_box_outside_the_volume_is_refused_and_nothing_is_left(an_editor: Any) -> None:
    choose(an_editor, "box")
    an_editor.session.drag("Red", [world(an_editor, 20, -40, -40), world(an_editor, 20, -10, -10)])
    assert (lines(an_editor), kinds(an_editor)) == (0, [])
    assert "outside the source volume" in an_editor.said[-1]


def test_a_click_in_the_3d_view_is_refused_and_turning_it_is_not(an_editor: Any) -> None:
    choose(an_editor, "point")
    an_editor.session.press("3D", xy=(100, 100))
    an_editor.session.release("3D", xy=(100, 100))
    assert "slice view" in an_editor.said[-1]
    an_editor.session.press("3D", xy=(100, 100))
    an_editor.session.move("3D", xy=(180, 120))
    an_editor.session.release("3D", xy=(180, 120))
    assert len(an_editor.said) == 1
    assert kinds(an_editor) == []


def test_alt_with_a_box_is_refused(an_editor: Any) -> None:
    choose(an_editor, "box")
    an_editor.session.drag("Red", [world(an_editor, 20, 40, 50), world(an_editor, 20, 60, 80)], alt=True)
    assert kinds(an_editor) == []
    assert "negative point, scribble or lasso" in an_editor.said[-1]


def test_a_negative_sign_of_another_tool_does_not_hinder_a_box(an_editor: Any) -> None:
    choose(an_editor, "box", "negative")
    an_editor.session.drag("Red", [world(an_editor, 20, 40, 50), world(an_editor, 20, 60, 80)])
    assert kinds(an_editor) == [("box", True)]


def test_a_hidden_segment_is_shown_or_the_click_is_refused(an_editor: Any) -> None:
    choose(an_editor, "point")
    display = an_editor.segmentation.GetDisplayNode()
    display.SetSegmentVisibility(an_editor.ids[0], False)
    an_editor.session.dialogs.answer = False
    click(an_editor, "Red", world(an_editor, *MIDDLE))
    assert kinds(an_editor) == []
    assert "hidden" in an_editor.said[-1]
    an_editor.session.dialogs.answer = True
    click(an_editor, "Red", world(an_editor, *MIDDLE))
    assert kinds(an_editor) == [], "the dialog has taken the mouse"
    click(an_editor, "Red", world(an_editor, *MIDDLE))
    assert len(kinds(an_editor)) == 1


def test_a_bent_transform_is_refused_with_a_remedy(an_editor: Any) -> None:
    choose(an_editor, "point")
    an_editor.volume.SetAndObserveTransformNodeID(bent_transform().GetID())
    click(an_editor, "Red", world(an_editor, *MIDDLE))
    assert kinds(an_editor) == []
    assert "put the segmentation under the volume's transform" in an_editor.said[-1]
    options = an_editor.effect.self()._options
    assert not options._remedy.isHidden()
    options._remedy.click()
    assert options._remedy.isHidden()
    click(an_editor, "Red", world(an_editor, *MIDDLE))
    assert len(kinds(an_editor)) == 1


def test_a_control_point_under_the_mouse_is_left_to_be_dragged(an_editor: Any) -> None:
    choose(an_editor, "point")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "other")
    node.CreateDefaultDisplayNodes()
    node.AddControlPoint(*world(an_editor, *MIDDLE))
    display = node.GetDisplayNode()
    display.SetActiveControlPoint(0)
    click(an_editor, "Red", world(an_editor, *MIDDLE))
    assert kinds(an_editor) == []
    display.SetActiveComponent(display.ComponentNone, -1)
    click(an_editor, "Red", world(an_editor, *MIDDLE))
    assert len(kinds(an_editor)) == 1
