"""overview.png: a row a segment, with its contour on the prompted slice and three more, and the quality curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from memseg3d.cases.views import View, mask_slice
from memseg3d.pages.outlines import outline

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw

    from memseg3d.cases.local import Image
    from memseg3d.cases.results import Outcome
    from memseg3d.propagation.prompts.prompts import Prompt
    from memseg3d.propagation.volume.window import Window

BACKGROUND, INK, FAINT, DRAWN = "#10141a", "#e8ecf1", "#8b95a5", "#ffe45c"
COLOURS = ("#37d5ff", "#ffa23e", "#7be87b", "#ff5f7e", "#c89bff", "#f2f27a")
TILE, GAP, HEADLINE, CURVE = 256, 8, 26, 330
MORE = 3
"""Slices besides the prompted one."""
ROOM = 1.3
"""A view is so many times the side of the segment."""
SMALLEST = 40.0
"""Side in mm below which a view is not cut."""


def draw_overview(image: Image, window: Window, outcome: Outcome) -> Picture:
    """The picture of all segments."""
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    width = GAP + (1 + MORE) * (TILE + GAP) + CURVE + GAP
    row = HEADLINE + TILE + GAP
    picture = Pictures.new("RGB", (width, GAP + row * len(outcome.numbers)), BACKGROUND)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for place, (name, number) in enumerate(outcome.numbers.items()):
        top, colour = GAP + place * row, COLOURS[place % len(COLOURS)]
        axis, qualities = outcome.segmented.qualities(number)
        view, claim = View.of(image.geometry, axis), outcome.segmented.claim(number)
        ml = claim.voxels() * image.geometry.voxel_volume / 1000
        pen.text((GAP, top + 4), f"{name}   {ml:.1f} mL, {len(qualities)} slices across {'kji'[axis]}", INK, font)
        own = [prompt for prompt in outcome.prompts if prompt.object == number]
        prompted = outcome.prompted(number, axis)
        chosen = _chosen(prompted, qualities, outcome.segmented.suggested.get(number), image.geometry.shape[axis])
        masks = {index: mask_slice(claim, view, index) for index in chosen}
        frame = _frame(view, list(masks.values()), own)
        for column, index in enumerate(chosen):
            tile = slice_picture(image, view, index, window, frame, {colour: masks[index]}, TILE, own)
            tile_pen = ImageDraw.Draw(tile)
            marks = (" prompted" if index in prompted else "") + (
                f"  {qualities[index]:.2f}" if index in qualities else ""
            )
            tile_pen.text((6, 4), f"{'kji'[axis]} {index}{marks}", INK, font, stroke_width=2, stroke_fill=BACKGROUND)
            picture.paste(tile, (GAP + column * (TILE + GAP), top + HEADLINE))
        left = GAP + (1 + MORE) * (TILE + GAP)
        _draw_curve(pen, (left, top + HEADLINE), qualities, prompted, colour, "kji"[axis], font)
    return picture


def slice_picture(
    image: Image,
    view: View,
    index: int,
    window: Window,
    frame: tuple[int, int, int, int],
    masks: Mapping[str, Any],
    side: int,
    prompts: Sequence[Prompt] = (),
) -> Picture:
    """One slice with contours, `side` pixels at its longer side, in the middle of a square.

    frame: top, left, bottom, right (exclusive) of what is shown; masks: by colour, as the slice is shown.
    """
    from PIL import Image as Pictures
    from PIL import ImageDraw

    top, left, bottom, right = frame
    grey = window.apply(np.asarray(view.turned(image.volume.slice(view.across, index))[top:bottom, left:right]))
    high, wide = (bottom - top) * view.pixel[0], (right - left) * view.pixel[1]
    size = max(1, round(side * wide / max(high, wide))), max(1, round(side * high / max(high, wide)))
    base = Pictures.fromarray((255 * grey).astype(np.uint8)).resize(size, Pictures.Resampling.BICUBIC).convert("RGB")
    for colour, mask in masks.items():
        # Twice as fine as the screen, so that contours lie where voxels end.
        bits = Pictures.fromarray((255 * mask[top:bottom, left:right]).astype(np.uint8))
        shape = np.asarray(bits.resize(size, Pictures.Resampling.BILINEAR)) >= 128
        edge = outline(shape, 2)
        base.paste(colour, (0, 0), Pictures.fromarray((255 * edge).astype(np.uint8)))
    pen = ImageDraw.Draw(base)
    scale = size[1] / (bottom - top), size[0] / (right - left)

    def at(point: Sequence[float]) -> tuple[float, float]:
        row, column = view.place(point)
        return (column + 0.5 - left) * scale[1], (row + 0.5 - top) * scale[0]

    for prompt in prompts:
        _draw_prompt(pen, prompt, view, index, at)
    square = Pictures.new("RGB", (side, side), "black")
    square.paste(base, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _draw_prompt(pen: ImageDraw, prompt: Prompt, view: View, index: int, at: Any) -> None:
    from memseg3d.propagation.prompts.prompts import (
        Box3DPrompt,
        BoxPrompt,
        ExtremePointsPrompt,
        LassoPrompt,
        PointPrompt,
        ScribblePrompt,
        slices_of,
    )

    if index not in slices_of(prompt, view.across):
        return
    if isinstance(prompt, BoxPrompt | Box3DPrompt):
        (x0, y0), (x1, y1) = at(prompt.lower), at(prompt.upper)
        pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=DRAWN)
    elif isinstance(prompt, PointPrompt):
        x, y = at(prompt.position)
        pen.line((x - 6, y, x + 6, y), DRAWN if prompt.positive else COLOURS[3], 3)
        if prompt.positive:
            pen.line((x, y - 6, x, y + 6), DRAWN, 3)
    elif isinstance(prompt, ScribblePrompt | LassoPrompt | ExtremePointsPrompt) and prompt.axis == view.across:
        line = [at(point) for point in prompt.points]
        if isinstance(prompt, ExtremePointsPrompt):
            for x, y in line:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=DRAWN)
            return
        line += line[:1] if isinstance(prompt, LassoPrompt) else []
        pen.line(line, DRAWN if prompt.positive else COLOURS[3], 2)


def _chosen(prompted: set[int], qualities: Mapping[int, float], look_next: Any, count: int) -> list[int]:
    """The prompted slice in the middle, the one to look at next, and others spread over the segment."""
    filled = sorted(qualities) or sorted(prompted) or [count // 2]
    middle = sorted(prompted)[len(prompted) // 2] if prompted else filled[len(filled) // 2]
    chosen = [middle]
    if look_next is not None:
        chosen.append(look_next.index)
    first, last = filled[0], filled[-1]
    chosen += [round(first + share * (last - first)) for share in (0.12, 0.88, 0.35, 0.65)]
    return sorted(list(dict.fromkeys(min(max(index, 0), count - 1) for index in chosen))[: 1 + MORE])


def _frame(view: View, masks: Sequence[Any], prompts: Sequence[Prompt]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the part of the slices that holds the masks with some room: a square in mm."""
    any_mask = np.any(masks, axis=0)
    rows, columns = np.flatnonzero(any_mask.any(axis=1)), np.flatnonzero(any_mask.any(axis=0))
    high, wide = any_mask.shape
    if not rows.size:
        return 0, 0, high, wide
    side = max((rows[-1] - rows[0] + 1) * view.pixel[0], (columns[-1] - columns[0] + 1) * view.pixel[1])
    side = max(SMALLEST, ROOM * side)
    ends = []
    for filled, count, step in ((rows, high, view.pixel[0]), (columns, wide, view.pixel[1])):
        size = min(count, max(2, round(side / step)))
        start = int(np.clip((filled[0] + filled[-1] + 1 - size) // 2, 0, count - size))
        ends.append((start, start + size))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def _draw_curve(
    pen: ImageDraw,
    corner: tuple[int, int],
    qualities: Mapping[int, float],
    prompted: set[int],
    colour: str,
    letter: str,
    font: Any,
) -> None:
    """Predicted quality by slice, 0 to 1; prompted slices are marked."""
    left, top, right, bottom = corner[0] + 34, corner[1] + 8, corner[0] + CURVE - 8, corner[1] + TILE - 40
    pen.rectangle((left, top, right, bottom), outline=FAINT)
    for value in (0.0, 0.5, 1.0):
        y = bottom - value * (bottom - top)
        pen.text((corner[0] + 6, y - 8), f"{value:.1f}", FAINT, font)
        pen.line((left - 3, y, left, y), FAINT)
    if not qualities:
        return
    first, last = min(qualities), max(qualities)

    def at(index: int, value: float) -> tuple[float, float]:
        share = (index - first) / max(1, last - first)
        return left + share * (right - left), bottom - min(1.0, max(0.0, value)) * (bottom - top)

    line = [at(index, value) for index, value in sorted(qualities.items())]
    pen.line(line if len(line) > 1 else line * 2, colour, 2)
    for index in sorted(prompted & qualities.keys()):
        x, y = at(index, qualities[index])
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=DRAWN)
    pen.text((left, bottom + 4), str(first), FAINT, font)
    pen.text((right, bottom + 4), str(last), FAINT, font, anchor="ra")
    pen.text(((left + right) / 2, bottom + 18), f"predicted quality by slice ({letter})", FAINT, font, anchor="ma")
