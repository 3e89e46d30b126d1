"""What a scanner would make of a label world: intensities, texture, blur, bias field, noise (domain randomisation)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.training.synthetic.fields import Stack, gaussian_blur, smooth_field
from memseg3d.training.synthetic.worlds import World


def _means(rng: np.random.Generator, world: World) -> np.ndarray:
    """Mean intensity of every label, (count,), in a style: any contrast, soft tissue, or hot spots."""
    style = rng.choice(["any", "soft", "hot"], p=[0.45, 0.45, 0.1])
    count = world.count
    if style == "any":
        means = rng.uniform(0, 1, count)
    elif style == "soft":
        means = np.clip(rng.normal(0.5, rng.uniform(0.06, 0.16), count), 0, 1)
        extreme = rng.random(count)
        means[extreme < 0.08] = rng.uniform(0, 0.1)
        means[extreme > 0.92] = rng.uniform(0.85, 1.0)
    else:
        means = rng.uniform(0, 0.25, count)
        means[rng.random(count) < 0.4] = rng.uniform(0.5, 1.0)
    if world.bright and rng.random() < 0.7:
        # Dense bone: bright in CT, dark in MR.
        level = rng.uniform(0.85, 1.1) if rng.random() < 0.6 else rng.uniform(0, 0.15)
        for label in world.bright:
            means[label] = level + rng.normal(0, 0.05)
    for label in world.air:
        means[label] = rng.uniform(0, 0.05)
    for label, level in world.levels.items():
        means[label] = level
    for label, other in world.likeness.items():
        if label < count:
            means[label] = means[other] + rng.normal(0, 0.01)
    return means


def _texture(rng: np.random.Generator, world: World) -> Tensor:
    """Texture of its own strength and grain in every label: (T, N, N)."""
    count = world.count
    total = torch.zeros(world.labels.shape)
    for grain in np.exp(rng.uniform(np.log(1.5), np.log(14), 2)):
        strength = np.where(rng.random(count) < 0.5, rng.uniform(0, 0.07, count), 0.0)
        if strength.any():
            per_label = torch.from_numpy(strength.astype(np.float32))[world.labels]
            total += per_label * smooth_field(rng, world.stack, float(grain))[0]
    return total


def _borders(world: World) -> Tensor:
    """1 where a pixel's label differs from its right or lower neighbour: (T, N, N)."""
    border = torch.zeros(world.labels.shape)
    border[:, :-1] += (world.labels[:, :-1] != world.labels[:, 1:]).float()
    border[:, :, :-1] += (world.labels[:, :, :-1] != world.labels[:, :, 1:]).float()
    return border.clamp(max=1)


def _noise(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Gaussian, correlated, Rician or speckle noise of random strength."""
    sigma = float(rng.choice([rng.uniform(0, 0.03), rng.uniform(0, 0.12)]))
    noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
    kind = rng.choice(["white", "correlated", "rician", "speckle"], p=[0.35, 0.35, 0.2, 0.1])
    if kind == "correlated":
        noise = gaussian_blur(noise, float(rng.uniform(0.5, 1.6)))
        noise = noise / noise.std().clamp(min=1e-6)
    elif kind == "rician":
        other = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
        return ((image + sigma * noise) ** 2 + (sigma * other) ** 2).sqrt()
    elif kind == "speckle":
        return image * (1 + 2 * sigma * gaussian_blur(noise, 0.7))
    return image + sigma * noise


def _coarse(image: Tensor, factor: float) -> Tensor:
    """The image as a scanner with larger pixels would give it, interpolated back: (T, N, N)."""
    size = image.shape[-1]
    small = max(16, round(size / factor))
    low = F.interpolate(image[:, None], size=(small, small), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(low, size=(size, size), mode="bilinear", align_corners=False)[:, 0]


def _streaks(rng: np.random.Generator, stack: Stack) -> Tensor:
    """Bands in one direction, each slice its own, as beam hardening or motion leaves them: (T, N, N)."""
    angle = rng.uniform(0, np.pi)
    _, y, x = stack.coordinates()
    along = float(np.cos(angle)) * y + float(np.sin(angle)) * x
    phase = torch.from_numpy(rng.uniform(0, 2 * np.pi, (stack.slices, 1, 1)).astype(np.float32))
    bands = torch.sin(along * float(2 * np.pi / rng.uniform(3, 25)) + phase)
    return bands * smooth_field(rng, stack, 40.0)[0]


def _curve(rng: np.random.Generator, image: Tensor) -> Tensor:
    """A random monotone change of intensities, as between scanners and sequences: (T, N, N)."""
    knots = np.sort(rng.uniform(0, 1, 6))
    values = np.interp(image.numpy().ravel(), np.linspace(float(image.min()), float(image.max()) + 1e-6, 6), knots)
    return torch.from_numpy(values.astype(np.float32)).reshape(image.shape)


def render(rng: np.random.Generator, world: World) -> Tensor:
    """An image of the world, about 0 to 1: (T, N, N) float."""
    image = torch.from_numpy(_means(rng, world).astype(np.float32))[world.labels]
    if world.shine is not None:
        image = image * world.shine
    image = image + _texture(rng, world)
    if world.membranes is not None:
        wall = rng.uniform(0.2, 1.0) * (-1 if rng.random() < 0.25 else 1)
        image = image + wall * world.membranes * (1 + 0.3 * smooth_field(rng, world.stack, 12.0)[0])
    elif rng.random() < 0.2:
        image = image + _borders(world) * rng.uniform(-0.5, 0.5)
    image = gaussian_blur(image, world.spread or float(rng.uniform(0.3, 1.6)))
    if rng.random() < 0.5:
        # Thick slices: each one sees a part of its neighbours.
        share = float(rng.uniform(0.05, 0.3))
        above = torch.cat([image[:1], image[:-1]])
        below = torch.cat([image[1:], image[-1:]])
        image = (1 - 2 * share) * image + share * (above + below)
    if rng.random() < 0.5:
        image = image * torch.exp(smooth_field(rng, world.stack, float(rng.uniform(60, 150)))[0] * rng.uniform(0, 0.25))
    if rng.random() < 0.3:
        image = _coarse(image, float(np.exp(rng.uniform(np.log(1.3), np.log(4)))))
    image = _noise(rng, image)
    if rng.random() < 0.12:
        image = image + _streaks(rng, world.stack) * rng.uniform(0.02, 0.15)
    if rng.random() < 0.3:
        image = _curve(rng, image)
    if rng.random() < 0.3:
        image = image.clamp(min=0) ** float(np.exp(rng.uniform(-0.5, 0.5)))
    if rng.random() < 0.15:
        image = 1 - image
    return image


def altered(rng: np.random.Generator, image: Tensor) -> tuple[Tensor, bool]:
    """A real image as another scanner might have shown it, and whether its grey values mean another thing now.

    image: (T, rows, columns) in any unit, which the result keeps.
    """
    low, high = (float(edge) for edge in np.quantile(image.numpy()[:, ::2, ::2], [0.002, 0.998]))
    span = max(high - low, 1e-6)
    image = (image - low) / span
    changed = False
    if rng.random() < 0.3:
        image, changed = _curve(rng, image), True
    if rng.random() < 0.3:
        image, changed = image.clamp(min=0) ** float(np.exp(rng.uniform(-0.4, 0.4))), True
    if rng.random() < 0.1:
        image, changed = 1 - image, True
    if rng.random() < 0.25:
        image = gaussian_blur(image, float(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.4:
        noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
        image = image + float(rng.uniform(0, 0.05)) * noise
    return image * span + low, changed
