"""Prompts that look like mistakes, such as boxes in another order of coordinates: asked about before computing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from memseg3d.cases.orders import Order, numbers

if TYPE_CHECKING:
    from memseg3d.cases.drafts import SegmentNames
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.prompts.prompts import BoxPrompt, Prompt
    from memseg3d.propagation.volume.volume import Volume
    from memseg3d.propagation.volume.window import Window


def questions(
    prompts: Sequence[Prompt], names: SegmentNames, volume: Volume, options: Options, order: Order, axis: int | None
) -> list[str]:
    """A sentence for every box on one slice that looks odd: across another axis than k, or with nothing to see in it;
    and for every voxel that is clicked as inside and as outside.

    axis: that the user has named, which is no mistake then.
    """
    from memseg3d.propagation.prompts.prompts import BoxPrompt
    from memseg3d.propagation.volume.window import Window, automatic_window

    found = _contradictions(prompts, names)
    boxes = [prompt for prompt in prompts if isinstance(prompt, BoxPrompt)]
    if not boxes:
        return found
    window = Window(*options.window) if options.window else automatic_window(volume)
    for box in boxes:
        name = names.name(box.object)
        if box.axis != 0 and axis != box.axis and not order.in_mm:
            found.append(_across(box, name, volume, order))
        elif not _shows_something(box, volume, window):
            other = "ras or lps" if order.in_mm else "kji or ijk"
            found.append(
                f"The box of '{name}' holds nothing but one grey value in the window {window.low:g} to {window.high:g}"
                f": are its numbers in the order {order.words}, and not {other}?"
            )
    return found


def _contradictions(prompts: Sequence[Prompt], names: SegmentNames) -> list[str]:
    from memseg3d.propagation.prompts.prompts import PointPrompt, nearest_voxel

    places: dict[bool, set[tuple[int, ...]]] = {True: set(), False: set()}
    for point in prompts:
        if isinstance(point, PointPrompt):
            places[point.positive].add((point.object, *map(nearest_voxel, point.position)))
    return [
        f"One voxel of '{names.name(number)}' is clicked as inside and as outside, at k, j, i = {numbers(place)}."
        for number, *place in sorted(places[True] & places[False])
    ]


def _across(box: BoxPrompt, name: str, volume: Volume, order: Order) -> str:
    letter = "kji"[box.axis]
    turned = [tuple(reversed(corner)) for corner in (box.lower, box.upper)]
    fits = all(
        -0.5 <= value < size - 0.5 for corner in turned for value, size in zip(corner, volume.shape, strict=True)
    )
    other = "kji" if order.turned else "ijk"
    hint = f" As {other} it would lie on slice {numbers([turned[0][0]])} of k: --coordinates {other}." if fits else ""
    return (
        f"The box of '{name}' is one slice thick along {letter}, not along k as slices of most scans are: was it meant "
        f"in the order {order.words}?{hint} Where it was, --axis {box.axis} says so."
    )


def _shows_something(box: BoxPrompt, volume: Volume, window: Window) -> bool:
    from memseg3d.propagation.prompts.prompts import in_plane, nearest_voxel

    (r0, c0), (r1, c1) = (in_plane(corner, box.axis) for corner in (box.lower, box.upper))
    plane = volume.slice(box.axis, nearest_voxel(box.lower[box.axis]))
    part = plane[nearest_voxel(r0) : nearest_voxel(r1) + 1, nearest_voxel(c0) : nearest_voxel(c1) + 1]
    shown = window.apply(np.asarray(part))
    return bool(shown.max() > shown.min())
