"""Boxes as the challenge made them: the slices of a class, and the rectangle of its middle slice, moved outward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memseg3d.datasets.challenge_boxes import drawn_box
from memseg3d.evaluation.cvpr25.cases import ClassBox
from memseg3d.evaluation.cvpr25.scoring import labels_of


def class_boxes(truth: NDArray[Any], seed: int = 0) -> tuple[ClassBox, ...]:
    """A box for every class of a truth (z, y, x), in the order of the labels."""
    random = np.random.default_rng(seed)
    return tuple(_box(truth == label, random) for label in labels_of(truth))


def _box(mask: NDArray[np.bool_], random: np.random.Generator) -> ClassBox:
    (first, last), (top, bottom), (left, right), middle = drawn_box(mask, random)
    return ClassBox(
        z_min=first,
        z_max=last,
        z_mid=middle,
        z_mid_x_min=left,
        z_mid_y_min=top,
        z_mid_x_max=right,
        z_mid_y_max=bottom,
    )
