"""What the layouts of 2D files share: a case's folder of slices as a source, or as the fault that it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from memseg3d.datasets.description import Case, Fault, Reason
from memseg3d.datasets.listing.base import recorded
from memseg3d.datasets.record import Record, case_record
from memseg3d.datasets.sources.slice_stacks import ARRAYS, PICTURES, SliceStack
from memseg3d.files import UnreadableFile

NO_SPACING = "This layout keeps no spacing: 1 mm is assumed, and millimetres mean nothing."


def stacked_case(
    case: Case | str,
    images: Path,
    labels: Path | None,
    record: Record | None,
    label_suffixes: tuple[str, ...] = PICTURES,
    scribbles: Path | None = None,
) -> Case | Fault:
    """The case of these folders. case: a description to be filled, or its name. labels: None without truth."""
    name = case if isinstance(case, str) else case.name
    kept = case_record(record, name)
    try:
        image = SliceStack.of_folder(images, PICTURES, False, kept.geometry, kept.slope, kept.offset)
        truth = SliceStack.of_folder(labels, label_suffixes, True, kept.geometry) if labels else None
        extras = {"scribbles": SliceStack.of_folder(scribbles, PICTURES, True)} if scribbles else {}
    except UnreadableFile as error:
        return Fault(name, Reason.UNREADABLE, str(error))
    begun = Case(name, (image,), truth) if isinstance(case, str) else replace(case, images=(image,), labels=truth)
    return recorded(replace(begun, extras=extras), record)


def told_spacing(cases: list[Case]) -> tuple[str, ...]:
    """The note for sets whose spacing nothing tells."""
    stacks = [case.image for case in cases if isinstance(case.image, SliceStack)]
    return (NO_SPACING,) if any(stack.geometry is None for stack in stacks) else ()


__all__ = ["ARRAYS", "NO_SPACING", "PICTURES", "stacked_case", "told_spacing"]
