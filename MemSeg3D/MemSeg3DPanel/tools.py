"""The tools that prompts are drawn with, as the panel shows them and the effect reads them; no Qt here."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

EFFECT_NAME = "MemSeg3D"
"""The effect's name in Slicer's Segment Editor."""

EDITOR_TAG = "MemSeg3D"
"""Singleton tag of the panel's own vtkMRMLSegmentEditorNode: Slicer's own module keeps its "SegmentEditor"."""

TOOL = "Tool"
"""The effect's parameter that names the tool: an `id` of TOOLS."""

SIGN = "Sign"
"""The effect's parameter that tells what the next prompt says: POSITIVE or NEGATIVE."""

POSITIVE = "positive"
NEGATIVE = "negative"
DEFAULT_TOOL = "box"


@dataclass(frozen=True)
class Tool:
    """A tool. has_sign: its prompts may be negative."""

    id: str
    title: str
    hint: str
    has_sign: bool = True


def tools() -> list[Tool]:
    """Every tool in the order in which it is shown; made anew, so that it speaks the user's language."""
    return [
        Tool("box", _("Box"), _("Drag a box round the whole object on the slice where it is largest."), False),
        Tool("point", _("Point"), _("Click in the middle of a missing part; negative: in the middle of a leak.")),
        Tool("scribble", _("Scribble"), _("Drag a stroke through the object; negative: through a leak.")),
        Tool("lasso", _("Lasso"), _("Drag a line round what belongs to the object; negative: round what does not.")),
        Tool("box3d", _("3D box"), _("Drag a box on a slice, then set its depth with its handles."), False),
        Tool("extreme", _("Extremes"), _("Click the outermost points: left, right, top, bottom."), False),
    ]
