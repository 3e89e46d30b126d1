"""Body sections: skin, fat and muscle about a cavity packed with faint organs, bones with marrow, vessels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from memseg3d.training.synthetic import shapes
from memseg3d.training.synthetic.fields import Stack, smooth_field
from memseg3d.training.synthetic.shapes import Frame
from memseg3d.training.synthetic.worlds import World


def body(rng: np.random.Generator, stack: Stack) -> World:
    """A section through a made-up body. Where an organ ends, another one of nearly its intensity takes its place."""
    world = World(stack, torch.zeros(stack.slices, stack.size, stack.size, dtype=torch.long))
    frame = Frame.warped(rng, stack)
    outline = body_outline(rng, frame)
    world.air.add(0)
    fat = world.paint(outline > 0)
    skin = rng.uniform(0.02, 0.12)
    wall = skin + rng.uniform(0.05, 0.2)
    rough = smooth_field(rng, stack, float(rng.uniform(15, 50)))[0]
    muscle = world.paint(outline > skin + 0.03 * rough)
    cavity = outline > wall + 0.05 * rough
    organs = _organs(rng, world, frame, cavity, fat)
    for organ in organs:
        if rng.random() < 0.35:
            other = int(rng.choice([muscle, *organs[: max(1, len(organs) // 2)]]))
            if other < organ:
                world.likeness[organ] = other
    for _ in range(int(rng.integers(0, 5))):
        _bone(rng, world, frame, outline)
    for _ in range(int(rng.integers(0, 4))):
        _vessel(rng, world, frame, organs)
    for _ in range(int(rng.integers(0, 3))):
        _lesion(rng, world, frame, [*organs, muscle])
    return world


def body_outline(rng: np.random.Generator, frame: Frame) -> Tensor:
    """About the distance from the body's surface over its radius, positive inside: (T, N, N)."""
    size = frame.stack.size
    middle = size * (0.5 + rng.uniform(-0.12, 0.12, 2))
    # A limb fills the canvas in part, a trunk reaches beyond it.
    radii = size * rng.uniform(0.32, 0.8) * np.exp(rng.uniform(-0.2, 0.2, 2))
    lean = rng.uniform(-0.1, 0.1, 2)
    y = (frame.y - middle[0] - lean[0] * frame.z) / radii[0]
    x = (frame.x - middle[1] - lean[1] * frame.z) / radii[1]
    return 1 - (y * y + x * x).sqrt()


def _organs(rng: np.random.Generator, world: World, frame: Frame, cavity: Tensor, fat: int) -> list[int]:
    """A weighted Voronoi partition of the cavity, with gaps of fat that close in places; returns its labels."""
    stack = world.stack
    depth, size = stack.slices * stack.step, stack.size
    spread = float(np.exp(rng.uniform(np.log(18), np.log(60))))
    count = int(np.clip(size**2 * (depth + 2 * spread) / spread**3, 5, 28))
    seeds = rng.uniform([-spread, 0, 0], [depth + spread, size, size], (count, 3))
    powers = (spread * rng.uniform(0.0, 1.1, count)) ** 2
    stretch = np.exp(rng.uniform(-0.7, 0.5, count))
    bend = smooth_field(rng, stack, spread * 0.7, 3) * spread * rng.uniform(0.05, 0.3)
    z, y, x = frame.z + bend[0], frame.y + bend[1], frame.x + bend[2]
    first = torch.full_like(frame.x, 1e12)
    second = torch.full_like(frame.x, 1e12)
    owner = torch.zeros(frame.x.shape, dtype=torch.long)
    for number, ((cz, cy, cx), power, s) in enumerate(zip(seeds, powers, stretch, strict=True)):
        away = (z - cz) ** 2 * s + (y - cy) ** 2 + (x - cx) ** 2 - power
        closer = away < first
        second = torch.where(closer, first, torch.minimum(second, away))
        first = torch.where(closer, away, first)
        owner[closer] = number
    gap = spread * rng.uniform(-0.6, 1.5) * 2
    apart = second - first > gap * (1 + 0.7 * smooth_field(rng, stack, spread)[0])
    labels: list[int] = []
    for number in range(count):
        mask = (owner == number) & cavity & apart
        if mask.any() and rng.random() < 0.9:
            labels.append(world.paint(mask))
    if rng.random() < 0.5:
        world.labels[cavity & ~apart] = fat
    return labels


def _bone(rng: np.random.Generator, world: World, frame: Frame, outline: Tensor) -> None:
    """A bone with a bright rim and marrow: the whole is one structure, the rim is thin, thick or gone in places."""
    stack = world.stack
    radius = float(np.exp(rng.uniform(np.log(5), np.log(26))))
    shape = [shapes.ellipsoid, shapes.tube, shapes.union][int(rng.choice(3, p=[0.3, 0.35, 0.35]))]
    solid = shape(rng, frame, shapes.random_centre(rng, stack), radius * (0.6 if shape is shapes.tube else 1.0))
    inside = (solid > 0) & (outline > 0)
    rim = world.paint(inside)
    thin = rng.uniform(0.06, 0.35)
    marrow = world.paint(inside & (solid > thin + 0.1 * smooth_field(rng, stack, radius)[0]))
    world.parts[marrow] = rim
    world.bright.add(rim)


def _vessel(rng: np.random.Generator, world: World, frame: Frame, organs: list[int]) -> None:
    """A vessel; where it runs through an organ it counts as the organ's part."""
    radius = float(np.exp(rng.uniform(np.log(1.5), np.log(9))))
    inside = shapes.tube(rng, frame, shapes.random_centre(rng, world.stack), radius) > 0
    if organs and rng.random() < 0.5:
        organ = int(rng.choice(organs))
        inner = world.paint(inside & (world.labels == organ))
        world.parts[inner] = organ
    else:
        world.paint(inside)


def _lesion(rng: np.random.Generator, world: World, frame: Frame, organs: list[int]) -> None:
    """A lump, often with a core, that grows inside an organ or across borders."""
    radius = float(np.exp(rng.uniform(np.log(4), np.log(28))))
    field = shapes.blob(rng, frame, shapes.random_centre(rng, world.stack), radius)
    label = world.paint(field > 0)
    if rng.random() < 0.5:
        core = world.paint(field > rng.uniform(0.2, 0.6) + 0.2 * smooth_field(rng, world.stack, radius)[0])
        world.parts[core] = label
    if rng.random() < 0.3 and organs:
        world.likeness[label] = int(rng.choice(organs))
