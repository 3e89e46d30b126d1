"""The segment editor widget: drives effects in Slicer's order, on the real editor logic and its history."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from desktop.standin import errors, scripted_effect
from desktop.standin.generated import behaves, emit, stand_in
from desktop.standin.node_widgets import Observing
from desktop.standin.segment_editor_input import SegmentEditorInput
from PySide6 import QtCore, QtWidgets

alive: list[Any] = []
"""Every segment editor of the session: when one is destroyed, its clones are told last of all."""


def destroy_all() -> None:
    """What C++ does when the widgets go: each editor's clones get their cleanup(), after Slicer has said it quits."""
    while alive:
        for effect in alive.pop()._effects:
            effect.cleanup()


@behaves("qMRMLSegmentEditorWidget")
class SegmentEditorWidget(Observing, SegmentEditorInput):
    """Clones of the registered effects, one editor node, one history."""

    def _begin(self: Any) -> None:
        self._node: Any = None
        self._segmentation: Any = None
        self._volume: Any = None
        self._segment_id = ""
        self._active: Any = None
        self._last = ""
        self._view_observers: list[tuple[Any, int]] = []
        self._keys: list[Any] = []
        self._updating = False
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._history = slicer.vtkSegmentationHistory()
        self._values.update(
            {"undoEnabled": True, "maximumNumberOfUndoStates": 0, "segmentationNodeSelectorVisible": True}
        )
        self._values.update({"sourceVolumeNodeSelectorVisible": True, "autoShowSourceVolumeNode": True})
        self._column = QtWidgets.QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._table = stand_in("qMRMLSegmentsTableView")()
        self._column.addWidget(self._table)
        self._table.connect("selectionChanged(QItemSelection,QItemSelection)", lambda *_: self._on_table())
        self._buttons = QtWidgets.QHBoxLayout()
        self._column.addLayout(self._buttons)
        self._effects: list[Any] = []
        self.updateEffectList()
        alive.append(self)

    # Effects.

    def updateEffectList(self: Any) -> None:  # noqa: N802
        known = {one.name for one in self._effects}
        for registered in stand_in("qSlicerSegmentEditorEffectFactory").instance().registeredEffects():
            if registered.name in known:
                continue
            clone = registered._clone()
            clone._editor = self
            self._effects.append(clone)
            if self._node is not None:
                self._prepare(clone)
            clone._call("setupOptionsFrame")
            clone._frame.hide()
            self._column.addWidget(clone._frame)
            button = QtWidgets.QToolButton()
            button.setText(clone.title or clone.name)
            icon = clone._call("icon")
            if icon is not None:
                button.setIcon(icon)
            button.setCheckable(True)
            button.setObjectName(clone.name)
            button.clicked.connect(
                lambda checked=False, name=clone.name: self.setActiveEffectByName(name if checked else "")
            )
            self._buttons.addWidget(button)
        self._show_buttons()

    def _effect_buttons(self: Any) -> list[Any]:
        return [self._buttons.itemAt(index).widget() for index in range(self._buttons.count())]

    def _prepare(self: Any, effect: Any) -> None:
        effect.setParameterSetNode(self._node)
        effect._call("setMRMLDefaults")

    def availableEffectNames(self: Any) -> list[str]:  # noqa: N802
        return [one.name for one in self._effects]

    def effectByName(self: Any, name: str) -> Any:  # noqa: N802
        return next((one for one in self._effects if one.name == name), None)

    def effectCount(self: Any) -> int:  # noqa: N802
        return len(self._effects)

    def effectByIndex(self: Any, index: int) -> Any:  # noqa: N802
        return self._effects[index]

    def setEffectNameOrder(self: Any, names: Any) -> None:  # noqa: N802
        self._order = list(names)
        self._show_buttons()

    def _set_unorderedEffectsVisible(self: Any, value: bool) -> None:  # noqa: N802
        self._show_buttons()

    def _show_buttons(self: Any) -> None:
        order = self.__dict__.get("_order", [])
        is_shown = {
            name: name in order or self._values.get("unorderedEffectsVisible", True)
            for name in self.availableEffectNames()
        }
        for button in self._effect_buttons():
            button.setVisible(is_shown[button.objectName])

    def activeEffect(self: Any) -> Any:  # noqa: N802
        return self._active

    def setActiveEffect(self: Any, effect: Any) -> None:  # noqa: N802
        self.setActiveEffectByName(effect.name if effect is not None else "")

    def setActiveEffectByName(self: Any, name: str) -> None:  # noqa: N802
        if self._node is None:
            return
        self._node.SetActiveEffectName(name or "")
        self._follow_effect()

    def _follow_effect(self: Any) -> None:
        wanted = self.effectByName(self._node.GetActiveEffectName() or "") if self._node is not None else None
        if wanted is not None and (self._segmentation is None or self._volume is None):
            wanted = None
        if wanted is self._active:
            return
        if self._active is not None:
            self._last = self._active.name
            self._active.deactivate()
            self._active._frame.hide()
            self.removeViewObservations()
        self._active = None
        if wanted is None:
            return
        if not self._logic.SetSourceRepresentationToBinaryLabelMap():
            errors.note("the segmentation cannot be made a binary labelmap")
            return
        self._active = wanted
        self.setupViewObservations()
        interaction = slicer.modules.memseg3d_application.GetInteractionNode()
        if interaction is not None:
            interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.ViewTransform)
        wanted._frame.show()
        wanted.activate()

    # Nodes.

    def setMRMLScene(self: Any, scene: Any) -> None:  # noqa: N802
        self._scene = scene
        self._logic.SetMRMLScene(scene)
        emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)

    def setMRMLSegmentEditorNode(self: Any, node: Any) -> None:  # noqa: N802
        if node is self._node:
            return
        self._let_go()
        if node is None and self._active is not None:
            self._active.deactivate()
            self._active._frame.hide()
            self._active = None
            self.removeViewObservations()
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        if node is not None:
            self._observe(node, vtk.vtkCommand.ModifiedEvent, lambda *_: self.updateWidgetFromMRML())
            self._observe(node, node.EffectParameterModified, lambda *_: self._on_parameter())
            for effect in self._effects:
                self._prepare(effect)
            interaction = slicer.modules.memseg3d_application.GetInteractionNode()
            if interaction is not None:
                event = slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent
                self._observe(interaction, event, lambda *_: self._on_interaction(interaction))
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self: Any) -> Any:  # noqa: N802
        return self._node

    def _on_parameter(self: Any) -> None:
        for effect in self._effects:
            effect.updateGUIFromMRML()

    def _on_interaction(self: Any, node: Any) -> None:
        if self._active is not None:
            scripted_effect.interaction_default(self._active, node)

    def updateWidgetFromMRML(self: Any) -> None:  # noqa: N802
        if self._updating:
            return
        self._updating = True
        try:
            self._follow_segmentation()
            self._follow_volume()
            self._follow_segment()
            self._follow_effect()
        finally:
            self._updating = False

    def _follow_segmentation(self: Any) -> None:
        node = self._node.GetSegmentationNode() if self._node is not None else None
        if node is self._segmentation:
            return
        # Another segmentation: the effect is put away and every undo state goes.
        if self._node is not None and self._active is not None:
            self._node.SetActiveEffectName("")
            self._follow_effect()
        self._segmentation = node
        self._history = slicer.vtkSegmentationHistory()
        self._history.SetMaximumNumberOfStates(self._values["maximumNumberOfUndoStates"])
        self._history.SetSegmentation(node.GetSegmentation() if node is not None else None)
        self._logic.SetSegmentationHistory(self._history)
        self._table.setSegmentationNode(node)
        emit(self, "segmentationNodeChanged(vtkMRMLSegmentationNode*)", node)
        for effect in self._effects:
            effect._call("referenceGeometryChanged")

    def _follow_volume(self: Any) -> None:
        volume = self._node.GetSourceVolumeNode() if self._node is not None else None
        if volume is self._volume:
            return
        self._volume = volume
        if (
            volume is not None
            and self._segmentation is not None
            and self._segmentation.GetNodeReference(
                slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
            )
            is None
        ):
            self._segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        emit(self, "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", volume)
        for effect in self._effects:
            effect._call("sourceVolumeNodeChanged")

    def _follow_segment(self: Any) -> None:
        ids = [] if self._segmentation is None else list(self._segmentation.GetSegmentation().GetSegmentIDs())
        wanted = (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""
        if wanted not in ids:
            wanted = str(ids[0]) if ids else ""
            if self._node is not None:
                self._node.SetSelectedSegmentID(wanted)
        if wanted != self._segment_id:
            self._segment_id = wanted
            self._table.setSelectedSegmentIDs([wanted] if wanted else [])
            emit(self, "currentSegmentIDChanged(QString)", wanted)

    def _on_table(self: Any) -> None:
        selected = self._table.selectedSegmentIDs()
        if selected and self._node is not None and not self._updating:
            self.setCurrentSegmentID(selected[0])

    def setSegmentationNode(self: Any, node: Any) -> None:  # noqa: N802
        if self._node is not None:
            self._node.SetAndObserveSegmentationNode(node)
            self.updateWidgetFromMRML()

    def segmentationNode(self: Any) -> Any:  # noqa: N802
        return self._segmentation

    def segmentationNodeID(self: Any) -> str:  # noqa: N802
        return str(self._segmentation.GetID()) if self._segmentation is not None else ""

    def setSourceVolumeNode(self: Any, node: Any) -> None:  # noqa: N802
        if self._segmentation is None and node is not None:
            errors.note("setSourceVolumeNode: a segmentation must be chosen first")
        if self._node is not None:
            self._node.SetAndObserveSourceVolumeNode(node)
            self.updateWidgetFromMRML()

    def sourceVolumeNode(self: Any) -> Any:  # noqa: N802
        return self._volume

    def sourceVolumeNodeID(self: Any) -> str:  # noqa: N802
        return str(self._volume.GetID()) if self._volume is not None else ""

    def setCurrentSegmentID(self: Any, segment_id: str) -> None:  # noqa: N802
        if self._node is not None:
            self._node.SetSelectedSegmentID(segment_id)
            self.updateWidgetFromMRML()

    def currentSegmentID(self: Any) -> str:  # noqa: N802
        return str(self._segment_id)

    def setInteractionNode(self: Any, node: Any) -> None:  # noqa: N802
        """The application's one is followed."""

    def rotateSliceViewsToSegmentation(self: Any) -> None:  # noqa: N802
        for name in slicer.app.layoutManager().sliceViewNames():
            slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().RotateToVolumePlane(self._volume)

    def sizeHint(self: Any) -> QtCore.QSize:  # noqa: N802
        return QtCore.QSize(360, 240)
