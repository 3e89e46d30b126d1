"""Frames of an Enhanced CT, MR or PET object: each has its place, its marks and its own rescaling (PS3.3 C.7.6.16)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from memseg3d.files.dicom.values import MARKS, numbers, whole_number, word

_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
_MARKS = {
    "time point": ("FrameContentSequence", "TemporalPositionIndex"),
    "acquisition": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "echo time": ("MREchoSequence", "EffectiveEchoTime"),
    "b-value": ("MRDiffusionSequence", "DiffusionBValue"),
    "trigger time": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "stack": ("FrameContentSequence", "StackID"),
}
_TIMES = ("FrameAcquisitionDateTime", "FrameReferenceDateTime")


def frames_of(dataset: Dataset) -> list[dict[str, Any]]:
    """For every frame the fields of a `Plane` that are its own; shared groups hold what all frames have in common."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    count = max(1, whole_number(dataset, "NumberOfFrames"))
    return [
        _frame(dataset, shared, own, number)
        for number, own in enumerate(dataset.PerFrameFunctionalGroupsSequence[:count])
    ]


def _frame(dataset: Dataset, shared: Dataset, own: Dataset, number: int) -> dict[str, Any]:
    def group(name: str) -> Dataset:
        found = own.get(name) or shared.get(name)
        return found[0] if found else Dataset()

    marks = dict.fromkeys(MARKS, "")
    marks |= {name: word(group(sequence), keyword) for name, (sequence, keyword) in _MARKS.items()}
    marks["image type"] = next((kind for one in _TYPES if (kind := word(group(one), "FrameType"))), "")
    values = group("PixelValueTransformationSequence")
    slope = numbers_of_one(values, "RescaleSlope") or numbers_of_one(dataset, "RescaleSlope")
    intercept = numbers_of_one(values, "RescaleIntercept") or numbers_of_one(dataset, "RescaleIntercept")
    return {
        "frame": number,
        "position": numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        "orientation": numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        "spacing": numbers(group("PixelMeasuresSequence"), "PixelSpacing", 2),
        "marks": marks,
        "times": (*(word(group("FrameContentSequence"), one) for one in _TIMES), marks["trigger time"]),
        "rescale": (slope[0] if slope else 1.0, intercept[0] if intercept else 0.0),
    }


def numbers_of_one(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """One number, or none."""
    try:
        return (float(dataset[keyword].value),)
    except (KeyError, TypeError, ValueError):
        return ()
