"""The .seg.nrrd written beside the main thread is the one that Slicer writes, and Slicer reads it back equal."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from lib.scenes import SHAPE, a_ball, make_volume, voxels_of, write_ball
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.export.dicom.terminology_entry import read_tag
from MemSeg3DLib.export.seg_nrrd import write_seg_nrrd
from MemSeg3DLib.scene.grids import segmentation_grid
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation
from MemSeg3DLib.segments.writer import SegmentWriter

OWN = {"MemSeg3D_Use"}
"""What MemSeg3D says besides."""


def fill(volume: Any, segmentation: Any, segment: str, mask: np.ndarray) -> None:
    writer = SegmentWriter(segmentation, volume, [segment])
    write_ball(writer, segment, mask)
    writer.close()


def header_of(path: Path) -> dict[str, str]:
    """Fields and key-values of a NRRD file."""
    lines = path.read_bytes().split(b"\n\n", 1)[0].decode("utf-8").splitlines()[1:]
    pairs = (line.split(":=" if ":=" in line else ": ", 1) for line in lines if not line.startswith("#"))
    return {one[0]: one[1] for one in pairs}


def written_by_slicer(segmentation: Any, path: Path) -> Path:
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(path))
    assert storage.WriteData(segmentation)
    return path


def read_by_slicer(path: Path) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


def ids_of(segmentation: Any) -> list[str]:
    return [str(one) for one in segmentation.GetSegmentation().GetSegmentIDs()]


@pytest.fixture
def two_overlapping(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> list[np.ndarray]:
    masks = [a_ball(SHAPE, (5, 9, 9), 4), a_ball(SHAPE, (5, 9, 12), 4)]
    for segment, mask in zip(segment_ids, masks, strict=True):
        fill(an_oblique_volume, a_segmentation, segment, mask)
    return masks


def test_the_header_is_slicers_own(
    a_segmentation: Any, segment_ids: list[str], two_overlapping: list[np.ndarray], tmp_path: Path
) -> None:
    segment = a_segmentation.GetSegmentation().GetSegment(segment_ids[0])
    segment.SetName("Läsion, 肝臓 = 1")
    segment.SetColor(0.25, 0.5, 0.75)
    segment.SetTag("Somebody.Else", "what we know nothing of")
    theirs = header_of(written_by_slicer(a_segmentation, tmp_path / "theirs.seg.nrrd"))
    write_seg_nrrd(a_segmentation, tmp_path / "ours.seg.nrrd")
    ours = header_of(tmp_path / "ours.seg.nrrd")
    assert set(ours) == set(theirs) | OWN
    numbers = {"space directions", "space origin"}
    for key in set(theirs) - numbers:
        assert ours[key] == theirs[key], key
    for key in numbers:
        ours_read, theirs_read = (
            [float(word) for word in text[key].replace("none", "").strip(" ()").replace(") (", ",").split(",")]
            for text in (ours, theirs)
        )
        assert ours_read == pytest.approx(theirs_read, abs=1e-9)


def test_slicer_reads_what_was_written(
    an_oblique_volume: Any, a_segmentation: Any, two_overlapping: list[np.ndarray], tmp_path: Path
) -> None:
    segment = a_segmentation.GetSegmentation().GetNthSegment(0)
    segment.SetTag("Somebody.Else", "kept")
    write_seg_nrrd(a_segmentation, tmp_path / "seg.seg.nrrd")
    again = read_by_slicer(tmp_path / "seg.seg.nrrd")
    assert ids_of(again) == ids_of(a_segmentation)
    for segment_id, mask in zip(ids_of(again), two_overlapping, strict=True):
        assert np.array_equal(voxels_of(an_oblique_volume, again, segment_id), mask)
    first = again.GetSegmentation().GetNthSegment(0)
    assert (first.GetName(), first.GetColor()) == (segment.GetName(), pytest.approx(segment.GetColor(), abs=1e-4))
    assert read_tag(first, "Somebody.Else") == "kept"
    assert np.allclose(segmentation_grid(again, None).matrix, segmentation_grid(a_segmentation, None).matrix)


def test_voxels_beyond_the_volume_are_kept(an_oblique_volume: Any, a_segmentation: Any, tmp_path: Path) -> None:
    grid = segmentation_grid(a_segmentation, an_oblique_volume)
    image = grid.image(((-3, 2), (-2, 5), (4, 9)), np.ones((5, 7, 5), bool))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = ids_of(a_segmentation)[0]
    assert logic.SetBinaryLabelmapToSegment(image, a_segmentation, segment, logic.MODE_REPLACE, image.GetExtent())
    write_seg_nrrd(a_segmentation, tmp_path / "seg.seg.nrrd")
    again = read_by_slicer(tmp_path / "seg.seg.nrrd")
    labelmap = again.GetSegmentation().GetSegment(segment).GetRepresentation("Binary labelmap")
    extent = list(labelmap.GetExtent())
    read = slicer.vtkOrientedImageData()
    assert again.GetBinaryLabelmapRepresentation(segment, read)
    assert sum(read.GetPointData().GetScalars().GetTuple1(n) for n in range(read.GetNumberOfPoints())) == 5 * 7 * 5
    assert extent[4] <= -3


def test_more_segments_than_a_byte_counts(scene: Any, tmp_path: Path) -> None:
    volume = make_volume(np.zeros((3, 20, 20), np.int16))
    segmentation = add_segmentation(scene, volume)
    for n in range(300):
        add_segment(segmentation, f"cell {n}")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    grid = segmentation_grid(segmentation, volume)
    for n, segment in enumerate(ids_of(segmentation)):
        j, i = divmod(n, 20)
        image = grid.image(((1, 2), (j, j + 1), (i, i + 1)), np.ones((1, 1, 1), bool))
        assert logic.SetBinaryLabelmapToSegment(image, segmentation, segment, logic.MODE_REPLACE, image.GetExtent())
    write_seg_nrrd(segmentation, tmp_path / "cells.seg.nrrd")
    assert header_of(tmp_path / "cells.seg.nrrd")["type"] == "unsigned short"
    again = read_by_slicer(tmp_path / "cells.seg.nrrd")
    for n in (0, 1, 254, 255, 256, 299):
        mask = voxels_of(volume, again, ids_of(again)[n])
        assert np.argwhere(mask).tolist() == [[1, *divmod(n, 20)]]


def test_an_empty_segmentation_keeps_its_names(a_segmentation: Any, tmp_path: Path) -> None:
    write_seg_nrrd(a_segmentation, tmp_path / "seg.seg.nrrd")
    again = read_by_slicer(tmp_path / "seg.seg.nrrd")
    assert [again.GetSegmentation().GetNthSegment(n).GetName() for n in range(2)] == ["one", "two"]


def add_block(node: Any, name: str, box: tuple[slice, ...], shape: tuple[int, ...], geometry: dict[str, Any]) -> None:
    """A segment on a lattice of its own. geometry: spacing in mm, origin, angle about z in degrees."""
    voxels = np.zeros(shape, np.uint8)
    voxels[box] = 1
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(shape[::-1])
    image.SetSpacing(*([geometry.get("spacing", 1.0)] * 3))
    image.SetOrigin(*geometry.get("origin", (0.0, 0.0, 0.0)))
    angle = np.radians(geometry.get("angle", 0.0))
    c, s = float(np.cos(angle)), float(np.sin(angle))
    image.SetDirections(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.AddRepresentation("Binary labelmap", image)
    node.GetSegmentation().AddSegment(segment, name)


def volumes_of(node: Any) -> dict[str, float]:
    """mm3 of every segment, on its own lattice."""
    found = {}
    for one in ids_of(node):
        segment = node.GetSegmentation().GetSegment(one)
        image = segment.GetRepresentation("Binary labelmap")
        scalars = image.GetPointData().GetScalars()
        count = 0 if scalars is None else int((vtk_to_numpy(scalars) == segment.GetLabelValue()).sum())
        found[one] = count * float(np.prod(image.GetSpacing()))
    return found


def geometries_of(node: Any) -> list[tuple[object, ...]]:
    images = [node.GetSegmentation().GetSegment(one).GetRepresentation("Binary labelmap") for one in ids_of(node)]
    return [(image.GetSpacing(), image.GetOrigin(), image.GetExtent()) for image in images]


LIVER = ((slice(2, 6), slice(2, 8), slice(2, 8)), (10, 20, 20))
VESSEL = ((slice(8, 40), slice(41, 42), slice(40, 72)), (40, 80, 80))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"spacing": 1.0}, {"spacing": 0.25}),
        ({"spacing": 0.25}, {"spacing": 1.0}),
        ({"spacing": 1.0}, {"spacing": 1.0, "origin": (0.5, 0.0, 0.0)}),
        ({"spacing": 1.0}, {"spacing": 0.5, "origin": (3.25, -2.0, 11.0)}),
    ],
    ids=["fine and coarse", "coarse and fine", "half a voxel aside", "elsewhere"],
)
def test_segments_on_grids_of_their_own_keep_their_volumes(
    scene: Any, tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    add_block(node, "liver", *LIVER, first)
    add_block(node, "vessel", *VESSEL, second)
    before, geometries = volumes_of(node), geometries_of(node)
    write_seg_nrrd(node, tmp_path / "two.seg.nrrd")
    assert (volumes_of(node), geometries_of(node)) == (before, geometries), "a save only reads the scene"
    assert volumes_of(read_by_slicer(tmp_path / "two.seg.nrrd")) == pytest.approx(before, rel=1e-6)


def test_a_segment_on_a_turned_grid_is_kept_or_refused_by_name(scene: Any, tmp_path: Path) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    add_block(node, "liver", *LIVER, {"spacing": 1.0})
    add_block(node, "vessel", *VESSEL, {"spacing": 0.6, "angle": 21.0})
    before = volumes_of(node)
    with contextlib.suppress(ExportError):
        write_seg_nrrd(node, tmp_path / "two.seg.nrrd")
        assert volumes_of(read_by_slicer(tmp_path / "two.seg.nrrd")) == pytest.approx(before, rel=0.011)
    assert volumes_of(node) == before


def test_a_segment_that_would_change_is_refused_by_name(scene: Any, tmp_path: Path) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    add_block(node, "liver", *LIVER, {"spacing": 1.0})
    # One voxel wide, at an angle: on the liver's voxels it is another shape, and their edges never meet.
    add_block(node, "wire", (slice(3, 4), slice(2, 18), slice(5, 6)), (10, 20, 20), {"spacing": 1.07, "angle": 38.0})
    before = volumes_of(node)
    with pytest.raises(ExportError, match=r"cannot be kept in one file: '(wire|liver)' would"):
        write_seg_nrrd(node, tmp_path / "two.seg.nrrd")
    assert volumes_of(node) == before
    assert list(tmp_path.iterdir()) == []


def test_a_surface_alone_becomes_a_labelmap_in_the_file_alone(scene: Any, tmp_path: Path) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    ball = vtk.vtkSphereSource()
    ball.SetRadius(9)
    ball.SetThetaResolution(40)
    ball.SetPhiResolution(40)
    ball.Update()
    segment = slicer.vtkSegment()
    segment.SetName("ball")
    segment.AddRepresentation("Closed surface", ball.GetOutput())
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().AddSegment(segment, "ball")
    write_seg_nrrd(node, tmp_path / "ball.seg.nrrd")
    assert segment.GetRepresentation("Binary labelmap") is None
    again = read_by_slicer(tmp_path / "ball.seg.nrrd")
    assert volumes_of(again)["ball"] == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.06)


def test_a_closed_surface_beside_the_labelmap_is_no_obstacle(
    an_oblique_volume: Any, a_segmentation: Any, two_overlapping: list[np.ndarray], tmp_path: Path
) -> None:
    a_segmentation.CreateClosedSurfaceRepresentation()
    write_seg_nrrd(a_segmentation, tmp_path / "seg.seg.nrrd")
    theirs = header_of(written_by_slicer(a_segmentation, tmp_path / "theirs.seg.nrrd"))
    name = "Segmentation_ContainedRepresentationNames"
    assert header_of(tmp_path / "seg.seg.nrrd")[name] == theirs[name]
    assert "Closed surface" in theirs[name]
    again = read_by_slicer(tmp_path / "seg.seg.nrrd")
    for segment_id, mask in zip(ids_of(again), two_overlapping, strict=True):
        assert np.array_equal(voxels_of(an_oblique_volume, again, segment_id), mask)
