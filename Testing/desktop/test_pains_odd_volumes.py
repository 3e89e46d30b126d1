"""Volumes that nobody expects, through panel and effect: used rightly or refused in a sentence, and nothing breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from desktop.clinician import Clinician
from lib.scenes import make_volume
from vtk.util.numpy_support import numpy_to_vtk

SMALL = (8, 32, 32)


def noise(shape: tuple[int, int, int], kind: type = np.int16) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 400, shape).astype(kind)


def a_volume(voxels: np.ndarray) -> Any:
    return make_volume(voxels, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), name="odd")


def components(count: int, kind: str) -> Any:
    """A volume of several values a voxel: colours, or the frames of a 4D series."""
    k, j, i = SMALL
    image = vtk.vtkImageData()
    image.SetDimensions(i, j, k)
    values = np.random.default_rng(4).integers(0, 255, (k * j * i, count)).astype(np.uint8)
    image.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
    node = slicer.mrmlScene.AddNewNodeByClass(kind, "several values")
    node.SetAndObserveImageData(image)
    return node


def with_holes() -> Any:
    voxels = noise(SMALL, np.float32)
    voxels[2:4, :8, :8] = np.nan
    voxels[5, 20, 20] = np.inf
    return a_volume(voxels)


def empty() -> Any:
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "never loaded")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: components(3, "vtkMRMLVectorVolumeNode"), "colour or vector image"),
        (lambda: components(4, "vtkMRMLVectorVolumeNode"), "colour or vector image"),
        (lambda: components(20, "vtkMRMLDiffusionWeightedVolumeNode"), "colour or vector image"),
        (empty, "holds no image"),
    ],
    ids=["colours", "colours and alpha", "frames in one image", "nothing loaded"],
)
@pytest.mark.parametrize("where", ["panel", "Segment Editor"])
def test_what_is_no_scalar_volume_is_refused_where_it_is_drawn_on(
    clinician: Clinician, make: Callable[[], Any], sentence: str, where: str
) -> None:
    volume = make()
    if where == "panel":
        clinician.ui.volumeSelector.setCurrentNode(volume)
        # What the selector does not offer can still be chosen by a script.
        clinician.panel.segments.choose_volume(volume)
    else:
        segmentation = clinician.segmentation
        editor = clinician.session.show_module("SegmentEditor").editor
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(volume)
        editor.setActiveEffectByName("MemSeg3D")
    clinician.session.pump(0.2)
    clinician.session.click("Red", xy=(150, 150))
    clinician.session.pump(0.2)
    assert sentence in clinician.texts("warning") + clinician.texts("error") + clinician.ui.messageLabel.text
    assert not clinician.bench.busy
    assert clinician.bench.prompts() == []
    # And the next good volume works at once.
    clinician.open_panel()
    clinician.load()
    clinician.box(60)
    clinician.wait()
    assert clinician.voxels().any()


def test_a_volume_of_no_numbers_is_refused_and_the_box_is_kept(clinician: Clinician) -> None:
    clinician.show(with_holes())
    clinician.box(4)
    clinician.wait()
    assert not clinician.voxels().any()
    assert "NaN" in clinician.texts("error") or "not finite" in clinician.texts("error"), clinician.texts("error")
    assert [(one.kind, one.state) for one in clinician.bench.prompts()] == [("box", "pending")]


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 32, 32), (32, 1, 32)], ids=str)
def test_one_slice_is_segmented_or_refused_in_a_sentence(clinician: Clinician, shape: tuple[int, int, int]) -> None:
    clinician.show(a_volume(noise(shape)))
    if shape[1] == 1:
        clinician.tool("box")
        clinician.session.drag("Green", [clinician.ras(8, 0, 8), clinician.ras(24, 0, 24)])
    else:
        clinician.box(0)
    clinician.wait()
    assert clinician.voxels().any() or clinician.texts("error") + clinician.texts("warning"), (
        "neither mask nor sentence"
    )
    if clinician.voxels().any():
        clinician.widget("undoButton").click()
        clinician.session.pump(0.1)
        assert not clinician.voxels().any()


def test_an_even_volume_has_no_contrast_and_breaks_nothing(clinician: Clinician) -> None:
    clinician.show(a_volume(np.zeros(SMALL, np.uint8)))
    clinician.box(4)
    clinician.wait()
    assert clinician.bench.rounds() or clinician.texts("error")


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float64, np.bool_], ids=lambda kind: kind.__name__)
def test_voxels_of_any_type_are_segmented(clinician: Clinician, kind: type) -> None:
    voxels = (noise(SMALL) > 200) if kind is np.bool_ else noise(SMALL, kind)
    clinician.show(a_volume(voxels.astype(np.uint8) if kind is np.bool_ else voxels))
    clinician.box(4)
    clinician.wait()
    assert clinician.voxels().any()
    assert clinician.texts("error") == ""


def test_another_frame_in_mid_run_ends_it_and_the_next_run_uses_the_frame_on_screen(clinician: Clinician) -> None:
    """As a sequence browser does it: the proxy volume gets the image of another frame."""
    clinician.box(60)
    clinician.wait_for_slices(3)
    frame = vtk.vtkImageData()
    frame.DeepCopy(clinician.volume.GetImageData())
    slicer.util.arrayFromVolume(clinician.volume)[:] = 7
    other = vtk.vtkImageData()
    other.DeepCopy(clinician.volume.GetImageData())
    clinician.volume.SetAndObserveImageData(other)
    clinician.wait_until_given_up()
    assert "source volume changed" in clinician.texts("warning")
    assert not clinician.voxels().any(), "what came of the other frame is taken back"
    clinician.volume.SetAndObserveImageData(frame)
    clinician.widget("runButton").click()
    clinician.wait()
    assert clinician.voxels().any()
