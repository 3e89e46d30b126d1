"""The one table of the module's keys; alive only while the module is entered or the effect is active."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


@dataclass(frozen=True)
class Key:
    """A key. action: what it does, as handlers are named; sequence: as QKeySequence reads it."""

    action: str
    sequence: str
    title: str


def keys() -> list[Key]:
    """Every key: plain letters that neither the Segment Editor, the slice views nor the main window own.

    What takes much away needs two of them, so that no slip does it. Never with Shift: Shift and a moving mouse jump all
    other views of the group to the place under the mouse.
    """
    return [
        Key("run", "E", _("Run the collected prompts")),
        Key("cancel", "X", _("Cancel the run")),
        Key("next_slice", "N", _("Next slice to check")),
        Key("approve", "A", _("Approve the slice, or take the approval back")),
        Key("from_here", "J", _("From here: nothing before this slice")),
        Key("stop_here", "K", _("Stop here: nothing after this slice")),
        Key("flip_sign", "M", _("Positive or negative prompts")),
        Key("tool_box", "D", _("Box")),
        Key("tool_point", "P", _("Point")),
        Key("tool_scribble", "C", _("Scribble")),
        Key("tool_lasso", "L", _("Lasso")),
        Key("next_segment", "H", _("Next segment")),
        Key("clear_segment", "Ctrl+Backspace", _("Clear this segment")),
        Key("undo_round", "U", _("Undo the last round")),
        Key("redo_round", "O", _("Redo the round")),
    ]


def sequence_of(action: str) -> str:
    """The key of an action, for tool tips; empty where it has none."""
    return next((key.sequence for key in keys() if key.action == action), "")


def add_key(widget: Any, action: str) -> None:
    """Name the key of an action at the end of a widget's tool tip."""
    if key := sequence_of(action):
        widget.setToolTip(f"{widget.toolTip} ({key})")


class Shortcuts:
    """Installs the keys whose actions have a handler, and removes them again.

    Usage: `shortcuts.install({"run": run})` in enter or activate, `shortcuts.remove()` in exit or deactivate. Both may
    come twice. Two sets of the same keys would silence each other: Slicer enters one module and one effect at a time,
    and `install` of one removes what another has left.
    """

    _installed: Shortcuts | None = None

    def __init__(self) -> None:
        self._shortcuts: list[Any] = []

    def install(self, handlers: Mapping[str, Callable[[], object]]) -> None:
        """Make the keys of these actions work in Slicer's main window. handlers: by action."""
        if Shortcuts._installed is not None:
            Shortcuts._installed.remove()
        window = slicer.util.mainWindow()
        # Without a main window (a script, a test of the library) there is nobody to press a key.
        if window is None:
            return
        for key in keys():
            if key.action in handlers:
                shortcut = qt.QShortcut(window)
                shortcut.setKey(qt.QKeySequence(key.sequence))
                shortcut.connect("activated()", handlers[key.action])
                self._shortcuts.append(shortcut)
        Shortcuts._installed = self

    def remove(self) -> None:
        """Take the keys away again."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            # The main window would keep it, and Slicer with it, until the end.
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []
        if Shortcuts._installed is self:
            Shortcuts._installed = None
