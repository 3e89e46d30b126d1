"""What policies see of a mask: candidates where a network gives but one, and area and box in pixels of the slice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from memseg3d.network.seam import Decoded
from memseg3d.propagation.masks.filters import connected_parts
from memseg3d.propagation.memory.bank.entries import MemoryEntry
from memseg3d.propagation.sight.regions import Extent, Region

DOUBTFUL = -2.0
"""What a network nearly took lies between this logit (probability 0.12) and 0."""
SMALLEST_PART = 0.02
"""A part smaller than this share of the mask makes no hypothesis of its own."""


@dataclass(frozen=True)
class Shape:
    """area: in slice pixels; box: around the mask, None where it is empty."""

    area: float
    box: Extent | None


def with_alternatives(decoded: Decoded) -> Decoded:
    """Several candidates where a network gives one mask of one object; those of a network that gives more stay.

    Of a single mask the alternatives are its largest part alone, where it has several, and the mask with the detached
    parts that the network nearly took, where there are any: whether the object is in one piece is what a slice leaves
    open. (Other thresholds make no hypotheses: the looser one leaks further on every slice.) Each one's quality is the
    predicted one times the IoU that it can expect under the mask's probabilities, over that of the mask as it is.
    """
    if decoded.logits.shape[1] > 1:
        return decoded
    single = decoded.logits[0, 0]
    alternatives = [single, *(torch.where(flip, -single, single) for flip in _flips(single))]
    logits = torch.stack(alternatives)[None]
    probability = decoded.logits.float().clamp(-30, 30).sigmoid()
    masks = (logits > 0).float()
    expected = (probability * masks).sum((2, 3)) / torch.maximum(probability, masks).sum((2, 3)).clamp(min=1e-6)
    quality = decoded.quality * (expected / expected[:, :1].clamp(min=1e-6)).clamp(max=1.0)
    quality[:, 0] = decoded.quality[:, 0]
    pointers = None if decoded.pointers is None else decoded.pointers.expand(-1, logits.shape[1], -1)
    return replace(decoded, logits=logits, quality=quality, pointers=pointers)


def _flips(logits: Tensor) -> list[Tensor]:
    """Pixels (h, w) whose sign an alternative turns round: the lesser parts of the mask; what lies apart in doubt."""
    mask = mask_array(logits)
    fewest = max(1.0, SMALLEST_PART * np.count_nonzero(mask))
    if not mask.any():
        return []
    near, _ = parts_of(mask_array(logits - DOUBTFUL))
    apart = (near > 0) & ~np.isin(near, np.unique(near[mask]))
    flips = [mask & ~largest_part(mask), apart]
    return [torch.from_numpy(flip).to(logits.device) for flip in flips if np.count_nonzero(flip) >= fewest]


def other_masks(decoded: Decoded, chosen: int) -> list[np.ndarray]:
    """Boolean (h, w) masks of one object that were not chosen; of a single candidate what the network nearly took."""
    if decoded.logits.shape[1] == 1:
        return [mask_array(decoded.logits[0, 0] - DOUBTFUL)]
    return [mask_array(decoded.logits[0, n]) for n in range(decoded.logits.shape[1]) if n != chosen]


def parts_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected parts of a mask (rows, columns), numbered from 1 in an integer array of its shape, and their sizes."""
    parts = connected_parts(mask)
    return parts, np.bincount(parts.ravel())[1:]


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask (rows, columns) that is not empty."""
    parts, sizes = parts_of(mask)
    return np.asarray(parts == 1 + int(sizes.argmax()))


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
