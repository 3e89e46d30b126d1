"""What a mouse does in a slice view: presses, moves and releases in, finished drawings out. No Qt, no scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from MemSeg3DLib.base.errors import PromptError
from MemSeg3DLib.scene.slice_views import Xy
from MemSeg3DLib.scene.transforms import Ras

SMALLEST_DRAG = 3.0
"""Pixels: a hand that only clicks moves less."""

STEP = 2.0
"""Pixels between the points of a stroke: closer ones say nothing new."""

EXTREMES_ON_SLICE = 4
MOST_EXTREMES = 6

PARALLEL = 0.999
"""Cosine of the angle up to which two views show the same slice: a good two degrees."""


@dataclass(frozen=True)
class Place:
    """Where the mouse is: in the view's pixels and in the world (RAS mm). normal: across the view's slice."""

    xy: Xy
    world: Ras
    normal: Ras


@dataclass(frozen=True)
class Drawing:
    """A finished gesture. tool: as it was chosen, a scribble that is only a dot being a point."""

    tool: str
    places: tuple[Place, ...]


class Gesture:
    """One tool's gesture, from the first press to the drawing. Subclasses say what a drag and a release mean.

    Usage: `press`, `move` while the button is held, `release` -> Drawing or None; `drop` forgets what was begun.
    """

    def __init__(self, tool: str, slice_thickness: float = 1.0) -> None:
        self.tool = tool
        self.slice_thickness = slice_thickness
        self.is_held = False
        self._places: list[Place] = []

    @property
    def places(self) -> tuple[Place, ...]:
        """What has been drawn so far."""
        return tuple(self._places)

    def press(self, place: Place) -> None:
        """The button goes down."""
        self.is_held = True
        self._places = [place]

    def move(self, place: Place) -> None:
        """The mouse moves with the button held."""

    def release(self, place: Place) -> Drawing | None:
        """The button comes up: the drawing, or None where there is more to come.

        Raises PromptError where the gesture means nothing; it is forgotten then.
        """
        self.is_held = False
        return self._finish()

    def so_far(self) -> Drawing | None:
        """What a release here and now would give, with nothing forgotten; None where it would mean nothing."""
        return Drawing(self.tool, self.places) if self._places else None

    def back(self) -> bool:
        """Take the last click back; whether there was one."""
        return False

    def drop(self) -> None:
        """Forget what was begun."""
        self.is_held = False
        self._places = []

    def _finish(self, tool: str | None = None) -> Drawing:
        places, self._places = tuple(self._places), []
        return Drawing(tool or self.tool, places)


class Click(Gesture):
    """A point: where the button went down, however the hand trembles until it comes up."""


class Corners(Gesture):
    """A box by two opposite corners."""

    def move(self, place: Place) -> None:
        self._places[1:] = [place]

    def so_far(self) -> Drawing | None:
        return super().so_far() if self._has_area() else None

    def _has_area(self) -> bool:
        if len(self._places) < 2:
            return False
        (x0, y0), (x1, y1) = (one.xy for one in self._places)
        return min(abs(x1 - x0), abs(y1 - y0)) >= SMALLEST_DRAG

    def release(self, place: Place) -> Drawing | None:
        self.move(place)
        if not self._has_area():
            self.drop()
            raise PromptError("The box has no area: press, drag to the opposite corner, and release.")
        return super().release(place)


class Stroke(Gesture):
    """A line drawn free-hand: a scribble, or closed a lasso."""

    def move(self, place: Place) -> None:
        if math.dist(place.xy, self._places[-1].xy) >= STEP:
            self._places.append(place)

    def so_far(self) -> Drawing | None:
        means = self._encloses() if self.tool == "lasso" else len(self._places) > 1
        return super().so_far() if means else None

    def _encloses(self) -> bool:
        return enclosed(self._places) >= SMALLEST_DRAG**2

    def release(self, place: Place) -> Drawing | None:
        self.move(place)
        self.is_held = False
        if self.tool == "lasso":
            if not self._encloses():
                self.drop()
                raise PromptError("The lasso encloses nothing: drag a line all the way round, and release.")
            return self._finish()
        return self._finish("point" if len(self._places) == 1 else None)


class Clicks(Gesture):
    """Extreme points: done as soon as four lie on one slice; before them, one on either end of the object may come."""

    def so_far(self) -> Drawing | None:
        return super().so_far() if on_one_slice(self._places, self.slice_thickness) else None

    def press(self, place: Place) -> None:
        self.is_held = True
        self._places.append(place)

    def release(self, place: Place) -> Drawing | None:
        self.is_held = False
        if on_one_slice(self._places, self.slice_thickness):
            return self._finish()
        if len(self._places) == MOST_EXTREMES:
            self.drop()
            raise PromptError("Four of the extreme points have to lie on one slice: click again, four on one slice.")
        return None

    def back(self) -> bool:
        if not self._places:
            return False
        self._places.pop()
        return True


def on_one_slice(places: Sequence[Place], slice_thickness: float) -> tuple[Place, ...]:
    """Those four or more places that were clicked on one slice, none further from it than half of it; else none."""
    for base in places:
        group = tuple(
            one
            for one in places
            if abs(_dot(one.normal, base.normal)) > PARALLEL
            and abs(_dot(one.world, base.normal) - _dot(base.world, base.normal)) <= slice_thickness / 2
        )
        if len(group) >= EXTREMES_ON_SLICE:
            return group
    return ()


def gesture_for(tool: str, slice_thickness: float = 1.0) -> Gesture:
    """The gesture of a tool; slice_thickness in mm tells clicks on one slice from clicks on several."""
    kinds: dict[str, type[Gesture]] = {
        "point": Click,
        "box": Corners,
        "box3d": Corners,
        "scribble": Stroke,
        "lasso": Stroke,
        "extreme": Clicks,
    }
    if tool in kinds:
        return kinds[tool](tool, slice_thickness)
    raise PromptError(f"There is no tool {tool}: choose another one.")


def enclosed(places: list[Place]) -> float:
    """Area in square pixels that the closed line through the places encloses."""
    corners = [one.xy for one in places]
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


def _dot(a: Ras, b: Ras) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
