"""The user of the stories: opens the module, loads a volume, draws, waits, looks; by widgets, views and keys alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from desktop.session import Session
from lib.scenes import make_volume, voxels_of

from MemSeg3DLib.worker.connection.local_worker import LocalWorker

LONG = (80, 32, 32)
"""(k, j, i) of the volume of the stories: long enough that something can happen in mid-run."""


class Clinician:
    """Works with the panel in one session. volume, segmentation: what is worked on."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.messages: list[tuple[str, str]] = []
        self.slices: list[Any] = []
        self.volume: Any = None
        self.open_panel()
        self.bench.message.connect(lambda message: self.messages.append((message.level, message.text)))
        self.bench.slice_written.connect(self.slices.append)

    # What there is.

    @property
    def application(self) -> Any:
        """The module's own application object."""
        from MemSeg3DPanel.application import application

        return application()

    @property
    def bench(self) -> Any:
        """The one Workbench."""
        return self.application.workbench

    @property
    def ui(self) -> Any:
        """Widgets of the panel's frame by name."""
        return self.panel.ui

    @property
    def editor(self) -> Any:
        """The panel's segment editor widget."""
        return self.panel.segments.editor

    @property
    def segmentation(self) -> Any:
        """The segmentation that is worked on."""
        return self.bench.segmentation_node

    @property
    def segment_id(self) -> str:
        """The selected segment."""
        return str(self.bench.segment_id)

    def widget(self, name: str) -> Any:
        """A widget of the panel by its name, whichever part it lies in."""
        return slicer.util.findChild(self.panel.widget, name)

    def voxels(self, segment_id: str | None = None) -> np.ndarray:
        """A segment (k, j, i), by default the selected one."""
        return voxels_of(self.volume, self.segmentation, segment_id or self.segment_id)

    def texts(self, level: str) -> str:
        """Everything that was said on one level."""
        return "\n".join(text for said, text in self.messages if said == level)

    # What the user does.

    def open_panel(self) -> None:
        """Go to the module."""
        self.panel = self.session.show_module("MemSeg3D").panel

    def use(self, worker: LocalWorker) -> None:
        """Choose a worker that runs already, as one of the hospital's."""
        self.application.choice.set_remote(worker.url, worker.token, allows_plain_text=True)
        self.application.choice.mode = "remote"

    def use_this_computer(self, environment: Path, model: Path) -> None:
        """Choose this computer, with an environment that somebody has installed."""
        self.application.choice.set_local(device="cpu", model=str(model), threads=1, installed=environment)
        self.application.choice.mode = "local"

    def load(self, shape: tuple[int, int, int] = LONG) -> Any:
        """A volume of noise comes into the scene, on screen and into the panel."""
        rng = np.random.default_rng(5)
        voxels = rng.integers(0, 500, shape).astype(np.int16)
        return self.show(make_volume(voxels, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), name="CT"))

    def show(self, volume: Any) -> Any:
        """Show a volume and choose it in the panel."""
        self.volume = volume
        self.session.show_volume(volume)
        self.ui.volumeSelector.setCurrentNode(volume)
        self.session.pump(0.05)
        return volume

    def ras(self, k: float, j: float, i: float) -> tuple[float, float, float]:
        """World point of a voxel."""
        from MemSeg3DLib.scene.nodes import ijk_to_world

        return ijk_to_world(self.volume, (k, j, i))

    def tool(self, name: str) -> None:
        """Press a tool's button."""
        self.widget(f"{name}ToolButton").click()

    def box(self, k: int = 60, lower: Sequence[float] = (8, 8), upper: Sequence[float] = (24, 24)) -> None:
        """Drag a box on an axial slice."""
        self.tool("box")
        self.session.drag("Red", [self.ras(k, *lower), self.ras(k, *upper)])

    def point(self, k: int, j: float, i: float, **modifiers: Any) -> None:
        """Click on an axial slice."""
        self.tool("point")
        self.session.click("Red", ras=self.ras(k, j, i), **modifiers)

    def wait(self, seconds: float = 90.0) -> None:
        """Until nothing runs or waits."""
        self.session.pump_until(lambda: not self.bench.busy and not self.bench.waiting, seconds)
        # What changed in this turn of the loop is shown in the next.
        self.session.pump(0.05)

    def wait_for_slices(self, count: int = 3) -> None:
        """Until so many more slices have come, with the run still going on."""
        wanted = len(self.slices) + count
        self.wait_until(lambda: len(self.slices) >= wanted)
        assert self.bench.busy, "the run was over before anything could happen in it"

    def wait_until_given_up(self) -> None:
        """Until the first run has ended, which must be before its last slice."""
        self.wait_until(lambda: not self.bench.busy, 20)
        assert len(self.slices) < LONG[0], "the run went on to its end"

    def wait_until(self, condition: Callable[[], bool], seconds: float = 90.0) -> None:
        """Until a condition holds."""
        self.session.pump_until(condition, seconds)

    def paint(self, editor: Any, segment_id: str, k: int, side: int = 4) -> np.ndarray:
        """Paint a square on one slice with Slicer's own Paint, as that effect writes; the square (k, j, i)."""
        effect = editor.effectByName("Paint")
        editor.setActiveEffectByName("Paint")
        editor.setCurrentSegmentID(segment_id)
        effect.saveStateForUndo()
        image = effect.defaultModifierLabelmap()
        square = np.zeros(slicer.util.arrayFromVolume(self.volume).shape, bool)
        square[k, :side, :side] = True
        i0, i1, j0, j1, k0, k1 = image.GetExtent()
        from vtk.util.numpy_support import vtk_to_numpy

        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
        values[square] = 1
        image.Modified()
        effect.modifySelectedSegmentByLabelmap(image, slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeAdd)
        return square
