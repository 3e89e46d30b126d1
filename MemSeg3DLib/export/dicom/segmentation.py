"""Writing DICOM-SEG: segments on the grid of a verified DICOM series. Patient headers go nowhere else."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues
from highdicom.seg import SegmentDescription as DicomSegment
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.base.output_files import RESEARCH_USE, FileSet
from MemSeg3DLib.export.dicom.series import PatientGrid, SourceSeries, onto_series
from MemSeg3DLib.export.dicom.settings import ExportSettings
from MemSeg3DLib.export.dicom.source_headers import UNICODE, refer_to_sources, source_headers, state_spacing
from MemSeg3DLib.export.dicom.sources.values import WRONG, whole_number
from MemSeg3DLib.export.dicom.terminology import Code, SegmentDescription

Mask = NDArray[np.bool_]


class DicomSegError(ExportError):
    """A DICOM-SEG cannot be written; the message says why and what to do."""


@dataclass(frozen=True)
class ExportReport:
    """What was written: path, the new series' UID, names of the segments, and a sentence for each one left out.

    remarks: what else the user should know, such as viewers that are known to misread the file.
    """

    path: Path
    series_uid: str
    segments: tuple[str, ...]
    left_out: tuple[str, ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())


def masks_of_labelmap(labelmap: NDArray[np.integer], segments: Sequence[SegmentDescription]) -> dict[int, Mask]:
    """One mask (k, j, i) a segment: its own label and those it includes. Raises for labels that nobody describes."""
    described = {segment.label for segment in segments}
    undescribed = sorted(set(np.unique(labelmap).tolist()) - described - {0})
    if undescribed:
        listed = ", ".join(str(value) for value in undescribed[:8])
        raise DicomSegError(f"The labelmap holds labels without a description: {listed}. Add them to the labels.")
    return {segment.label: np.isin(labelmap, [segment.label, *segment.includes]) for segment in segments}


def write_dicom_seg(
    series: SourceSeries,
    segments: Sequence[SegmentDescription],
    masks: Mapping[int, Mask],
    out_path: Path,
    grid: PatientGrid | None = None,
    settings: ExportSettings | None = None,
    headers: Sequence[Dataset] | None = None,
) -> ExportReport:
    """Write segments as one binary DICOM-SEG that refers to `series`; segments may overlap.

    masks: label -> boolean (k, j, i) on `grid` (None: the series' own). Turned and flipped grids are brought onto the
    series, anything else is refused. Empty segments are left out and reported. The file appears whole or not at all.
    headers: `source_headers(series)`, where several files are written of one series.
    Raises `DicomSourceError` where the grid is not the series' own, `DicomSegError` for everything else.
    """
    settings = settings or ExportSettings()
    if out_path.exists() and not settings.overwrite:
        raise DicomSegError(f"{out_path} exists already; choose another name, or allow it to be overwritten.")
    if out_path.resolve() in {file.resolve() for file in series.files}:
        raise DicomSegError(f"{out_path} is an image of the source series; choose another name.")
    placed = {label: _placed(mask, grid or series.grid, series) for label, mask in masks.items()}
    filled = [segment for segment in segments if segment.label in placed and placed[segment.label].any()]
    left_out = [f"{segment.name} is empty and was left out." for segment in segments if segment not in filled]
    if not filled:
        raise DicomSegError("Every segment is empty: segment something first, then export.")
    if len({segment.label for segment in filled}) < len(filled):
        raise DicomSegError("Two segments have the same label; give each its own.")
    headers = source_headers(series) if headers is None else headers
    dataset = _segmentation(series, headers, filled, [placed[segment.label] for segment in filled], settings)
    try:
        _save(dataset, out_path, settings.overwrite)
    except WRONG as error:
        if isinstance(error, OSError):
            raise
        raise DicomSegError(_REFUSED.format(reason=error)) from error
    names = tuple(segment.name for segment in filled)
    remarks = (*_called_alike(names), *known_misreadings(series))
    return ExportReport(out_path, str(dataset.SeriesInstanceUID), names, tuple(left_out), remarks)


_REFUSED = (
    "The headers of the source series cannot go into a DICOM-SEG ({reason}). Export NIfTI or .seg.nrrd, and have the "
    "series' headers repaired."
)


def _called_alike(names: Sequence[str]) -> list[str]:
    """Nothing forbids it, but a viewer's list does not tell one from the other."""
    return [
        f"{count} segments are called {name}: they are kept apart by their numbers alone."
        for name, count in Counter(names).items()
        if count > 1
    ]


def known_misreadings(series: SourceSeries) -> tuple[str, ...]:
    """Sentences about viewers that are known to misread a DICOM-SEG of this series, although it is valid."""
    _, rows, columns = series.grid.shape
    if rows * columns % 8 == 0:
        return ()
    return (
        f"{rows} x {columns} pixels are no multiple of 8: viewers that use @cornerstonejs/adapters 5.14 (OHIF) or "
        "@itk-wasm/dicom 7.6 show this DICOM-SEG displaced or not at all. 3D Slicer, dcmqi and others read it right.",
    )


def _placed(mask: Mask, grid: PatientGrid, series: SourceSeries) -> Mask:
    if mask.dtype != np.bool_:
        raise DicomSegError(f"A mask must be boolean, this one is {mask.dtype}.")
    return onto_series(mask, grid, series).astype(np.bool_, copy=False)


def _segmentation(
    series: SourceSeries,
    headers: Sequence[Dataset],
    segments: Sequence[SegmentDescription],
    masks: Sequence[Mask],
    settings: ExportSettings,
) -> Segmentation:
    number = settings.series_number or whole_number(headers[0], "SeriesNumber") + 1000
    with warnings.catch_warnings():
        # highdicom would print an unusual patient's name into the log.
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent the intended person name")
        try:
            dataset = _built(headers, segments, masks, number, settings)
            state_spacing(dataset, series)
            refer_to_sources(dataset, series, headers)
        except WRONG as error:
            raise DicomSegError(_REFUSED.format(reason=error)) from error
    if "ContentCreatorName" not in dataset:
        # Type 2: present, and empty where nobody is named.
        dataset.ContentCreatorName = ""
    # Names of patients and segments may need any script, whatever the source was written in.
    dataset.SpecificCharacterSet = UNICODE
    for item, segment in zip(dataset.SegmentSequence, segments, strict=True):
        if segment.modifier is not None:
            item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
                _concept(segment.modifier)
            ]
        if segment.region is not None and segment.region_modifier is not None:
            item.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [_concept(segment.region_modifier)]
    return dataset


