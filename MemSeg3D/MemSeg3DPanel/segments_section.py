"""Slicer's segment editor in the panel, with a parameter node of its own and the effect MemSeg3D."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation
from MemSeg3DPanel.section import Context, guarded
from MemSeg3DPanel.tools import EDITOR_TAG, EFFECT_NAME

UNDO_STATES = 10
EFFECTS = [EFFECT_NAME, "Paint", "Draw", "Erase", "Scissors", "Islands", "Smoothing", "Threshold"]
"""Effects in the panel, in order; Slicer's own module has them all."""


class SegmentsSection:
    """The embedded editor: which volume, segmentation and segment the prompts belong to.

    Slicer's own Segment Editor works on another parameter node, so that neither switches the other's effects, and each
    has its undo history.
    """

    def __init__(self, context: Context, host: Any) -> None:
        self._context = context
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.editor.setMaximumNumberOfUndoStates(UNDO_STATES)
        self.editor.setMRMLScene(slicer.mrmlScene)
        # The order counts: the node comes before anything is selected in it.
        self._use_own_node()
        self.editor.sourceVolumeNodeSelectorVisible = False
        self.editor.switchToSegmentationsButtonVisible = False
        self.editor.setEffectNameOrder(EFFECTS)
        self.editor.unorderedEffectsVisible = False
        host.addWidget(self.editor)
        for signal in (
            "currentSegmentIDChanged(QString)",
            "segmentationNodeChanged(vtkMRMLSegmentationNode*)",
            "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)",
        ):
            self.editor.connect(signal, guarded(context.say, self._tell_workbench))

    @property
    def effect(self) -> Any:
        """This editor's own copy of the effect; None where it is not registered."""
        return self.editor.effectByName(EFFECT_NAME)

    @property
    def active_effect(self) -> str:
        """The name of the effect that has the mouse, for the user; empty where none has."""
        effect = self.editor.activeEffect()
        return "" if effect is None else str(effect.title or effect.name)

    def choose_volume(self, volume_node: Any) -> None:
        """Segment this volume: into its segmentation where it has one, else into a new one with one segment."""
        if volume_node is None or volume_node is self.editor.sourceVolumeNode():
            return
        self.open(volume_node, self._segmentation_of(volume_node))

    def open(self, volume_node: Any, segmentation_node: Any) -> None:
        """Work on this segmentation of this volume."""
        self.editor.setSegmentationNode(segmentation_node)
        self.editor.setSourceVolumeNode(volume_node)
        self.activate()
        self._tell_workbench()

    def activate(self) -> None:
        """Make the effect the active one, where there is something to prompt."""
        if self.editor.segmentationNode() is None:
            return
        if self.effect is None:
            # This editor is older than the effect where MemSeg3D is the start-up module, or was loaded at run time.
            self.editor.updateEffectList()
        if self.effect is None:
            raise SceneError(
                _('The Segment Editor lacks the effect MemSeg3D: enable module "SegmentEditorMemSeg3D", restart.')
            )
        self.editor.setActiveEffectByName(EFFECT_NAME)

    def enter(self) -> None:
        """The module is shown."""
        self._use_own_node()
        self.editor.setupViewObservations()
        # Keys of a widget that is folded away are dead: the window has them, as in Slicer's own module.
        self.editor.installKeyboardShortcuts(slicer.util.mainWindow())
        self.editor.updateWidgetFromMRML()
        # Each run is one step of this editor's own undo.
        self._context.workbench.save_state = self.editor.saveStateForUndo
        self._tell_workbench()
        self.activate()

    def exit(self) -> None:
        """Another module is shown: views and keys are given back; a run goes on."""
        self._context.workbench.save_state = None
        self.editor.setActiveEffect(None)
        self.editor.uninstallKeyboardShortcuts()
        self.editor.removeViewObservations()

    def scene_closes(self) -> None:
        """The scene is about to be closed."""
        self.editor.setSegmentationNode(None)
        self.editor.removeViewObservations()

    def close(self) -> None:
        """The panel goes: its parameter node goes with it."""
        self.exit()
        node = self.editor.mrmlSegmentEditorNode()
        self.editor.setMRMLSegmentEditorNode(None)
        if node is not None and node.GetScene() is not None:
            node.GetScene().RemoveNode(node)

    def _use_own_node(self) -> None:
        node = slicer.mrmlScene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(EDITOR_TAG)
            node = slicer.mrmlScene.AddNode(node)
        if self.editor.mrmlSegmentEditorNode() is not node:
            self.editor.setMRMLSegmentEditorNode(node)

    def _segmentation_of(self, volume_node: Any) -> Any:
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            if node.GetNodeReference(role) is volume_node:
                return node
        node = add_segmentation(
            slicer.mrmlScene, volume_node, _("{volume} segmentation").format(volume=volume_node.GetName())
        )
        add_segment(node, _("Segment 1"))
        return node

    def _tell_workbench(self, *_ignored: object) -> None:
        segmentation = self.editor.segmentationNode()
        self._context.workbench.select(
            self.editor.sourceVolumeNode(),
            segmentation,
            self.editor.currentSegmentID() or None,
            self.editor.mrmlSegmentEditorNode(),
        )
