"""Prompts as a user gives them, in an order of coordinates, before the volume is known; and what they are on it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from memseg3d.cases.errors import CaseError
from memseg3d.cases.orders import KJI, Order, Point3, numbers

if TYPE_CHECKING:
    from memseg3d.files import Geometry
    from memseg3d.propagation.prompts.prompts import Prompt

Kind = Literal["point", "box", "scribble", "lasso", "extreme_points"]
STROKE_VOXELS = 2.0
"""Width of a scribble that names none, in voxels of its slice."""
FLAT = 0.5
"""Corners and points in millimetres that differ by less along an axis, in voxels, lie on one slice of it."""


@dataclass(frozen=True)
class Draft:
    """One prompt as it was given. points: in `order`; said, option: the user's words and where they stood.

    width: of a scribble in mm, None: two voxels. axis: of its slice, None: found by `prompts_of`.
    """

    kind: Kind
    name: str
    points: tuple[Point3, ...]
    positive: bool = True
    order: Order = KJI
    said: str = ""
    option: str | None = None
    width: float | None = None
    axis: int | None = None


@dataclass
class SegmentNames:
    """Names by object number, in the order of their first prompt. They never leave this side."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """The number of a segment: that of its name, or the next free one."""
        return self.numbers.setdefault(name, max(self.numbers.values(), default=0) + 1)

    def name(self, number: int) -> str:
        """The name of an object."""
        return next((name for name, each in self.numbers.items() if each == number), str(number))

    def said(self, sentence: object) -> str:
        """A sentence about objects with the names that the user knows them by."""
        return re.sub(r"\bobject (\d+)\b", lambda found: f"'{self.name(int(found[1]))}'", str(sentence), flags=re.I)


def prompts_of(
    drafts: Sequence[Draft],
    names: SegmentNames,
    geometry: Geometry,
    axis: int | None = None,
    axes: Mapping[int, int] | None = None,
) -> list[Prompt]:
    """The prompts that drafts are on a volume; new names get numbers.

    axis: of the slices that points are placed on, and along which boxes in space are propagated; None: that of the
    segment's box, else as `axes` has it by object (what was prompted before), else 0. Raises `CaseError`.
    """
    known = dict(axes or {})
    drafts = [_bounded(draft, geometry) for draft in drafts]
    found: dict[int, Prompt] = {}
    # Boxes first: clicks lie on their slices.
    for place in sorted(range(len(drafts)), key=lambda place: drafts[place].kind == "point"):
        draft = drafts[place]
        number = names.number(draft.name)
        on_axis = draft.axis if draft.axis is not None else axis
        prompt = _prompt(draft, number, geometry, on_axis, known)
        if draft.kind != "point":
            known[number] = prompt.axis
        found[place] = prompt
    return [found[place] for place in range(len(drafts))]


def _prompt(draft: Draft, number: int, geometry: Geometry, axis: int | None, known: Mapping[int, int]) -> Prompt:
    from memseg3d.propagation.prompts.checks import check_prompt
    from memseg3d.propagation.prompts.prompts import PromptError

    if not draft.points:
        raise CaseError(_about(draft, "it has no points."), draft.option)
    points = [draft.order.to_kji(point, geometry) for point in draft.points]
    if draft.kind in ("point", "box", "extreme_points"):
        _check_inside(draft, points, geometry)
    prompt = _MAKERS[draft.kind](draft, number, _on_slices(draft, points), geometry, axis, known)
    try:
        check_prompt(prompt, geometry.shape)
    except PromptError as error:
        raise CaseError(_about(draft, str(error)), draft.option) from error
    return prompt


def _bounded(draft: Draft, geometry: Geometry) -> Draft:
    """A ROI's eight corners as the two corners of the voxels that lie inside of it, (k, j, i); others stay as they are.

    A ROI that holds one slice at most along one axis is a box on that slice.
    """
    if draft.kind != "box" or len(draft.points) != 8:
        return draft
    voxels = [draft.order.to_kji(point, geometry) for point in draft.points]
    if not all(math.isfinite(place) for voxel in voxels for place in voxel):
        raise CaseError(_about(draft, "its corners are no finite numbers."), draft.option)
    lower, upper = [], []
    for axis, size in enumerate(geometry.shape):
        low = max(min(voxel[axis] for voxel in voxels), 0.0)
        high = min(max(voxel[axis] for voxel in voxels), size - 1.0)
        # A ROI ends at the faces of voxels, a box at their centres.
        first, last = math.ceil(low - 1e-3), math.floor(high + 1e-3)
        if last <= first and high - low < 1 + FLAT:
            first = last = min(size - 1, max(0, round((low + high) / 2)))
        lower.append(float(first))
        upper.append(float(last))
    if any(high < low for low, high in zip(lower, upper, strict=True)):
        raise CaseError(f"{draft.said} lies outside the volume: is it of this volume?", draft.option)
    return replace(draft, points=((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])), order=KJI)


def _about(draft: Draft, sentence: str) -> str:
    return f"{draft.said}: {sentence}" if draft.said else sentence


def _check_inside(draft: Draft, points: Sequence[Point3], geometry: Geometry) -> None:
    """Raise `CaseError`, in the user's own order, for a place beyond the volume."""
    for given, point in zip(draft.points, points, strict=True):
        if all(-0.5 <= value < size - 0.5 for value, size in zip(point, geometry.shape, strict=True)):
            continue
        hint = ""
        if not draft.order.in_mm:
            turned = tuple(reversed(point))
            other = "kji" if draft.order.turned else "ijk"
            if all(-0.5 <= value < size - 0.5 for value, size in zip(turned, geometry.shape, strict=True)):
                hint = f" In the order {other} it would lie inside: --coordinates {other}."
        size = draft.order.size(geometry)
        raise CaseError(
            _about(draft, f"({numbers(given)}) lies outside the volume, which has {size}.{hint}"), draft.option
        )


