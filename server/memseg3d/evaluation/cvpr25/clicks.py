"""The evaluator's clicks: the middle of each class's largest error, by its own rules, ties drawn with its own seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from memseg3d.evaluation.cvpr25.cases import ClassClicks, Place

SEED = 42
LARGE = 60_000_000
"""Padded boxes of more voxels are halved before the distance transform."""
_FULL = np.ones((3, 3, 3), bool)


def with_next_clicks(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    labels: Sequence[int],
    clicks: Sequence[ClassClicks],
    tells_none: bool,
) -> tuple[ClassClicks, ...]:
    """One click more for every class that is not perfect yet.

    tells_none: write None into the order of a perfect class, as later versions of the evaluator do.
    """
    found = []
    for label, own in zip(labels, clicks, strict=True):
        right = truth == label
        place = error_click(right, prediction == label)
        if place is not None:
            found.append(own.added(place, bool(right[place])))
        else:
            found.append(ClassClicks(own.fg, own.bg, (*own.order, None)) if tells_none else own)
    return tuple(found)


def error_click(truth: NDArray[Any], prediction: NDArray[Any]) -> Place | None:
    """(z, y, x) of a voxel deepest in the largest connected error (26 neighbours); None without any error."""
    error = truth != prediction
    if not error.any():
        return None
    labels, count = ndimage.label(error, structure=_FULL)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    largest = int(np.argmax(sizes))
    box = ndimage.find_objects(labels, max_label=largest)[largest - 1]
    component = labels[box] == largest
    depths = _depths(component)
    # drawn anew for every click, as in the evaluator
    random = np.random.RandomState(SEED)
    places = np.argwhere(depths == depths.max()) if depths.any() else np.argwhere(component)
    z, y, x = (int(at) + side.start for at, side in zip(places[random.choice(len(places))], box, strict=True))
    return z, y, x


def _depths(component: NDArray[np.bool_]) -> NDArray[Any]:
    """Distance of each voxel to the outside in voxels, the component padded by a quarter, by a voxel at least."""
    padding = np.maximum((np.array(component.shape) * 0.25).astype(int), 1)
    padded = np.pad(component, [(int(each), int(each)) for each in padding])
    if padded.size > LARGE:
        depths = _halved_depths(padded)
    else:
        depths = ndimage.distance_transform_edt(padded)
    inner = tuple(slice(each, each + side) for each, side in zip(padding, component.shape, strict=True))
    return np.where(component, depths[inner], 0.0)


def _halved_depths(padded: NDArray[np.bool_]) -> NDArray[Any]:
    even = np.pad(padded, [(0, side % 2) for side in padded.shape])
    half = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, even.shape[2] // 2, 2).any(axis=(1, 3, 5))
    depths = ndimage.distance_transform_edt(half)
    for axis in range(3):
        depths = np.repeat(depths, 2, axis=axis)
    return np.asarray(depths[: padded.shape[0], : padded.shape[1], : padded.shape[2]])
