"""Slicer's mouse modes: whose the left button is in the views, and how it becomes the views' own again."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _


def other_mode() -> str:
    """The mode that has the left button in every view, by its name for the user; empty in the usual mode."""
    node = _node()
    if node is None or node.GetCurrentInteractionMode() == node.ViewTransform:
        return ""
    mode = node.GetCurrentInteractionMode()
    titles = {node.AdjustWindowLevel: _("Adjust window/level"), node.Place: _("Place a control point")}
    return titles.get(mode) or str(node.GetInteractionModeAsString(mode))


def use_views() -> None:
    """The left button is the views' and the effect's again, as after the arrow in Slicer's toolbar."""
    node = _node()
    if node is not None and other_mode():
        node.SetCurrentInteractionMode(node.ViewTransform)


def _node() -> Any:
    logic = slicer.app.applicationLogic()
    return None if logic is None else logic.GetInteractionNode()
