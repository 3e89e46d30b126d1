"""Where first prompts were too weak: told from how sure the network is of their slice, and whether its looks agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memseg3d.propagation.prompts.prompts import (
    Box3DPrompt,
    BoxPrompt,
    ExtremePointsPrompt,
    PointPrompt,
    Prompt,
    StrokePrompt,
    is_drawing,
    is_positive,
)

LEAST_QUALITY = {"click": 0.58, "clicks": 0.63, "stroke": 0.6, "box": 0.5}
"""Below this predicted quality of the prompted slice a kind of prompt was too weak. These and the next number were
chosen on 19 targets of the development set, that of one click on 39 (`Testing/benchmarks/bounds.py weak`): right is a
hint where Dice of the slice is below 0.5.
"""
LEAST_AGREEMENT = 0.4
"""Nor were clicks enough where looks through crops of other sizes share less than this with the mask (mean IoU)."""

WORDS = {
    "click": "One click was not enough here: draw a stroke or a box.",
    "clicks": "Clicks were not enough here: draw a stroke or a box.",
    "stroke": "The stroke was not enough here: draw a longer one, or a box.",
    "box": "The box was not enough here: draw a stroke through the object as well.",
}
"""What to do about each kind, for the user."""


def kind_of(prompts: Sequence[Prompt]) -> str | None:
    """What shows the object on a slice, a key of `WORDS`; None where it is drawn to the pixel, or not shown."""
    shown = [prompt for prompt in prompts if is_positive(prompt)]
    drawn = [prompt for prompt in shown if is_drawing(prompt)]
    if drawn:
        return "box" if isinstance(drawn[-1], BoxPrompt | Box3DPrompt | ExtremePointsPrompt) else None
    if any(isinstance(prompt, StrokePrompt) for prompt in shown):
        return "stroke"
    clicks = sum(isinstance(prompt, PointPrompt) for prompt in shown)
    return None if not clicks else "click" if clicks == 1 else "clicks"


def too_weak(prompts: Sequence[Prompt], mask: np.ndarray, quality: float, agreement: float | None) -> str | None:
    """The kind of the prompts of one slice where they were too weak; None where they were enough.

    mask: bool (rows, columns) that they led to. quality: IoU to expect of it. agreement: mean IoU of the mask with what
    other looks at the object have found (`first_look`); None where there was one look.
    """
    kind = kind_of(prompts)
    if kind is None:
        return None
    disagrees = agreement is not None and agreement < LEAST_AGREEMENT
    return kind if not mask.any() or quality < LEAST_QUALITY[kind] or disagrees else None
