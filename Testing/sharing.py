"""What must hold of a labelmap whose objects overlap, whoever keeps the contested voxels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def assert_shared_out(found: np.ndarray, masks: Mapping[int, np.ndarray]) -> None:
    """Every claimed voxel belongs to one that claims it, and what only one claims is its own."""
    claims = np.sum([mask.astype(np.uint8) for mask in masks.values()], axis=0)
    assert np.array_equal(found > 0, claims > 0)
    for number, mask in masks.items():
        assert not (found == number)[~mask].any()
        assert (found == number)[mask & (claims == 1)].all()
