"""The hidden module that registers the effect MemSeg3D with Slicer's Segment Editor, and the sample volume.

Slicer loads this file when it starts, for every user: what it registers imports the library on first use.
"""

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

HERE = Path(__file__).resolve().parent


class SegmentEditorMemSeg3D(ScriptedLoadableModule):
    """Registers effect and sample once Slicer has started; nothing to see for the user."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = "SegmentEditorMemSeg3D"
        parent.categories = ["Segmentation"]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["MemSeg3D contributors"]
        parent.hidden = True
        parent.helpText = _("This hidden module registers the Segment Editor effect of MemSeg3D.")
        parent.acknowledgementText = _("Part of the MemSeg3D extension. Research use only, not for clinical use.")
        self._effect: Any = None
        window = slicer.util.mainWindow()
        # The window is first shown when everything is loaded: a module that comes later is never told of the start.
        if window is not None and window.visible:
            self.registerEditorEffect()
            self.registerSampleData()
        else:
            slicer.app.connect("startupCompleted()", self.registerEditorEffect)
            slicer.app.connect("startupCompleted()", self.registerSampleData)

    def registerEditorEffect(self) -> None:
        """Make the effect known to every Segment Editor, those of other modules included. Once more: read it anew."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        source = (HERE / "MemSeg3DEffect" / "SegmentEditorEffect.py").as_posix()
        if self._effect is not None:
            self._effect.setPythonSource(source)
            return
        self._effect = effects.qSlicerSegmentEditorScriptedEffect(None)
        self._effect.setPythonSource(source)
        self._effect.self().register()

    def registerSampleData(self) -> None:
        """Offer the made-up CT in the Sample Data module."""
        from MemSeg3DFirstSteps.sample_data import register

        register()
