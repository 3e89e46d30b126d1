"""The Slicer module MemSeg3D: metadata, and the widget that shows the panel. All work is done in MemSeg3DLib.

Slicer loads this file when it starts, for every user: the panel and the library are imported on first use.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

if TYPE_CHECKING:
    from MemSeg3DPanel.panel import Panel

__all__ = ["MemSeg3D", "MemSeg3DLogic", "MemSeg3DTest", "MemSeg3DWidget"]

OWN = ("MemSeg3DEffect", "MemSeg3DEffectParts", "MemSeg3DFirstSteps", "MemSeg3DLib", "MemSeg3DLoader", "MemSeg3DPanel")
"""Packages that a reload reads anew."""


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


class MemSeg3DWidget(ScriptedLoadableModuleWidget):
    """The module's widget: the panel, told when it is entered and left and when the scene closes."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.panel: Panel | None = None
        self._entered = False
        self._observers: list[int] = []

    def setup(self) -> None:
        """Called by Slicer when the module is first shown."""
        from MemSeg3DPanel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        self.panel = Panel(self.resourcePath, self.layout)
        scene = slicer.mrmlScene
        for event, action in (
            (scene.StartCloseEvent, self._scene_starts_to_close),
            (scene.EndCloseEvent, self._scene_is_new),
            (scene.EndImportEvent, self._scene_is_new),
        ):
            self._observers.append(scene.AddObserver(event, action))

    def cleanup(self) -> None:
        """Called by Slicer when the module is unloaded."""
        for tag in self._observers:
            slicer.mrmlScene.RemoveObserver(tag)
        self._observers = []
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

    def onReload(self) -> None:
        """The developer's button Reload: every file of this project is read anew, not this one alone."""
        from MemSeg3DPanel.application import application

        self.cleanup()
        application().close()
        for name in [one for one in sys.modules if one.split(".")[0] in OWN]:
            del sys.modules[name]
        # New Segment Editors take the effect as it is now; one that is open keeps its own until Slicer restarts.
        slicer.modules.SegmentEditorMemSeg3DInstance.registerEditorEffect()
        ScriptedLoadableModuleWidget.onReload(self)

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


class MemSeg3DTest(ScriptedLoadableModuleTest):
    """The stories of MemSeg3DFirstSteps.self_test, one a test; where no worker was chosen, that one is skipped.

    Usage: the button "Reload and Test" in developer mode, or `slicer.selfTests["MemSeg3D"]()` in the Python console.
    """

    def setUp(self) -> None:
        """An empty scene, as every test of Slicer starts with."""
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """All tests, in the order in which a reader of the log understands them."""
        from MemSeg3DFirstSteps.self_test import run_all

        run_all(self)

    def test_effect_is_registered(self) -> None:
        """Slicer's own Segment Editor offers the effect."""
        from MemSeg3DFirstSteps.self_test import effect_is_registered

        effect_is_registered(self)

    def test_mouse_modes(self) -> None:
        """In Adjust window/level and in Place a drag leaves no prompt."""
        from MemSeg3DFirstSteps.self_test import mouse_modes

        mouse_modes(self)

    def test_panel_shows_what_is_active(self) -> None:
        """After Esc and with Paint no tool is highlighted."""
        from MemSeg3DFirstSteps.self_test import panel_shows_what_is_active

        panel_shows_what_is_active(self)

    def test_one_round(self) -> None:
        """A box on one slice of the phantom gives its kidney; undo, redo and export do what they say."""
        from MemSeg3DFirstSteps.self_test import one_round

        one_round(self)
