"""Whether a box leaves room about its object, by what a look that takes it for tight and one that does not have found.

A network cannot be taught both at once: the more it has seen boxes with room, the less of a tight one it fills. So a
checkpoint may have a decoder of its own for boxes with room, and a small network over figures of both looks (how far
each fills the box, how sure it is, and whether what only one of them found looks like the inside of the object or like
what lies outside the box) says how likely it is that the box leaves room. It is fitted to boxes that a simulated user
drew (`Testing/benchmarks/fit_boxes.py`), and travels with the checkpoint whose looks it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from memseg3d.propagation.rules.kinds_of_tissue import smoothed
from memseg3d.propagation.rules.verdicts.grey_values import GreyRatios
from memseg3d.propagation.rules.verdicts.small_network import SmallNetwork, weights_of
from memseg3d.propagation.sight.regions import Extent

FIGURES = 28
"""How many figures a box has."""
WEIGHTS = weights_of(FIGURES)
LIKELY = 0.69
"""Chance from which on a box is taken for one with room: people draw tight ones more often than they were among those
that it was fitted to. Chosen on boxes of the development set.
"""
MOST_PIXELS = 512
"""Longest side of a box that is read pixel by pixel; of larger ones every second, third, ... pixel is."""
_FEWEST, _ENOUGH = 4, 2048
"""Grey values that a histogram is made of."""


@dataclass(frozen=True, eq=False)
class Look:
    """What a look has found in a box. probability: (rows, columns) of the slice; quality: IoU to expect."""

    probability: np.ndarray
    quality: float

    @property
    def mask(self) -> np.ndarray:
        """Bool (rows, columns)."""
        return self.probability > 0.5


def figures_of(pixels: np.ndarray, box: Extent, tight: Look, roomy: Look) -> np.ndarray | None:
    """Float32 (FIGURES). pixels: (rows, columns) of the slice, in which the looks are; None where one of them, or what
    lies outside the box, shows too little.
    """
    every = 1 + int(max(box.height, box.width)) // (MOST_PIXELS + 1)
    if every > 1:
        thin = np.s_[::every, ::every]
        looks = (replace(each, probability=each.probability[thin]) for each in (tight, roomy))
        sides = (side / every for side in (box.top, box.left, box.bottom, box.right))
        return figures_of(pixels[thin], Extent(*sides), *looks)
    height, width = pixels.shape
    top, bottom = max(round(box.top + 0.5), 0), min(round(box.bottom + 0.5), height)
    left, right = max(round(box.left + 0.5), 0), min(round(box.right + 0.5), width)
    if top >= bottom or left >= right:
        return None
    high, wide = max(3, (bottom - top) // 4), max(3, (right - left) // 4)
    rows = slice(max(top - high, 0), min(bottom + high, height))
    window = (rows, slice(max(left - wide, 0), min(right + wide, width)))
    inside = np.zeros(pixels.shape, bool)
    inside[top:bottom, left:right] = True
    inside, near = inside[window], smoothed(np.asarray(pixels[window], np.float32))
    one, other = tight.mask[window], roomy.mask[window]
    around = ~inside & ~one
    core = one & other
    if core.sum() < _FEWEST:
        core = other if other.any() else one
    if min(core.sum(), around.sum()) < _FEWEST or min(near.shape) < 2:
        return None
    grey = _Grey(near, core, around)
    spans = [_span(each, bottom - top, right - left) for each in (one, other)]
    shell, area, found = one & ~other, float(inside.sum()), max(1, int(one.sum()))
    figures = [
        tight.quality,
        roomy.quality,
        roomy.quality - tight.quality,
        min(spans[0]),
        max(spans[0]),
        min(spans[1]),
        max(spans[1]),
        min(spans[1]) / max(0.1, min(spans[0])),
        max(spans[1]) / max(0.1, max(spans[0])),
        other.sum() / found,
        (one & other).sum() / max(1, (one | other).sum()),
        one.sum() / area,
        other.sum() / area,
        *grey.of(shell),
        *grey.of(inside & ~one),
        *grey.of(core),
        *(grey.slope_along(each) for each in (one, other, inside)),
        np.log(area),
        *(float(np.abs(each.probability[window][inside] - 0.5).mean()) for each in (tight, roomy)),
    ]
    return np.array(figures, np.float32)


class BoxVerdict:
    """The fitted network. weights: `WEIGHTS` numbers."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._network = SmallNetwork(weights, FIGURES)

    def is_roomy(self, figures: np.ndarray) -> bool:
        """Whether a box is to be taken for one with room. figures: (FIGURES)."""
        return bool(self._network.chances(figures[None])[0] >= LIKELY)


class _Grey:
    """Grey values of a window (rows, columns) beside those of the object's core and of what lies outside the box."""

    def __init__(self, near: np.ndarray, core: np.ndarray, around: np.ndarray) -> None:
        own, other = near[core], near[around]
        self._near, self._own, self._other = near, float(own.mean()), float(other.mean())
        self._spread = float(np.concatenate([own, other]).std()) or 1.0
        self._ratio = GreyRatios(_some(own), _some(other))
        self._slope = np.hypot(*np.gradient(near)) / self._spread

    def of(self, pixels: np.ndarray) -> tuple[float, float, float]:
        """How much likelier they are in the core, and how far their mean lies from the core's and from the other."""
        if pixels.sum() < _FEWEST:
            return 0.0, 0.0, 0.0
        values = self._near[pixels]
        away = [min(abs(float(values.mean()) - each) / self._spread, 4.0) for each in (self._own, self._other)]
        return float(np.clip(self._ratio(values).mean(), -3, 3)), away[0], away[1]

    def slope_along(self, mask: np.ndarray) -> float:
        """Mean slope of the grey values at a mask's border."""
        within = np.pad(mask, 1)
        border = mask & ~(within[:-2, 1:-1] & within[2:, 1:-1] & within[1:-1, :-2] & within[1:-1, 2:])
        return float(self._slope[border].mean()) if border.any() else 0.0


def _span(mask: np.ndarray, height: int, width: int) -> tuple[float, float]:
    """Which part of the box's sides a mask's own are."""
    extent = Extent.of_mask(mask)
    return (0.0, 0.0) if extent is None else (extent.height / height, extent.width / width)


def _some(values: np.ndarray) -> np.ndarray:
    """Evenly many of many values."""
    return values[:: len(values) // _ENOUGH + 1]
