"""Prompts from files: this project's JSON, Slicer's markups (.mrk.json), and label files whose slices are masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memseg3d.cases.drafts import Draft, Kind
from memseg3d.cases.errors import CaseError
from memseg3d.cases.json_files import read_json
from memseg3d.cases.orders import KJI, ORDERS, Order, Point3, order_named

if TYPE_CHECKING:
    import numpy as np

    from memseg3d.cases.drafts import SegmentNames
    from memseg3d.files import Geometry
    from memseg3d.propagation.prompts.prompts import Prompt

OPTION = "--prompts"
MASK = "--mask"
KINDS: tuple[Kind, ...] = ("point", "box", "scribble", "lasso", "extreme_points")
WORDS = ("name", "type", "position", "lower", "upper", "points", "positive", "axis", "width")
"""What a prompt of the JSON form may tell. A misspelt "positive" would turn a prompt into its opposite."""
SYSTEMS = {"LPS": "lps", "1": "lps", "RAS": "ras", "0": "ras"}
"""Of Slicer's markups, as they have been written over the years."""


def read_prompt_file(text: str, order: Order = KJI) -> list[Draft]:
    """The prompts of a JSON file or of Slicer's markups; `text` is FILE, NAME=FILE, or NAME-=FILE for negative ones.

    order: of a file that names none. Raises `CaseError`.
    """
    name, positive, path = name_and_file(text)
    words = read_json(path, "file of prompts or markups", OPTION)
    try:
        if isinstance(words, dict) and "markups" in words:
            stem = path.name.lower().removesuffix(".json").removesuffix(".mrk")
            own = path.name[: len(stem)]
            found = [each for markup in words["markups"] for each in _of_markup(markup, name or own, positive, path)]
        else:
            found = _of_json(words, name, positive, order, path)
    except CaseError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise CaseError(f"{path} is damaged or of another form{_lacks(error)}.", OPTION) from error
    if not found:
        raise CaseError(f"{path} holds no prompt.", OPTION)
    return found


def _lacks(error: Exception) -> str:
    reason = f"it lacks {error}; " if isinstance(error, KeyError) else ""
    return f" ({reason}docs/command-line.md shows the form)"


def name_and_file(text: str) -> tuple[str | None, bool, Path]:
    """A file whose own name holds "=" is taken as it is where it exists."""
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists():
        return None, True, Path(text)
    name = name.strip()
    if name[-1:] in "+-" and name[:-1].strip():
        return name[:-1].strip(), name[-1] == "+", Path(rest)
    if not name:
        raise CaseError(f"{text}: write NAME=FILE, or the file alone.", OPTION)
    return name, True, Path(rest)


def _of_json(words: Any, name: str | None, positive: bool, order: Order, path: Path) -> list[Draft]:
    """{"coordinates": "ras", "prompts": [{"name", "type", ...}]} or the list alone."""
    given = words if isinstance(words, list) else words["prompts"]
    if isinstance(words, dict) and "coordinates" in words:
        order = order_named(words["coordinates"])
    return [
        replace(draft, positive=draft.positive and positive)
        for place, each in enumerate(given, start=1)
        for draft in [checked_draft(each, order, f"{path}, prompt {place}", name, OPTION)]
    ]


def checked_draft(words: Any, order: Order, said: str, name: str | None = None, option: str | None = None) -> Draft:
    """One prompt of the JSON form, by its own name or by `name`. said: as messages call it. Raises `CaseError`."""
    try:
        if words.get("type") not in KINDS:
            raise CaseError(f"{said} has the type {words.get('type')!r}, not {', '.join(KINDS)}.", option)
        if unknown := sorted(set(words) - set(WORDS)):
            raise CaseError(f"{said} tells {unknown[0]!r}; known are {', '.join(WORDS)}.", option)
        own = name or words.get("name")
        if not isinstance(own, str) or not own.strip():
            raise CaseError(f"{said} has no name; add one{', or write NAME=FILE' if option else ''}.", option)
        sign = words.get("positive", True)
        if not isinstance(sign, bool):
            raise CaseError(f"positive of {said} is true or false, not {sign!r}.", option)
        return draft_of(words, own.strip(), order, said, option)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, CaseError):
            raise
        raise CaseError(f"{said} is damaged or of another form{_lacks(error)}.", option) from error


def draft_of(words: Mapping[str, Any], name: str, order: Order, said: str = "", option: str | None = None) -> Draft:
    """One prompt of the JSON form. Raises `CaseError`, and KeyError, TypeError or ValueError for what is no prompt."""
    kind = words["type"]
    if kind == "point":
        points = [words["position"]]
    elif kind == "box":
        points = [words["lower"], words["upper"]]
    else:
        points = words["points"]
    axis = words.get("axis")
    if axis not in (None, 0, 1, 2) or isinstance(axis, bool | float):
        raise CaseError(f"{said}: the axis is 0, 1 or 2 (k, j or i), not {axis!r}.", option)
    width = words.get("width")
    return Draft(
        kind,
        name,
        tuple(_point3(point) for point in points),
        bool(words.get("positive", True)),
        order,
        said,
        option,
        None if width is None else _width(width),
        axis,
    )