def _built(
    sources: Sequence[Dataset],
    segments: Sequence[SegmentDescription],
    masks: Sequence[Mask],
    number: int,
    settings: ExportSettings,
) -> Segmentation:
    return Segmentation(
        source_images=sources,
        pixel_array=_stacked(masks),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(n, segment, settings) for n, segment in enumerate(segments, 1)],
        series_instance_uid=highdicom.UID(),
        series_number=number,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="MemSeg3D",
        manufacturer_model_name=settings.algorithm_name,
        software_versions=settings.algorithm_version,
        device_serial_number="0",
        content_label=settings.content_label,
        # The series description may be the user's own words; this one is always there.
        content_description=RESEARCH_USE,
        content_creator_name=None if settings.creator is None else _line(settings.creator),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        series_description=_line(settings.series_description),
    )


def _stacked(masks: Sequence[Mask]) -> NDArray[np.uint8]:
    """A label volume (k, j, i) of 1, 2, ... where no two segments overlap, else one channel each (k, j, i, segment)."""
    covered = np.zeros(masks[0].shape, np.uint16)
    for mask in masks:
        covered += mask
    if covered.max() <= 1 and len(masks) <= 255:
        labels = np.zeros(masks[0].shape, np.uint8)
        for number, mask in enumerate(masks, 1):
            labels[mask] = number
        return labels
    return np.stack(masks, axis=-1).astype(np.uint8)


def _described(number: int, segment: SegmentDescription, settings: ExportSettings) -> DicomSegment:
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=settings.algorithm_name,
        family=codes.cid7162.ArtificialIntelligence,
        version=settings.algorithm_version,
    )
    return DicomSegment(
        segment_number=number,
        segment_label=_line(segment.name) or f"Segment {number}",
        segmented_property_category=_concept(segment.category),
        segmented_property_type=_concept(segment.type),
        algorithm_type=SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=algorithm,
        tracking_id=_line(segment.tracking_id or "") or _line(f"MemSeg3D {segment.name}"),
        tracking_uid=segment.tracking_uid or highdicom.UID(),
        anatomic_regions=None if segment.region is None else [_concept(segment.region)],
        display_color=None if segment.colour is None else CIELabColor.from_rgb(*segment.colour),
    )


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, _line(code.meaning))


def _line(text: str) -> str:
    """Words of the user as one line of DICOM, in which a backslash would part two values."""
    return " ".join("".join(c if c.isprintable() else " " for c in text.replace("\\", "/")).split())[:64].strip()


def _save(dataset: Dataset, path: Path, overwrite: bool) -> None:
    with FileSet(overwrite) as files:
        dataset.save_as(files.add(path), enforce_file_format=True)
