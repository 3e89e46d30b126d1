"""Prompts that a mask would have been given: extreme points, box, two points, scribble. Without any chance in them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.mem3d.encodings import PADDED, PUBLISHED_SIZE, Box, Guide
from memseg3d.network.mem3d.shapes import Kind

ERODED = 7
"""Side of the square by which a mask is eroded before the second of two points is looked for."""
Point = tuple[float, float]


def box_of(mask: Tensor) -> Box | None:
    """The rectangle around a mask (S, S) bool; None where it is empty."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    if len(rows) == 0:
        return None
    return Box(*(float(each) for each in (rows[0], columns[0], rows[-1], columns[-1])))


def eroded(mask: Tensor, side: int) -> Tensor:
    """The pixels of a mask (S, S) bool whose square of `side` lies in it; what is beyond the slice does not count."""
    outside = (~mask).float()[None, None]
    return F.max_pool2d(outside, side, 1, side // 2)[0, 0] == 0


def innermost(mask: Tensor) -> Point:
    """(row, column) of the pixel that lies deepest in a mask (S, S), not empty, as squares go; the first of several."""
    last = mask
    while (smaller := eroded(F.pad(last, (1, 1, 1, 1)), 3)[1:-1, 1:-1]).any():
        last = smaller
    row, column = last.nonzero()[len(last.nonzero()) // 2].tolist()
    return float(row), float(column)


def farthest(mask: Tensor, point: Point) -> Point:
    """(row, column) of the pixel of the eroded mask (the whole one where nothing is left) farthest from a point."""
    pixels = eroded(mask, ERODED).nonzero()
    if len(pixels) == 0:
        pixels = mask.nonzero()
    away = ((pixels.float() - torch.tensor(point, device=mask.device)) ** 2).sum(1)
    row, column = pixels[int(away.argmax())].tolist()
    return float(row), float(column)


def extremes(mask: Tensor) -> list[Point]:
    """The middle pixels of a mask's (S, S) first and last rows and columns: top, left, bottom, right."""
    box = box_of(mask)
    assert box is not None
    found: list[Point] = []
    for row in (int(box.top), int(box.bottom)):
        on = mask[row].nonzero()[:, 0]
        found.append((float(row), float(on[len(on) // 2])))
    for column in (int(box.left), int(box.right)):
        on = mask[:, column].nonzero()[:, 0]
        found.append((float(on[len(on) // 2]), float(column)))
    return [found[0], found[2], found[1], found[3]]


def line(start: Point, end: Point, side: int, device: torch.device | str = "cpu") -> Tensor:
    """(side, side) in {0, 1}: a stroke three pixels wide."""
    rows = torch.arange(side, device=device, dtype=torch.float32)[:, None]
    columns = torch.arange(side, device=device, dtype=torch.float32)[None]
    down, right = end[0] - start[0], end[1] - start[1]
    length = max(down * down + right * right, 1e-6)
    along = (((rows - start[0]) * down + (columns - start[1]) * right) / length).clamp(0, 1)
    away = (rows - start[0] - along * down) ** 2 + (columns - start[1] - along * right) ** 2
    return (away <= 1.5**2).float()


def guide_of(kind: Kind, mask: Tensor) -> Guide | None:
    """The prompt of that kind that draws a mask (S, S) bool; None where it is empty."""
    box = box_of(mask)
    if box is None:
        return None
    if kind == "inter":
        return Guide(box, box.grown(PADDED * mask.shape[0] / PUBLISHED_SIZE).corners)
    if kind == "two_point":
        centre = innermost(mask)
        return Guide(box, [centre], [farthest(mask, centre)])
    if kind == "scribble":
        centre = innermost(mask)
        stroke = line(centre, farthest(mask, centre), mask.shape[0], mask.device) * mask
        drawn = box_of(stroke > 0)
        assert drawn is not None
        return Guide(drawn, drawn=stroke)
    return Guide(box, extremes(mask))
