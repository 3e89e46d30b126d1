"""The self-test that runs inside a real Slicer: phantom, box, segment, undo, redo, export, by the chosen worker."""

from __future__ import annotations

import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export
from MemSeg3DLib.prompts.prompts import BoxPrompt
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation, ijk_to_world
from MemSeg3DLib.scene.sample_phantom import KIDNEY_LEFT, Sample, add_sample, make_sample
from MemSeg3DLib.scene.volume_masks import segment_on_volume
from MemSeg3DPanel.application import application

SECONDS = 300.0
"""The first round of a slow computer, with the start of its worker."""

TURN_MILLISECONDS = 50


class MemSeg3DTest(ScriptedLoadableModuleTest):
    """One story with the worker that the user has chosen; where none was chosen it says so and skips.

    Usage: the button "Reload and Test" in developer mode, or `slicer.selfTests["MemSeg3D"]()` in the Python console.
    """

    def setUp(self) -> None:
        """An empty scene, as every test of Slicer starts with."""
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """All tests, in the order in which a reader of the log understands them."""
        self.setUp()
        self.test_effect_is_registered()
        self.setUp()
        try:
            self.test_one_round()
        except unittest.SkipTest as reason:
            self.delayDisplay(str(reason))

    def test_effect_is_registered(self) -> None:
        """Slicer's own Segment Editor offers the effect."""
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMRMLScene(slicer.mrmlScene)
        self.assertIn("MemSeg3D", widget.availableEffectNames())

    def test_one_round(self) -> None:
        """A box on one slice of the phantom gives its kidney; undo, redo and export do what they say."""
        choice = application().choice
        if choice.mode == "none":
            raise unittest.SkipTest(
                "No worker was chosen: choose in the module MemSeg3D where it runs, and run the test again."
            )
        sample = make_sample()
        volume = add_sample(slicer.mrmlScene, sample)
        segmentation = add_segmentation(slicer.mrmlScene, volume)
        segment_id = add_segment(segmentation, "left kidney")
        bench = application().workbench
        troubles: list[str] = []
        forget = bench.message.connect(
            lambda message: troubles.append(message.text) if message.level == "error" else None
        )
        try:
            bench.select(volume, segmentation, segment_id)
            bench.add(box_of(sample, KIDNEY_LEFT, volume, segment_id))
            if not bench.busy and not bench.waiting:
                bench.run()
            self._wait(lambda: not bench.busy, troubles)
            found = segment_on_volume(segmentation, segment_id, volume)
            agreement = dice(found, sample.truth == KIDNEY_LEFT)
            self.delayDisplay(f"Dice of the kidney after one box: {agreement:.2f}")
            self.assertGreater(agreement, 0.6)
            bench.undo()
            self._wait(lambda: not bench.busy, troubles)
            self.assertEqual(int(segment_on_volume(segmentation, segment_id, volume).sum()), 0)
            bench.redo()
            self._wait(lambda: not bench.busy, troubles)
            self.assertTrue(np.array_equal(segment_on_volume(segmentation, segment_id, volume), found))
            with tempfile.TemporaryDirectory() as folder:
                for kind in (ExportFormat.NIFTI, ExportFormat.SEG_NRRD):
                    written = export(ExportRequest(kind, segmentation, volume, folder=Path(folder), name="kidney"))
                    self.assertTrue(all(file.stat().st_size > 0 for file in written.files))
        except MemSeg3DError as error:
            self.fail(f"MemSeg3D refused: {error}")
        finally:
            forget()
        self.delayDisplay("MemSeg3D: box, segment, undo, redo and export passed.")

    def _wait(self, is_done: Callable[[], bool], troubles: list[str]) -> None:
        """Let Slicer's event loop run, and with it the Workbench's timer, until something is done."""
        until = time.monotonic() + SECONDS
        while not is_done():
            turn, timer = qt.QEventLoop(), qt.QTimer()
            timer.setSingleShot(True)
            timer.connect("timeout()", turn.quit)
            timer.start(TURN_MILLISECONDS)
            turn.exec_()
            if troubles:
                self.fail(f"MemSeg3D says: {troubles[0]}")
            if time.monotonic() > until:
                self.fail(f"Nothing came in {SECONDS:.0f} seconds; the status is: {application().workbench.status}")


def box_of(sample: Sample, label: int, volume_node: Any, segment_id: str) -> BoxPrompt:
    """The box that a careful user draws: round the object on the slice where it is largest."""
    mask = sample.truth == label
    index = int(mask.sum(axis=(1, 2)).argmax())
    rows, columns = np.nonzero(mask[index])
    corners = [(index, rows.min() - 1, columns.min() - 1), (index, rows.max() + 1, columns.max() + 1)]
    one, other = (ijk_to_world(volume_node, (float(k), float(j), float(i))) for k, j, i in corners)
    return BoxPrompt(segment_id, one, other, axis=0)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Agreement of two masks between 0 and 1."""
    return 2.0 * float(np.count_nonzero(one & other)) / max(float(one.sum() + other.sum()), 1.0)
