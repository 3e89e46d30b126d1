"""Segmentations that are a crop of the volume, or lie elsewhere: they grow, no voxel is lost, and undo is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from lib.benches import box_on, run_bench
from lib.scenes import SHAPE, a_ball, direction_matrix, make_volume, voxels_of, write_ball
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.rounds.workbench import Message, Workbench
from MemSeg3DLib.scene import volume_on_grid
from MemSeg3DLib.scene.grids import BINARY, labelmap_of, segmentation_grid
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation
from MemSeg3DLib.scene.volume_masks import segment_on_volume
from MemSeg3DLib.segments.changes import apply_change, segment_checksum
from MemSeg3DLib.segments.private_editor import PrivateEditor
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.segments.writer import SegmentWriter
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

BALL = a_ball(SHAPE, (6, 10, 12), 5.5)


@pytest.mark.parametrize(
    ("shape", "origin", "spacing"),
    [
        ((5, 6, 8), (9, 8, 10), (1, 1, 2)),
        ((5, 6, 8), (60, 50, 80), (1, 1, 2)),
        ((5, 6, 8), (-40, 8, 10), (1, 1, 2)),
        ((6, 8, 9), (9.3, 8.2, 10.1), (0.7, 0.8, 1.3)),
    ],
    ids=["crop", "elsewhere", "beside", "another lattice"],
)
def test_a_segmentation_that_is_smaller_grows_and_undo_is_exact(
    scene: Any, shape: tuple[int, int, int], origin: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 2), origin=(0, 0, 0))
    other = make_volume(np.zeros(shape, np.int16), spacing=spacing, origin=origin)
    segmentation = add_segmentation(scene, other)
    segment = add_segment(segmentation, "one")
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, BALL)
    changes = writer.changes()
    assert writer.outside.shares() == {}
    writer.close()
    found = segment_on_volume(segmentation, segment, volume)
    if writer.is_exact:
        assert np.array_equal(found, BALL)
    else:
        assert 2 * (found & BALL).sum() / (found.sum() + BALL.sum()) > 0.93
    grown = segment_checksum(segmentation, segment, segmentation_grid(segmentation, None))
    editor = PrivateEditor(segmentation, None, segmentation_grid(segmentation, None))
    for change in changes:
        apply_change(editor, segmentation, segmentation_grid(segmentation, None), change, forward=False)
    assert not voxels_of(volume, segmentation, segment).any()
    for change in changes:
        apply_change(editor, segmentation, segmentation_grid(segmentation, None), change, forward=True)
    editor.close()
    assert segment_checksum(segmentation, segment, segmentation_grid(segmentation, None)) == grown


def test_what_cannot_be_held_is_told(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_on_grid, "MOST_VOXELS", 10)
    volume = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 2), origin=(0, 0, 0))
    cut = make_volume(np.zeros((10, 16, 12), np.int16), spacing=(1, 1, 2), origin=(0, 0, 0))
    segmentation = add_segmentation(scene, cut)
    segment = add_segment(segmentation, "one")
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, BALL)
    inside = BALL[:10, :16, :12].sum()
    assert writer.outside.shares()[segment] == pytest.approx(1 - inside / BALL.sum())
    writer.close()
    assert voxels_of(cut, segmentation, segment).sum() == inside


@pytest.mark.parametrize("can_grow", [True, False])
def test_a_round_into_a_crop_keeps_every_voxel_or_tells_the_share(
    a_worker: LocalWorker, scene: Any, an_oblique_volume: Any, monkeypatch: pytest.MonkeyPatch, can_grow: bool
) -> None:
    if not can_grow:
        monkeypatch.setattr(volume_on_grid, "MOST_VOXELS", 10)
    kept = []
    for shape in (SHAPE, (5, 9, 9)):
        crop = make_volume(np.zeros(shape, np.int16), directions=direction_matrix((20, -10)), name="crop")
        segmentation = add_segmentation(scene, crop)
        segment = add_segment(segmentation, "one")
        bench = Workbench(scene, a_worker)
        told: list[Message] = []
        bench.message.connect(told.append)
        bench.select(an_oblique_volume, segmentation, segment)
        bench.add(box_on(an_oblique_volume, segment))
        run_bench(bench)
        kept.append(int(segment_on_volume(segmentation, segment, an_oblique_volume).sum()))
        warned = [one for one in told if one.level == "warning" and "lies outside" in one.text]
        assert bool(warned) == (shape != SHAPE and not can_grow)
        bench.undo()
        assert not segment_on_volume(segmentation, segment, an_oblique_volume).any()
        bench.redo()
        assert int(segment_on_volume(segmentation, segment, an_oblique_volume).sum()) == kept[-1]
        bench.close()
    assert (kept[0] == kept[1]) == can_grow


def test_a_segment_on_a_finer_grid_never_loses_what_it_holds(scene: Any) -> None:
    volume = make_volume(np.zeros(SHAPE, np.int16), spacing=(1, 1, 1), origin=(0, 0, 0))
    segmentation = add_segmentation(scene, volume)
    one, thin = add_segment(segmentation, "one"), "thin"
    voxels = np.zeros((40, 60, 60), np.uint8)
    # A vessel of a quarter of a millimetre, between the voxels of the volume.
    voxels[8:40, 33, 20:52] = 1
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(60, 60, 40)
    image.SetSpacing(0.25, 0.25, 0.25)
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    vessel = slicer.vtkSegment()
    vessel.SetName("vessel")
    vessel.AddRepresentation(BINARY, image)
    segmentation.GetSegmentation().AddSegment(vessel, thin)

    def held() -> int:
        labelmap = labelmap_of(segmentation, thin)
        value = segmentation.GetSegmentation().GetSegment(thin).GetLabelValue()
        return int((vtk_to_numpy(labelmap.GetPointData().GetScalars()) == value).sum())

    before = held()
    assert before == 1024
    with pytest.raises(SceneError, match="finer grid"):
        SegmentWriter(segmentation, volume, [thin])
    settings = WriteSettings(overwrite_mode=slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    writer = SegmentWriter(segmentation, volume, [one], settings)
    write_ball(writer, one, BALL)
    writer.close()
    assert writer.spared == [thin]
    assert held() == before
    assert voxels_of(volume, segmentation, one).sum() == BALL.sum()