def _width(value: Any) -> float:
    if not _is_number(value) or value < 0:
        raise ValueError("a width is a number of millimetres")
    return float(value)


def _of_markup(markup: Mapping[str, Any], name: str, positive: bool, path: Path) -> list[Draft]:
    kind, system = markup.get("type"), str(markup.get("coordinateSystem", "LPS"))
    if system.upper() not in SYSTEMS:
        raise CaseError(f"{path} has coordinates in {system}; save it in LPS or RAS.", OPTION)
    order = ORDERS[SYSTEMS[system.upper()]]
    units = markup.get("coordinateUnits", "mm")
    if units not in ("mm", ["mm", "UCUM", "millimeter"]) and not (isinstance(units, list) and "mm" in units):
        raise CaseError(f"{path} has coordinates in {units}; save it in millimetres.", OPTION)
    said = f"{path} ({kind})"
    if kind == "ROI":
        return [Draft("box", name, _roi_corners(markup), True, order, said, OPTION)]
    points = tuple(
        _point3(point["position"])
        for point in markup["controlPoints"]
        if point.get("positionStatus", "defined") == "defined"
    )
    if not points:
        raise CaseError(f"{said} holds no placed point.", OPTION)
    if kind == "Fiducial":
        return [Draft("point", name, (point,), positive, order, said, OPTION) for point in points]
    if kind in ("Line", "Curve"):
        return [Draft("scribble", name, points, positive, order, said, OPTION)]
    if kind == "ClosedCurve":
        return [Draft("lasso", name, points, positive, order, said, OPTION)]
    raise CaseError(
        f"{said}: a markup of this type is no prompt; use points, ROI, line, curve or closed curve.", OPTION
    )


def _roi_corners(markup: Mapping[str, Any]) -> tuple[Point3, ...]:
    """All eight corners: on a turned volume the box that holds them is taken."""
    if markup.get("roiType", "Box") not in ("Box", "BoundingBox"):
        raise CaseError(f"A ROI of the type {markup['roiType']} is no box; use a box.", OPTION)
    centre, size = _point3(markup["center"]), _point3(markup["size"])
    turned = [float(value) for value in markup.get("orientation", (1, 0, 0, 0, 1, 0, 0, 0, 1))]
    corners = []
    for signs in product((-0.5, 0.5), repeat=3):
        offset = [sign * length for sign, length in zip(signs, size, strict=True)]
        # Row by row; its columns are the directions of the ROI's own axes.
        x, y, z = (
            centre[row] + sum(turned[3 * row + column] * offset[column] for column in range(3)) for row in range(3)
        )
        corners.append((x, y, z))
    return tuple(corners)


def read_mask(text: str, names: SegmentNames, geometry: Geometry, axis: int | None = None) -> list[Prompt]:
    """The painted slices of a label file on the volume's grid, as mask prompts; `text` is FILE or NAME=FILE.

    NAME=FILE: every label is of this segment; FILE: label 3 is of the segment "label 3". axis: that the slices lie
    across; None: along which the fewest are painted. Raises `CaseError`.
    """
    import numpy as np

    from memseg3d.propagation.prompts.prompts import MaskPrompt

    name, positive, path = name_and_file(text)
    if not positive:
        raise CaseError(f"{text}: a mask says what belongs to the segment; it has no sign.", MASK)
    labels = labels_on(path, geometry, MASK)
    found: list[Prompt] = []
    values = [int(value) for value in np.unique(labels) if value != 0]
    if not values:
        raise CaseError(f"{path} is empty: no voxel has a label.", MASK)
    for label in [None] if name else values:
        mask = labels != 0 if label is None else labels == label
        number = names.number(name or f"label {label}")
        counts = [mask.any(axis=tuple(each for each in range(3) if each != across)) for across in range(3)]
        across = axis if axis is not None else min(range(3), key=lambda each: int(counts[each].sum()))
        for index in np.flatnonzero(counts[across]):
            plane = np.ascontiguousarray(np.take(mask, int(index), axis=across))
            found.append(MaskPrompt(number, across, int(index), plane))
    return found


def labels_on(path: Path, geometry: Geometry, option: str) -> np.ndarray:
    """The labels (k, j, i) of a file on the volume's grid, whole numbers from 0. Raises `CaseError` about `option`."""
    import numpy as np

    from memseg3d.files import UnreadableFile
    from memseg3d.files.geometry import SAME_PLACE
    from memseg3d.files.labels import read_labels

    try:
        file = read_labels(path)
    except UnreadableFile as error:
        raise CaseError(str(error), option) from error
    if file.geometry.shape != geometry.shape:
        raise CaseError(
            f"{path} has {KJI.size(file.geometry)}, the volume {KJI.size(geometry)}: a label file lies on its grid.",
            option,
        )
    off = geometry.apart(file.geometry)
    if off > SAME_PLACE:
        raise CaseError(f"{path} lies {off:.2g} voxels beside the volume; resample it onto the volume's grid.", option)
    return np.asarray(file.voxels)


def _point3(values: Sequence[Any]) -> Point3:
    if len(values) != 3 or not all(_is_number(value) for value in values):
        raise ValueError("three numbers are wanted")
    a, b, c = (float(value) for value in values)
    return a, b, c


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
