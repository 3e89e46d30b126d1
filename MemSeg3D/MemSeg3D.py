"""The Slicer module MemSeg3D: metadata, and the widget that shows the panel. All work is done in MemSeg3DLib."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from MemSeg3DLoader.library import load_library

load_library()

from MemSeg3DFirstSteps.self_test import MemSeg3DTest  # noqa: E402
from MemSeg3DPanel.panel import Panel  # noqa: E402

__all__ = ["MemSeg3D", "MemSeg3DLogic", "MemSeg3DTest", "MemSeg3DWidget"]


class MemSeg3D(ScriptedLoadableModule):
    """What Slicer's module list tells of this module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("MemSeg3D")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Markups", "SegmentEditorMemSeg3D"]
        parent.contributors = ["MemSeg3D contributors"]
        parent.helpText = _(
            "Interactive 3D segmentation: a box or a click on one slice is propagated through the volume by SAM 2's "
            "memory, and corrected round after round. Research use only, not for clinical use."
        )
        parent.acknowledgementText = _("Built on 3D Slicer. Memory propagation follows SAM 2 (arXiv 2408.00714).")


class MemSeg3DWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's widget: the panel, told when it is entered and left and when the scene closes."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel: Panel | None = None
        self._entered = False

    def setup(self) -> None:
        """Called by Slicer when the module is first shown."""
        ScriptedLoadableModuleWidget.setup(self)
        self.panel = Panel(self.resourcePath, self.layout)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._scene_starts_to_close)
        self.addObserver(scene, scene.EndCloseEvent, self._scene_is_new)
        self.addObserver(scene, scene.EndImportEvent, self._scene_is_new)

    def cleanup(self) -> None:
        """Called by Slicer when the module is unloaded."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None

    def enter(self) -> None:
        """Called by Slicer each time the module is shown."""
        self._entered = True
        if self.panel is not None:
            self.panel.enter()

    def exit(self) -> None:
        """Called by Slicer each time another module is shown."""
        self._entered = False
        if self.panel is not None:
            self.panel.exit()

    def _scene_starts_to_close(self, _caller: Any, _event: Any) -> None:
        if self.panel is not None:
            self.panel.scene_closes()

    def _scene_is_new(self, _caller: Any, _event: Any) -> None:
        if self.panel is not None and self._entered:
            self.panel.enter()


class MemSeg3DLogic(ScriptedLoadableModuleLogic):
    """For scripts: the application's Workbench, which does everything that the panel offers.

    Usage: `MemSeg3DLogic().workbench.add(BoxPrompt(segment_id, corner_1, corner_2))`.
    """

    @property
    def workbench(self) -> Any:
        """The application's one MemSeg3DLib.rounds.workbench.Workbench."""
        from MemSeg3DPanel.application import workbench

        return workbench()
