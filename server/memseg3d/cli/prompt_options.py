"""Reads prompts from the command line: --box liver:60,40,30,60,110,120, --point liver:+60,70,80 and the like."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from memseg3d.propagation.prompts.limits import SliceLimits
    from memseg3d.propagation.prompts.prompts import Prompt
    from memseg3d.propagation.volume.volume import Volume

BOX_FORM = "NAME:k0,j0,i0,k1,j1,i1"
POINT_FORM = "NAME:+k,j,i or NAME:-k,j,i"
LINE_FORM = "NAME:+k,j,i;k,j,i;... or NAME:-k,j,i;k,j,i;..."
LIMITS_FORM = "NAME:first-last"
STROKE_VOXELS = 2.0
"""Width of a scribble that names none, in voxels of its slice."""


@dataclass(frozen=True)
class PromptTexts:
    """What the command line says of prompts. axis: see `read_prompts`; width: of scribbles in mm, None: two voxels."""

    boxes: list[str]
    points: list[str]
    scribbles: list[str]
    lassos: list[str]
    axis: int | None = None
    width: float | None = None


@dataclass
class SegmentNames:
    """Names by object number, in the order of their first prompt. They never leave this side."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """The number of a segment: that of its name, or the next free one."""
        return self.numbers.setdefault(name, len(self.numbers) + 1)


def read_prompts(texts: PromptTexts, volume: Volume) -> tuple[list[Prompt], SegmentNames]:
    """Prompts on a volume, and the segments that they name.

    texts.axis: of the slices that points are placed on, and along which boxes in space are propagated; None: that of
    the segment's box, else 0. Raises `typer.BadParameter` for anything that cannot be read or used.
    """
    names, axis = SegmentNames(), texts.axis
    prompts = [_checked(_box(text, names, axis), text, "--box", volume.shape) for text in texts.boxes]
    for text in texts.scribbles:
        prompts.append(_checked(_scribble(text, names, texts, volume), text, "--scribble", volume.shape))
    for text in texts.lassos:
        prompts.append(_checked(_lasso(text, names, axis, volume), text, "--lasso", volume.shape))
    box_axes = {prompt.object: prompt.axis for prompt in prompts}
    prompts += [_checked(_point(text, names, axis, box_axes), text, "--point", volume.shape) for text in texts.points]
    if not prompts:
        raise typer.BadParameter(f"Nothing to segment: give at least one --box {BOX_FORM} or --point {POINT_FORM}.")
    positive = {prompt.object for prompt in prompts if getattr(prompt, "positive", True)}
    for name, number in names.numbers.items():
        if number not in positive:
            raise typer.BadParameter(f"'{name}' has negative points only; add a box or a positive point.")
    return prompts, names


def read_limits(
    texts: list[str], names: SegmentNames, prompts: list[Prompt], axis: int | None
) -> dict[int, SliceLimits]:
    """Limits by object number, along the axis of the object's propagation. Raises `typer.BadParameter`."""
    from memseg3d.propagation.prompts.limits import SliceLimits
    from memseg3d.propagation.prompts.sets import by_object, propagation_axis

    own = by_object({str(place): prompt for place, prompt in enumerate(prompts)})
    limits = {}
    for text in texts:
        name, numbers = _parts(text, "--limits", LIMITS_FORM)
        first, dash, last = numbers.partition("-")
        if not (dash and first.strip().isdigit() and last.strip().isdigit()):
            raise typer.BadParameter(f"{text}: write {LIMITS_FORM}, slices from 0.", param_hint="--limits")
        if name not in names.numbers:
            raise typer.BadParameter(f"{text}: no prompt is for '{name}'.", param_hint="--limits")
        number = names.numbers[name]
        limits[number] = SliceLimits(propagation_axis(own[number], axis), int(first), int(last))
    return limits


def _checked(prompt: Prompt, text: str, option: str, shape: tuple[int, int, int]) -> Prompt:
    from memseg3d.propagation.prompts.checks import check_prompt
    from memseg3d.propagation.prompts.prompts import PromptError

    try:
        check_prompt(prompt, shape)
    except PromptError as error:
        raise typer.BadParameter(f"{text}: {error}", param_hint=option) from error
    return prompt


