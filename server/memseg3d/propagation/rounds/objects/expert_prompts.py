"""An object's prompts as a volumetric expert sees them: in the grid of a region; and where they say that it lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memseg3d.experts.regions import Extent3, Region3
from memseg3d.experts.seam import Box, Click, Drawn, Stroke
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    StrokePrompt,
    is_drawing,
    is_positive,
    nearest_voxel,
)

Triple = tuple[float, float, float]


def drawn_in(region: Region3, prompts: Sequence[Prompt]) -> tuple[Drawn, ...]:
    """The prompts in the region's grid, in their order; masks of slices travel as part of the previous mask instead."""
    found: list[Drawn] = []
    for prompt in prompts:
        if isinstance(prompt, PointPrompt):
            if region.holds(prompt.position):
                found.append(Click(region.to_grid(prompt.position), prompt.positive))
        elif isinstance(prompt, StrokePrompt):
            cover = _cover(region, prompt)
            if cover.any():
                found.append(Stroke(cover, prompt.positive, isinstance(prompt, LassoPrompt)))
        elif not isinstance(prompt, MaskPrompt):
            extent = _extent(prompt)
            found.append(Box(region.to_grid(extent.lower), region.to_grid(extent.upper)))
    return tuple(found)


def told_extent(prompts: Sequence[Prompt], spacing: Triple) -> tuple[Extent3 | None, bool]:
    """Where boxes and outlines say that the object lies, and whether they say so along every axis.

    A box on one slice tells nothing across it: the object is taken to be as deep as it is wide there, in millimetres.
    """
    extent: Extent3 | None = None
    for prompt in prompts:
        if is_drawing(prompt):
            extent = _extent(prompt).joined(extent)
    if extent is None:
        return None, False
    flat = [axis for axis in range(3) if extent.size[axis] < 2]
    if not flat:
        return extent, True
    sides = [
        size * step for axis, (size, step) in enumerate(zip(extent.size, spacing, strict=True)) if axis not in flat
    ]
    deep = float(np.mean(sides)) if sides else 0.0
    lower, upper = list(extent.lower), list(extent.upper)
    for axis in flat:
        lower[axis] -= deep / 2 / spacing[axis]
        upper[axis] += deep / 2 / spacing[axis]
    return Extent3((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])), False


def clicks_in(prompts: Sequence[Prompt]) -> tuple[Triple, ...]:
    """Positions of clicks and strokes that say that there is something of the object; of others only without these."""
    marked = [(prompt, place) for prompt in prompts for place in _places(prompt)]
    positive = tuple(place for prompt, place in marked if is_positive(prompt))
    return positive or tuple(place for _, place in marked)


def voxels_of(prompts: Sequence[Prompt], positive: bool) -> list[tuple[int, int, int]]:
    """Voxels (k, j, i) of the clicks and strokes of one sign."""
    found = []
    for prompt in prompts:
        if isinstance(prompt, PointPrompt | StrokePrompt) and prompt.positive == positive:
            for k, j, i in _places(prompt):
                found.append((nearest_voxel(k), nearest_voxel(j), nearest_voxel(i)))
    return found


def _places(prompt: Prompt) -> list[Triple]:
    if isinstance(prompt, PointPrompt):
        return [prompt.position]
    if isinstance(prompt, StrokePrompt) and not is_drawing(prompt):
        at = np.argwhere(prompt.cover.voxels)
        # a few along it stand for all: they say which part is meant
        chosen = at[np.linspace(0, len(at) - 1, min(len(at), 8)).round().astype(int)] if len(at) else at
        return [(float(k), float(j), float(i)) for k, j, i in chosen + np.array(prompt.cover.corner)]
    return []


def _extent(prompt: Prompt) -> Extent3:
    if isinstance(prompt, BoxPrompt | Box3DPrompt):
        return Extent3(prompt.lower, prompt.upper)
    if isinstance(prompt, ExtremePointsPrompt):
        lower, upper = np.min(prompt.points, axis=0), np.max(prompt.points, axis=0)
        return Extent3(tuple(lower.tolist()), tuple(upper.tolist()))
    if isinstance(prompt, MaskPrompt):
        offset = [0, 0, 0]
        offset[prompt.axis] = prompt.index
        found = Extent3.of(np.expand_dims(prompt.mask, prompt.axis), (offset[0], offset[1], offset[2]))
    else:
        assert isinstance(prompt, LassoPrompt)
        found = Extent3.of(prompt.cover.voxels, prompt.cover.corner)
    assert found is not None, "a drawing holds something"
    return found


def _cover(region: Region3, prompt: StrokePrompt) -> np.ndarray:
    """Covered voxels of the region's grid: however thin a stroke is, it leaves its mark."""
    result = np.zeros(region.grid, bool)
    at = np.argwhere(prompt.cover.voxels) + np.array(prompt.cover.corner)
    scale = np.array(region.grid) / np.array(region.size)
    places = np.floor((at - np.array(region.start) + 0.5) * scale).astype(int)
    inside = ((places >= 0) & (places < np.array(region.grid))).all(axis=1)
    result[tuple(places[inside].T)] = True
    return result
