"""Slicer's mouse modes, handles and a coasting wheel: the effect leaves the mouse alone where it is somebody else's."""

from __future__ import annotations

import pytest
import slicer
from desktop.clinician import Clinician
from desktop.editor_user import EditorUser
from desktop.session import Session

from MemSeg3DLib.scene.sample_phantom import add_sample, make_sample

MODES = ["AdjustWindowLevel", "Place"]
ONE, OTHER = (20.0, 40.0, 50.0), (20.0, 60.0, 80.0)


@pytest.fixture
def an_editor(slicer_session: Session) -> EditorUser:
    """Slicer's Segment Editor on the phantom, with the effect active and prompts collected, not run."""
    user = EditorUser(slicer_session, add_sample(slicer_session.scene, make_sample()))
    user.bench.auto_run = False
    user.choose("box")
    return user


def drag(user: EditorUser) -> list[str]:
    """Drag a box; what the slice view itself heard of it."""
    view = user.session.view("Red").sliceView()
    view._heard = []
    user.session.drag("Red", [user.world(*ONE), user.world(*OTHER)])
    return list(view._heard)


@pytest.mark.parametrize("mode", MODES)
def test_in_another_mode_the_drag_is_the_views(an_editor: EditorUser, mode: str) -> None:
    an_editor.session.mouse_mode(mode)
    heard = drag(an_editor)
    assert heard == ["LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent"], "nothing was kept from it"
    assert (an_editor.kinds(), an_editor.lines(), an_editor.said) == ([], 0, [])
    an_editor.session.event("Red", "LeftButtonDoubleClickEvent", ras=an_editor.world(*ONE))
    an_editor.session.click("3D", xy=(200, 200))
    assert (an_editor.kinds(), an_editor.said) == ([], [])
    an_editor.session.mouse_mode("ViewTransform")
    assert "LeftButtonPressEvent" not in drag(an_editor)
    assert an_editor.kinds() == [("box", True)], "the effect was not put away"


@pytest.mark.parametrize("mode", MODES)
def test_a_drawing_that_was_begun_is_dropped_when_the_mode_changes(an_editor: EditorUser, mode: str) -> None:
    an_editor.session.press("Red", ras=an_editor.world(*ONE))
    an_editor.session.move("Red", ras=an_editor.world(*OTHER))
    assert an_editor.lines() == 2
    an_editor.session.mouse_mode(mode)
    assert an_editor.lines() == 0
    an_editor.session.mouse_mode("ViewTransform")
    an_editor.session.release("Red", ras=an_editor.world(*OTHER))
    assert an_editor.kinds() == []


def test_an_effect_without_a_say_is_put_away_by_another_mode(an_editor: EditorUser) -> None:
    for mode in MODES:
        an_editor.editor.setActiveEffectByName("Paint")
        an_editor.session.mouse_mode(mode)
        assert an_editor.editor.activeEffect() is None, "Slicer's default"


def test_handles_of_slice_intersections_are_left_to_be_dragged(an_editor: EditorUser) -> None:
    display = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceDisplayNode")
    display.SetIntersectingSlicesVisibility(True)
    display.SetActiveComponent(display.ComponentTranslateIntersectingSlicesHandle, 0)
    assert "LeftButtonPressEvent" in drag(an_editor)
    assert an_editor.kinds() == []
    display.SetActiveComponent(display.ComponentNone, -1)
    drag(an_editor)
    assert len(an_editor.kinds()) == 1


def test_handles_of_transforms_are_left_to_be_dragged(an_editor: EditorUser) -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetEditorVisibility(True)
    display.SetActiveInteractionType(2)
    assert "LeftButtonPressEvent" in drag(an_editor)
    assert an_editor.kinds() == []
    display.SetActiveInteractionType(0)
    drag(an_editor)
    assert len(an_editor.kinds()) == 1


def test_a_coasting_wheel_never_throws_a_drawing_away(an_editor: EditorUser) -> None:
    node = an_editor.session.view("Red").mrmlSliceNode()
    an_editor.session.press("Red", ras=an_editor.world(*ONE))
    before = node.GetSliceOffset()
    an_editor.session.wheel("Red", 3)
    an_editor.session.wheel("Red", -1)
    assert node.GetSliceOffset() == before
    an_editor.session.release("Red", ras=an_editor.world(*OTHER))
    assert an_editor.kinds() == [("box", True)]
    an_editor.session.wheel("Red", 3)
    assert node.GetSliceOffset() != before, "and nothing holds it afterwards"
    assert an_editor.said == []


def test_no_key_makes_other_views_jump(clinician: Clinician) -> None:
    from MemSeg3DPanel.shortcuts import keys

    # The stand-in's views do what Slicer's do when Shift goes down and the mouse moves.
    green = clinician.session.view("Green").mrmlSliceNode()
    before = green.GetSliceOffset()
    clinician.session.move("Red", ras=clinician.ras(60, 5, 5), shift=True)
    assert green.GetSliceOffset() != before
    assert [key for key in keys() if "Shift" in key.sequence] == []
