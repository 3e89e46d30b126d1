"""The hidden module that registers the effect MemSeg3D with Slicer's Segment Editor, and the sample volume."""

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from MemSeg3DLoader.library import load_library

load_library()

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
        slicer.app.connect("startupCompleted()", self.registerEditorEffect)
        slicer.app.connect("startupCompleted()", self.registerSampleData)

    def registerEditorEffect(self) -> None:
        """Make the effect known to every Segment Editor, those of other modules included."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        instance = effects.qSlicerSegmentEditorScriptedEffect(None)
        instance.setPythonSource((HERE / "MemSeg3DEffect" / "SegmentEditorEffect.py").as_posix())
        instance.self().register()

    def registerSampleData(self) -> None:
        """Offer the made-up CT in the Sample Data module."""
        from MemSeg3DFirstSteps.sample_data import register

        register()
