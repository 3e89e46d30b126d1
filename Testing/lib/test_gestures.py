"""Gestures of the mouse become drawings: clicks, boxes, strokes and extreme points, without Qt and without a scene."""

from __future__ import annotations

import math

import pytest

from MemSeg3DLib.base.errors import PromptError
from MemSeg3DLib.prompts.gestures import Gesture, Place, gesture_for


def at(x: float, y: float, z: float = 0.0) -> Place:
    """A place on the slice at height z, where a pixel is a millimetre."""
    return Place((x, y), (x, y, z), (0.0, 0.0, 1.0))


def draw(gesture: Gesture, *places: Place) -> object:
    """Press at the first place, move along, release at the last."""
    gesture.press(places[0])
    for place in places[1:]:
        gesture.move(place)
    return gesture.release(places[-1])


def test_a_click_is_where_the_button_went_down() -> None:
    drawing = draw(gesture_for("point"), at(10, 20), at(11, 22))
    assert (drawing.tool, [place.xy for place in drawing.places]) == ("point", [(10, 20)])


def test_a_box_runs_from_press_to_release() -> None:
    drawing = draw(gesture_for("box"), at(10, 20), at(70, 25), at(40, 60))
    assert [place.xy for place in drawing.places] == [(10, 20), (40, 60)]


@pytest.mark.parametrize("end", [(10, 20), (80, 21), (11, 90)])
def test_a_box_without_area_is_refused_and_forgotten(end: tuple[float, float]) -> None:
    gesture = gesture_for("box")
    with pytest.raises(PromptError, match="drag to the opposite corner"):
        draw(gesture, at(10, 20), at(*end))
    assert gesture.places == ()
    assert not gesture.is_held


def test_a_stroke_keeps_its_course_and_drops_what_says_nothing_new() -> None:
    drawing = draw(gesture_for("scribble"), *(at(0.5 * n, 0) for n in range(41)))
    assert drawing.tool == "scribble"
    assert [place.xy[0] for place in drawing.places] == [2.0 * n for n in range(11)]


def test_a_stroke_that_is_only_a_dot_is_a_point() -> None:
    assert draw(gesture_for("scribble"), at(5, 5)).tool == "point"


def test_a_lasso_has_to_enclose_something() -> None:
    circle = [at(50 + 20 * math.cos(t / 5), 50 + 20 * math.sin(t / 5)) for t in range(32)]
    assert len(draw(gesture_for("lasso"), *circle).places) == 32
    with pytest.raises(PromptError, match="encloses nothing"):
        draw(gesture_for("lasso"), at(0, 0), at(50, 0), at(100, 0))


def click(gesture: Gesture, place: Place) -> object:
    gesture.press(place)
    return gesture.release(place)


def test_four_clicks_on_one_slice_are_extreme_points() -> None:
    gesture = gesture_for("extreme", slice_thickness=3.0)
    clicks = [at(0, 10, 6.0), at(20, 10, 6.2), at(10, 0, 6.0), at(10, 20, 5.9)]
    assert [click(gesture, one) for one in clicks[:3]] == [None, None, None]
    assert click(gesture, clicks[3]).places == tuple(clicks)
    assert gesture.places == ()


def test_the_ends_of_the_object_may_be_clicked_before_the_four() -> None:
    gesture = gesture_for("extreme", slice_thickness=3.0)
    ends, four = [at(10, 10, -20.0), at(10, 10, 30.0)], [at(0, 10), at(20, 10), at(10, 0), at(10, 20)]
    assert [click(gesture, one) for one in (*ends, *four[:3])] == [None] * 5
    assert click(gesture, four[3]).places == (*ends, *four)


def test_six_clicks_with_no_four_on_one_slice_are_refused() -> None:
    gesture = gesture_for("extreme", slice_thickness=3.0)
    for n in range(5):
        assert click(gesture, at(n, n, 10.0 * n)) is None
    with pytest.raises(PromptError, match="on one slice"):
        click(gesture, at(9, 9, 90.0))
    assert gesture.places == ()


def test_clicks_in_views_of_different_direction_are_on_different_slices() -> None:
    gesture = gesture_for("extreme", slice_thickness=3.0)
    for n in range(3):
        click(gesture, at(10.0 * n, 5))
    assert click(gesture, Place((1, 1), (5.0, 5.0, 0.0), (1.0, 0.0, 0.0))) is None


def test_the_last_extreme_point_can_be_taken_back() -> None:
    gesture = gesture_for("extreme")
    click(gesture, at(0, 0))
    click(gesture, at(5, 5))
    assert gesture.back()
    assert [place.xy for place in gesture.places] == [(0, 0)]
    assert gesture.back()
    assert not gesture.back()


def test_a_tool_that_does_not_exist_is_said_so() -> None:
    with pytest.raises(PromptError, match="no tool magic"):
        gesture_for("magic")


@pytest.mark.parametrize(
    ("tool", "places", "means"),
    [
        ("point", [at(5, 5)], True),
        ("box", [at(5, 5)], False),
        ("box", [at(5, 5), at(30, 40)], True),
        ("box", [at(5, 5), at(30, 6)], False),
        ("scribble", [at(5, 5)], False),
        ("scribble", [at(5, 5), at(30, 6)], True),
        ("lasso", [at(0, 0), at(50, 0), at(100, 0)], False),
        ("lasso", [at(0, 0), at(50, 0), at(50, 50)], True),
        ("extreme", [at(5, 5)], False),
    ],
)
def test_what_is_drawn_so_far_is_known_and_not_forgotten(tool: str, places: list[Place], means: bool) -> None:
    gesture = gesture_for(tool)
    gesture.press(places[0])
    for place in places[1:]:
        gesture.move(place)
    drawing = gesture.so_far()
    assert (drawing is not None) == means
    assert gesture.is_held
    assert len(gesture.places) == len(places)
