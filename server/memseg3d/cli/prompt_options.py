"""Reads prompts from the command line: --box liver:60,40,30,60,110,120 and --point liver:+60,70,80."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from memseg3d.propagation.prompts import Prompt

BOX_FORM = "NAME:k0,j0,i0,k1,j1,i1"
POINT_FORM = "NAME:+k,j,i or NAME:-k,j,i"


@dataclass
class SegmentNames:
    """Names by object number, in the order of their first prompt. They never leave this side."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """The number of a segment: that of its name, or the next free one."""
        return self.numbers.setdefault(name, len(self.numbers) + 1)


def read_prompts(
    boxes: list[str], points: list[str], shape: tuple[int, int, int], axis: int | None
) -> tuple[list[Prompt], SegmentNames]:
    """Prompts on a volume of (k, j, i) `shape`, and the segments that they name.

    axis: of the slices that points are placed on; None: that of the segment's box, else 0.
    Raises `typer.BadParameter` for anything that cannot be read or used.
    """
    names = SegmentNames()
    prompts = [_checked(_box(text, names), text, "--box", shape) for text in boxes]
    box_axes = {prompt.object: prompt.axis for prompt in prompts}
    prompts += [_checked(_point(text, names, axis, box_axes), text, "--point", shape) for text in points]
    if not prompts:
        raise typer.BadParameter(f"Nothing to segment: give at least one --box {BOX_FORM} or --point {POINT_FORM}.")
    positive = {prompt.object for prompt in prompts if getattr(prompt, "positive", True)}
    for name, number in names.numbers.items():
        if number not in positive:
            raise typer.BadParameter(f"'{name}' has negative points only; add a box or a positive point.")
    return prompts, names


def _checked(prompt: Prompt, text: str, option: str, shape: tuple[int, int, int]) -> Prompt:
    from memseg3d.propagation.prompt_checks import check_prompt
    from memseg3d.propagation.prompts import PromptError

    try:
        check_prompt(prompt, shape)
    except PromptError as error:
        raise typer.BadParameter(f"{text}: {error}", param_hint=option) from error
    return prompt


def _box(text: str, names: SegmentNames) -> Prompt:
    from memseg3d.propagation.prompts import BoxPrompt

    name, numbers = _parts(text, "--box", BOX_FORM)
    values = _floats(numbers, 6, text, "--box", BOX_FORM)
    lower, upper = (values[0], values[1], values[2]), (values[3], values[4], values[5])
    flat = [a for a in range(3) if lower[a] == upper[a]]
    if len(flat) != 1:
        reason = "its corners agree in none of k, j, i" if not flat else "it has no area"
        raise typer.BadParameter(
            f"{text}: a box lies on one slice, and {reason}; let its corners agree in exactly one of k, j, i.",
            param_hint="--box",
        )
    (k0, k1), (j0, j1), (i0, i1) = (sorted(pair) for pair in zip(lower, upper, strict=True))
    return BoxPrompt(names.number(name), flat[0], (k0, j0, i0), (k1, j1, i1))


def _point(text: str, names: SegmentNames, axis: int | None, box_axes: dict[int, int]) -> Prompt:
    from memseg3d.propagation.prompts import PointPrompt

    name, numbers = _parts(text, "--point", POINT_FORM)
    if numbers[:1] not in ("+", "-"):
        raise typer.BadParameter(
            f"{text}: put + (belongs to the segment) or - (does not) before k: {POINT_FORM}.", param_hint="--point"
        )
    k, j, i = _floats(numbers[1:], 3, text, "--point", POINT_FORM)
    number = names.number(name)
    on_axis = axis if axis is not None else box_axes.get(number, 0)
    return PointPrompt(number, (k, j, i), numbers[0] == "+", on_axis)


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
