"""The effect MemSeg3D of the Segment Editor, as Slicer drives it: the mouse is the Pointer's, runs are the Workbench's.

Slicer runs this file as a module named after its folder, so only absolute imports work here. Every Segment Editor has a
clone of the effect that may vanish at any time: none holds a run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

from MemSeg3DEffectParts.options_frame import OptionsFrame
from MemSeg3DEffectParts.pointer import Pointer, PointerCallbacks, Target
from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.prompts.prompts import Prompt
from MemSeg3DLib.rounds.messages import Level
from MemSeg3DLib.rounds.workbench import Message, Workbench
from MemSeg3DLib.scene.readiness import Obstacle, share_transform
from MemSeg3DPanel.application import application
from MemSeg3DPanel.shortcuts import Shortcuts
from MemSeg3DPanel.tools import DEFAULT_TOOL, EDITOR_TAG, EFFECT_NAME, NEGATIVE, POSITIVE, SIGN, TOOL, tools

ICON = Path(__file__).resolve().parent.parent / "Resources" / "Icons" / "SegmentEditorMemSeg3D.svg"
MESSAGE_MILLISECONDS = 8000


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Draws prompts in slice views: left button; with Alt the other sign."""

    def __init__(self, scriptedEffect: Any) -> None:
        scriptedEffect.name = EFFECT_NAME
        scriptedEffect.title = EFFECT_NAME
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self._options: OptionsFrame | None = None
        self._shortcuts = Shortcuts()
        self._observed: tuple[Any, int] | None = None
        self._last_segment: str | None = None
        self._obstacle: Obstacle | None = None
        callbacks = PointerCallbacks(
            tool=self._tool,
            is_negative=self._is_negative,
            limits=lambda segment_id: self._bench().limits(segment_id),
            add=self._add,
            hint=lambda prompt: self._bench().hint(prompt),
            say=self._say,
            obstacle=self._show_obstacle,
        )
        self._pointer = Pointer(scriptedEffect, callbacks)

    def clone(self) -> Any:
        """A new effect for one more Segment Editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        effect = effects.qSlicerSegmentEditorScriptedEffect(None)
        effect.setPythonSource(Path(__file__).as_posix())
        return effect

    def icon(self) -> Any:
        """The icon of the effect's button."""
        return qt.QIcon(ICON.as_posix()) if ICON.is_file() else qt.QIcon()

    def helpText(self) -> str:
        """What the user reads beside the effect."""
        return _(
            "<html>Draw a box round an object on one slice, or click on it: it is followed through the other slices, "
            "and each further prompt corrects it. With <b>Alt</b> a point, scribble or lasso says the opposite; "
            "<b>Backspace</b> takes back the last of the extreme points. Where it runs, its rounds and its exports are "
            "in the module MemSeg3D. <b>Research use only, not for clinical use.</b></html>"
        )

    def createCursor(self, viewWidget: Any) -> Any:
        """A cross: a click means one place."""
        return qt.QCursor(qt.Qt.CrossCursor)

    def setMRMLDefaults(self) -> None:
        """Tool and sign of an editor that has none yet."""
        self.scriptedEffect.setParameterDefault(TOOL, DEFAULT_TOOL)
        self.scriptedEffect.setParameterDefault(SIGN, POSITIVE)

    def setupOptionsFrame(self) -> None:
        """The options of Slicer's own Segment Editor; the panel has its own and hides these."""
        self._options = OptionsFrame(self._bench(), self._set, self._share_transform)
        self.scriptedEffect.addOptionsWidget(self._options.widget)

    def updateGUIFromMRML(self) -> None:
        """Show tool and sign; what was begun with another tool is dropped."""
        if self._tool() != self._pointer.tool:
            self._pointer.drop()
        if self._options is not None:
            self._options.widget.setVisible(not self._is_in_panel())
            self._options.show(self._tool(), NEGATIVE if self._is_negative() else POSITIVE)

    def updateMRMLFromGUI(self) -> None:
        """Nothing: every widget stores its own parameter."""

    def activate(self) -> None:
        """From now on the mouse draws; in the panel the keys are the panel's."""
        node = self.scriptedEffect.parameterSetNode()
        self._last_segment = node.GetSelectedSegmentID()
        self._observed = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._editor_changed))
        self._select()
        self.updateGUIFromMRML()
        if not self._is_in_panel():
            self._install_keys()

    def deactivate(self) -> None:
        """No line stays in any view. A run goes on: it is not this effect's."""
        self._shortcuts.remove()
        self._pointer.drop()
        if self._observed is not None:
            node, tag = self._observed
            node.RemoveObserver(tag)
            self._observed = None

    def cleanup(self) -> None:
        """This clone goes with its editor."""
        self.deactivate()
        if self._options is not None:
            self._options.close()
        if self._bench().save_state == self._save_state:
            self._bench().save_state = None

    def interactionNodeModified(self, interactionNode: Any) -> None:
        """Nothing: a markup that is being placed elsewhere is no reason to leave the effect."""

    def sourceVolumeNodeChanged(self) -> None:
        """What was begun on another volume means nothing on this one."""
        self._pointer.drop()
        if self.scriptedEffect.active():
            self._select()

    def processInteractionEvents(self, callerInteractor: Any, eventId: int, viewWidget: Any) -> bool:
        """Whether the event was ours; False leaves it to markups and views."""
        return self._pointer.handle(callerInteractor, eventId, viewWidget)

    def processViewNodeEvents(self, callerViewNode: Any, eventId: int, viewWidget: Any) -> None:
        """Lines follow the image when a view is moved or zoomed."""
        if callerViewNode.IsA("vtkMRMLSliceNode"):
            self._pointer.view_changed(callerViewNode)

    def _bench(self) -> Workbench:
        return application().workbench

    def _add(self, target: Target, prompt: Prompt) -> None:
        # Another editor may have been at work since this one was activated.
        self._select()
        self._bench().add(prompt)
        application().hurry()

    def _select(self) -> None:
        """Tell the Workbench what this editor is working on; a run on something else goes on."""
        node = self.scriptedEffect.parameterSetNode()
        volume, segmentation = node.GetSourceVolumeNode(), node.GetSegmentationNode()
        if volume is not None and segmentation is not None:
            self._bench().select(volume, segmentation, node.GetSelectedSegmentID() or None, node)
            # In the panel, the panel's own editor is asked.
            if not self._is_in_panel():
                self._bench().save_state = self._save_state

    def _save_state(self) -> None:
        """One step of this editor's own undo for a whole run."""
        if self.scriptedEffect.parameterSetNode() is not None:
            self.scriptedEffect.saveStateForUndo()

    def _editor_changed(self, *_event: object) -> None:
        """Another segment is selected: a negative sign was meant for the one before."""
        node = self.scriptedEffect.parameterSetNode()
        segment_id = None if node is None else node.GetSelectedSegmentID()
        if segment_id != self._last_segment:
            self._last_segment = segment_id
            self._pointer.drop()
            self._set(SIGN, POSITIVE)
            self._select()

    def _install_keys(self) -> None:
        handlers: dict[str, Callable[[], object]] = {
            "run": self._bench().run,
            "cancel": self._bench().cancel,
            "flip_sign": self._flip_sign,
            "undo_round": self._bench().undo,
            "redo_round": self._bench().redo,
        }
        for tool in tools():
            handlers[f"tool_{tool.id}"] = functools.partial(self._set, TOOL, tool.id)
        self._shortcuts.install({name: self._guarded(action) for name, action in handlers.items()})

    def _guarded(self, action: Callable[[], object]) -> Callable[[], None]:
        """The action as a slot: nobody catches what a slot raises, so the project's own errors become messages."""

        def slot() -> None:
            try:
                action()
            except MemSeg3DError as error:
                self._say("error", str(error))

        return slot

    def _share_transform(self) -> None:
        node = self.scriptedEffect.parameterSetNode()
        share_transform(node.GetSegmentationNode(), node.GetSourceVolumeNode())
        self._show_obstacle(None)

    def _show_obstacle(self, obstacle: Obstacle | None) -> None:
        if obstacle != self._obstacle:
            self._obstacle = obstacle
            # Nodes change without telling the Workbench; the panel offers the remedy only when it looks again.
            self._bench().changed.emit(None)
        if self._options is not None:
            self._options.offer_remedy(obstacle is not None and obstacle.other_transform)

    def _is_in_panel(self) -> bool:
        node = self.scriptedEffect.parameterSetNode()
        return node is not None and node.GetSingletonTag() == EDITOR_TAG

    def _set(self, name: str, value: str) -> None:
        self.scriptedEffect.setParameter(name, value)

    def _flip_sign(self) -> None:
        self._set(SIGN, POSITIVE if self._is_negative() else NEGATIVE)

    def _is_negative(self) -> bool:
        return self._parameter(SIGN, POSITIVE) == NEGATIVE

    def _tool(self) -> str:
        return self._parameter(TOOL, DEFAULT_TOOL)

    def _parameter(self, name: str, default: str) -> str:
        if self.scriptedEffect.parameterSetNode() is None or not self.scriptedEffect.parameterDefined(name):
            return default
        return str(self.scriptedEffect.parameter(name)) or default

    def _say(self, level: Level, text: str) -> None:
        self._bench().message.emit(Message(level, text))
        slicer.util.showStatusMessage(text, MESSAGE_MILLISECONDS)
