"""segmentation.dcm: the demo's segments as DICOM-SEG, on the volume's own series or on one made for it."""

from __future__ import annotations

from pathlib import Path

import pydicom

from demo.phantom_dicom import PATIENT_ID, Geometry, write_phantom_series
from demo.results import Case, DemoError
from demo.story import LPS_FROM_RAS, Desk
from MemSeg3DLib.export.dicom.segmentation import ExportReport, write_dicom_seg
from MemSeg3DLib.export.dicom.series import PatientGrid, SourceSeries, read_series
from MemSeg3DLib.export.dicom.settings import ExportSettings
from MemSeg3DLib.scene.transforms import ijk_to_local_matrix


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
    # Slices of an earlier demo would be a second series in the same folder; any other is somebody's data.
    earlier = [*folder.glob("CT????.dcm"), *folder.glob("MR????.dcm")]
    for old in earlier:
        if pydicom.dcmread(old, stop_before_pixels=True, force=True).get("PatientID") != PATIENT_ID:
            raise DemoError(f"{folder} holds a series that is not the demo's own: choose another folder with --out.")
    for old in earlier:
        old.unlink()
    write_phantom_series(case.voxels, Geometry(case.affine), folder)
    return read_series(folder)


def _grid_of(desk: Desk) -> PatientGrid:
    """The grid of the volume in the scene, in LPS."""
    i, j, k = desk.volume.GetImageData().GetDimensions()
    return PatientGrid((k, j, i), LPS_FROM_RAS @ ijk_to_local_matrix(desk.volume))
