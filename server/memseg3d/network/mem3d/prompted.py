"""A prompted slice: which interaction network answers, what it is shown of the prompts, and what clicks correct."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from memseg3d.network.mem3d.encodings import ACCEPTED, PADDED, PUBLISHED_SIZE, Box, Guide, pasted, shown
from memseg3d.network.mem3d.guides import box_of
from memseg3d.network.mem3d.interaction import InteractionNetwork
from memseg3d.network.mem3d.shapes import Kind
from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, Prompts

CERTAIN = 10.0
"""Logit of what is taken for certain."""
SHIFT = math.log(ACCEPTED / (1 - ACCEPTED))
"""Taken from an interaction network's logits, so that 0 is the probability from which Mem3D takes a pixel."""
SMALL_CUT = 6.0
"""Radius in pixels (of 512) within which a negative click always takes away."""
INSTEAD: dict[Kind, tuple[Kind, ...]] = {
    "dextr": ("dextr", "hybrid", "inter", "scribble", "two_point"),
    "inter": ("inter", "hybrid", "dextr", "two_point", "scribble"),
    "scribble": ("scribble", "hybrid", "two_point", "dextr", "inter"),
    "two_point": ("two_point", "hybrid", "scribble", "dextr", "inter"),
}
"""By what was drawn, which networks can answer, the best first."""


@dataclass(frozen=True)
class Drawn:
    """The prompts of one row, points as (row, column) in network pixels. strokes: (2, S, S) positive and negative."""

    box: Box | None
    extremes: tuple[tuple[float, float], ...]
    positive: tuple[tuple[float, float], ...]
    negative: tuple[tuple[float, float], ...]
    strokes: Tensor | None

    @classmethod
    def of(cls, prompts: Prompts, row: int) -> Drawn:
        """What the prompts say of one row of the batch."""
        corners: dict[int, tuple[float, float]] = {}
        clicks: dict[int, list[tuple[float, float]]] = {POSITIVE: [], NEGATIVE: []}
        if prompts.points is not None and prompts.labels is not None:
            for (x, y), label in zip(prompts.points[row].tolist(), prompts.labels[row].tolist(), strict=True):
                if label in clicks:
                    clicks[label].append((y, x))
                elif label in (BOX_START, BOX_END):
                    corners[label] = (y, x)
        box = Box(*corners[BOX_START], *corners[BOX_END]) if len(corners) == 2 else None
        extremes = () if prompts.extremes is None else tuple((y, x) for x, y in prompts.extremes[row].tolist())
        strokes = None if prompts.strokes is None else prompts.strokes[row]
        return cls(box, extremes, tuple(clicks[POSITIVE]), tuple(clicks[NEGATIVE]), strokes)

    @property
    def kind(self) -> Kind | None:
        """The network that these prompts were drawn for; None where they only take away."""
        if self.extremes:
            return "dextr"
        if self.box is not None:
            return "inter"
        if self.strokes is not None and bool(self.strokes[0].any()):
            return "scribble"
        return "two_point" if self.positive else None

    @property
    def outlines(self) -> bool:
        """Whether the object is outlined anew, and not only corrected by clicks."""
        return self.kind in ("dextr", "inter")

    def guide(self, kind: Kind, side: int, before: Tensor | None) -> Guide:
        """These prompts as the network of that kind takes them. before: (S, S) bool, the mask that they correct."""
        box = self.enclosed(side, before)
        if kind in ("dextr", "hybrid") and self.extremes:
            return Guide(box, self.extremes)
        if kind in ("scribble", "hybrid") and self.kind == "scribble":
            assert self.strokes is not None
            return Guide(box, drawn=self.strokes[0])
        if kind == "two_point" or (kind == "hybrid" and self.box is None):
            points = self.positive or (box_centre(box),)
            if kind == "hybrid":
                # Inside and outside, as the hybrid network is taught.
                return Guide(box, points, self.negative)
            return Guide(box, points[:1], points[1:])
        if kind == "scribble":
            return Guide(box, self.positive or (box_centre(box),))
        if kind == "dextr":
            return Guide(box, box_middles(box))
        return Guide(box, box.grown(PADDED * side / PUBLISHED_SIZE).corners)

    def enclosed(self, side: int, before: Tensor | None) -> Box:
        """The box that was drawn, or one around everything positive and around the mask that stands."""
        if self.box is not None:
            return self.box
        points = [*self.positive, *self.extremes]
        boxes = [Box(*point, *point) for point in points]
        if self.strokes is not None and (stroke := box_of(self.strokes[0] > 0)) is not None:
            boxes.append(stroke)
        if before is not None and (stands := box_of(before)) is not None:
            boxes.append(stands)
        if not boxes:
            return Box(0, 0, side - 1, side - 1)
        lows = [min(each[place] for each in boxes) for place in (0, 1)]
        highs = [max(each[place] for each in boxes) for place in (2, 3)]
        return Box(lows[0], lows[1], highs[0], highs[1])


