"""What the segment editor widget hears: events of the views for the active effect, the keys that it owns, undo."""

from __future__ import annotations

import functools
from typing import Any

import slicer
import vtk
from desktop.standin import errors, scripted_effect
from PySide6 import QtGui

OWN_KEYS = (
    *(str(digit) for digit in range(10)), *(f"Shift+{digit}" for digit in range(10)), "Esc", "Space", "Z", "Y",
    "Ctrl+Z", "Ctrl+Y", "Q", "W", "`", ",", ".", "/", "*", "<", ">", "I",
)  # fmt: skip
"""The keys that the editor takes once installKeyboardShortcuts was called."""
SLICE_VIEW_KEYS = (
    "G", "T", "R", "F", "B", "V", "Shift+V", "[", "]", "{", "}", "Left", "Right", "Up", "Down", "S", "Del", "Backspace",
)  # fmt: skip
"""The keys of slice views, and of a markup under the mouse."""
WINDOW_KEYS = (
    *(f"Ctrl+{key}" for key in "OSWZYXCVFHB0123456"), "Ctrl+Left", "Ctrl+Right", "Ctrl+Shift+A", "Ctrl+Shift+T",
)  # fmt: skip
"""The main window's own."""


class SegmentEditorInput:
    """The part of the segment editor widget that observes views and keys, with undo, which hangs on keys."""

    def setupViewObservations(self: Any) -> None:  # noqa: N802
        self.removeViewObservations()
        layouts = slicer.app.layoutManager()
        views = [layouts.sliceWidget(name) for name in layouts.sliceViewNames()]
        for view in views:
            self._observe_view(view, view.sliceView().interactor(), scripted_effect.EVENTS_2D)
        three_d = layouts.threeDWidget(0)
        self._observe_view(three_d, three_d.threeDView().interactor(), scripted_effect.EVENTS_3D)

    def _observe_view(self: Any, view: Any, interactor: Any, names: tuple[str, ...]) -> None:
        for name in names:
            held: list[int] = []

            def on_event(caller: Any, event: str, held: list[int] = held) -> None:
                if self._active is None:
                    return
                taken = self._active._call("processInteractionEvents", caller, scripted_effect.event_id(event), view)
                if taken is not None and not isinstance(taken, bool):
                    errors.note(f"processInteractionEvents returned {taken!r}, not a bool")
                if taken is True:
                    caller.GetCommand(held[0]).SetAbortFlag(1)

            held.append(interactor.AddObserver(name, on_event, 1.0))
            self._view_observers.append((interactor, held[0]))
        node, event = view.mrmlAbstractViewNode(), vtk.vtkCommand.ModifiedEvent

        def on_node(caller: Any, _: str) -> None:
            if self._active is not None:
                self._active._call("processViewNodeEvents", caller, int(event), view)

        self._view_observers.append((node, node.AddObserver(event, on_node)))

    def removeViewObservations(self: Any) -> None:  # noqa: N802
        for target, tag in self._view_observers:
            target.RemoveObserver(tag)
        self._view_observers = []

    def installKeyboardShortcuts(self: Any, parent: Any = None) -> None:  # noqa: N802
        self.uninstallKeyboardShortcuts()
        actions = {"Esc": lambda: self.setActiveEffect(None), "Z": self.undo, "Ctrl+Z": self.undo, "Y": self.redo}
        actions |= {
            "Ctrl+Y": self.redo,
            "Space": lambda: self.setActiveEffectByName("" if self._active else self._last),
        }
        # 1 is the first effect that is shown, 0 the tenth; with Shift the ten after those.
        for digit in range(10):
            actions[str(digit)] = functools.partial(self._choose_shown, (digit - 1) % 10)
            actions[f"Shift+{digit}"] = functools.partial(self._choose_shown, (digit - 1) % 10 + 10)
        for key in OWN_KEYS:
            shortcut = QtGui.QShortcut(parent or self)
            shortcut.setKey(QtGui.QKeySequence(key))
            shortcut.connect("activated()", actions.get(key, lambda: None))
            self._keys.append(shortcut)

    def _choose_shown(self: Any, index: int) -> None:
        order = self.__dict__.get("_order", [])
        shown = [button for button in self._effect_buttons() if not button.isHidden()]
        shown.sort(key=lambda one: order.index(one.objectName) if one.objectName in order else len(order))
        if index < len(shown):
            self.setActiveEffectByName(shown[index].objectName)

    def uninstallKeyboardShortcuts(self: Any) -> None:  # noqa: N802
        for shortcut in self._keys:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._keys = []

    # Undo.

    def setMaximumNumberOfUndoStates(self: Any, count: int) -> None:  # noqa: N802
        self.maximumNumberOfUndoStates = count

    def _set_maximumNumberOfUndoStates(self: Any, count: int) -> None:  # noqa: N802
        self._history.SetMaximumNumberOfStates(count)

    def saveStateForUndo(self: Any) -> None:  # noqa: N802
        if self._values["undoEnabled"] and self._values["maximumNumberOfUndoStates"] > 0:
            self._logic.SaveStateForUndo()

    def undo(self: Any) -> None:
        self._logic.Undo()
        self.updateWidgetFromMRML()

    def redo(self: Any) -> None:
        self._logic.Redo()
        self.updateWidgetFromMRML()
