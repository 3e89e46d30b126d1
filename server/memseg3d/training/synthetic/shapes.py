"""Shapes as signed fields on a stack, positive inside: ellipsoids, tubes, sheets, blobs and their unions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memseg3d.training.synthetic.fields import Stack, smooth_field


@dataclass(frozen=True)
class Frame:
    """Warped coordinates of the stack, each (T, N, N), in pixels."""

    stack: Stack
    z: Tensor
    y: Tensor
    x: Tensor

    @classmethod
    def warped(cls, rng: np.random.Generator, stack: Stack) -> Frame:
        """Straight coordinates bent by smooth displacements of random strength and scale."""
        z, y, x = stack.coordinates()
        scale = float(np.exp(rng.uniform(np.log(12), np.log(60))))
        strength = scale * rng.uniform(0.0, 0.3)
        bend = smooth_field(rng, stack, scale, 3) * strength
        return cls(stack, z + bend[0], y + bend[1], x + bend[2])


def random_centre(rng: np.random.Generator, stack: Stack) -> np.ndarray:
    """A point (z, y, x) in or near the stack, in pixels."""
    depth = stack.slices * stack.step
    return np.array([rng.uniform(-0.2, 1.2) * depth, *rng.uniform(0.12, 0.88, 2) * stack.size])


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly random rotation matrix (3, 3)."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))


def ellipsoid(rng: np.random.Generator, frame: Frame, centre: np.ndarray, radius: float) -> Tensor:
    """A rotated superquadric of about the given radius (pixels): 1 - normalised distance, (T, N, N)."""
    radii = radius * np.exp(rng.uniform(-0.55, 0.55, 3))
    if rng.random() < 0.5:
        # Many organs are longer across the slices than within them.
        radii[0] *= np.exp(rng.uniform(0.0, 1.2))
    turn = random_rotation(rng) if rng.random() < 0.7 else np.eye(3)
    dz, dy, dx = frame.z - centre[0], frame.y - centre[1], frame.x - centre[2]
    power = float(rng.choice([2.0, 2.0, 2.0, 3.0, 4.0]))
    total = torch.zeros_like(dz)
    for row, r in zip(turn, radii, strict=True):
        projected = (row[0] * dz + row[1] * dy + row[2] * dx) / r
        total = total + (projected * projected if power == 2.0 else projected.abs() ** power)
    return 1 - total ** (1 / power)


def tube(rng: np.random.Generator, frame: Frame, centre: np.ndarray, radius: float) -> Tensor:
    """A bent tube through `centre`, mostly across or mostly within the slices; positive inside."""
    points = 14
    length = radius * rng.uniform(4, 14)
    t = np.linspace(-0.5, 0.5, points)[:, None]
    direction = rng.standard_normal(3) * (np.array([3.0, 1, 1]) if rng.random() < 0.6 else np.array([0.5, 1, 1]))
    direction /= np.linalg.norm(direction)
    bend = np.cumsum(rng.standard_normal((points, 3)), axis=0)
    bend -= bend.mean(0)
    path = centre + length * t * direction + bend * radius * rng.uniform(0, 0.8)
    widths = radius * np.exp(rng.uniform(-0.25, 0.25, points))
    nearest = torch.full_like(frame.x, 1e9)
    for (z, y, x), width in zip(path, widths, strict=True):
        squared = (frame.z - z) ** 2 + (frame.y - y) ** 2 + (frame.x - x) ** 2
        nearest = torch.minimum(nearest, squared / width**2)
    return 1 - nearest.sqrt()


def half_space(rng: np.random.Generator, frame: Frame, radius: float) -> Tensor:
    """One side of a tilted plane across the slices: cuts a shape off, so that it ends from one slice to the next."""
    at = rng.uniform(0.1, 0.9) * frame.stack.slices * frame.stack.step
    tilt = rng.uniform(-0.25, 0.25, 2)
    middle = frame.stack.size / 2
    height = frame.z - at + tilt[0] * (frame.y - middle) + tilt[1] * (frame.x - middle)
    return height * float(rng.choice([-1.0, 1.0])) / radius


def blob(rng: np.random.Generator, frame: Frame, centre: np.ndarray, radius: float) -> Tensor:
    """An irregular lump: an ellipsoid whose surface carries noise."""
    rough = smooth_field(rng, frame.stack, max(4.0, radius * rng.uniform(0.3, 0.9)))[0]
    return ellipsoid(rng, frame, centre, radius) + rough * rng.uniform(0.1, 0.45)


def union(rng: np.random.Generator, frame: Frame, centre: np.ndarray, radius: float) -> Tensor:
    """Several parts that make one complex shape, as a vertebra's body, arch and processes do."""
    field = ellipsoid(rng, frame, centre, radius * rng.uniform(0.4, 0.8))
    for _ in range(int(rng.integers(1, 4))):
        at = centre + rng.standard_normal(3) * radius * np.array([0.4, 0.6, 0.6])
        part = tube if rng.random() < 0.4 else ellipsoid
        field = torch.maximum(field, part(rng, frame, at, radius * rng.uniform(0.15, 0.5)))
    return field


def sheet(rng: np.random.Generator, frame: Frame, centre: np.ndarray, radius: float) -> Tensor:
    """A thin folded layer within an ellipsoid."""
    scale = max(6.0, radius * rng.uniform(0.4, 1.0))
    fold = smooth_field(rng, frame.stack, scale)[0]
    thin = rng.uniform(0.08, 0.3) - fold.abs()
    return torch.minimum(thin, ellipsoid(rng, frame, centre, radius))
