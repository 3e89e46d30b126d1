"""One slice with its prompt, as an interaction network is taught: augmented, prompted with some chance, cut out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.mem3d.encodings import PADDED, PUBLISHED_SIZE, Box, Guide, cut, looked_at, shown
from memseg3d.network.mem3d.guides import box_of, extremes, farthest, line
from memseg3d.network.mem3d.shapes import Kind

PERT = 5
"""Extreme points are clicked within so many pixels of 512 of the real ones."""
CONTOUR = 100
"""Parts with fewer pixels of 512 x 512 get no prompt of their own."""
TURN, SCALE = 20.0, (0.75, 1.25)
HYBRID: tuple[Kind | str, ...] = ("dextr", "scribble", "inside", "inter")
"""What the hybrid network is shown, each as often: extreme points, scribble, inside and outside points, box alone."""


def changed(rng: np.random.Generator, planes: Tensor, is_mask: Sequence[bool]) -> Tensor:
    """(C, S, S) mirrored, turned by up to 20 degrees and scaled by 0.75 to 1.25, all alike; masks by nearest pixels."""
    angle, scale = math.radians(rng.uniform(-TURN, TURN)), rng.uniform(*SCALE)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    turn = torch.tensor(
        [[math.cos(angle) * mirror, -math.sin(angle), 0.0], [math.sin(angle) * mirror, math.cos(angle), 0.0]]
    )
    grid = F.affine_grid((turn / scale)[None], [1, 1, *planes.shape[1:]], align_corners=False)
    moved = [
        F.grid_sample(plane[None, None], grid, mode="nearest" if mask else "bilinear", align_corners=False)[0, 0]
        for plane, mask in zip(planes, is_mask, strict=True)
    ]
    return torch.stack(moved)


def parts(mask: Tensor) -> list[Tensor]:
    """The parts of a mask (S, S) bool that are prompted one by one: all but small ones; the largest where all are."""
    labels, count = ndimage.label(mask.cpu().numpy(), structure=np.ones((3, 3)))
    if count < 2:
        return [mask]
    sizes = np.bincount(labels.ravel())[1:]
    fewest = CONTOUR * (mask.shape[0] / PUBLISHED_SIZE) ** 2
    kept = [number for number in range(count) if sizes[number] > fewest] or [int(sizes.argmax())]
    return [torch.from_numpy(labels == number + 1).to(mask.device) for number in kept]


def prompt(
    kind: Kind | str, mask: Tensor, scribble: Tensor | None = None, rng: np.random.Generator | None = None
) -> Guide:
    """The guide that a user draws for a mask (S, S) bool, not empty. rng: a hand that shakes; None: exactly.

    scribble: (S, S) what was drawn, where the set keeps it.
    """
    box = box_of(mask)
    assert box is not None
    side = mask.shape[0]
    scaled = side / PUBLISHED_SIZE
    if kind == "inter":
        return Guide(box, box.grown(PADDED * scaled).corners)
    if kind == "inside":
        return Guide(box, [_deepest(mask)], box.grown(PADDED * scaled).corners)
    if kind == "two_point":
        centre = _deepest(mask)
        return Guide(box, [centre], [farthest(mask, centre)])
    if kind == "scribble":
        stroke = scribble if scribble is not None and bool((scribble * mask).any()) else _stroke(mask, rng)
        enclosed = box_of(stroke > 0)
        assert enclosed is not None
        return Guide(enclosed, drawn=stroke.float())
    return Guide(box, extremes(mask) if rng is None else _about_extremes(rng, mask, box, max(1, round(PERT * scaled))))


def sample(
    rng: np.random.Generator, kind: Kind, image: Tensor, mask: Tensor, scribble: Tensor | None, size: int
) -> tuple[Tensor, Tensor]:
    """What a network of that kind is shown, (3 + guides, size, size), and the truth there (1, size, size).

    image, mask, scribble: (1, S, S).
    """
    planes = [image[0], mask[0], *([] if scribble is None else [scribble[0]])]
    moved = changed(rng, torch.stack(planes), [False] + [True] * (len(planes) - 1))
    whole = moved[1] > 0.5
    if not whole.any():
        moved, whole = torch.stack(planes), mask[0] > 0.5
    each = parts(whole)
    one = each[int(rng.integers(len(each)))]
    way: Kind | str = HYBRID[int(rng.integers(len(HYBRID)))] if kind == "hybrid" else kind
    guide = prompt(way, one, moved[2] if scribble is not None else None, rng)
    seen, _ = shown(kind, moved[:1], guide, size)
    part = looked_at(kind, guide.box, image.shape[-1])
    truth = whole if kind == "two_point" else one
    return seen, (cut(truth[None].float(), part, size) > 0.5).float()


def _deepest(mask: Tensor) -> tuple[float, float]:
    """The pixel of a mask that lies farthest from its edge."""
    depth = ndimage.distance_transform_edt(np.pad(mask.cpu().numpy(), 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(row), float(column)


def _stroke(mask: Tensor, rng: np.random.Generator | None) -> Tensor:
    """A stroke between two pixels of the mask, as far as it lies in it, where the set keeps no scribble."""
    start = _deepest(mask)
    end = farthest(mask, start)
    if rng is not None:
        pixels = mask.nonzero()
        end = tuple(float(at) for at in pixels[int(rng.integers(len(pixels)))])  # type: ignore[assignment]
    return line(start, end, mask.shape[0], mask.device) * mask


def _about_extremes(rng: np.random.Generator, mask: Tensor, box: Box, pert: int) -> list[tuple[float, float]]:
    """A random pixel of the mask within `pert` rows or columns of each extreme: top, left, bottom, right."""
    pixels = mask.nonzero().cpu().numpy()
    near = (
        pixels[:, 0] <= box.top + pert,
        pixels[:, 1] <= box.left + pert,
        pixels[:, 0] >= box.bottom - pert,
        pixels[:, 1] >= box.right - pert,
    )
    chosen = [pixels[which][int(rng.integers(int(which.sum())))] for which in near]
    return [(float(row), float(column)) for row, column in chosen]
