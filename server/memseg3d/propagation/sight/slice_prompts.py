"""What the prompts of one slice say together: clicks, box and prior for the network, and voxels held in or out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil, floor

import numpy as np

from memseg3d.propagation.prompts.covered_voxels import dilated, part_at
from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    LassoPrompt,
    MaskPrompt,
    Point3,
    PointPrompt,
    Prompt,
    StrokePrompt,
    in_plane,
    is_drawing,
    nearest_voxel,
    slices_of,
)
from memseg3d.propagation.sight.regions import Extent

PULLED_IN = 0.1
"""Extreme points are shown to the network as clicks that lie this part of the way to the box's centre inside."""
LASSO_MARGIN = 0.05
"""The object may reach beyond a lasso by this part of its longer side, and by two pixels at least."""
BOX_MARGIN = 0.1
"""The same of a box."""
_LEAST_MARGIN = 2.0

Click = tuple[float, float, bool]
"""Row, column, positive."""


def box_of(prompt: Prompt, axis: int, index: int) -> Extent | None:
    """The rectangle of slice pixels that a prompt draws round the object; None for other prompts."""
    if isinstance(prompt, BoxPrompt | Box3DPrompt):
        return _corners(prompt.lower, prompt.upper, axis)
    if isinstance(prompt, ExtremePointsPrompt):
        rows, columns = zip(*(in_plane(point, axis) for point in prompt.points), strict=True)
        return Extent(min(rows) - 0.5, min(columns) - 0.5, max(rows) + 0.5, max(columns) + 0.5)
    if isinstance(prompt, LassoPrompt) and prompt.positive:
        return Extent.of_mask(prompt.cover.on(axis, index))
    return None


def newest_box(prompts: Sequence[Prompt], axis: int, index: int) -> Extent | None:
    """The box of the newest prompt that draws one."""
    return next((box for prompt in reversed(prompts) if (box := box_of(prompt, axis, index)) is not None), None)


def extent_of(prompt: Prompt, axis: int, index: int) -> Extent | None:
    """The rectangle of slice pixels where a prompt says that the object is, or that it is clicked upon.

    None for an empty mask and for negative strokes: they do not tell where to look.
    """
    if isinstance(prompt, MaskPrompt):
        return Extent.of_mask(prompt.mask)
    if isinstance(prompt, PointPrompt):
        return _corners(prompt.position, prompt.position, axis)
    if isinstance(prompt, StrokePrompt) and not is_drawing(prompt):
        return Extent.of_mask(prompt.cover.on(axis, index)) if prompt.positive else None
    return box_of(prompt, axis, index)


def point_clicks(prompts: Sequence[Prompt], axis: int) -> list[Click]:
    """The user's own clicks."""
    return [(*in_plane(each.position, axis), each.positive) for each in prompts if isinstance(each, PointPrompt)]


def drawn_clicks(prompts: Sequence[Prompt], axis: int, index: int) -> list[Click]:
    """Clicks that stand for strokes and extreme points, as the networks know clicks only."""
    clicks: list[Click] = []
    for prompt in prompts:
        if isinstance(prompt, ExtremePointsPrompt):
            box = box_of(prompt, axis, index)
            assert box is not None
            for point in prompt.points:
                if nearest_voxel(point[prompt.axis]) == slices_of(prompt, axis)[0]:
                    row, column = in_plane(point, axis)
                    towards = (box.centre[0] - row) * PULLED_IN, (box.centre[1] - column) * PULLED_IN
                    clicks.append((row + towards[0], column + towards[1], True))
        elif isinstance(prompt, StrokePrompt) and not is_drawing(prompt):
            clicks.extend((*spot, prompt.positive) for spot in prompt.cover.clicks(axis, index))
    return clicks


def lasso_prior(prompts: Sequence[Prompt], axis: int, index: int) -> np.ndarray | None:
    """The inside (rows, columns) of the slice's newest drawing where that is a lasso: a first guess of the mask."""
    newest = next((prompt for prompt in reversed(prompts) if is_drawing(prompt)), None)
    return newest.cover.on(axis, index) if isinstance(newest, LassoPrompt) else None


def with_drawn_voxels(mask: np.ndarray, prompts: Sequence[Prompt], axis: int, index: int) -> np.ndarray:
    """A decoded mask (rows, columns), bool, with what the prompts of the slice say of single voxels.

    The voxel under a click is what the click says, and so are those under a stroke; lassos and boxes bound the object.
    What comes later counts: another stroke over the same voxels, a mask of the whole slice, a click of the other sign,
    which takes the part of a stroke back that it hits, and one beyond what bounds the object, which opens that.
    """
    inside, outside = np.zeros(mask.shape, bool), np.zeros(mask.shape, bool)
    within: np.ndarray | None = None
    for prompt in prompts:
        box = None if isinstance(prompt, LassoPrompt) else box_of(prompt, axis, index)
        if box is not None:
            within = pixels_in(with_margin(box), mask.shape)
            inside &= within
        elif isinstance(prompt, MaskPrompt):
            inside, outside, within = np.zeros(mask.shape, bool), np.zeros(mask.shape, bool), None
        elif isinstance(prompt, PointPrompt):
            row, column = (nearest_voxel(at) for at in in_plane(prompt.position, axis))
            held = outside if prompt.positive else inside
            if held[row, column]:
                held &= ~part_at(held, row, column)
            (inside if prompt.positive else outside)[row, column] = True
            if prompt.positive and within is not None and not within[row, column]:
                within = None
        elif isinstance(prompt, StrokePrompt):
            cover = prompt.cover.on(axis, index)
            if is_drawing(prompt):
                within = prompt.cover.kept(("grown", axis, index), partial(_grown_lasso, cover))
                inside &= within
            elif prompt.positive:
                inside |= cover
                outside &= ~cover
                within = within if within is None else within | cover
            else:
                outside |= cover
                inside &= ~cover
    result = (mask | inside) & ~outside
    return result if within is None else result & within


def with_margin(box: Extent) -> Extent:
    """A box and what the object may reach beyond it."""
    margin = max(_LEAST_MARGIN, BOX_MARGIN * max(box.height, box.width))
    return Extent(box.top - margin, box.left - margin, box.bottom + margin, box.right + margin)


def pixels_in(box: Extent, shape: tuple[int, ...]) -> np.ndarray:
    """Bool (rows, columns): the pixels whose centres lie in a box."""
    result = np.zeros(shape, bool)
    result[max(0, ceil(box.top)) : floor(box.bottom) + 1, max(0, ceil(box.left)) : floor(box.right) + 1] = True
    return result


def _grown_lasso(cover: np.ndarray) -> np.ndarray:
    extent = Extent.of_mask(cover)
    assert extent is not None
    return dilated(cover, max(_LEAST_MARGIN, LASSO_MARGIN * max(extent.height, extent.width)))


def _corners(lower: Point3, upper: Point3, axis: int) -> Extent:
    """Inclusive corners as the rectangle of the pixels between them."""
    (top, left), (bottom, right) = in_plane(lower, axis), in_plane(upper, axis)
    return Extent(top - 0.5, left - 0.5, bottom + 0.5, right + 0.5)
