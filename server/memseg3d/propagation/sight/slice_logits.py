"""Mask logits of one slice together with the region that they were computed in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memseg3d.propagation.sight.regions import OUTSIDE_LOGIT, Extent, Region

MASK_LOGIT = 10.0
"""Logit of a mask that is taken for certain."""
PRIOR_LIMIT = 32.0


@dataclass(frozen=True, eq=False)
class SliceLogits:
    """logits: (h, w) over `region`. quality: predicted IoU. present: False where the object is absent from the
    slice.
    """

    region: Region
    logits: np.ndarray
    quality: float
    present: bool

    @classmethod
    def of_mask(cls, mask: np.ndarray, quality: float = 1.0) -> SliceLogits:
        """A mask (rows, columns) of the whole slice, taken for certain."""
        logits = np.where(mask, MASK_LOGIT, -MASK_LOGIT).astype(np.float16)
        return cls(Region.whole((mask.shape[0], mask.shape[1]), 1), logits, quality, bool(mask.any()))

    def mask(self, slice_shape: tuple[int, int]) -> np.ndarray:
        """Boolean (rows, columns) of the slice: where the logit is above 0."""
        result = np.zeros(slice_shape, bool)
        if self.present:
            result[self.region.covered(slice_shape)] = self.region.logits_to_slice(self.logits, slice_shape) > 0
        return result

    def extent(self, slice_shape: tuple[int, int]) -> Extent | None:
        """The rectangle around the mask; None where it is empty."""
        return Extent.of_mask(self.mask(slice_shape))

    def probabilities(self, slice_shape: tuple[int, int]) -> np.ndarray:
        """Float32 (rows, columns) of the slice: the sigmoid of the logits, 0 outside the region."""
        result = np.zeros(slice_shape, np.float32)
        if self.present:
            logits = self.region.logits_to_slice(self.logits, slice_shape)
            result[self.region.covered(slice_shape)] = 1.0 / (
                1.0 + np.exp(-np.clip(logits, OUTSIDE_LOGIT, PRIOR_LIMIT))
            )
        return result

    def seen_through(self, region: Region, grid: int, slice_shape: tuple[int, int]) -> np.ndarray:
        """Float32 (grid, grid) logits over another region, resampled by way of the slice's probabilities."""
        if region == self.region and self.logits.shape == (grid, grid):
            return np.clip(self.logits, -PRIOR_LIMIT, PRIOR_LIMIT).astype(np.float32)
        lens = Region(region.extent, grid)
        pixels = self.probabilities(slice_shape)[lens.rows_and_columns(slice_shape)]
        certain = 1.0 / (1.0 + np.exp(-MASK_LOGIT))
        probability = np.clip(lens.sample(pixels, slice_shape), 1.0 - certain, certain)
        return np.log(probability / (1.0 - probability)).astype(np.float32)


def blended(
    low: SliceLogits, high: SliceLogits, weight: float, slice_shape: tuple[int, int]
) -> tuple[np.ndarray, float]:
    """Probabilities (rows, columns) and quality of two results for one slice; weight: share of `high` in [0, 1]."""
    probability = (1 - weight) * low.probabilities(slice_shape) + weight * high.probabilities(slice_shape)
    return probability, (1 - weight) * low.quality + weight * high.quality
