"""Enhanced multi-frame objects leave the scene as DICOM-SEG, each of their volumes on its own frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_tools import dicom_errors, read_by_highdicom
from lib.scenes import write_ball
from odd_dicom import make_odd

from MemSeg3DLib.cases.dicom_volume import load_series
from MemSeg3DLib.cases.listing import find_cases
from MemSeg3DLib.export.dicom.scene import grid_of_volume
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation
from MemSeg3DLib.segments.writer import SegmentWriter


@pytest.mark.parametrize("name", ["enhanced MR", "enhanced CT in any order", "enhanced with two stacks"])
def test_every_volume_of_an_enhanced_object_leaves_as_dicom_seg(scene: Any, tmp_path: Path, name: str) -> None:
    make_odd(name, tmp_path / "all" / "study")
    cases = find_cases(tmp_path / "all")
    assert len(cases) == (2 if "stacks" in name else 1)
    for case in cases:
        volume, files = load_series(scene, case.files, case.name, case.part)
        grid = grid_of_volume(volume)
        segmentation = add_segmentation(scene, volume)
        segment = add_segment(segmentation, "tumour|edge")
        mask = np.zeros(grid.shape, bool)
        mask[1:4, 2:7, 3:9] = True
        writer = SegmentWriter(segmentation, volume, [segment])
        write_ball(writer, segment, mask)
        writer.close()
        request = ExportRequest(
            ExportFormat.DICOM_SEG,
            segmentation,
            volume,
            tmp_path / "out",
            case.name,
            find_source=lambda uid, files=files: str(files.get(uid, "")),
        )
        (file,) = export(request).files
        assert np.array_equal(read_by_highdicom(file, grid)[1], mask)
        assert dicom_errors(file) == []
        written = pydicom.dcmread(file)
        source = pydicom.dcmread(next(iter(files.values())))
        assert written.SegmentSequence[0].TrackingID == "tumour edge"
        for frame in written.PerFrameFunctionalGroupsSequence:
            item = frame.DerivationImageSequence[0].SourceImageSequence[0]
            there = source.PerFrameFunctionalGroupsSequence[item.ReferencedFrameNumber - 1].PlanePositionSequence[0]
            here = frame.PlanePositionSequence[0]
            assert np.allclose(here.ImagePositionPatient, there.ImagePositionPatient)
