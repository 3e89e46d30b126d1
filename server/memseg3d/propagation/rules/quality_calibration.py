"""What a predicted quality is worth: calibrated, and trusted less the further a slice lies from a prompted one.

Quality heads are too sure of themselves, and drift does not show on a single slice. A logistic rule over the head's own
prediction and the way that propagation has come gives the quality that users are shown and advised by (calibration in
the manner of Platt). A checkpoint carries the rule that fits its quality head (`Testing/benchmarks/fit_quality.py`,
synthetic volumes alone); without one the prediction stands as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import cache

import numpy as np

from memseg3d.propagation.sight.view import View

Weights = tuple[float, float, float]
"""Of the prediction's logit, of the way, and the constant."""
_CERTAIN = 1e-4


def calibrated(weights: Weights | None, quality: float, way: float) -> float:
    """The quality in [0, 1] to expect of a slice. quality: predicted IoU; way: as `way_to` gives it."""
    if weights is None:
        return quality
    held = min(max(quality, _CERTAIN), 1 - _CERTAIN)
    return 1.0 / (1.0 + math.exp(-(weights[0] * math.log(held / (1 - held)) + weights[1] * way + weights[2])))


def way_to(distance: float, area: float) -> float:
    """How far propagation has come. distance: mm from the nearest prompted slice; area: mm^2 of the object there."""
    return math.log1p(distance / math.sqrt(area)) if area > 0 else 0.0


class QualityCalibrator:
    """Calibrates the qualities of one object's round.

    prompted: its prompted slices; step: mm between slices; pixel: mm^2; mask_of: an index's mask (rows, columns) once
    the prompted slices are decoded.
    """

    def __init__(
        self,
        weights: Weights | None,
        prompted: Collection[int],
        step: float,
        pixel: float,
        mask_of: Callable[[int], np.ndarray],
    ) -> None:
        self._weights = weights
        self._prompted = prompted
        self._step = step
        self._area = cache(lambda index: float(mask_of(index).sum()) * pixel)

    @classmethod
    def of(cls, view: View, prompted: Collection[int], mask_of: Callable[[int], np.ndarray]) -> QualityCalibrator:
        """By the rule of the network that the object is seen with."""
        area = view.framing.spacing[0] * view.framing.spacing[1]
        return cls(view.store.network.info.calibration, prompted, view.volume.spacing[view.axis], area, mask_of)

    def __call__(self, index: int, quality: float) -> float:
        """The quality to expect of slice `index`, for which the network predicts `quality`."""
        if self._weights is None or index in self._prompted:
            return calibrated(self._weights, quality, 0.0)
        # A slice that does not show the object sends nobody out.
        known = [at for at in self._prompted if self._area(at) > 0]
        if not known:
            return calibrated(self._weights, quality, 0.0)
        nearest = min(known, key=lambda at: (abs(at - index), at))
        return calibrated(self._weights, quality, way_to(abs(nearest - index) * self._step, self._area(nearest)))
