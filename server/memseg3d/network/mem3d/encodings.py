"""How each interaction network is shown its prompt: maps of points, and the part of the slice that it looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.mem3d.shapes import Kind

PUBLISHED_SIZE = 512
"""Pixels below are pixels of slices and crops of this side."""
SIGMA = 10.0
"""Full width at half maximum of a point's map."""
RELAX: dict[Kind, float] = {"dextr": 50.0, "inter": 30.0, "scribble": 50.0, "hybrid": 50.0}
"""Pixels around the prompt's box that are looked at; `two_point` looks at the whole slice."""
PADDED = 10.0
"""The corners that are drawn of a box lie so many pixels outside of it."""
ACCEPTED = 0.8
"""Probability above which a pixel is taken."""


class Box(NamedTuple):
    """A rectangle of pixels, first and last row and column, inclusive."""

    top: float
    left: float
    bottom: float
    right: float

    def grown(self, pixels: float) -> Box:
        """So many pixels larger on every side."""
        return Box(self.top - pixels, self.left - pixels, self.bottom + pixels, self.right + pixels)

    @property
    def corners(self) -> list[tuple[float, float]]:
        """(row, column) of the four."""
        return [(row, column) for row in (self.top, self.bottom) for column in (self.left, self.right)]


class Guide(NamedTuple):
    """A prompt of one slice. points: of the first map; others: of the second.

    drawn: (S, S) in [0, 1] instead of points. box: what the prompt encloses. Points are (row, column) in pixels of the
    slice.
    """

    box: Box
    points: Sequence[tuple[float, float]] = ()
    others: Sequence[tuple[float, float]] = ()
    drawn: Tensor | None = None


def point_map(points: Sequence[tuple[float, float]], size: int, device: torch.device | str = "cpu") -> Tensor:
    """(size, size) in 0..255: exp(-4 ln 2 d^2 / sigma^2), the largest over the points; zeros without any.

    points: (row, column), pixel centres at integers. sigma is 10 pixels of a crop of 512, and less in a smaller one.
    """
    if not points:
        return torch.zeros(size, size, device=device)
    sigma = max(SIGMA * size / PUBLISHED_SIZE, 2.0)
    grid = torch.arange(size, device=device, dtype=torch.float32)
    where = torch.tensor(list(points), device=device, dtype=torch.float32)
    rows = (grid[None, :] - where[:, :1]) ** 2
    columns = (grid[None, :] - where[:, 1:]) ** 2
    squared = rows[:, :, None] + columns[:, None, :]
    return 255.0 * torch.exp(-4.0 * math.log(2.0) / sigma**2 * squared).amax(0)


def looked_at(kind: Kind, box: Box, side: int) -> Box:
    """The part of a slice of `side` pixels that the network of that kind is shown."""
    if kind == "two_point":
        return Box(0.0, 0.0, side - 1.0, side - 1.0)
    return box.grown(RELAX[kind] * side / PUBLISHED_SIZE)


def cut(planes: Tensor, part: Box, size: int, mode: str = "bilinear") -> Tensor:
    """(C, S, S) planes -> (C, size, size) of a part, which may reach beyond the slice: zeros there."""
    side = planes.shape[-1]
    grid = _grid(part.top, part.bottom, size, side, planes), _grid(part.left, part.right, size, side, planes)
    places = torch.stack(torch.meshgrid(grid[0], grid[1], indexing="ij")[::-1], -1)
    return F.grid_sample(planes[None].float(), places[None], mode=mode, align_corners=False)[0]


def pasted(logits: Tensor, part: Box, side: int, outside: float) -> Tensor:
    """(1, size, size) logits of a part -> (1, side, side) of the slice; `outside` where the network did not look."""
    size = logits.shape[-1]
    whole = torch.arange(side, device=logits.device, dtype=torch.float32)
    rows, columns = (
        _unit((whole - first + 0.5) * size / (last - first + 1) - 0.5, size)
        for first, last in ((part.top, part.bottom), (part.left, part.right))
    )
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1)
    found = F.grid_sample(logits[None].float(), places[None], padding_mode="border", align_corners=False)[0]
    inside = (rows.abs() <= 1)[:, None] & (columns.abs() <= 1)[None, :]
    return torch.where(inside, found, torch.full_like(found, outside))


def shown(kind: Kind, image: Tensor, guide: Guide, size: int) -> tuple[Tensor, Box]:
    """What a network of that kind takes, (3 + guides, size, size) in 0..255, and the part of the slice that it is.

    image: (1 or 3, S, S) in [0, 1].
    """
    side = image.shape[-1]
    part = looked_at(kind, guide.box, side)
    rgb = 255.0 * cut(image.expand(3, -1, -1), part, size)
    first = [_within(point, part, size) for point in guide.points]
    second = [_within(point, part, size) for point in guide.others]
    if guide.drawn is not None:
        maps = 255.0 * cut(guide.drawn[None], part, size)
    else:
        maps = point_map(first, size, image.device)[None]
    if kind in ("two_point", "hybrid"):
        maps = torch.cat([maps, point_map(second, size, image.device)[None]])
    return torch.cat([rgb, maps]), part


def _within(point: tuple[float, float], part: Box, size: int) -> tuple[float, float]:
    """A point of the slice in pixels of the part."""
    return (
        (point[0] - part.top + 0.5) * size / (part.bottom - part.top + 1) - 0.5,
        (point[1] - part.left + 0.5) * size / (part.right - part.left + 1) - 0.5,
    )


def _grid(first: float, last: float, size: int, side: int, like: Tensor) -> Tensor:
    """Centres of `size` pixels of a part in the units of `grid_sample` over `side` pixels."""
    step = (last - first + 1) / size
    centres = first - 0.5 + step * (torch.arange(size, device=like.device, dtype=torch.float32) + 0.5)
    return _unit(centres, side)


def _unit(at: Tensor, side: int) -> Tensor:
    return (2 * at + 1) / side - 1
