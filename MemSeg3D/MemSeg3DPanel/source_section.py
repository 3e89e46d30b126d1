"""The first two steps: which volume is segmented, and where it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from MemSeg3DPanel.section import Context, guarded
from MemSeg3DPanel.segments_section import SegmentsSection
from MemSeg3DPanel.views import align_views, volume_on_screen
from MemSeg3DPanel.window_presets import apply_preset, presets


class SourceSection:
    """Volume selector with window presets, and the line that says where the segmentation is computed.

    choose_worker: called with "local" or "remote" by the buttons of the second step, with "" by Change.
    """

    def __init__(
        self, context: Context, ui: Any, segments: SegmentsSection, choose_worker: Callable[[str], None]
    ) -> None:
        self._context = context
        self._ui = ui
        self._segments = segments
        self._presets = presets()
        ui.volumeSelector.setMRMLScene(slicer.mrmlScene)
        ui.windowSelector.addItem(_("Window"))
        for preset in self._presets:
            ui.windowSelector.addItem(preset.title)
        connections: list[tuple[Any, str, Callable[..., object]]] = [
            (ui.volumeSelector, "currentNodeChanged(vtkMRMLNode*)", self._volume_chosen),
            (ui.windowSelector, "activated(int)", self._window_chosen),
            (ui.alignButton, "clicked()", self._align),
            (ui.hereButton, "clicked()", lambda: choose_worker("local")),
            (ui.elsewhereButton, "clicked()", lambda: choose_worker("remote")),
            (ui.whereButton, "clicked()", lambda: choose_worker("")),
        ]
        for widget, signal, action in connections:
            widget.connect(signal, guarded(context.say, action))

    def show(self) -> None:
        """Follow the Workbench's volume, and say where it runs."""
        volume = self._context.workbench.volume_node
        if volume is not None and self._ui.volumeSelector.currentNode() is not volume:
            self._ui.volumeSelector.setCurrentNode(volume)
        choice = self._context.application.choice
        undecided = choice.mode == "none"
        self._ui.hereButton.setVisible(undecided)
        self._ui.elsewhereButton.setVisible(undecided)
        self._ui.whereButton.setVisible(not undecided)
        self._ui.whereLabel.setText(_("Choose:") if undecided else choice.describe())
        self._ui.whereLabel.setToolTip(self._ui.whereLabel.text)
        for widget in (self._ui.windowSelector, self._ui.alignButton):
            widget.setEnabled(volume is not None)

    def enter(self) -> None:
        """The module is shown: where no volume is chosen yet, the one on screen is meant."""
        if self._context.workbench.volume_node is None:
            self._volume_chosen(self._ui.volumeSelector.currentNode() or volume_on_screen())

    def scene_closes(self) -> None:
        """The scene is about to be closed, and every volume with it."""
        self._ui.volumeSelector.setCurrentNode(None)

    def _volume_chosen(self, node: Any) -> None:
        # While a scene is read, nodes come one by one, and the segmentation of this volume perhaps last.
        # A selector may still show a volume of the scene that was just closed.
        if node is not None and node.GetScene() is not None and not slicer.mrmlScene.IsBatchProcessing():
            self._segments.choose_volume(node)

    def _window_chosen(self, index: int) -> None:
        volume = self._ui.volumeSelector.currentNode()
        if index > 0 and volume is not None:
            apply_preset(volume, self._presets[index - 1])
        self._ui.windowSelector.setCurrentIndex(0)

    def _align(self) -> None:
        align_views(self._ui.volumeSelector.currentNode())
