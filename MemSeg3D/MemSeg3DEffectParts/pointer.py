"""From mouse events in the views to prompts: what is dragged is drawn, checked, and handed over."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from MemSeg3DEffectParts.sketches import Sketches
from MemSeg3DLib.base.errors import MemSeg3DError, PromptError
from MemSeg3DLib.prompts.from_drawings import UNSIGNED, prompt_of
from MemSeg3DLib.prompts.gestures import SMALLEST_DRAG, Drawing, Gesture, Place, gesture_for
from MemSeg3DLib.prompts.prompts import Prompt, slice_axis
from MemSeg3DLib.prompts.slice_limits import SliceLimits
from MemSeg3DLib.rounds.messages import Level
from MemSeg3DLib.scene.nodes import volume_spacing, world_to_ijk
from MemSeg3DLib.scene.readiness import Obstacle, inside, obstacle
from MemSeg3DLib.scene.slice_views import distance_to_slice, is_light_box, is_over_handle, normal, rectangle, to_world
from MemSeg3DPanel.mouse_mode import other_mode

COMMAND = vtk.vtkCommand
WHEEL = {
    COMMAND.MouseWheelForwardEvent,
    COMMAND.MouseWheelBackwardEvent,
    COMMAND.MouseWheelLeftEvent,
    COMMAND.MouseWheelRightEvent,
}
NOT_CONFIRMED, CONFIRMED_IN_DIALOG = 0, 2
"""Answers of confirmCurrentSegmentVisible: the segment stays hidden; a dialog has taken the mouse meanwhile."""


@dataclass(frozen=True)
class Target:
    """What a drawing belongs to."""

    volume: Any
    segmentation: Any
    segment_id: str


@dataclass(frozen=True)
class PointerCallbacks:
    """What the pointer asks of its effect.

    tool, is_negative: as the user has chosen them. limits: of a segment. add: hands a prompt over. hint: tells one
    that is still being drawn. say: level and sentence. obstacle: told before each drawing what stands against it, or
    None.
    """

    tool: Callable[[], str]
    is_negative: Callable[[], bool]
    limits: Callable[[str], SliceLimits | None]
    add: Callable[[Target, Prompt], object]
    hint: Callable[[Prompt], object]
    say: Callable[[Level, str], None]
    obstacle: Callable[[Obstacle | None], None]


class Pointer:
    """Left button draws; with Alt the drawing says the opposite; Shift and Ctrl stay the views' own.

    Usage: every event goes through `handle`, every change of a view through `view_changed`; `drop` ends a drawing.
    """

    def __init__(self, effect: Any, callbacks: PointerCallbacks) -> None:
        self._effect = effect
        self._callbacks = callbacks
        self._sketches = Sketches(effect)
        self._gesture: Gesture = gesture_for(callbacks.tool())
        self._target: Target | None = None
        self._view: Any = None
        self._positive = True
        self._pressed_in_3d: tuple[int, int] | None = None

    @property
    def tool(self) -> str:
        """The tool of the present drawing."""
        return self._gesture.tool

    def handle(self, interactor: Any, event: int, view: Any) -> bool:
        """Whether the event was ours. What cannot be drawn is said in a sentence, and nothing is left of it."""
        # In window/level, placing and every other mode of Slicer's toolbar the mouse is not ours.
        if other_mode():
            self.drop()
            return False
        try:
            if view.className() != "qMRMLSliceWidget":
                return self._in_3d(interactor, event)
            # A double click comes as an event of its own, after an ordinary press or instead of it.
            if event in (COMMAND.LeftButtonPressEvent, COMMAND.LeftButtonDoubleClickEvent):
                return self._gesture.is_held or self._press(interactor, view)
            if event == COMMAND.MouseMoveEvent and self._gesture.is_held:
                return self._move(interactor)
            if event == COMMAND.LeftButtonReleaseEvent and self._gesture.is_held:
                return self._release(interactor)
            # A trackpad or a free wheel coasts after the finger has left: the slice stays while something is drawn.
            if event in WHEEL:
                return self._gesture.is_held
            if event == COMMAND.KeyPressEvent and interactor.GetKeySym() == "BackSpace":
                return self._back()
        except MemSeg3DError as error:
            self.drop()
            self._callbacks.say("warning", str(error))
            return True
        return False

    def view_changed(self, slice_node: Any) -> None:
        """A view was moved or zoomed: a stroke cannot go on upon another slice, everything else keeps its place."""
        places = self._gesture.places
        if not places:
            return
        is_drawn_upon = self._gesture.is_held and slice_node.GetID() == self._view.mrmlSliceNode().GetID()
        if is_drawn_upon and distance_to_slice(slice_node, places[-1].world) > 1e-3:
            self.drop()
            self._callbacks.say("warning", _("The slice changed while you were drawing: draw it again on one slice."))
        else:
            self._sketches.redraw(self._gesture)

    def drop(self) -> None:
        """Forget what was begun, and take its lines out of the views."""
        self._gesture.drop()
        self._pressed_in_3d = None
        self._sketches.clear()

    def _press(self, interactor: Any, view: Any) -> bool:
        if interactor.GetShiftKey() or interactor.GetControlKey() or is_over_handle(slicer.mrmlScene):
            return False
        target = self._begin()
        if target is None:
            return True
        place = self._place(interactor, view, target.volume)
        tool = self._gesture.tool
        if tool in ("point", "extreme") and not inside(target.volume, world_to_ijk(target.volume, place.world)):
            raise PromptError(_("The point lies outside the source volume: click inside the image."))
        is_negative = tool not in UNSIGNED and self._callbacks.is_negative()
        self._positive = is_negative if interactor.GetAltKey() else not is_negative
        self._view = view
        self._gesture.press(place)
        self._sketch(target)
        self._hint(target)
        return True

    def _move(self, interactor: Any) -> bool:
        target = self._drawn_for()
        self._gesture.move(self._place(interactor, self._view, target.volume))
        self._sketch(target)
        self._hint(target)
        return True

    def _release(self, interactor: Any) -> bool:
        target = self._drawn_for()
        drawing = self._gesture.release(self._place(interactor, self._view, target.volume))
        if drawing is None:
            self._sketch(target)
        else:
            self._sketches.clear()
            self._hand_over(drawing, target)
        return True

    def _back(self) -> bool:
        taken = self._gesture.back()
        self._sketches.redraw(self._gesture)
        return taken

    def _in_3d(self, interactor: Any, event: int) -> bool:
        """Turning the 3D view stays as it is; a click there means no voxel, and says so."""
        x, y = interactor.GetEventPosition()
        if event == COMMAND.LeftButtonPressEvent:
            self._pressed_in_3d = None if is_over_handle(slicer.mrmlScene) else (x, y)
        elif event == COMMAND.LeftButtonReleaseEvent and self._pressed_in_3d is not None:
            if math.dist(self._pressed_in_3d, (x, y)) < SMALLEST_DRAG:
                self._callbacks.say(
                    "warning", _("Prompts are drawn on slices: click in a slice view, not in the 3D view.")
                )
            self._pressed_in_3d = None
        return False

    def _begin(self) -> Target | None:
        """What is drawn for; None where a dialog has taken the mouse. Raises PromptError where nothing can be drawn."""
        node = self._effect.parameterSetNode()
        target = Target(node.GetSourceVolumeNode(), node.GetSegmentationNode(), node.GetSelectedSegmentID() or "")
        trouble = obstacle(target.volume, target.segmentation, target.segment_id)
        self._callbacks.obstacle(trouble)
        if trouble is not None:
            raise PromptError(trouble.text)
        answer = int(self._effect.confirmCurrentSegmentVisible())
        if answer == NOT_CONFIRMED:
            raise PromptError(_("The segment is hidden: show it with the eye beside its name, and draw again."))
        tool = self._callbacks.tool()
        if target != self._target or tool != self._gesture.tool:
            self.drop()
            self._target = target
            self._gesture = gesture_for(tool)
        return None if answer == CONFIRMED_IN_DIALOG else target

    def _drawn_for(self) -> Target:
        """What the present drawing belongs to; its nodes may have gone since it was begun."""
        target = self._target
        gone = target is None or target.segmentation.GetScene() is None or target.volume.GetScene() is None
        if target is None or gone or target.segmentation.GetSegmentation().GetSegment(target.segment_id) is None:
            raise PromptError(_("What you were drawing for is gone: choose a volume and a segment, and draw again."))
        return target

    def _place(self, interactor: Any, view: Any, volume_node: Any) -> Place:
        slice_node = view.mrmlSliceNode()
        x, y = interactor.GetEventPosition()
        page = 0.0
        if is_light_box(slice_node):
            x, y, page = view.sliceView().convertDeviceToXYZ([x, y])
        across = normal(slice_node)
        axis, _is_oblique = slice_axis(volume_node, across)
        self._gesture.slice_thickness = volume_spacing(volume_node)[axis]
        return Place((float(x), float(y)), to_world(slice_node, (x, y), page), across)

    def _hand_over(self, drawing: Drawing, target: Target) -> None:
        self._callbacks.add(target, self._prompt(drawing, target))

    def _hint(self, target: Target) -> None:
        """Tell what a release here would give; what means nothing yet is not told."""
        drawing = self._gesture.so_far()
        if drawing is None:
            return
        with contextlib.suppress(MemSeg3DError):
            self._callbacks.hint(self._prompt(drawing, target))

    def _prompt(self, drawing: Drawing, target: Target) -> Prompt:
        slice_node = self._view.mrmlSliceNode()
        corners = rectangle(slice_node, drawing.places[0].xy, drawing.places[-1].xy)
        limits = self._callbacks.limits(target.segment_id)
        return prompt_of(drawing, corners, target.volume, target.segment_id, self._positive, limits)

    def _sketch(self, target: Target) -> None:
        colour = target.segmentation.GetSegmentation().GetSegment(target.segment_id).GetColor()
        self._sketches.show(self._view, self._gesture, (colour[0], colour[1], colour[2]), self._positive)
