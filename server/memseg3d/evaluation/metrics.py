"""How well a mask agrees with the truth: Dice, and NSD and HD95 by google-deepmind/surface-distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NSD_TOLERANCE_MM = 2.0
MICROSCOPY_TOLERANCE_VOXELS = 2.0


def dice(truth: NDArray[Any], prediction: NDArray[Any]) -> float:
    """Dice coefficient of two boolean masks of one shape; 1 where both are empty."""
    _check_shapes(truth, prediction)
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(prediction))
    return 2.0 * int(np.count_nonzero(truth & prediction)) / total if total else 1.0


def surface_dice(
    truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], tolerance: float = NSD_TOLERANCE_MM
) -> float:
    """Normalised surface Dice: the share of both surfaces that lies within `tolerance` of the other.

    Area-weighted and spacing-aware (Nikolov et al. 2018, arXiv 1809.04430). spacing: mm, in the order of the arrays'
    axes. Both masks empty: 1; one of them empty: 0.
    """
    return surface_scores(truth, prediction, spacing, tolerance)[0]


def surface_scores(
    truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], tolerance: float = NSD_TOLERANCE_MM
) -> tuple[float, float | None]:
    """The surface Dice, and the Hausdorff distance at 95 % (HD95) in mm, from distances that are computed once.

    HD95: the larger of two distances, each the one within which 95 % of a surface's area lie of the other. Both masks
    empty: 0; one of them empty: None, as there is no distance to speak of.
    """
    from surface_distance import (
        compute_robust_hausdorff,
        compute_surface_dice_at_tolerance,
        compute_surface_distances,
    )

    _check_shapes(truth, prediction)
    truth, prediction = truth.astype(bool), prediction.astype(bool)
    if not truth.any() or not prediction.any():
        agree = bool(truth.any() == prediction.any())
        return float(agree), 0.0 if agree else None
    box = _shared_box(truth, prediction)
    distances = compute_surface_distances(truth[box], prediction[box], tuple(float(s) for s in spacing))
    dice_of_surfaces = float(compute_surface_dice_at_tolerance(distances, tolerance))
    return dice_of_surfaces, float(compute_robust_hausdorff(distances, 95.0))


def tolerance_for(modality: str, in_plane_spacing: Sequence[float]) -> float:
    """Tolerance of the surface Dice in mm: 2, or two in-plane voxels for microscopy, whose "mm" are something else."""
    if "microscopy" in modality.lower():
        return MICROSCOPY_TOLERANCE_VOXELS * min(in_plane_spacing)
    return NSD_TOLERANCE_MM


def _check_shapes(truth: NDArray[Any], prediction: NDArray[Any]) -> None:
    if truth.shape != prediction.shape:
        raise ValueError(f"Truth {truth.shape} and prediction {prediction.shape} should have the same shape.")


def _shared_box(truth: NDArray[Any], prediction: NDArray[Any]) -> tuple[slice, ...]:
    """The smallest box that holds both masks: surfaces outside it do not exist."""
    both = truth | prediction
    box = []
    for axis in range(both.ndim):
        filled = np.flatnonzero(both.any(axis=tuple(a for a in range(both.ndim) if a != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)
