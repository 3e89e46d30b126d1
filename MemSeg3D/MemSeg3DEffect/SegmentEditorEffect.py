"""The effect MemSeg3D of the Segment Editor, as Slicer drives it; what it does is EffectWork's, made on first use.

Slicer runs this file as a module named after its folder, so only absolute imports work here. Slicer loads it when it
starts, for every user: nothing of the library is imported before the effect is chosen. Every Segment Editor has a clone
that may vanish at any time: none holds a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from MemSeg3DEffectParts.effect_work import EffectWork

NAME = "MemSeg3D"
ICON = Path(__file__).resolve().parent.parent / "Resources" / "Icons" / "SegmentEditorMemSeg3D.svg"


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Draws prompts in slice views: left button; with Alt the other sign. work: None until it is first chosen."""

    def __init__(self, scriptedEffect: Any) -> None:
        scriptedEffect.name = NAME
        scriptedEffect.title = NAME
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.work: EffectWork | None = None
        self._holder: Any = None

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
        from MemSeg3DPanel.tools import DEFAULT_TOOL, POSITIVE, SIGN, TOOL

        self.scriptedEffect.setParameterDefault(TOOL, DEFAULT_TOOL)
        self.scriptedEffect.setParameterDefault(SIGN, POSITIVE)

    def setupOptionsFrame(self) -> None:
        """An empty place for the options of Slicer's own Segment Editor: most editors never use the effect."""
        self._holder = qt.QWidget()
        qt.QVBoxLayout(self._holder).setContentsMargins(0, 0, 0, 0)
        self.scriptedEffect.addOptionsWidget(self._holder)

    def updateGUIFromMRML(self) -> None:
        """Show tool and sign."""
        if self.work is not None:
            self.work.show()

    def updateMRMLFromGUI(self) -> None:
        """Nothing: every widget stores its own parameter."""

    def activate(self) -> None:
        """From now on the mouse draws; in the panel the keys are the panel's."""
        if self.work is None:
            from MemSeg3DEffectParts.effect_work import EffectWork

            self.work = EffectWork(self.scriptedEffect, self._holder)
        self.work.activate()

    def deactivate(self) -> None:
        """No line stays in any view. A run goes on: it is not this effect's."""
        if self.work is not None:
            self.work.deactivate()

    def cleanup(self) -> None:
        """This clone goes with its editor; an effect that was never chosen leaves nothing, and makes nothing now."""
        if self.work is not None:
            self.work.close()

    def interactionNodeModified(self, interactionNode: Any) -> None:
        """Another mouse mode has the mouse until it is left; the effect stays chosen, what was begun is dropped."""
        if self.work is not None and interactionNode.GetCurrentInteractionMode() != interactionNode.ViewTransform:
            self.work.pointer.drop()

    def sourceVolumeNodeChanged(self) -> None:
        """What was begun on another volume means nothing on this one."""
        if self.work is not None:
            self.work.volume_changed()

    def processInteractionEvents(self, callerInteractor: Any, eventId: int, viewWidget: Any) -> bool:
        """Whether the event was ours; False leaves it to markups and views."""
        return self.work is not None and self.work.handle(callerInteractor, eventId, viewWidget)

    def processViewNodeEvents(self, callerViewNode: Any, eventId: int, viewWidget: Any) -> None:
        """Lines follow the image when a view is moved or zoomed."""
        if self.work is not None and callerViewNode.IsA("vtkMRMLSliceNode"):
            self.work.pointer.view_changed(callerViewNode)
