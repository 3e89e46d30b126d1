"""The stories of MemSeg3DTest, run inside a real Slicer: mouse modes, what the panel shows, a round with its export."""

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
from MemSeg3DPanel.tools import EFFECT_NAME

SECONDS = 300.0
"""The first round of a slow computer, with the start of its worker."""

TURN_MILLISECONDS = 300
"""Longer than the idle timer waits: what nobody tells is shown after it."""


def run_all(case: ScriptedLoadableModuleTest) -> None:
    """Every story, each in an empty scene; what needs a worker is left out, with the reason, where none was chosen."""
    for story in (effect_is_registered, mouse_modes, panel_shows_what_is_active, one_round):
        case.setUp()
        try:
            story(case)
        except unittest.SkipTest as reason:
            case.delayDisplay(str(reason))


def effect_is_registered(case: ScriptedLoadableModuleTest) -> None:
    """Slicer's own Segment Editor offers the effect."""
    widget = slicer.qMRMLSegmentEditorWidget()
    widget.setMRMLScene(slicer.mrmlScene)
    case.assertIn(EFFECT_NAME, widget.availableEffectNames())


def mouse_modes(case: ScriptedLoadableModuleTest) -> None:
    """A drag in Adjust window/level or Place leaves no prompt and no line; the effect stays, and draws afterwards."""
    panel, volume = _panel_with_sample()
    bench = application().workbench
    auto_run, bench.auto_run = bench.auto_run, False
    node = slicer.app.applicationLogic().GetInteractionNode()
    try:
        for mode in (node.AdjustWindowLevel, node.Place):
            node.SetCurrentInteractionMode(mode)
            _drag_a_box(volume)
            case.assertEqual(bench.prompts(), [], "the mouse is not the effect's in another mode")
            node.SetCurrentInteractionMode(node.ViewTransform)
        panel.tools.use_tool("box")
        _drag_a_box(volume)
        case.assertEqual([entry.kind for entry in bench.prompts()], ["box"])
    finally:
        node.SetCurrentInteractionMode(node.ViewTransform)
        bench.clear_pending()
        bench.auto_run = auto_run
    case.delayDisplay("MemSeg3D: other mouse modes keep the mouse.")


def panel_shows_what_is_active(case: ScriptedLoadableModuleTest) -> None:
    """After Esc and with Paint no tool is highlighted, and a sentence says so; a tool's button leads back."""
    panel, _volume = _panel_with_sample()
    editor, tools = panel.segments.editor, panel.tools
    # What the key Esc does in the Segment Editor.
    for put_away in (lambda: editor.setActiveEffect(None), lambda: editor.setActiveEffectByName("Paint")):
        put_away()
        _turn()
        case.assertEqual(tools.highlighted, [])
        case.assertIn("choose", tools.ui.hintLabel.text)
        tools.use_tool("box")
        case.assertEqual(editor.activeEffect().name, EFFECT_NAME)
    case.delayDisplay("MemSeg3D: the panel shows what is active.")


def one_round(case: ScriptedLoadableModuleTest) -> None:
    """A box on one slice of the phantom gives its kidney; undo, redo and export do what they say."""
    if application().choice.mode == "none":
        raise unittest.SkipTest(
            "No worker was chosen: choose in the module MemSeg3D where it runs, and run the test again."
        )
    sample = make_sample()
    volume = add_sample(slicer.mrmlScene, sample)
    segmentation = add_segmentation(slicer.mrmlScene, volume)
    segment_id = add_segment(segmentation, "left kidney")
    bench = application().workbench
    troubles: list[str] = []
    forget = bench.message.connect(lambda message: troubles.append(message.text) if message.level == "error" else None)
    try:
        bench.select(volume, segmentation, segment_id)
        bench.add(box_of(sample, KIDNEY_LEFT, volume, segment_id))
        if not bench.busy and not bench.waiting:
            bench.run()
        _wait(case, lambda: not bench.busy, troubles)
        found = segment_on_volume(segmentation, segment_id, volume)
        agreement = dice(found, sample.truth == KIDNEY_LEFT)
        case.delayDisplay(f"Dice of the kidney after one box: {agreement:.2f}")
        case.assertGreater(agreement, 0.6)
        bench.undo()
        _wait(case, lambda: not bench.busy, troubles)
        case.assertEqual(int(segment_on_volume(segmentation, segment_id, volume).sum()), 0)
        bench.redo()
        _wait(case, lambda: not bench.busy, troubles)
        case.assertTrue(np.array_equal(segment_on_volume(segmentation, segment_id, volume), found))
        with tempfile.TemporaryDirectory() as folder:
            for kind in (ExportFormat.NIFTI, ExportFormat.SEG_NRRD):
                written = export(ExportRequest(kind, segmentation, volume, folder=Path(folder), name="kidney"))
                case.assertTrue(all(file.stat().st_size > 0 for file in written.files))
    except MemSeg3DError as error:
        case.fail(f"MemSeg3D refused: {error}")
    finally:
        forget()
    case.delayDisplay("MemSeg3D: box, segment, undo, redo and export passed.")


def _panel_with_sample() -> tuple[Any, Any]:
    """The module with the phantom chosen and on screen; ends the story where there is no window to show it in."""
    if slicer.util.mainWindow() is None:
        raise unittest.SkipTest("Slicer runs without a main window: nothing can be drawn.")
    slicer.util.selectModule("MemSeg3D")
    panel = slicer.util.getModuleWidget("MemSeg3D").panel
    volume = add_sample(slicer.mrmlScene, make_sample())
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    panel.segments.choose_volume(volume)
    _turn()
    return panel, volume


def _drag_a_box(volume: Any) -> None:
    """Press, move and release the left button in the red view, as the mouse does."""
    view = slicer.app.layoutManager().sliceWidget("Red")
    view.mrmlSliceNode().JumpSliceByOffsetting(*ijk_to_world(volume, (20.0, 56.0, 72.0)))
    interactor = view.sliceView().interactor()
    width, height = interactor.GetSize()
    for share, event in ((0.45, "LeftButtonPressEvent"), (0.55, "MouseMoveEvent"), (0.55, "LeftButtonReleaseEvent")):
        interactor.SetEventInformation(int(width * share), int(height * share), 0, 0, "\0", 0, None)
        interactor.InvokeEvent(event)


def _turn() -> None:
    """A little of Slicer's event loop."""
    turn, timer = qt.QEventLoop(), qt.QTimer()
    timer.setSingleShot(True)
    timer.connect("timeout()", turn.quit)
    timer.start(TURN_MILLISECONDS)
    turn.exec_()


def _wait(case: ScriptedLoadableModuleTest, is_done: Callable[[], bool], troubles: list[str]) -> None:
    """Let Slicer's event loop run, and with it the Workbench's timer, until something is done."""
    until = time.monotonic() + SECONDS
    while not is_done():
        _turn()
        if troubles:
            case.fail(f"MemSeg3D says: {troubles[0]}")
        if time.monotonic() > until:
            case.fail(f"Nothing came in {SECONDS:.0f} seconds; the status is: {application().workbench.status}")


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
