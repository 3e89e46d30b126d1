"""The segments that every case of a queue shall have: names, terminology and colours, as a JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.output_files import FileSet, write_text
from MemSeg3DLib.export.dicom.terminology import LabelsError, SegmentDescription, describe, read_labels, segment_as_json
from MemSeg3DLib.export.dicom.terminology_entry import ENTRY_TAG, describe_segment, entry_of
from MemSeg3DLib.scene.nodes import add_segment


@dataclass(frozen=True)
class CaseTemplate:
    """Segments in the order in which they are added; the first one is the one to start with."""

    segments: tuple[SegmentDescription, ...]

    def __post_init__(self) -> None:
        if not self.segments:
            raise LabelsError("The template names no segment: give it one at least.")
        names = [one.name.strip().lower() for one in self.segments]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise LabelsError(f"The template names {twice!r} twice: give each segment a name of its own.")


def read_template(path: Path) -> CaseTemplate:
    """A template from a JSON file: {"segments": [{"label": 1, "name": "liver", "colour": [221, 130, 101]}, ...]}.

    Labels files and the side-cars of exports are templates, too. Known names bring their codes and colours. Raises
    LabelsError with a sentence that says what to change.
    """
    return CaseTemplate(tuple(read_labels(Path(path))))


def write_template(template: CaseTemplate, path: Path, overwrite: bool = False) -> None:
    """Write a template that `read_template` reads. Raises ExportError where the file cannot be written."""
    segments = [{"label": one.label, **segment_as_json(one)} for one in template.segments]
    with FileSet(overwrite) as files:
        write_text(files.add(Path(path)), json.dumps({"segments": segments}, indent=2, ensure_ascii=False) + "\n")


def template_of(segmentation_node: Any) -> CaseTemplate:
    """The template that the segments of a segmentation make, without what belongs to one patient's finding."""
    segmentation = segmentation_node.GetSegmentation()
    ids = segmentation.GetSegmentIDs()
    described = (describe_segment(segmentation.GetSegment(one), label) for label, one in enumerate(ids, 1))
    return CaseTemplate(
        tuple(
            SegmentDescription(
                one.label, one.name, one.category, one.type, one.modifier, one.region, one.region_modifier, one.colour
            )
            for one in described
        )
    )


def template_of_names(names: Sequence[str]) -> CaseTemplate:
    """A template of plain names; known ones bring their codes and colours."""
    return CaseTemplate(tuple(describe(label, name.strip()) for label, name in enumerate(names, 1) if name.strip()))


def apply_template(segmentation_node: Any, template: CaseTemplate) -> list[str]:
    """Add the template's segments that the segmentation lacks, by name; return the ids of all of them, in order."""
    segmentation = segmentation_node.GetSegmentation()
    by_name = {
        str(segmentation.GetSegment(one).GetName()).strip().lower(): str(one) for one in segmentation.GetSegmentIDs()
    }
    ids = []
    for one in template.segments:
        found = by_name.get(one.name.strip().lower())
        if found is None:
            found = add_segment(segmentation_node, one.name, _as_slicer_has_it(one.colour))
            segmentation.GetSegment(found).SetTag(ENTRY_TAG, entry_of(one))
        ids.append(found)
    return ids


def _as_slicer_has_it(colour: tuple[int, int, int] | None) -> tuple[float, float, float] | None:
    return None if colour is None else (colour[0] / 255, colour[1] / 255, colour[2] / 255)
