"""Slicer's terminology entries: the codes of a segment as its tag holds them, and what a segment is from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from MemSeg3DLib.export.dicom.terminology import TISSUE, Code, SegmentDescription, describe

ENTRY_TAG = "TerminologyEntry"
ALGORITHM_TYPE_TAG = "DICOM.SegmentAlgorithmType"
ALGORITHM_NAME_TAG = "DICOM.SegmentAlgorithmName"
TRACKING_ID_TAG = "DICOM.TrackingIdentifier"
TRACKING_UID_TAG = "DICOM.TrackingUniqueIdentifier"
_TYPES = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGIONS = "Anatomic codes - DICOM master list"
# Order of the parts that hold a code; parts 0 and 4 name the lists they were chosen from.
_PARTS = {"category": 1, "type": 2, "modifier": 3, "region": 5, "region_modifier": 6}


def parse_entry(text: str) -> dict[str, Code]:
    """The codes of an entry by their field of `SegmentDescription`; parts that are empty or damaged are left out."""
    parts = text.split("~")
    return {
        field: code for field, at in _PARTS.items() if at < len(parts) and (code := _parse_code(parts[at])) is not None
    }


def entry_of(segment: SegmentDescription) -> str:
    """The entry that Slicer shows and edits as the terminology of a segment."""
    parts = [_TYPES, *([""] * 3), _REGIONS, "", ""]
    for field, at in _PARTS.items():
        code: Code | None = getattr(segment, field)
        # Slicer's separators cannot be quoted: a meaning that holds one would shift all parts behind it.
        parts[at] = "^".join(plain_words(word) for word in (code.scheme, code.value, code.meaning)) if code else "^^"
    return "~".join(parts)


def describe_segment(segment: Any, label: int) -> SegmentDescription:
    """A vtkSegment in words and codes.

    The codes are those of its terminology. Where that says no more than tissue, Slicer's default, they come from the
    presets if the segment's name is known there.
    """
    name = str(segment.GetName() or "").strip() or f"Segment {label}"
    known = describe(label, name)
    codes: Mapping[str, Code] = parse_entry(read_tag(segment, ENTRY_TAG) or "")
    if codes.get("type", TISSUE).value != TISSUE.value:
        # A type without a category is a damaged entry: what is known of the name is the better guess.
        known = _coded(label, name, codes) if "category" in codes else known
    elif "region" in codes and known.region is None:
        known = replace(known, region=codes["region"], region_modifier=codes.get("region_modifier"))
    red, green, blue = (min(255, max(0, round(255 * part))) for part in segment.GetColor())
    return replace(
        known,
        colour=(red, green, blue),
        tracking_id=read_tag(segment, TRACKING_ID_TAG),
        tracking_uid=read_tag(segment, TRACKING_UID_TAG),
    )


def _coded(label: int, name: str, codes: Mapping[str, Code]) -> SegmentDescription:
    return SegmentDescription(
        label,
        name,
        category=codes["category"],
        type=codes["type"],
        modifier=codes.get("modifier"),
        region=codes.get("region"),
        region_modifier=codes.get("region_modifier"),
    )


def read_tag(segment: Any, name: str) -> str | None:
    """A tag of a vtkSegment, or None where it is absent or empty."""
    # Only who has a vtkSegment needs it: entries are read and written without.
    import vtk

    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) and str(value) else None


def _parse_code(text: str) -> Code | None:
    words = text.split("^")
    if len(words) != 3 or not words[0].strip() or not words[1].strip():
        return None
    scheme, value, meaning = (word.strip() for word in words)
    return Code(value, scheme, meaning or value)


def plain_words(word: str) -> str:
    """Words without the characters by which Slicer's files part values: they cannot be quoted."""
    return word.replace("^", " ").replace("~", " ").replace("|", " ")