def _box(text: str, names: SegmentNames, axis: int | None) -> Prompt:
    from memseg3d.propagation.prompts.prompts import Box3DPrompt, BoxPrompt

    name, numbers = _parts(text, "--box", BOX_FORM)
    values = _floats(numbers, 6, text, "--box", BOX_FORM)
    lower, upper = (values[0], values[1], values[2]), (values[3], values[4], values[5])
    flat = [a for a in range(3) if lower[a] == upper[a]]
    if len(flat) > 1:
        raise typer.BadParameter(
            f"{text}: the box has no area; let its corners agree in one of k, j, i (a slice) or in none (space).",
            param_hint="--box",
        )
    (k0, k1), (j0, j1), (i0, i1) = (sorted(pair) for pair in zip(lower, upper, strict=True))
    if not flat:
        return Box3DPrompt(names.number(name), axis or 0, (k0, j0, i0), (k1, j1, i1))
    return BoxPrompt(names.number(name), flat[0], (k0, j0, i0), (k1, j1, i1))


def _scribble(text: str, names: SegmentNames, texts: PromptTexts, volume: Volume) -> Prompt:
    from memseg3d.propagation.prompts.prompts import ScribblePrompt

    number, positive, points, axis = _line(text, names, "--scribble", texts.axis)
    finest = min(volume.slice_spacing(axis))
    width = STROKE_VOXELS * finest if texts.width is None else texts.width
    k, j, i = (width / 2 / step for step in volume.spacing)
    return ScribblePrompt(number, axis, points, (k, j, i), volume.shape, positive)


def _lasso(text: str, names: SegmentNames, axis: int | None, volume: Volume) -> Prompt:
    from memseg3d.propagation.prompts.prompts import LassoPrompt

    number, positive, points, on_axis = _line(text, names, "--lasso", axis)
    return LassoPrompt(number, on_axis, points, volume.shape, positive)


def _line(
    text: str, names: SegmentNames, option: str, axis: int | None
) -> tuple[int, bool, tuple[tuple[float, float, float], ...], int]:
    """Object number, sign, points and axis of a stroke or lasso: the axis along which its points agree."""
    name, numbers = _parts(text, option, LINE_FORM)
    positive = _sign(text, numbers, option, LINE_FORM)
    points = []
    for part in numbers[1:].split(";"):
        k, j, i = _floats(part, 3, text, option, LINE_FORM)
        points.append((k, j, i))
    flat = [a for a in range(3) if len({point[a] for point in points}) == 1]
    if not flat:
        raise typer.BadParameter(
            f"{text}: its points agree in none of k, j, i; draw it on one slice.", param_hint=option
        )
    return names.number(name), positive, tuple(points), axis if axis in flat else flat[0]


def _sign(text: str, numbers: str, option: str, form: str) -> bool:
    if numbers[:1] not in ("+", "-"):
        raise typer.BadParameter(
            f"{text}: put + (belongs to the segment) or - (does not) before k: {form}.", param_hint=option
        )
    return numbers[0] == "+"


def _point(text: str, names: SegmentNames, axis: int | None, box_axes: dict[int, int]) -> Prompt:
    from memseg3d.propagation.prompts.prompts import PointPrompt

    name, numbers = _parts(text, "--point", POINT_FORM)
    positive = _sign(text, numbers, "--point", POINT_FORM)
    k, j, i = _floats(numbers[1:], 3, text, "--point", POINT_FORM)
    number = names.number(name)
    on_axis = axis if axis is not None else box_axes.get(number, 0)
    return PointPrompt(number, (k, j, i), positive, on_axis)


def _parts(text: str, option: str, form: str) -> tuple[str, str]:
    name, colon, numbers = text.rpartition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"{text}: write {form}.", param_hint=option)
    return name.strip(), numbers.strip()


def _floats(text: str, count: int, whole: str, option: str, form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise typer.BadParameter(f"{whole}: write {count} numbers, {form}.", param_hint=option)
    return values
