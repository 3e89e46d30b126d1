"""What of an expert's answer becomes the object: inside its region alone, and only where the prompts concern it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

Index3 = tuple[int, int, int]


def edited(old: np.ndarray, new: np.ndarray, positive: Sequence[Index3], negative: Sequence[Index3]) -> np.ndarray:
    """The mask `old` (d, h, w) as clicks change it towards `new`.

    A positive click adds the connected part of `new` that it lies in, a negative one takes the connected part of what
    `new` lacks that it lies in (the rule of VISTA3D, arXiv 2406.05285, for edits). Connected: 26 neighbours.
    """
    result = old.copy()
    if positive:
        result |= parts_at(new, positive)
    if negative:
        result &= ~parts_at(old & ~new, negative)
    return result


def parts_at(mask: np.ndarray, voxels: Sequence[Index3]) -> np.ndarray:
    """The connected parts of a mask that hold one of the voxels, or one right beside it."""
    shape = np.array(mask.shape)
    seeds = [voxel for voxel in voxels if all(0 <= at < side for at, side in zip(voxel, mask.shape, strict=True))]
    if not seeds or not mask.any():
        return np.zeros(mask.shape, bool)
    connected = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    labels = sitk.GetArrayFromImage(connected)
    kept: set[int] = set()
    for seed in seeds:
        own = int(labels[seed])
        if own:
            kept.add(own)
            continue
        lower, upper = np.maximum(np.array(seed) - 1, 0), np.minimum(np.array(seed) + 2, shape)
        near = labels[lower[0] : upper[0], lower[1] : upper[1], lower[2] : upper[2]]
        kept.update(int(each) for each in np.unique(near) if each)
    is_kept = np.zeros(int(labels.max()) + 1, bool)
    is_kept[sorted(kept)] = True
    return np.asarray(is_kept[labels])
