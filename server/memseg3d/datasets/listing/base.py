"""What a layout is: a name, how it is recognised from names on disk alone, and how its cases are listed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from memseg3d.datasets.description import Case, DataSet, Fault, Reason, Split
from memseg3d.datasets.errors import DataSetError
from memseg3d.datasets.record import Record


class Sure(IntEnum):
    """How much a layout is told by what lies on disk; the higher wins, two of one rank are ambiguous."""

    PLAIN = 1
    """Folders whose names many use."""
    DESCRIBED = 2
    """A file that describes the set, or a form that few use."""
    NAMED = 3
    """Names that one published set alone has."""


@dataclass(frozen=True)
class Recognition:
    """root: the folder in which the layout begins. why: what was seen, as the end of a sentence."""

    root: Path
    why: str
    sure: Sure


@dataclass(frozen=True)
class Layout:
    """One way to keep a data set.

    expects: what lies on disk, in a line. recognise: by a folder's names, without opening volumes; None where it is
    laid out otherwise. read: lists the cases under the recognised root, lazily; the record of a conversion, where one
    lies there, says what the files do not.
    """

    name: str
    expects: str
    recognise: Callable[[Path], Recognition | None]
    read: Callable[[Path, Record | None], DataSet]


def first_of(root: Path, places: tuple[str, ...], test: Callable[[Path], str]) -> tuple[Path, str] | None:
    """The first of root and its folders `places` for which `test` has words, with these words."""
    for place in ("", *places):
        folder = root / place
        if folder.is_dir() and (why := test(folder)):
            return folder, why
    return None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `DataSetError`."""
    try:
        words = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataSetError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{path} is no JSON that can be read; restore it from the set's archive.") from error
    if not isinstance(words, dict):
        raise DataSetError(f"{path} should hold one JSON object; restore it from the set's archive.")
    return words


def no_label(case: str, image: Path, looked_for: str) -> Fault:
    """The fault of an image without labels. looked_for: where they should lie."""
    return Fault(
        case, Reason.LABEL_MISSING, f"{image} has no labels: {looked_for} is missing. Add it, or remove the image."
    )


def no_image(case: str, labels: Path, looked_for: str) -> Fault:
    """The fault of labels without an image."""
    return Fault(
        case, Reason.IMAGE_MISSING, f"{labels} has no image: {looked_for} is missing. Add it, or remove the labels."
    )


def with_names(cases: list[Case], names: Mapping[int, str]) -> tuple[Case, ...]:
    """The cases with the set's names of labels."""
    return tuple(replace(case, label_names=names) for case in cases)


def recorded(case: Case, record: Record | None) -> Case:
    """The case with what a conversion's record says of it."""
    kept = record.cases.get(case.name) if record else None
    if kept is None:
        return case
    return replace(
        case,
        split=kept.split if kept.split is not Split.UNKNOWN else case.split,
        patient=kept.patient or case.patient,
        modality=kept.modality or case.modality,
        channels=kept.channels or case.channels,
        slice_axis=kept.slice_axis,
    )
