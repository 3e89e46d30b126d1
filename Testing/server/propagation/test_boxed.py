"""A mask that spans far less than the box it was asked for is widened; every other one stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt, Prompt
from memseg3d.propagation.rules.box_fit import fitted_to_box
from memseg3d.propagation.sight.regions import Region
from memseg3d.propagation.sight.slice_logits import SliceLogits

SHAPE = (40, 48)
BOX = BoxPrompt(1, 0, (5, 10, 8), (5, 29, 39))
"""On slice 5: rows 10 to 29, columns 8 to 39."""


def hill(half_height: float, half_width: float, slope: float) -> SliceLogits:
    """Logits that are above 0 in a rectangle in the box's middle and fall by `slope` for each pixel away from it."""
    rows, columns = np.arange(SHAPE[0])[:, None], np.arange(SHAPE[1])
    away = np.maximum(np.abs(rows - 19.5) - half_height, np.abs(columns - 23.5) - half_width)
    logits = np.where(away < 0, 5.0, -slope * away - 0.01).astype(np.float32)
    return SliceLogits(Region.whole(SHAPE, 1), logits, 0.5, True)


def spans(mask: np.ndarray) -> tuple[float, float]:
    return np.flatnonzero(mask.any(1)).size / 20, np.flatnonzero(mask.any(0)).size / 32


def test_a_mask_in_the_middle_of_its_box_is_widened_and_stays_inside() -> None:
    result = hill(4.0, 9.0, 0.2)
    assert min(spans(result.mask(SHAPE))) < 0.6
    wider = fitted_to_box(result, [BOX], 0, 5, SHAPE)
    assert min(spans(wider)) >= 0.8
    assert np.array_equal(wider | result.mask(SHAPE), wider)
    box = np.zeros(SHAPE, bool)
    box[10:30, 8:40] = True
    assert not (wider & ~box).any()


@pytest.mark.parametrize(
    ("result", "prompts"),
    [
        (hill(7.0, 11.0, 0.2), [BOX]),
        # Nothing there is anywhere near to being the object.
        (hill(4.0, 9.0, 4.0), [BOX]),
        # A click says more than the box's sides.
        (hill(4.0, 9.0, 0.2), [BOX, PointPrompt(1, (5, 12, 12), False)]),
        (hill(4.0, 9.0, 0.2), [PointPrompt(1, (5, 20, 24))]),
        (replace(hill(4.0, 9.0, 0.2), present=False), [BOX]),
    ],
)
def test_every_other_mask_stays(result: SliceLogits, prompts: list[Prompt]) -> None:
    assert np.array_equal(fitted_to_box(result, prompts, 0, 5, SHAPE), result.mask(SHAPE))
