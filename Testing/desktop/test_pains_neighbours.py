"""Through the panel: finished neighbours, other segmentations and modules are left as they are, however one goes on."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from desktop.clinician import Clinician
from lib.scenes import voxels_of

from MemSeg3DLib.scene.nodes import add_segment, add_segmentation


def a_finished_neighbour(clinician: Clinician) -> str:
    """A first segment, painted by hand where the next one will grow; the second one is selected."""
    first = clinician.segment_id
    for k in range(40, 80, 4):
        clinician.paint(clinician.editor, first, k, side=20)
    second = add_segment(clinician.segmentation, "second")
    clinician.editor.setActiveEffectByName("MemSeg3D")
    clinician.editor.setCurrentSegmentID(second)
    clinician.session.pump(0.05)
    return first


@pytest.mark.parametrize("mode", ["OverwriteNone", "OverwriteVisibleSegments", "OverwriteAllSegments"])
def test_a_finished_segment_loses_what_the_overwrite_mode_says_and_undo_gives_it_back(
    clinician: Clinician, mode: str
) -> None:
    first = a_finished_neighbour(clinician)
    node = clinician.editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(getattr(node, mode))
    before = clinician.voxels(first)
    clinician.box(60)
    clinician.wait()
    second = clinician.voxels()
    assert (second & before).any(), "they meet, or nothing would be shown"
    if mode == "OverwriteNone":
        assert (clinician.voxels(first) == before).all()
    else:
        assert (clinician.voxels(first) == before & ~second).all()
    clinician.session.key("Ctrl+Z")
    clinician.session.pump(0.3)
    assert (clinician.voxels(first) == before).all(), "Ctrl+Z restores the neighbour too"
    assert not clinician.voxels().any()
    assert [one.applied for one in clinician.bench.rounds()] == [False], "and the list of rounds agrees"


def test_other_segmentations_of_the_scene_are_never_touched(clinician: Clinician) -> None:
    other = add_segmentation(clinician.session.scene, clinician.volume, "a colleague's")
    theirs = add_segment(other, "liver")
    square = np.zeros(slicer.util.arrayFromVolume(clinician.volume).shape, np.uint8)
    square[40:80, 4:28, 4:28] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(square, other, theirs, clinician.volume)
    clinician.box(60)
    clinician.wait()
    clinician.widget("undoButton").click()
    clinician.widget("redoButton").click()
    clinician.session.pump(0.1)
    assert (voxels_of(clinician.volume, other, theirs) == square.astype(bool)).all()
    assert other.GetSegmentation().GetNumberOfSegments() == 1


def test_modules_may_be_switched_as_fast_as_one_likes(clinician: Clinician) -> None:
    clinician.box(60)
    for name in ("Data", "SegmentEditor", "MemSeg3D", "SegmentEditor", "Data", "MemSeg3D") * 5:
        clinician.session.show_module(name)
    clinician.open_panel()
    clinician.wait()
    assert clinician.voxels().any(axis=(1, 2)).all()
    assert clinician.editor.activeEffect().name == "MemSeg3D"
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode")
    assert len(nodes) <= 2, "one for Slicer's editor, one for the panel"
    clinician.point(30, 16, 16, alt=True)
    clinician.wait()
    assert len(clinician.bench.rounds()) == 2
    assert clinician.texts("error") == ""
