"""How one object's slices are seen: volume, axis, windows and the rules that choose regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memseg3d.network.seam import Features
from memseg3d.propagation.prompts.prompts import (
    MaskPrompt,
    PointPrompt,
    Prompt,
    StrokePrompt,
    in_plane,
    is_drawing,
)
from memseg3d.propagation.sight.feature_store import FeatureStore
from memseg3d.propagation.sight.framing import Framing
from memseg3d.propagation.sight.regions import Extent, Region
from memseg3d.propagation.sight.slice_prompts import box_of, extent_of
from memseg3d.propagation.volume.volume import Volume
from memseg3d.propagation.volume.window import Window, object_window

_ELLIPSE = 0.7
"""Part of a box's sides whose inscribed ellipse is taken for the inside of the object."""
_CLICK_RADIUS = 3.0


@dataclass(frozen=True)
class View:
    """windows: one a channel of the network's input. window_from: ids of the prompts that told the object's own."""

    volume: Volume
    axis: int
    framing: Framing
    windows: tuple[Window, ...]
    store: FeatureStore
    window_from: tuple[str, ...] = ()

    @property
    def slice_shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.volume.slice_shape(self.axis)

    def features(self, index: int, region: Region) -> Features:
        """Features (batch 1) of the slice seen through `region`."""
        return self.store.features(self.volume, self.axis, index, region, self.windows)


def prompts_extent(prompts: Sequence[Prompt], axis: int, index: int) -> Extent | None:
    """The rectangle around everything that the prompts of one slice name; None where they name no place."""
    extents = [extent for prompt in prompts if (extent := extent_of(prompt, axis, index)) is not None]
    if not extents:
        return None
    result = extents[0]
    for extent in extents[1:]:
        result = result.union(extent)
    return result


def first_region(
    framing: Framing, axis: int, index: int, prompts: Sequence[Prompt], mask: Extent | None
) -> tuple[Region, bool]:
    """The region for the prompts of one slice, and whether it is a guess that zooming may better (clicks and strokes).

    mask: the box of the object's mask on that slice so far.
    """
    named = prompts_extent(prompts, axis, index)
    if named is None:
        return (Region.whole(framing.slice_shape, framing.size) if mask is None else framing.around(mask)), False
    if any(is_drawing(prompt) for prompt in prompts):
        return framing.around(named), False
    if mask is not None:
        return framing.around(named.union(mask)), False
    return framing.around_points(named), True


def window_of_object(volume: Volume, axis: int, index: int, prompts: Sequence[Prompt], region: Region) -> Window | None:
    """The object's own window from its first prompted slice; None where no prompt names a pixel of the inside."""
    pixels = np.asarray(volume.slice(axis, index))
    inside = _inside(prompts, axis, index, (pixels.shape[0], pixels.shape[1]))
    around = pixels[region.covered((pixels.shape[0], pixels.shape[1]))]
    if not inside.any() or around.size == 0:
        return None
    return object_window(pixels[inside], around.ravel())


def window_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Of the prompts of one slice those that tell the object's own window: the newest mask, else the newest drawing,
    else all positive clicks and strokes.
    """
    drawn = [prompt for prompt in prompts if is_drawing(prompt)]
    masks = [prompt for prompt in drawn if isinstance(prompt, MaskPrompt)]
    if drawn:
        return [masks[-1] if masks else drawn[-1]]
    return [each for each in prompts if isinstance(each, PointPrompt | StrokePrompt) and each.positive]


def _inside(prompts: Sequence[Prompt], axis: int, index: int, shape: tuple[int, int]) -> np.ndarray:
    """Boolean (rows, columns): the mask, else the lasso or the box's ellipse, else what positive clicks and strokes
    cover.
    """
    inside = np.zeros(shape, bool)
    for prompt in window_prompts(prompts):
        box = box_of(prompt, axis, index)
        if isinstance(prompt, MaskPrompt):
            inside |= prompt.mask
        elif isinstance(prompt, PointPrompt):
            inside |= _ellipse(in_plane(prompt.position, axis), (_CLICK_RADIUS, _CLICK_RADIUS), shape)
        elif isinstance(prompt, StrokePrompt):
            inside |= prompt.cover.on(axis, index)
        elif box is not None:
            inside |= _ellipse(box.centre, (_ELLIPSE * box.height / 2, _ELLIPSE * box.width / 2), shape)
    return inside


def _ellipse(centre: tuple[float, float], radii: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """Pixels within an ellipse; at least the pixel at its centre."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    radius_rows, radius_columns = (max(radius, 0.5) for radius in radii)
    inside = ((rows - centre[0]) / radius_rows) ** 2 + ((columns - centre[1]) / radius_columns) ** 2 <= 1.0
    nearest = tuple(min(max(math.floor(at + 0.5), 0), size - 1) for at, size in zip(centre, shape, strict=True))
    inside[nearest] = True
    return inside
