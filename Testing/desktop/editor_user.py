"""Somebody who works in Slicer's own Segment Editor with the effect MemSeg3D, never in the panel."""

from __future__ import annotations

from typing import Any

from desktop.session import Session

from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

Ras = tuple[float, float, float]


class EditorUser:
    """A volume with two segments in the Segment Editor; the effect is active. said: every message since then."""

    def __init__(self, session: Session, volume: Any) -> None:
        self.session = session
        self.volume = volume
        self.segmentation = add_segmentation(session.scene, volume)
        self.ids = [add_segment(self.segmentation, name) for name in ("one", "two")]
        session.show_volume(volume)
        self.editor = session.show_module("SegmentEditor").editor
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(volume)
        self.editor.setCurrentSegmentID(self.ids[0])
        self.editor.setActiveEffectByName("MemSeg3D")
        self.said: list[str] = []
        self.bench.message.connect(lambda message: self.said.append(message.text))

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
    def effect(self) -> Any:
        """This editor's copy of the effect, active or not."""
        return self.editor.effectByName("MemSeg3D")

    @property
    def options(self) -> Any:
        """What the effect shows below its button."""
        return self.effect.self().work.options

    def use(self, worker: LocalWorker) -> None:
        """Choose a worker that runs already."""
        self.application.choice.set_remote(worker.url, worker.token, allows_plain_text=True)
        self.application.choice.mode = "remote"

    def choose(self, tool: str, sign: str = "positive") -> None:
        """Choose a tool and a sign."""
        self.effect.setParameter("Tool", tool)
        self.effect.setParameter("Sign", sign)

    def world(self, k: float, j: float, i: float) -> Ras:
        """World point of a voxel."""
        return ijk_to_world(self.volume, (k, j, i))

    def click(self, view: str, ras: Ras, **held: bool) -> None:
        """Click with the left button."""
        self.session.click(view, ras=ras, **held)

    def lines(self) -> int:
        """Flat actors in all slice views: the previews that are shown."""
        views = [self.session.view(name) for name in ("Red", "Yellow", "Green")]
        return sum(self.effect.renderer(view).GetActors2D().GetNumberOfItems() for view in views)

    def kinds(self) -> list[tuple[str, bool]]:
        """Kind and sign of every prompt."""
        return [(entry.kind, entry.positive) for entry in self.bench.prompts()]

    def wait(self, seconds: float = 90.0) -> None:
        """Until nothing runs or waits."""
        self.session.pump_until(lambda: not self.bench.busy and not self.bench.waiting, seconds)
        self.session.pump(0.05)