def box_centre(box: Box) -> tuple[float, float]:
    """(row, column)."""
    return (box.top + box.bottom) / 2, (box.left + box.right) / 2


def box_middles(box: Box) -> list[tuple[float, float]]:
    """The middles of a box's sides: top, left, bottom, right."""
    row, column = box_centre(box)
    return [(box.top, column), (row, box.left), (box.bottom, column), (row, box.right)]


def answering(kind: Kind, networks: Mapping[str, InteractionNetwork]) -> InteractionNetwork | None:
    """The network that answers to what was drawn; None without any."""
    return next((networks[name] for name in INSTEAD[kind] if name in networks), None)


def run(network: InteractionNetwork, image: Tensor, guide: Guide, size: int) -> Tensor:
    """Logits (1, S, S) of a slice (1 or 3, S, S) in [0, 1]; 0 is probability `ACCEPTED`. size: of what it sees."""
    seen, part = shown(network.shape.kind, image.float(), guide, size)
    dtype = network.backbone.conv1.weight.dtype
    logits = network(seen[None].to(dtype))[-1][0]
    return pasted(logits - SHIFT, part, image.shape[-1], -CERTAIN)


def guess(drawn: Drawn, side: int, before: Tensor | None, device: torch.device) -> Tensor:
    """A first mask (S, S) bool of prompts without any network: the box's ellipse, strokes, and discs about clicks."""
    mask = torch.zeros(side, side, dtype=torch.bool, device=device) if before is None else before.clone()
    if drawn.outlines:
        box = drawn.enclosed(side, None)
        row, column = box_centre(box)
        rows, columns = _grid(side, device)
        high, wide = max((box.bottom - box.top + 1) / 2, 0.5), max((box.right - box.left + 1) / 2, 0.5)
        mask = ((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 <= 1
    elif drawn.strokes is not None:
        mask |= drawn.strokes[0] > 0.5
    for point in drawn.positive:
        mask |= _disc(point, SMALL_CUT * side / PUBLISHED_SIZE + 1, side, device)
    return mask


def taken_away(logits: Tensor, drawn: Drawn) -> Tensor:
    """Logits (1, S, S) without what negative clicks and strokes name.

    A click takes away a disc that reaches as far as the mask does around it, and a few pixels at least.
    """
    side = logits.shape[-1]
    gone = torch.zeros(side, side, dtype=torch.bool, device=logits.device)
    for point in drawn.negative:
        gone |= _disc(point, _depth(logits[0] > 0, point) + SMALL_CUT * side / PUBLISHED_SIZE, side, logits.device)
    if drawn.strokes is not None:
        gone |= drawn.strokes[1] > 0.5
    return torch.where(gone, logits.clamp(max=-CERTAIN), logits)


def _depth(mask: Tensor, point: tuple[float, float]) -> float:
    """How far the nearest pixel outside a mask lies from a point of it; 0 outside."""
    side = mask.shape[0]
    row, column = (min(max(round(at), 0), side - 1) for at in point)
    outside = (~mask).nonzero()
    if not mask[row, column] or len(outside) == 0:
        return 0.0
    away = (outside.float() - torch.tensor(point, device=mask.device)).norm(dim=1)
    return float(away.min())


def _disc(point: tuple[float, float], radius: float, side: int, device: torch.device) -> Tensor:
    rows, columns = _grid(side, device)
    return (rows - point[0]) ** 2 + (columns - point[1]) ** 2 <= radius**2


def _grid(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    at = torch.arange(side, device=device, dtype=torch.float32)
    return at[:, None], at[None]
