"""Helpers of the Workbench's tests: prompts on voxels, a timer's patience, and everything that was signalled."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from MemSeg3DLib.prompts.prompts import BoxPrompt, PointPrompt
from MemSeg3DLib.rounds.running.states import RoundResult, SliceWritten
from MemSeg3DLib.rounds.workbench import Message, Workbench
from MemSeg3DLib.scene.nodes import ijk_to_world

OpenBench = Callable[[Path], Workbench]
"""Starts a Workbench with its journals in a folder; see the fixture `open_bench`."""


class Seen:
    """Everything that a Workbench signalled."""

    def __init__(self, bench: Workbench) -> None:
        self.messages: list[Message] = []
        self.rounds: list[RoundResult] = []
        self.slices: list[SliceWritten] = []
        self.ended: list[str] = []
        self.changes = 0
        bench.message.connect(self.messages.append)
        bench.round_finished.connect(self.rounds.append)
        bench.slice_written.connect(self.slices.append)
        bench.run_ended.connect(self.ended.append)
        bench.changed.connect(self._count)

    @property
    def errors(self) -> list[str]:
        """Messages that tell of a failure."""
        return [one.text for one in self.messages if one.level == "error"]

    def _count(self, _: None) -> None:
        self.changes += 1


def box_on(volume: Any, segment_id: str, index: int = 7, low: int = 5, high: int = 14) -> BoxPrompt:
    """A box on one axial slice, by its corners in the world."""
    return BoxPrompt(segment_id, ijk_to_world(volume, (index, low, low)), ijk_to_world(volume, (index, high, high)))


def click_on(volume: Any, segment_id: str, kji: tuple[float, float, float], positive: bool = True) -> PointPrompt:
    """A click on a voxel."""
    return PointPrompt(segment_id, ijk_to_world(volume, kji), positive)


def poll_bench(bench: Workbench, condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll as Slicer's timer does until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        bench.poll()
        time.sleep(0.002)


def run_bench(bench: Workbench, seconds: float = 60.0) -> None:
    """Poll until nothing runs or waits."""
    bench.poll()
    poll_bench(bench, lambda: not bench.busy and not bench.waiting, seconds)


def hand_edit(segmentation: Any, volume: Any, segment_id: str, mask: np.ndarray, erase: bool = False) -> None:
    """Paint or erase through a segment editor of the user's own; mask: boolean over the whole volume (k, j, i)."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(segmentation)
    node.SetAndObserveSourceVolumeNode(volume)
    node.SetSelectedSegmentID(segment_id)
    node.SetOverwriteMode(node.OverwriteNone)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(node)
    logic.ResetModifierLabelmapToDefault()
    modifier = logic.GetModifierLabelmap()
    vtk_to_numpy(modifier.GetPointData().GetScalars()).reshape(mask.shape)[:] = mask
    mode = logic.ModificationModeRemove if erase else logic.ModificationModeAdd
    logic.ModifySegmentByLabelmap(segmentation, segment_id, modifier, mode, True, False)
    logic.SetSegmentEditorNode(None)
    slicer.mrmlScene.RemoveNode(node)
