"""Scrolls the panel to what has just been unfolded or is to be pressed next, which may lie below the window's edge."""

from __future__ import annotations

from typing import Any

import qt


def reveal(widget: Any) -> None:
    """Scroll every area that holds the widget until it is seen; once its place is known, which is after this event."""
    timer = qt.QTimer(widget)
    timer.setSingleShot(True)
    timer.connect("timeout()", lambda: _scroll_to(widget, timer))
    timer.start(0)


def _scroll_to(widget: Any, timer: Any) -> None:
    timer.deleteLater()
    parent = widget.parentWidget()
    while parent is not None:
        if hasattr(parent, "ensureWidgetVisible"):
            # The area learns of new heights with the next layout, which is too late.
            inside = parent.widget()
            if inside is not None and inside.layout() is not None:
                inside.layout().activate()
            parent.ensureWidgetVisible(widget)
        parent = parent.parentWidget()
