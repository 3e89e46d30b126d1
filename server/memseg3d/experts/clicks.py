"""Prompts as clicks, all that most volumetric networks were trained with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memseg3d.experts.seam import Click, Drawn, Stroke

CLICKS_OF_STROKE = 4
SIGMA = 2.0
"""Of a click on a map, in voxels of the grid."""


def as_clicks(prompts: Sequence[Drawn]) -> list[Click]:
    """Clicks as they are, strokes as a few along them, positive ones first; boxes are none."""
    clicks: list[Click] = []
    for prompt in prompts:
        if isinstance(prompt, Click):
            clicks.append(prompt)
        elif isinstance(prompt, Stroke):
            clicks += _along(prompt)
    return sorted(clicks, key=lambda click: not click.positive)


def click_map(clicks: Sequence[Click], shape: tuple[int, int, int]) -> np.ndarray:
    """float32 (d, h, w): 1 at clicks, falling as a Gaussian."""
    found = np.zeros(shape, np.float32)
    for click in clicks:
        sides = [
            np.exp(-((np.arange(side) - at) ** 2) / (2 * SIGMA**2))
            for at, side in zip(click.position, shape, strict=True)
        ]
        np.maximum(found, sides[0][:, None, None] * sides[1][None, :, None] * sides[2], out=found)
    return found


def _along(stroke: Stroke) -> list[Click]:
    places = np.argwhere(stroke.cover)
    if len(places) == 0:
        return []
    chosen = places[np.linspace(0, len(places) - 1, min(len(places), CLICKS_OF_STROKE)).round().astype(int)]
    return [Click((float(k), float(j), float(i)), stroke.positive) for k, j, i in chosen]
