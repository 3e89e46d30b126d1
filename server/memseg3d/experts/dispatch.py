"""Which of several experts answers for an object, and whether propagation goes before: by prompts, extent and aspect.

DualClickMed's rule is boxes to the global expert, clicks alone to the local one, for boxes are missing exactly where
they are bad prompts. Here it is told for each object, and by its form as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memseg3d.experts.seam import Sighting, VolumeExpert

THIN = 4.0
"""An object so many times as long as it is thick, in millimetres, is a bad fit for a box."""
COARSE = 2.0
"""Where a voxel of the region stands for so many of the volume along an axis, a click's error is not seen in it."""


def chosen(experts: Sequence[VolumeExpert], sighting: Sighting) -> VolumeExpert:
    """The expert that answers: the first of those that see the whole object, or the first of those that see a patch."""
    whole = next((each for each in experts if not each.info.sees_patch), None)
    patch = next((each for each in experts if each.info.sees_patch), None)
    if whole is None or patch is None or not sighting.clicks:
        return whole or patch or experts[0]
    known = sighting.box or sighting.mask
    if known is None:
        return patch
    sides = [size * step for size, step in zip(known.size, sighting.spacing, strict=True)]
    if max(sides) > THIN * min(sides):
        return patch
    # a click on an object that stands is about a detail
    if sighting.mask is not None:
        region = whole.region(sighting)
        if np.max(np.array(region.size) / np.array(region.grid)) > COARSE:
            return patch
    return whole


def goes_alone(experts: Sequence[VolumeExpert], is_edit: bool) -> bool:
    """Whether an object is left to experts although a network could propagate it.

    is_edit: clicks and strokes on an object that stands. One that corrects its own mask would begin anew on whatever
    propagation makes of it.
    """
    return is_edit and all(each.info.answers_whole for each in experts)
