"""What slice views do with the mouse where no effect takes the event: wheel, Shift and a moving mouse, mouse modes."""

from __future__ import annotations

from typing import Any

import slicer

HEARD = ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent")


def listen(view: Any, interactor: Any) -> None:
    """Observe after the segment editor, as Slicer's displayable managers do. view._heard: what came through to them."""
    view._heard = []

    def on_mouse(caller: Any, event: str) -> None:
        view._heard.append(event)
        if event == "MouseMoveEvent" and caller.GetShiftKey():
            _jump_the_others(view, caller.GetEventPosition())

    def step(slices: int) -> None:
        node = view.mrmlSliceNode()
        node.SetSliceOffset(node.GetSliceOffset() + slices)

    for name in HEARD:
        interactor.AddObserver(name, on_mouse, 0.0)
    interactor.AddObserver("MouseWheelForwardEvent", lambda *_: step(1), 0.0)
    interactor.AddObserver("MouseWheelBackwardEvent", lambda *_: step(-1), 0.0)


def _jump_the_others(view: Any, xy: tuple[int, int]) -> None:
    """Shift sets the crosshair, and every other view goes to its place."""
    layouts = slicer.app.layoutManager()
    place = view.convertXYZToRAS([float(xy[0]), float(xy[1]), 0.0])
    for name in layouts.sliceViewNames():
        other = layouts.sliceWidget(name).sliceView()
        if other is not view:
            other.mrmlSliceNode().JumpSliceByOffsetting(*place)
