"""Measurements of each segment, to be read and copied; measured off the main thread, on copies."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from MemSeg3DLib.base.background import Task, TaskControl
from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.segments.measurements import MeasureJob, SegmentMeasurement, as_table, prepare_measurement
from MemSeg3DPanel.rows import Row, Rows
from MemSeg3DPanel.section import Context, Section, guarded


class MeasureSection(Section):
    """A table with one row a segment: mL, diameters, mean and standard deviation."""

    def __init__(self, context: Context, host: Any) -> None:
        super().__init__(context, "Measure.ui", host)
        titles = [_("Segment"), _("mL"), _("Long mm"), _("Perp mm"), _("Slice"), _("Mean"), _("SD"), _("Unit")]
        self._rows = Rows(self.ui.measureTree, titles)
        self._button = host.parentWidget()
        self._task: Task[list[SegmentMeasurement]] | None = None
        self._shown: list[SegmentMeasurement] = []
        self.on(self.ui.measureNowButton, "clicked()", self.measure)
        self.on(self.ui.copyButton, "clicked()", self._copy)
        self._stop_listening = self.workbench.round_finished.connect(self._round_finished)

    def show(self) -> None:
        """Only the buttons follow; numbers change when something is measured."""
        self.ui.measureNowButton.setEnabled(self.workbench.segmentation_node is not None and self._task is None)
        self.ui.copyButton.setEnabled(bool(self._shown))

    def measure(self) -> None:
        """Measure every segment as it is now."""
        volume, segmentation = self.workbench.volume_node, self.workbench.segmentation_node
        if volume is None or segmentation is None:
            raise SceneError(_("Choose a volume first."))
        if self._task is not None:
            return
        segments = segmentation.GetSegmentation().GetSegmentIDs()
        jobs = [prepare_measurement(segmentation, segment, volume) for segment in segments]
        self._task = Task(lambda control: _measured(control, jobs), "memseg3d-measure")
        self._task.finished.connect(self._show_rows)
        self._task.failed.connect(lambda error: self.context.say("error", str(error)))
        self.context.application.hurry(lambda: self._task is not None)
        self.show()

    def tick(self) -> None:
        """Look whether the measuring is done."""
        if self._task is not None and not self._task.poll():
            self._task = None
            self.show()

    def close(self) -> None:
        """Nobody waits for it any more."""
        self._stop_listening()
        if self._task is not None:
            self._task.cancel()

    def _round_finished(self, _result: object) -> None:
        # A table that nobody sees is not worth a copy of the voxels.
        if self.ui.measureLiveBox.checked and not self._button.collapsed:
            guarded(self.context.say, self.measure)()

    def _show_rows(self, measured: list[SegmentMeasurement]) -> None:
        self._shown = measured
        self._rows.show([Row(str(number), one.cells()) for number, one in enumerate(measured)])

    def _copy(self) -> None:
        qt.QApplication.clipboard().setText(as_table(self._shown))
        self.context.say("info", _("The table is in the clipboard."))


def _measured(control: TaskControl, jobs: list[MeasureJob]) -> list[SegmentMeasurement]:
    measured = []
    for job in jobs:
        control.check()
        measured.append(job.run())
    return measured