def _on_slices(draft: Draft, points: list[Point3]) -> list[Point3]:
    """Places in millimetres that lie nearly on one slice are put on it; others stay."""
    if not draft.order.in_mm or draft.kind == "point":
        return points
    for axis in range(3):
        values = [point[axis] for point in points]
        if max(values) - min(values) < FLAT:
            nearest = float(round(sum(values) / len(values)))
            points = [_with(point, axis, nearest) for point in points]
    return points


def _with(point: Point3, axis: int, value: float) -> Point3:
    k, j, i = (value if each == axis else other for each, other in enumerate(point))
    return k, j, i


def _flat_axes(points: Sequence[Point3]) -> list[int]:
    return [axis for axis in range(3) if len({point[axis] for point in points}) == 1]


def _point(
    draft: Draft, number: int, points: list[Point3], geometry: Geometry, axis: int | None, known: Mapping[int, int]
) -> Prompt:
    from memseg3d.propagation.prompts.prompts import PointPrompt

    return PointPrompt(number, points[0], draft.positive, axis if axis is not None else known.get(number, 0))


def _box(
    draft: Draft, number: int, points: list[Point3], geometry: Geometry, axis: int | None, known: Mapping[int, int]
) -> Prompt:
    from memseg3d.propagation.prompts.prompts import Box3DPrompt, BoxPrompt

    flat = _flat_axes(points)
    if len(flat) > 1:
        letters = ", ".join(draft.order.letters)
        raise CaseError(
            _about(draft, f"the box has no area; let its corners agree in one of {letters} (a slice) or in none."),
            draft.option,
        )
    (k0, k1), (j0, j1), (i0, i1) = (sorted(pair) for pair in zip(*points, strict=True))
    if not flat:
        return Box3DPrompt(number, axis if axis is not None else known.get(number, 0), (k0, j0, i0), (k1, j1, i1))
    return BoxPrompt(number, flat[0], (k0, j0, i0), (k1, j1, i1))


def _line_axis(draft: Draft, points: list[Point3], axis: int | None, known: int | None) -> int:
    """The axis along which a line's points agree: the wanted one where several do."""
    flat = _flat_axes(points)
    if not flat:
        letters = ", ".join(draft.order.letters)
        raise CaseError(
            _about(draft, f"its points agree in none of {letters}; draw it on one slice of the volume."), draft.option
        )
    wanted = [each for each in (axis, known) if each in flat]
    return wanted[0] if wanted and wanted[0] is not None else flat[0]


def _scribble(
    draft: Draft, number: int, points: list[Point3], geometry: Geometry, axis: int | None, known: Mapping[int, int]
) -> Prompt:
    from memseg3d.propagation.prompts.prompts import ScribblePrompt

    on_axis = _line_axis(draft, points, axis, known.get(number))
    spacing = geometry.spacing_kji
    finest = min(step for other, step in enumerate(spacing) if other != on_axis)
    width = STROKE_VOXELS * finest if draft.width is None else draft.width
    k, j, i = (width / 2 / step for step in spacing)
    return ScribblePrompt(number, on_axis, tuple(points), (k, j, i), geometry.shape, draft.positive)


def _lasso(
    draft: Draft, number: int, points: list[Point3], geometry: Geometry, axis: int | None, known: Mapping[int, int]
) -> Prompt:
    from memseg3d.propagation.prompts.prompts import LassoPrompt

    on_axis = _line_axis(draft, points, axis, known.get(number))
    return LassoPrompt(number, on_axis, tuple(points), geometry.shape, draft.positive)


def _extreme_points(
    draft: Draft, number: int, points: list[Point3], geometry: Geometry, axis: int | None, known: Mapping[int, int]
) -> Prompt:
    from memseg3d.propagation.prompts.prompts import ExtremePointsPrompt, nearest_voxel

    # Across the axis of whose slices one holds most of them.
    def most(each: int) -> int:
        at = [nearest_voxel(point[each]) for point in points]
        return max(at.count(index) for index in at)

    on_axis = axis if axis is not None else max(range(3), key=most)
    return ExtremePointsPrompt(number, on_axis, tuple(points))


_MAKERS = {
    "point": _point,
    "box": _box,
    "scribble": _scribble,
    "lasso": _lasso,
    "extreme_points": _extreme_points,
}
