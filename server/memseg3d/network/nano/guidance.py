"""Prompts, the prior and the previous slice's mask drawn as maps (B, C, S, S) for the embedded network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, Prompts

CLICK_RADIUS, WIDE_RADIUS = 3.0, 14.0
"""Standard deviations of a click's Gaussian in network pixels at S = 128, and of the wide one of a contradiction."""

PREVIOUS = slice(5, 7)
"""Where the previous slice's mask stands among the maps: after box, clicks of both signs, and the prior's two."""


def _clicks(points: Tensor, chosen: Tensor, size: int, radius: float = CLICK_RADIUS) -> Tensor:
    """Maximum of Gaussians at the chosen points: (B, N, 2), (B, N) -> (B, 1, S, S)."""
    sigma = radius * size / 128
    axis = torch.arange(size, device=points.device, dtype=torch.float32)
    x = torch.exp(-((axis[None, None] - points[..., :1]) ** 2) / (2 * sigma**2))
    y = torch.exp(-((axis[None, None] - points[..., 1:]) ** 2) / (2 * sigma**2))
    maps = y[..., :, None] * x[..., None, :] * chosen[..., None, None]
    return maps.amax(dim=1, keepdim=True)


def _boxes(points: Tensor, labels: Tensor, size: int) -> Tensor:
    """Filled boxes with edges exact to a part of a pixel: (B, N, 2), (B, N) -> (B, 1, S, S)."""
    axis = torch.arange(size, device=points.device, dtype=torch.float32)
    filled = torch.zeros(points.shape[0], 1, size, size, device=points.device)
    starts, ends = labels == BOX_START, labels == BOX_END
    for n in range(points.shape[1] - 1):
        present = (starts[:, n] & ends[:, n + 1]).float()[:, None]
        low, high = points[:, n], points[:, n + 1]
        # A box is inclusive of its corner pixels: it reaches half a pixel beyond their centres.
        x = torch.minimum(axis - low[:, :1] + 1, high[:, :1] - axis + 1).clamp(0, 1) * present
        y = torch.minimum(axis - low[:, 1:] + 1, high[:, 1:] - axis + 1).clamp(0, 1) * present
        filled = torch.maximum(filled, (y[:, :, None] * x[:, None, :])[:, None])
    return filled


def prompt_maps(prompts: Prompts | None, batch: int, size: int, device: torch.device) -> Tensor:
    """Box, positive and negative clicks: (B, 3, S, S) in [0, 1]; zeros where there is none."""
    if prompts is None or prompts.points is None or prompts.labels is None or prompts.count == 0:
        return torch.zeros(batch, 3, size, size, device=device)
    points, labels = prompts.points.float(), prompts.labels
    return torch.cat(
        [
            _boxes(points, labels, size),
            _clicks(points, (labels == POSITIVE).float(), size),
            _clicks(points, (labels == NEGATIVE).float(), size),
        ],
        dim=1,
    )


def mask_map(logits: Tensor | None, batch: int, size: int, device: torch.device) -> Tensor:
    """Probability and presence of a mask: (B, 2, S, S); zeros where there is none."""
    if logits is None:
        return torch.zeros(batch, 2, size, size, device=device)
    probability = logits.float().clamp(-20, 20).sigmoid()
    if probability.shape[-1] != size:
        probability = F.interpolate(probability, size=(size, size), mode="bilinear", align_corners=False)
    return torch.cat([probability, torch.ones_like(probability)], dim=1)


def contradiction_maps(
    prompts: Prompts | None, prior: Tensor | None, batch: int, size: int, device: torch.device
) -> Tensor:
    """Clicks that the prior is wrong about, narrow and wide: (B, 2, S, S) in [-1, 1].

    1 about a positive click outside the prior's mask, -1 about a negative one within it, 0 where clicks and prior
    agree, and everywhere without a prior. prior: (B, 1, s, s) logits.
    """
    if prior is None or prompts is None or prompts.points is None or prompts.labels is None or prompts.count == 0:
        return torch.zeros(batch, 2, size, size, device=device)
    points, labels = prompts.points.float(), prompts.labels
    # From pixel centres at integers to [-1, 1] over the square, as `grid_sample` has it.
    places = ((2 * points + 1) / size - 1)[:, None]
    held = F.grid_sample(prior.float(), places, mode="nearest", padding_mode="border", align_corners=False)[:, 0, 0] > 0
    missed = ((labels == POSITIVE) & ~held).float()
    false = ((labels == NEGATIVE) & held).float()
    return torch.cat(
        [
            _clicks(points, missed, size, radius) - _clicks(points, false, size, radius)
            for radius in (CLICK_RADIUS, WIDE_RADIUS)
        ],
        dim=1,
    )
