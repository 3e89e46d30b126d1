"""What a segment is called: whether anybody has said so yet, names to choose from, and a name with its terminology."""

from __future__ import annotations

import re
from typing import Any

from MemSeg3DLib.base.errors import SceneError
from MemSeg3DLib.export.dicom.terminology import TISSUE, describe
from MemSeg3DLib.export.dicom.terminology_entry import ENTRY_TAG, entry_of, parse_entry, read_tag

SHORT_LIST = ("liver", "spleen", "left kidney", "right kidney", "lesion", "tumour", "left lung", "right lung")
"""Names that are offered at the first prompt; each brings its SNOMED CT codes."""

# Slicer says "Segment_1", the panel "Segment 1", in the user's language perhaps with another word.
_MADE_UP = re.compile(r"\s*([^\W\d_]+)?[ _-]*\d*\s*")
_WORDS = {"", "segment", "untitled"}


def is_unnamed(segment: Any, made_up: str = "") -> bool:
    """Whether a vtkSegment bears a name that a program gave it, and no terminology beyond tissue.

    made_up: the name that the panel gives to a first segment, in the user's language.
    """
    name = str(segment.GetName() or "").strip()
    match = _MADE_UP.fullmatch(name)
    word = ((match.group(1) or "") if match else name).lower()
    known = _WORDS | {made_up.rstrip("0123456789 _-").lower()}
    if word not in known:
        return False
    told = parse_entry(read_tag(segment, ENTRY_TAG) or "")
    return told.get("type", TISSUE).value == TISSUE.value


def unnamed(segmentation_node: Any, ids: Any = None, made_up: str = "") -> list[str]:
    """Names that programs gave to segments (of these ids, or all)."""
    segmentation = segmentation_node.GetSegmentation()
    found = [segmentation.GetSegment(one) for one in (segmentation.GetSegmentIDs() if ids is None else ids)]
    return [str(one.GetName() or "").strip() for one in found if one is not None and is_unnamed(one, made_up)]


def give_name(segmentation_node: Any, segment_id: str, name: str) -> str:
    """Name a segment; a known name brings its terminology and its colour. What it is now, in words. SceneError."""
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    name = " ".join(name.split())
    if segment is None:
        raise SceneError("No segment is selected: click on one in Segments and hand tools.")
    if not name:
        raise SceneError("Type a name first.")
    segment.SetName(name)
    what = describe(0, name)
    segment.SetTag(ENTRY_TAG, entry_of(what))
    if what.colour is not None:
        segment.SetColor(*(part / 255 for part in what.colour))
    side = f", {what.modifier.meaning.lower()}" if what.modifier is not None else ""
    return f"{what.type.meaning}{side}"
