"""The effect in Slicer's own Segment Editor: mouse events in slice views become prompts, or a sentence says why not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import slicer
from desktop.editor_user import EditorUser
from desktop.session import Session
from lib.scenes import bent_transform

from MemSeg3DLib.scene.nodes import volume_array, world_to_ijk
from MemSeg3DLib.scene.sample_phantom import add_sample, make_sample

MIDDLE = (20.0, 56.0, 72.0)


@pytest.fixture
def an_editor(slicer_session: Session) -> EditorUser:
    """Slicer's Segment Editor on the phantom, with the effect active and prompts collected, not run."""
    user = EditorUser(slicer_session, add_sample(slicer_session.scene, make_sample()))
    user.bench.auto_run = False
    return user


def test_the_effect_is_offered_and_active(an_editor: EditorUser) -> None:
    assert "MemSeg3D" in an_editor.editor.availableEffectNames()
    assert an_editor.effect.name == "MemSeg3D"
    assert an_editor.bench.segment_id == an_editor.ids[0]


def test_a_click_is_a_point_where_it_was_made(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    ras = an_editor.world(*MIDDLE)
    an_editor.click("Red", ras)
    (entry,) = an_editor.bench.prompts()
    assert (entry.kind, entry.positive, entry.axis, entry.index) == ("point", True, 0, 20)
    node = slicer.mrmlScene.GetNodeByID(entry.node_id)
    placed = np.array(node.GetNthControlPointPositionWorld(0))
    # A pixel of the view is 0.7 mm or so: no more than half of one may be lost.
    assert np.linalg.norm(placed - ras) < 1.0


def test_alt_gives_the_other_sign(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    an_editor.click("Red", an_editor.world(*MIDDLE))
    an_editor.click("Red", an_editor.world(21, 60, 60), alt=True)
    an_editor.choose("point", "negative")
    an_editor.click("Red", an_editor.world(22, 40, 60))
    an_editor.click("Red", an_editor.world(23, 40, 80), alt=True)
    signs = {entry.index: entry.positive for entry in an_editor.bench.prompts()}
    assert signs == {20: True, 21: False, 22: False, 23: True}


@pytest.mark.parametrize("held", [{"shift": True}, {"ctrl": True}])
def test_shift_and_ctrl_stay_the_views_own(an_editor: EditorUser, held: dict[str, bool]) -> None:
    an_editor.choose("point")
    an_editor.click("Red", an_editor.world(*MIDDLE), **held)
    assert an_editor.kinds() == []
    assert an_editor.said == []


@pytest.mark.parametrize(("view", "axis"), [("Red", 0), ("Green", 1), ("Yellow", 2)])
def test_a_dragged_box_is_a_box_on_its_slice(an_editor: EditorUser, view: str, axis: int) -> None:
    an_editor.choose("box")
    lower, upper = list(MIDDLE), list(MIDDLE)
    for other in {0, 1, 2} - {axis}:
        lower[other], upper[other] = MIDDLE[other] - 8, MIDDLE[other] + 8
    an_editor.session.drag(view, [an_editor.world(*lower), an_editor.world(*MIDDLE), an_editor.world(*upper)])
    (entry,) = an_editor.bench.prompts()
    assert (entry.kind, entry.axis, entry.index) == ("box", axis, int(MIDDLE[axis]))


def test_a_3d_box_a_scribble_and_a_lasso_are_kept(an_editor: EditorUser) -> None:
    corner, opposite = an_editor.world(20, 40, 50), an_editor.world(20, 70, 90)
    an_editor.choose("box3d")
    an_editor.session.drag("Red", [corner, opposite])
    circle = [an_editor.world(20, 56 + 12 * math.cos(t / 3), 72 + 12 * math.sin(t / 3)) for t in range(19)]
    an_editor.choose("scribble", "negative")
    an_editor.session.drag("Red", circle[:7])
    an_editor.choose("lasso")
    an_editor.session.drag("Red", circle)
    assert sorted(an_editor.kinds()) == [("box3d", True), ("lasso", True), ("scribble", False)]
    assert an_editor.said == []


def test_four_clicks_are_extreme_points_and_backspace_takes_one_back(an_editor: EditorUser) -> None:
    an_editor.choose("extreme")
    clicks = [an_editor.world(20, *at) for at in ((30, 72), (80, 72), (56, 40), (56, 100))]
    for ras in clicks[:3]:
        an_editor.click("Red", ras)
    assert an_editor.lines() == 2
    an_editor.session.event("Red", "KeyPressEvent", xy=(5, 5), key="BackSpace")
    an_editor.click("Red", clicks[2])
    assert an_editor.kinds() == []
    an_editor.click("Red", clicks[3])
    assert [kind for kind, _ in an_editor.kinds()] == ["extreme_points"]
    assert an_editor.lines() == 0


def test_a_line_follows_the_mouse_and_is_gone_afterwards(an_editor: EditorUser) -> None:
    an_editor.choose("box")
    an_editor.session.press("Red", ras=an_editor.world(20, 40, 50))
    an_editor.session.move("Red", ras=an_editor.world(20, 60, 80))
    assert an_editor.lines() == 2
    an_editor.session.release("Red", ras=an_editor.world(20, 60, 80))
    assert an_editor.lines() == 0


def test_leaving_in_mid_drag_leaves_no_line_and_no_prompt(an_editor: EditorUser) -> None:
    an_editor.choose("lasso")
    an_editor.session.press("Red", ras=an_editor.world(20, 40, 50))
    an_editor.session.move("Red", ras=an_editor.world(20, 60, 80))
    an_editor.editor.setActiveEffectByName("")
    an_editor.session.release("Red", ras=an_editor.world(20, 60, 80))
    assert (an_editor.lines(), an_editor.kinds()) == (0, [])


def test_scrolling_in_mid_drag_drops_the_drawing_and_says_so(an_editor: EditorUser) -> None:
    an_editor.choose("scribble")
    an_editor.session.press("Red", ras=an_editor.world(20, 40, 50))
    an_editor.session.move("Red", ras=an_editor.world(20, 42, 60))
    an_editor.session.go_to("Red", an_editor.world(24, 40, 50))
    assert "slice changed" in an_editor.said[-1]
    an_editor.session.release("Red", ras=an_editor.world(24, 40, 50))
    assert (an_editor.lines(), an_editor.kinds()) == (0, [])


def test_zooming_keeps_extreme_points_on_their_places(an_editor: EditorUser) -> None:
    an_editor.choose("extreme")
    an_editor.click("Red", an_editor.world(20, 30, 72))
    node = an_editor.session.view("Red").mrmlSliceNode()
    node.SetFieldOfView(*(0.5 * size for size in node.GetFieldOfView()[:2]), node.GetFieldOfView()[2])
    for at in ((80, 72), (56, 40), (56, 100)):
        an_editor.click("Red", an_editor.world(20, *at))
    assert [kind for kind, _ in an_editor.kinds()] == ["extreme_points"]


def test_a_double_click_is_two_clicks(an_editor: EditorUser) -> None:
    """Its second press comes as an event of its own; where both come, they are one click."""
    an_editor.choose("point")
    xy = an_editor.session.xy("Red", an_editor.world(20, 56, 72))
    an_editor.session.go_to("Red", an_editor.world(20, 56, 72))
    an_editor.session.press("Red", xy=xy)
    an_editor.session.release("Red", xy=xy)
    an_editor.session.event("Red", "LeftButtonPressEvent", xy=(xy[0] + 30, xy[1]))
    an_editor.session.event("Red", "LeftButtonDoubleClickEvent", xy=(xy[0] + 30, xy[1]))
    an_editor.session.release("Red", xy=(xy[0] + 30, xy[1]))
    an_editor.session.event("Red", "LeftButtonDoubleClickEvent", xy=(xy[0], xy[1] + 30))
    an_editor.session.release("Red", xy=(xy[0], xy[1] + 30))
    assert len(an_editor.kinds()) == 3


def test_many_quick_clicks_are_all_kept(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    for n in range(20):
        an_editor.click("Red", an_editor.world(20, 40 + n, 50 + 2 * n))
    assert len(an_editor.kinds()) == 20


def test_a_click_in_an_oblique_view_means_the_voxel_under_it(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    node = an_editor.session.view("Red").mrmlSliceNode()
    matrix = node.GetSliceToRAS()
    tilt = np.radians(25)
    for row, values in enumerate(((1, 0, 0), (0, np.cos(tilt), -np.sin(tilt)), (0, np.sin(tilt), np.cos(tilt)))):
        for column, value in enumerate(values):
            matrix.SetElement(row, column, float(value))
    node.UpdateMatrices()
    ras = an_editor.world(22, 50, 80)
    an_editor.click("Red", ras)
    (entry,) = an_editor.bench.prompts()
    placed = np.array(slicer.mrmlScene.GetNodeByID(entry.node_id).GetNthControlPointPositionWorld(0))
    assert np.linalg.norm(placed - ras) < 1.0
    assert np.allclose(world_to_ijk(an_editor.volume, tuple(placed)), (22, 50, 80), atol=0.5)


# Refused, with a sentence.


def test_a_click_outside_the_volume_is_refused(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    k, _, _ = volume_array(an_editor.volume).shape
    an_editor.click("Red", an_editor.world(20, -20, -20))
    an_editor.click("Red", an_editor.world(k + 3, 56, 72))
    assert an_editor.kinds() == []
    assert len(an_editor.said) == 2
    assert all("outside the source volume" in text for text in an_editor.said)


def test_a_box_outside_the_volume_is_refused_and_nothing_is_left(an_editor: EditorUser) -> None:
    an_editor.choose("box")
    an_editor.session.drag("Red", [an_editor.world(20, -40, -40), an_editor.world(20, -10, -10)])
    assert (an_editor.lines(), an_editor.kinds()) == (0, [])
    assert "outside the source volume" in an_editor.said[-1]


def test_a_click_in_the_3d_view_is_refused_and_turning_it_is_not(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    an_editor.session.press("3D", xy=(100, 100))
    an_editor.session.release("3D", xy=(100, 100))
    assert "slice view" in an_editor.said[-1]
    an_editor.session.press("3D", xy=(100, 100))
    an_editor.session.move("3D", xy=(180, 120))
    an_editor.session.release("3D", xy=(180, 120))
    assert len(an_editor.said) == 1
    assert an_editor.kinds() == []


def test_alt_with_a_box_is_refused(an_editor: EditorUser) -> None:
    an_editor.choose("box")
    an_editor.session.drag("Red", [an_editor.world(20, 40, 50), an_editor.world(20, 60, 80)], alt=True)
    assert an_editor.kinds() == []
    assert "negative point, scribble or lasso" in an_editor.said[-1]


def test_a_negative_sign_of_another_tool_does_not_hinder_a_box(an_editor: EditorUser) -> None:
    an_editor.choose("box", "negative")
    an_editor.session.drag("Red", [an_editor.world(20, 40, 50), an_editor.world(20, 60, 80)])
    assert an_editor.kinds() == [("box", True)]


def test_a_hidden_segment_is_shown_or_the_click_is_refused(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    display = an_editor.segmentation.GetDisplayNode()
    display.SetSegmentVisibility(an_editor.ids[0], False)
    an_editor.session.dialogs.answer = False
    an_editor.click("Red", an_editor.world(*MIDDLE))
    assert an_editor.kinds() == []
    assert "hidden" in an_editor.said[-1]
    an_editor.session.dialogs.answer = True
    an_editor.click("Red", an_editor.world(*MIDDLE))
    assert an_editor.kinds() == [], "the dialog has taken the mouse"
    an_editor.click("Red", an_editor.world(*MIDDLE))
    assert len(an_editor.kinds()) == 1


def test_a_bent_transform_is_refused_with_a_remedy(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    an_editor.volume.SetAndObserveTransformNodeID(bent_transform().GetID())
    an_editor.click("Red", an_editor.world(*MIDDLE))
    assert an_editor.kinds() == []
    assert "put the segmentation under the volume's transform" in an_editor.said[-1]
    options = an_editor.effect.self().work.options
    assert not options._remedy.isHidden()
    options._remedy.click()
    assert options._remedy.isHidden()
    an_editor.click("Red", an_editor.world(*MIDDLE))
    assert len(an_editor.kinds()) == 1


def test_a_control_point_under_the_mouse_is_left_to_be_dragged(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "other")
    node.CreateDefaultDisplayNodes()
    node.AddControlPoint(*an_editor.world(*MIDDLE))
    display = node.GetDisplayNode()
    display.SetActiveControlPoint(0)
    an_editor.click("Red", an_editor.world(*MIDDLE))
    assert an_editor.kinds() == []
    display.SetActiveComponent(display.ComponentNone, -1)
    an_editor.click("Red", an_editor.world(*MIDDLE))
    assert len(an_editor.kinds()) == 1
