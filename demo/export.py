"""What the demo leaves on disk: segmentation.nii.gz, segmentation.seg.nrrd and segmentation.dcm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk

from demo.phantom_dicom import Geometry, write_phantom_series
from demo.results import Case, DemoError
from demo.story import Desk
from MemSeg3DLib.dicom_seg import ExportReport, ExportSettings, write_dicom_seg
from MemSeg3DLib.dicom_sources import PatientGrid, SourceSeries, read_series

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_labelmap(desk: Desk, path: Path) -> None:
    """All segments as one labelmap on the volume's grid, 1 for the first target; where two overlap the later wins."""
    labelmap = desk.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    ids = vtk.vtkStringArray()
    for segment_id in desk.segment_ids:
        ids.InsertNextValue(segment_id)
    logic = slicer.modules.segmentations.logic()
    if not logic.ExportSegmentsToLabelmapNode(desk.segmentation, ids, labelmap, desk.volume):
        raise DemoError("The segments could not be exported as a labelmap.")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    written = storage.WriteData(labelmap)
    desk.scene.RemoveNode(labelmap)
    if not written:
        raise DemoError(f"{path} could not be written; check the disk.")


def write_segmentation(desk: Desk, path: Path) -> None:
    """The segmentation as Slicer keeps it: .seg.nrrd with names and colours."""
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.WriteData(desk.segmentation):
        raise DemoError(f"{path} could not be written; check the disk.")


def write_dicom(case: Case, desk: Desk, out: Path) -> ExportReport:
    """segmentation.dcm that refers to the case's series; a volume that came from none is first written as one."""
    series = case.series or _phantom_series(case, out / "dicom")
    segments = [target.segment for target in case.targets]
    masks = {
        segment.label: desk.mask(segment_id) for segment, segment_id in zip(segments, desk.segment_ids, strict=True)
    }
    settings = ExportSettings(overwrite=True)
    return write_dicom_seg(series, segments, masks, out / "segmentation.dcm", _grid_of(desk), settings)


def _phantom_series(case: Case, folder: Path) -> SourceSeries:
    # Slices of an earlier demo would be a second series in the same folder.
    for old in [*folder.glob("CT????.dcm"), *folder.glob("MR????.dcm")]:
        old.unlink()
    write_phantom_series(case.voxels, Geometry(case.affine), folder)
    return read_series(folder)


def _grid_of(desk: Desk) -> PatientGrid:
    """The grid of the volume in the scene, in LPS."""
    matrix = vtk.vtkMatrix4x4()
    desk.volume.GetIJKToRASMatrix(matrix)
    ras = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    i, j, k = desk.volume.GetImageData().GetDimensions()
    return PatientGrid((k, j, i), LPS_FROM_RAS @ ras)
