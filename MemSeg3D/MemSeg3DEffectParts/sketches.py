"""The lines that follow the mouse while a prompt is drawn, in every slice view that shows it; gone without a trace."""

from __future__ import annotations

from typing import Any

from MemSeg3DLib.prompts.gestures import Gesture
from MemSeg3DLib.prompts.preview import SlicePreview
from MemSeg3DLib.scene.slice_views import distance_to_slice, is_light_box, to_pixels


class Sketches:
    """Previews of one effect by slice view. Every actor that was added is removed by `clear`.

    Usage: `show(view, gesture, colour, positive)` after each event, `clear()` when the drawing ends in whatever way.
    """

    def __init__(self, effect: Any) -> None:
        self._effect = effect
        self._previews: dict[str, tuple[Any, SlicePreview]] = {}

    def show(self, view: Any, gesture: Gesture, colour: tuple[float, float, float], positive: bool) -> None:
        """Show what has been drawn so far, in `view` and in those where some of it was drawn."""
        node_id = view.mrmlSliceNode().GetID()
        if node_id not in self._previews:
            preview = SlicePreview()
            for actor in preview.actors:
                self._effect.addActor2D(view, actor)
            self._previews[node_id] = (view, preview)
        for shown_in, preview in self._previews.values():
            preview.set_colour(colour, positive)
            _draw(preview, gesture, shown_in.mrmlSliceNode())
            self._effect.scheduleRender(shown_in)

    def redraw(self, gesture: Gesture) -> None:
        """A view was moved or zoomed: what is drawn stays on its place in the body."""
        for view, preview in self._previews.values():
            _draw(preview, gesture, view.mrmlSliceNode())
            self._effect.scheduleRender(view)

    def clear(self) -> None:
        """Take every line out of every view."""
        for view, preview in self._previews.values():
            for actor in preview.actors:
                self._effect.removeActor2D(view, actor)
            self._effect.scheduleRender(view)
        self._previews = {}


def _draw(preview: SlicePreview, gesture: Gesture, slice_node: Any) -> None:
    # A light box has a renderer a slice, and the lines would land in the first of them.
    if not gesture.places or is_light_box(slice_node):
        preview.clear()
        return
    worlds = [place.world for place in gesture.places]
    if gesture.tool in ("point", "extreme"):
        near = [one for one in worlds if distance_to_slice(slice_node, one) <= gesture.slice_thickness / 2]
        preview.show_marks(to_pixels(slice_node, near))
        return
    corners = to_pixels(slice_node, worlds)
    if gesture.tool in ("box", "box3d"):
        (x0, y0), (x1, y1) = corners[0], corners[-1]
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    preview.show_line(corners, closed=gesture.tool != "scribble")
