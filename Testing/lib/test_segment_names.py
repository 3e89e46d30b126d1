"""What segments are called: names that nobody gave, what a known name brings, what an export says of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.scenes import make_volume

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.export.dicom.terminology import PRESETS
from MemSeg3DLib.export.dicom.terminology_entry import describe_segment
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export
from MemSeg3DLib.export.segment_names import SHORT_LIST, give_name, is_unnamed, unnamed
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation


@pytest.fixture
def a_segmentation(scene: Any) -> Any:
    """A segmentation of a small volume, without segments."""
    volume = make_volume(np.zeros((4, 5, 6), np.int16), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0))
    return add_segmentation(scene, volume)


@pytest.mark.parametrize(
    ("name", "nobody_said"),
    [
        ("Segment 1", True), ("Segment_2", True), ("segment", True), ("Segment", True), ("", True), ("3", True),
        ("Bereich 1", True), ("liver", False), ("lesion 2", False), ("segment VII", False), ("T12", False),
    ],
)  # fmt: skip
def test_a_name_that_a_program_gave_is_none(a_segmentation: Any, name: str, nobody_said: bool) -> None:
    segment = a_segmentation.GetSegmentation().GetSegment(add_segment(a_segmentation, name))
    segment.SetName(name)
    assert is_unnamed(segment, "Bereich 1") is nobody_said


def test_terminology_chosen_in_slicer_is_a_name_too(a_segmentation: Any) -> None:
    one = add_segment(a_segmentation, "Segment 1")
    give_name(a_segmentation, one, "liver")
    segment = a_segmentation.GetSegmentation().GetSegment(one)
    segment.SetName("Segment 1")
    assert not is_unnamed(segment)


@pytest.mark.parametrize("name", SHORT_LIST)
def test_every_name_of_the_short_list_brings_its_codes(a_segmentation: Any, name: str) -> None:
    one = add_segment(a_segmentation, "Segment 1")
    give_name(a_segmentation, one, name)
    told = describe_segment(a_segmentation.GetSegmentation().GetSegment(one), 1)
    wanted = PRESETS[name]
    assert (told.name, told.type, told.category, told.modifier) == (name, wanted.type, wanted.category, wanted.modifier)


def test_nothing_is_no_name(a_segmentation: Any) -> None:
    one = add_segment(a_segmentation, "Segment 1")
    with pytest.raises(SceneError, match="Type a name"):
        give_name(a_segmentation, one, "  ")
    with pytest.raises(SceneError, match="No segment is selected"):
        give_name(a_segmentation, "gone", "liver")


def test_every_export_says_which_segments_have_no_name(a_segmentation: Any, tmp_path: Path) -> None:
    add_segment(a_segmentation, "Segment 1")
    give_name(a_segmentation, add_segment(a_segmentation, "Segment 2"), "spleen")
    assert unnamed(a_segmentation) == ["Segment 1"]
    role = a_segmentation.GetReferenceImageGeometryReferenceRole()
    volume = a_segmentation.GetNodeReference(role)
    for chosen in (ExportFormat.NIFTI, ExportFormat.SEG_NRRD):
        done = export(ExportRequest(chosen, a_segmentation, volume, folder=tmp_path))
        assert [one for one in done.remarks if "no name of its own" in one] == [
            '"Segment 1" has no name of its own: the files say no more than tissue.'
        ]
