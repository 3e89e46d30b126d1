"""Samples as the experts are shown targets: a cube scaled to the box, or a patch about a voxel of the object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from memseg3d.datasets.challenge_boxes import drawn_box
from memseg3d.experts.global_expert import FEWEST_VOXELS, MARGIN, normalised
from memseg3d.experts.regions import Region3
from memseg3d.experts.seam import Request
from memseg3d.training.experts.targets import Target

LOOSE_SHARE, LOOSE = 0.3, (0.8, 1.7)
"""Share of the regions that follow another extent than the box's, as those about a mask or a click do; by how much."""
SCALES, SHIFT, ELASTIC, CONTROLS = (0.2, 0.5, 0.5), 4.0, 7.5, 7
"""Of the released augmentation: scales along each axis, shift, displacement of control points, points a side."""


@dataclass(frozen=True, eq=False)
class Sample:
    """image: float32 (1, d, h, w), normalised as the network wants it; truth: bool (1, d, h, w)."""

    image: Tensor
    truth: Tensor


def global_sample(target: Target, side: int, rng: np.random.Generator, augment: bool, mended: bool) -> Sample | None:
    """A cube of `side` voxels about the box, so many times as long (DualClickMed). None where nothing is left of it.

    mended: the box is the challenge's, of the middle slice and moved outward, and sometimes looser; the release takes
    the exact one, which no user draws.
    """
    box = drawn_box(target.mask, rng)[:3] if mended else target.box
    sizes = [MARGIN * (last - first + 1) for first, last in box]
    if mended and rng.random() < LOOSE_SHARE:
        sizes = [size * float(rng.uniform(*LOOSE)) for size in sizes]
    k, j, i = (max(FEWEST_VOXELS, round(size)) for size in sizes)
    ck, cj, ci = ((first + last) / 2 for first, last in box)
    seen, mask = _cut(target, Region3.about((ck, cj, ci), (k, j, i), (side, side, side)))
    image, truth = 255 * torch.from_numpy(seen)[None], torch.from_numpy(mask)[None]
    if augment:
        image, truth = _warped(*_flipped(image, truth, rng), rng)
    if not truth.any():
        return None
    shown = torch.from_numpy(normalised(image[0].numpy()))[None]
    return Sample(_toned(shown, rng) if augment else shown, truth)


def local_sample(target: Target, side: int, rng: np.random.Generator, augment: bool) -> Sample | None:
    """A patch of `side` voxels of the volume's own grid that holds a voxel of the object."""
    places = np.argwhere(target.mask[_slices(target)])
    at = places[int(rng.integers(len(places)))] + np.array([first for first, _ in target.box])
    start = [
        int(np.clip(int(here) - int(rng.integers(side // 4, side - side // 4)), 0, size - side))
        if size > side
        else (size - side) // 2
        for here, size in zip(at, target.mask.shape, strict=True)
    ]
    image, truth = _cut(target, Region3((start[0], start[1], start[2]), (side, side, side), (side, side, side)))
    shown, mask = torch.from_numpy(image)[None], torch.from_numpy(truth)[None]
    if augment:
        shown, mask = _flipped(shown, mask, rng)
        if rng.random() < 0.2:
            shown, mask = (torch.rot90(each, 1, (2, 3)).contiguous() for each in (shown, mask))
        if rng.random() < 0.2:
            shown = shown * float(rng.uniform(0.8, 1.2)) + float(rng.uniform(-0.2, 0.2))
        if rng.random() < 0.2:
            shown = shown + _noise(shown.shape, rng, 0.2 * float(rng.random()))
        shown = shown.clamp(0, 1)
    return Sample(shown, mask) if mask.any() else None


def spoiled(truth: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The truth (d, h, w) with a part too much and a part too little, as a mask that somebody has to correct."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 5, 5, 5)).astype(np.float32))
    field = functional.interpolate(coarse, size=truth.shape, mode="trilinear", align_corners=True)[0, 0]
    soft = functional.avg_pool3d(torch.from_numpy(truth.astype(np.float32))[None, None], 5, stride=1, padding=2)[0, 0]
    return np.asarray((soft + float(rng.uniform(0.1, 0.5)) * field).numpy() > 0.5)


def _slices(target: Target) -> tuple[slice, slice, slice]:
    k, j, i = (slice(first, last + 1) for first, last in target.box)
    return k, j, i


def _cut(target: Target, region: Region3) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Image in [0, 1] through the window, black beyond the volume; the mask in cells that it fills by half."""
    shape = target.mask.shape
    window, whole = target.window, (shape[0], shape[1], shape[2])
    request = Request("", region, region.seen(target.image), None, (), 0, window, whole)
    return request.shown(), region.seen(target.mask) > 0.5


def _flipped(image: Tensor, truth: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    axes = [axis for axis in (1, 2, 3) if rng.random() < 0.5]
    return (image.flip(axes), truth.flip(axes)) if axes else (image, truth)


def _warped(image: Tensor, truth: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Scaled, shifted and bent, half of the time each; coarse displacements, nothing moves at the border."""
    sides = image.shape[1:]
    scale = [1 + float(rng.uniform(-each, each)) for each in SCALES] if rng.random() < 0.5 else [1.0] * 3
    shift = [float(rng.uniform(-SHIFT, SHIFT)) * 2 / side for side in sides] if rng.random() < 0.5 else [0.0] * 3
    axes = [torch.linspace(-1 + 1 / side, 1 - 1 / side, side) for side in sides]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    places = places / torch.tensor(scale) + torch.tensor(shift)
    if rng.random() < 0.5:
        bends = rng.uniform(-ELASTIC, ELASTIC, (1, 3, CONTROLS, CONTROLS, CONTROLS)).astype(np.float32)
        bends[:, :, [0, -1]] = bends[:, :, :, [0, -1]] = bends[:, :, :, :, [0, -1]] = 0
        field = functional.interpolate(torch.from_numpy(bends), size=sides, mode="trilinear", align_corners=True)
        places = places + field[0].movedim(0, -1) * 2 / torch.tensor(sides)
    grid = places.flip(-1)[None].float()
    moved = functional.grid_sample(torch.stack([image, truth.float()], 1), grid, align_corners=False)
    return moved[:, 0], moved[:, 1] > 0.5


def _toned(image: Tensor, rng: np.random.Generator) -> Tensor:
    """One of gamma, blur and noise."""
    kind = int(rng.integers(3))
    if kind == 0:
        low, high = float(image.min()), float(image.max())
        scaled = ((image - low) / max(high - low, 1e-6)) ** float(np.exp(rng.uniform(-0.3, 0.3)))
        return scaled * (high - low) + low
    if kind == 1:
        return blurred(image[None], float(rng.uniform(0.05, 1.0)))[0]
    return image + _noise(image.shape, rng, float(rng.uniform(0, 0.25)))


def blurred(values: Tensor, sigma: float) -> Tensor:
    """(B, 1, d, h, w) under a Gaussian of so many voxels."""
    reach = max(1, round(3 * sigma))
    weights = torch.exp(-(torch.arange(-reach, reach + 1, device=values.device) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).to(values.dtype)
    for axis in (2, 3, 4):
        shape, padding = [1, 1, 1, 1, 1], [0, 0, 0]
        shape[axis], padding[axis - 2] = len(weights), reach
        values = functional.conv3d(values, weights.view(shape), padding=padding)
    return values


def _noise(shape: torch.Size, rng: np.random.Generator, deviation: float) -> Tensor:
    return torch.from_numpy(rng.normal(0, deviation, tuple(shape)).astype(np.float32))
