"""Headers from which a DICOM-SEG is written: places by the verified grid, persons and studies by the source, mended."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from MemSeg3DLib.export.dicom.series import DicomSourceError, SourceSeries
from MemSeg3DLib.export.dicom.sources.headers import Plane
from MemSeg3DLib.export.dicom.sources.values import WRONG

# Attributes that must be present in a DICOM-SEG but may be empty (type 2), taken from the source.
MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
UNICODE = "ISO_IR 192"
# Of one image and its pixels: a segmentation takes none of it from the source's header.
_LEFT_BEHIND = (
    "NumberOfFrames",
    "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
    "DimensionIndexSequence",
    "DimensionOrganizationSequence",
    "SpacingBetweenSlices",
    "SliceThickness",
    "PixelData",
)
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TIME = re.compile(r"(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)")
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def source_headers(series: SourceSeries) -> list[Dataset]:
    """A header for every slice, in memory alone: its place and pixel size are those of the verified grid.

    Frames of one object get identifiers of their own, which `refer_to_sources` takes back. Raises `DicomSourceError`
    where the source has no frame of reference: a DICOM-SEG would lie nowhere.
    """
    first = series.planes[0]
    if not first.reference:
        raise DicomSourceError(
            f"The {series.title} lacks its Frame of Reference UID, so that a DICOM-SEG would lie nowhere: export NIfTI."
        )
    common = _person_and_study(first.dataset)
    affine, (step, row_spacing, column_spacing) = series.grid.affine, series.spacing
    directions = affine[:3, :2] / np.array([column_spacing, row_spacing])
    orientation = [_decimal(one) for one in directions.T.ravel()]
    thickness = _thickness(series.planes) or step
    found = []
    for k, plane in enumerate(series.planes):
        # The person and the study are taken from the first one; assigning to a copy would change the original.
        header = Dataset() if k else common
        header.SOPInstanceUID = plane.instance if plane.frame is None else generate_uid()
        header.SOPClassUID = _class_of(plane) if plane.frame is None else CTImageStorage
        header.SeriesInstanceUID, header.StudyInstanceUID = plane.series, plane.owner[1]
        header.FrameOfReferenceUID = plane.reference
        header.Rows, header.Columns = plane.size
        header.ImageOrientationPatient = list(orientation)
        header.ImagePositionPatient = [_decimal(one) for one in affine[:3, 3] + k * affine[:3, 2]]
        header.PixelSpacing = [_decimal(row_spacing), _decimal(column_spacing)]
        header.SliceThickness, header.SpacingBetweenSlices = _decimal(thickness), _decimal(step)
        found.append(header)
    return found


def refer_to_sources(segmentation: Dataset, series: SourceSeries, headers: Sequence[Dataset]) -> None:
    """Let a segmentation of frames refer to the object that holds them, each of its own frames to the one it is of."""
    real = {
        str(header.SOPInstanceUID): plane
        for header, plane in zip(headers, series.planes, strict=True)
        if plane.frame is not None
    }
    if not real:
        return
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", ()):
            for source in derivation.get("SourceImageSequence", ()):
                plane = real[str(source.ReferencedSOPInstanceUID)]
                source.ReferencedSOPInstanceUID, source.ReferencedSOPClassUID = plane.instance, _class_of(plane)
                source.ReferencedFrameNumber = (plane.frame or 0) + 1
    for referenced in segmentation.get("ReferencedSeriesSequence", ()):
        kept: dict[str, Dataset] = {}
        for item in referenced.ReferencedInstanceSequence:
            plane = real[str(item.ReferencedSOPInstanceUID)]
            item.ReferencedSOPInstanceUID, item.ReferencedSOPClassUID = plane.instance, _class_of(plane)
            kept.setdefault(plane.instance, item)
        referenced.ReferencedInstanceSequence = Items(kept.values())


def state_spacing(segmentation: Dataset, series: SourceSeries) -> None:
    """Say how far apart slices lie, always: readers that do not find it take the thickness for it."""
    groups = [segmentation.SharedFunctionalGroupsSequence[0], *segmentation.PerFrameFunctionalGroupsSequence]
    for measures in (one for group in groups for one in group.get("PixelMeasuresSequence", ())):
        measures.SpacingBetweenSlices = _decimal(series.spacing[0])


def _class_of(plane: Plane) -> str:
    meta = getattr(plane.dataset, "file_meta", Dataset())
    return str(plane.dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or CTImageStorage)


def _thickness(planes: Iterable[Plane]) -> float | None:
    """The first slice thickness that is a length; None where the source states none."""
    for plane in planes:
        groups = [plane.dataset]
        for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            groups += [
                one for group in plane.dataset.get(name) or () for one in group.get("PixelMeasuresSequence") or ()
            ]
        for group in groups:
            try:
                thickness = float(group.get("SliceThickness") or 0)
            except WRONG:
                continue
            if 0 < thickness < math.inf:
                return thickness
    return None


def _person_and_study(source: Dataset) -> Dataset:
    """A copy of a header that can be read and written to its end: what may be empty is there, what is odd is not."""
    completed = Dataset()
    for tag in list(source.keys()):
        try:
            element = source[tag]
            if tag.is_private or element.keyword in _LEFT_BEHIND or tag.group == 0x7FE0 or not _is_valid(element):
                continue
            completed.add(copy.deepcopy(element))
        except WRONG:
            continue
    # Read every text in the source's own character set before another one is announced.
    completed.decode()
    completed.SpecificCharacterSet = UNICODE
    for keyword in MAY_BE_EMPTY:
        if keyword not in completed:
            setattr(completed, keyword, "")
    if completed.PatientSex not in ("M", "F", "O", "", None):
        completed.PatientSex = ""
    return completed


def _is_valid(element: Any) -> bool:
    """False for dates and times that are none; the library below would stop at them."""
    if element.VR not in ("DA", "TM") or element.value in (None, ""):
        return True
    values = element.value if isinstance(element.value, list) else [element.value]
    return all(_is_date(str(one)) if element.VR == "DA" else _is_time(str(one)) for one in values)


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text.strip())
    return found is not None and 1 <= int(found[2]) <= 12 and 1 <= int(found[3]) <= _DAYS[int(found[2]) - 1]


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(text.strip())
    return (
        found is not None and int(found[1][:2]) < 24 and int(found[1][2:4] or 0) < 60 and int(found[1][4:6] or 0) < 61
    )


def _decimal(value: float) -> DSfloat:
    """A decimal string of at most 16 characters, as the standard demands."""
    return DSfloat(float(value), auto_format=True)
