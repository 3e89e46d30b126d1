"""What policies see of a mask: candidates where a network gives but one, and area and box in pixels of the slice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from memseg3d.network.seam import Decoded
from memseg3d.propagation.memory import MemoryEntry
from memseg3d.propagation.regions import Extent, Region

SHIFT = 2.0
"""A tighter and a looser mask lie where the logit passes this, or falls below its negative: probability 0.88, 0.12."""


@dataclass(frozen=True)
class Shape:
    """area: in slice pixels; box: around the mask, None where it is empty."""

    area: float
    box: Extent | None


def with_alternatives(decoded: Decoded) -> Decoded:
    """Masks with at least three candidates; those of a network that gives three are returned as they are.

    Of a single mask the alternatives are a tighter and a looser one. Each one's quality is the predicted one, times the
    IoU that it can expect under the mask's own probabilities over that which the mask as it is can expect.
    """
    if decoded.logits.shape[1] > 1:
        return decoded
    logits = torch.cat([decoded.logits, decoded.logits - SHIFT, decoded.logits + SHIFT], dim=1)
    probability = decoded.logits.float().clamp(-30, 30).sigmoid()
    masks = (logits > 0).float()
    expected = (probability * masks).sum((2, 3)) / torch.maximum(probability, masks).sum((2, 3)).clamp(min=1e-6)
    relative = (expected / expected[:, :1].clamp(min=1e-6)).clamp(max=1.0)
    # An empty mask expects nothing of any candidate: then all are as good as predicted.
    relative = torch.where(expected[:, :1] > 0, relative, torch.ones_like(relative))
    pointers = None if decoded.pointers is None else decoded.pointers.expand(-1, 3, -1)
    return replace(decoded, logits=logits, quality=decoded.quality * relative, pointers=pointers)


def mask_array(logits: Tensor) -> np.ndarray:
    """Boolean (h, w) of one candidate's logits (h, w)."""
    return np.asarray((logits > 0).cpu().numpy())


def shape_of(mask: np.ndarray, region: object) -> Shape:
    """Shape of a mask (h, w) over a region; in pixels of the mask itself where the region is not a `Region`."""
    box, area = Extent.of_mask(mask), float(np.count_nonzero(mask))
    if not isinstance(region, Region):
        return Shape(area, box)
    extent = region.extent
    rows, columns = extent.height / mask.shape[0], extent.width / mask.shape[1]
    if box is not None:
        box = Extent(
            extent.top + (box.top + 0.5) * rows,
            extent.left + (box.left + 0.5) * columns,
            extent.top + (box.bottom + 0.5) * rows,
            extent.left + (box.right + 0.5) * columns,
        )
    return Shape(area * rows * columns, box)


def shape_of_entry(entry: MemoryEntry) -> Shape:
    """Shape of a finished slice of one object; empty where the object is absent."""
    if float(entry.object_score[0, 0]) <= 0:
        return Shape(0.0, None)
    return shape_of(mask_array(entry.logits[0, 0]), entry.region)


def box_iou(first: Extent, second: Extent) -> float:
    """Intersection over union of two boxes."""
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    width = min(first.right, second.right) - max(first.left, second.left)
    shared = max(height, 0.0) * max(width, 0.0)
    total = first.height * first.width + second.height * second.width - shared
    return shared / total if total > 0 else 0.0
