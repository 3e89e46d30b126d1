"""Heads: skull and scalp about a folded cortex, white matter, ventricles, paired and bent grey bodies, lesions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from memseg3d.training.synthetic import shapes
from memseg3d.training.synthetic.fields import Stack, smooth_field
from memseg3d.training.synthetic.shapes import Frame
from memseg3d.training.synthetic.worlds import World


@dataclass(frozen=True)
class _Axes:
    """Coordinates of a head, each (T, N, N), in radii of the brain: sideways from the middle plane, forward, upward."""

    side: Tensor
    front: Tensor
    up: Tensor
    radius: float

    def ball(self, centre: np.ndarray, radii: np.ndarray) -> Tensor:
        """An ellipsoid, positive inside."""
        terms = zip((self.side, self.front, self.up), centre, radii, strict=True)
        return 1 - torch.stack([((x - float(c)) / float(r)) ** 2 for x, c, r in terms]).sum(0).sqrt()


def head(rng: np.random.Generator, stack: Stack) -> World:
    """A made-up head seen along any of its axes: left and right mirror each other and look alike."""
    world = World(stack, torch.zeros(stack.slices, stack.size, stack.size, dtype=torch.long))
    axes = _axes(rng, stack)
    world.air.add(0)
    depth = axes.ball(np.zeros(3), np.ones(3))
    _covers(rng, world, depth)
    fluid = world.paint(depth > 0)
    grey, white = _cortex(rng, world, axes, depth)
    _ventricles(rng, world, axes, fluid)
    _nuclei(rng, world, axes, grey)
    if rng.random() < 0.6:
        _bridge(rng, world, axes, white)
    if rng.random() < 0.7:
        _bent_pair(rng, world, axes, grey)
    if rng.random() < 0.4:
        _lesions(rng, world, white)
    return world


def _axes(rng: np.random.Generator, stack: Stack) -> _Axes:
    frame = Frame.warped(rng, stack)
    radius = stack.size * float(np.exp(rng.uniform(np.log(0.35), np.log(1.1))))
    depth = stack.slices * stack.step
    centre = np.array([depth / 2, stack.size / 2, stack.size / 2])
    # A large head is seen in part, and no two stacks begin at the same height of it.
    centre += rng.uniform(-0.6, 0.6, 3) * radius * np.array([1.0, 0.5, 0.5])
    lean = 0.15 * rng.standard_normal((3, 3))
    turn = np.linalg.qr(np.eye(3)[rng.permutation(3)] + lean)[0]
    radii = radius * np.array([0.78, 1.0, 0.85]) * np.exp(rng.uniform(-0.1, 0.1, 3))
    offsets = (frame.z - centre[0], frame.y - centre[1], frame.x - centre[2])
    side, front, up = (
        sum((float(w) * o for w, o in zip(row, offsets, strict=True)), torch.zeros(())) / float(r)
        for row, r in zip(turn, radii, strict=True)
    )
    return _Axes(side, front, up, radius)


def _covers(rng: np.random.Generator, world: World, depth: Tensor) -> None:
    """Scalp and skull."""
    skull = rng.uniform(0.03, 0.12)
    world.paint(depth > -skull - rng.uniform(0.04, 0.15))
    world.bright.add(world.paint(depth > -skull))


def _cortex(rng: np.random.Generator, world: World, axes: _Axes, depth: Tensor) -> tuple[int, int]:
    """A grey ribbon that follows the furrows, white matter within it; returns their labels."""
    fold = smooth_field(rng, world.stack, axes.radius * float(np.exp(rng.uniform(np.log(0.07), np.log(0.22)))))[0].abs()
    furrow = (fold - rng.uniform(0.0, 0.12)) * rng.uniform(0.1, 0.25)
    surface = depth - rng.uniform(0.01, 0.06)
    middle = axes.side.abs() - rng.uniform(0.005, 0.03)
    within = torch.minimum(surface, torch.maximum(furrow, surface - rng.uniform(0.15, 0.4)))
    within = torch.minimum(within, torch.maximum(middle, 0.35 - torch.maximum(axes.up, -axes.front)))
    grey = world.paint(within > 0)
    white = world.paint(within > rng.uniform(0.05, 0.11))
    return grey, white


def _ventricles(rng: np.random.Generator, world: World, axes: _Axes, fluid: int) -> None:
    """A pair of bent chambers beside the middle plane and a slit between, as bright or dark as the fluid outside."""
    away, wide = rng.uniform(0.06, 0.16), rng.uniform(0.04, 0.12)
    bend = rng.uniform(0.2, 0.6)
    side = axes.side.abs() - away - bend * 0.3 * (axes.front**2)
    up = axes.up - 0.1 + bend * axes.front**2
    chamber = 1 - ((side / wide) ** 2 + (up / (1.6 * wide)) ** 2 + (axes.front / rng.uniform(0.35, 0.6)) ** 2).sqrt()
    slit = axes.ball(np.array([0.0, 0.0, -0.12]), np.array([rng.uniform(0.015, 0.04), 0.25, 0.18]))
    world.likeness[world.paint(torch.maximum(chamber, slit) > 0)] = fluid


def _nuclei(rng: np.random.Generator, world: World, axes: _Axes, grey: int) -> None:
    """Pairs of lumps deep inside, side by side with thin layers between, often as grey as the cortex."""
    rough = smooth_field(rng, world.stack, axes.radius * 0.15)[0] * rng.uniform(0.0, 0.2)
    both = replace(axes, side=axes.side.abs())
    for _ in range(int(rng.integers(1, 5))):
        centre = rng.uniform([0.1, -0.35, -0.3], [0.42, 0.35, 0.2])
        radii = np.exp(rng.uniform(np.log(0.05), np.log(0.2), 3))
        field = both.ball(centre, radii) + rough
        _mirrored(rng, world, axes, field > 0, grey if rng.random() < 0.4 else None)


def _bent_pair(rng: np.random.Generator, world: World, axes: _Axes, grey: int) -> None:
    """A bent, slender grey body on either side, low down, that ends against tissue of its own kind."""
    thick = rng.uniform(0.05, 0.11)
    side = axes.side.abs() - rng.uniform(0.25, 0.45) - rng.uniform(-0.5, 0.5) * axes.front**2
    up = axes.up + rng.uniform(0.1, 0.4) - rng.uniform(-0.6, 0.6) * axes.front**2
    length = rng.uniform(0.2, 0.45)
    waist = 1 + 0.5 * torch.tanh(axes.front / length * 1.5)
    field = 1 - ((side / (thick * waist)) ** 2 + (up / (0.8 * thick * waist)) ** 2 + (axes.front / length) ** 2).sqrt()
    _mirrored(rng, world, axes, field > 0, grey if rng.random() < 0.6 else None)


def _mirrored(rng: np.random.Generator, world: World, axes: _Axes, mask: Tensor, like: int | None) -> None:
    """Paint a pair as two structures that look alike, at times as one."""
    if rng.random() < 0.2:
        both = world.paint(mask)
        if like is not None:
            world.likeness[both] = like
        return
    left = world.paint(mask & (axes.side < 0))
    right = world.paint(mask & (axes.side >= 0))
    if like is not None:
        world.likeness[left] = like
    world.likeness[right] = left if like is None else like


def _bridge(rng: np.random.Generator, world: World, axes: _Axes, white: int) -> None:
    """An arched band across the middle plane, of the white matter's kind or its own."""
    arch = ((axes.front / rng.uniform(0.4, 0.6)) ** 2 + ((axes.up + 0.1) / rng.uniform(0.3, 0.45)) ** 2).sqrt()
    band = (arch - 1).abs() < rng.uniform(0.08, 0.2)
    label = world.paint(band & (axes.up > -0.05) & (axes.side.abs() < rng.uniform(0.08, 0.3)))
    if rng.random() < 0.6:
        world.likeness[label] = white


def _lesions(rng: np.random.Generator, world: World, white: int) -> None:
    """Spots in the white matter that make one scattered structure."""
    frame = Frame(world.stack, *world.stack.coordinates())
    spots = torch.zeros(world.labels.shape, dtype=torch.bool)
    for _ in range(int(rng.integers(2, 12))):
        radius = float(np.exp(rng.uniform(np.log(2.5), np.log(10))))
        spots |= shapes.ellipsoid(rng, frame, shapes.random_centre(rng, world.stack), radius) > 0
    world.paint(spots & (world.labels == white))
