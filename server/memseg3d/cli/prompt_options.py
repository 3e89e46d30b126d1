"""Reads limits from the command line: --limits liver:40-80."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from memseg3d.cases.drafts import SegmentNames
    from memseg3d.propagation.prompts.limits import SliceLimits
    from memseg3d.propagation.prompts.prompts import Prompt

LIMITS_FORM = "NAME:first-last"


def read_limits(
    texts: list[str],
    names: SegmentNames,
    prompts: list[Prompt],
    axis: int | None,
    axes: Mapping[int, int] | None = None,
) -> dict[int, SliceLimits]:
    """Limits by object number, along the axis of the object's propagation. Raises `typer.BadParameter`.

    axes: of objects that have been propagated before.
    """
    from memseg3d.propagation.prompts.limits import SliceLimits
    from memseg3d.propagation.prompts.sets import by_object, propagation_axis

    own = by_object({str(place): prompt for place, prompt in enumerate(prompts)})
    limits = {}
    for text in texts:
        name, colon, numbers = text.rpartition(":")
        first, dash, last = numbers.partition("-")
        if not (colon and dash and first.strip().isdigit() and last.strip().isdigit()):
            raise typer.BadParameter(f"{text}: write {LIMITS_FORM}, slices from 0.", param_hint="--limits")
        name = name.strip()
        if name not in names.numbers:
            raise typer.BadParameter(f"{text}: no prompt is for '{name}'.", param_hint="--limits")
        number = names.numbers[name]
        before = (axes or {}).get(number, axis)
        along = propagation_axis(own[number], before) if number in own else before or 0
        limits[number] = SliceLimits(along, int(first), int(last))
    return limits
