"""Two modules that Slicer always has: Segment Editor, with the editor that users know, and Data, to go elsewhere."""

from __future__ import annotations

from typing import Any

import slicer
from desktop.standin.generated import stand_in


class Module:
    """A module as the module manager knows it. `widget` is made on the first visit."""

    def __init__(self, name: str, path: str, make_widget: Any) -> None:
        self.name = name
        self.path = path
        self._make = make_widget
        self._widget: Any = None

    def widgetRepresentation(self) -> Any:  # noqa: N802
        """The C++ half of the module's widget."""
        if self._widget is None:
            self._widget = self._make()
        return self._widget


class StockWidget:
    """The Python half of a stock module."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent

    def enter(self) -> None:
        """The user comes."""

    def exit(self) -> None:
        """The user goes."""

    def cleanup(self) -> None:
        """Slicer ends."""


class SegmentEditorWidget(StockWidget):
    """Slicer's own Segment Editor: its singleton node, ten undo states, its keys while it is shown."""

    moduleName = "SegmentEditor"  # noqa: N815

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self.editor = stand_in("qMRMLSegmentEditorWidget")()
        self.editor.setMaximumNumberOfUndoStates(10)
        self.editor.setMRMLScene(slicer.mrmlScene)
        parent.layout().addWidget(self.editor)
        scene = slicer.mrmlScene
        self._tags = [
            scene.AddObserver(scene.StartCloseEvent, lambda *_: self._on_start_close()),
            scene.AddObserver(scene.EndCloseEvent, lambda *_: self._on_end_close()),
        ]

    def enter(self) -> None:
        """Take the singleton node and the keys."""
        self._select()
        self.editor.updateEffectList()
        self.editor.updateWidgetFromMRML()
        self.editor.installKeyboardShortcuts(slicer.util.mainWindow())
        self.editor.setupViewObservations()

    def exit(self) -> None:
        """Put the effect away and give the keys back."""
        self.editor.setActiveEffect(None)
        self.editor.uninstallKeyboardShortcuts()
        self.editor.removeViewObservations()

    def cleanup(self) -> None:
        """Let go of everything."""
        self.exit()
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)
        self.editor.setMRMLSegmentEditorNode(None)

    def _select(self) -> None:
        node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag("SegmentEditor")
            node = slicer.mrmlScene.AddNode(node)
        self.editor.setMRMLSegmentEditorNode(node)

    def _on_start_close(self) -> None:
        self.editor.setSegmentationNode(None)
        self.editor.removeViewObservations()
        self.editor.setMRMLSegmentEditorNode(None)

    def _on_end_close(self) -> None:
        if self.parent.isEntered:
            self._select()


class DataWidget(StockWidget):
    """A module where nothing of this project happens."""

    moduleName = "Data"  # noqa: N815
