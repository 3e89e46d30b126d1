"""Label worlds: a partition into tissues with objects painted over it, as integer stacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from memseg3d.training.synthetic import shapes
from memseg3d.training.synthetic.fields import Stack, smooth_field
from memseg3d.training.synthetic.shapes import Frame

Shape = Callable[[np.random.Generator, Frame, np.ndarray, float], Tensor]
SOLIDS: tuple[tuple[Shape, float], ...] = (
    (shapes.ellipsoid, 0.38),
    (shapes.blob, 0.24),
    (shapes.tube, 0.2),
    (shapes.union, 0.14),
    (shapes.sheet, 0.04),
)


@dataclass
class World:
    """labels: (T, N, N) int64. likeness: label -> the label whose intensity it shares (look-alikes).

    parts: label -> the label that it is an inner part of, as marrow is of a bone. bright: rims of bones. levels: label
    -> its mean intensity, where that is no matter of chance. spread: sigma of the scanner's point spread in pixels, 0
    where any will do. shine: factors on intensities within structures, (T, N, N), or None. membranes: 1 on cell walls,
    (T, N, N), or None.
    """

    stack: Stack
    labels: Tensor
    likeness: dict[int, int] = field(default_factory=dict)
    parts: dict[int, int] = field(default_factory=dict)
    air: set[int] = field(default_factory=set)
    bright: set[int] = field(default_factory=set)
    levels: dict[int, float] = field(default_factory=dict)
    spread: float = 0.0
    shine: Tensor | None = None
    membranes: Tensor | None = None

    @property
    def count(self) -> int:
        """Number of labels in use, including 0."""
        return max(int(self.labels.max()), self._last) + 1

    _last: int = 0

    def paint(self, mask: Tensor) -> int:
        """Paint a new structure over what is there; returns its label, which later structures may hide again."""
        self._last = self.count
        self.labels[mask] = self._last
        return self._last

    def whole(self, label: int) -> list[int]:
        """The label and those of its inner parts, at any depth."""
        found = [label]
        for part, parent in self.parts.items():
            if parent in found and part not in found:
                found.append(part)
        return found


def _solid(rng: np.random.Generator) -> Shape:
    weights = np.array([w for _, w in SOLIDS])
    return SOLIDS[int(rng.choice(len(SOLIDS), p=weights / weights.sum()))][0]


def tissues(rng: np.random.Generator, stack: Stack) -> Tensor:
    """A partition of the stack into smooth regions with shared borders: (T, N, N)."""
    count = int(rng.integers(1, 7))
    if count == 1:
        return torch.zeros(stack.slices, stack.size, stack.size, dtype=torch.long)
    scale = float(np.exp(rng.uniform(np.log(18), np.log(70))))
    return smooth_field(rng, stack, scale, count).argmax(0)


def cells(rng: np.random.Generator, stack: Stack) -> World:
    """Packed cells (warped Voronoi regions) with walls, as tissue under a microscope."""
    frame = Frame.warped(rng, stack)
    spacing = rng.uniform(18, 50)
    depth = stack.slices * stack.step
    count = int(np.clip(stack.size**2 * max(depth, spacing) / spacing**3, 6, 40))
    seeds = rng.uniform([0, 0, 0], [depth, stack.size, stack.size], (count, 3))
    nearest = torch.full_like(frame.x, 1e12)
    second = torch.full_like(frame.x, 1e12)
    labels = torch.zeros(frame.x.shape, dtype=torch.long)
    for number, (z, y, x) in enumerate(seeds):
        away = ((frame.z - z) ** 2 + (frame.y - y) ** 2 + (frame.x - x) ** 2).sqrt()
        closer = away < nearest
        second = torch.where(closer, nearest, torch.minimum(second, away))
        nearest = torch.where(closer, away, nearest)
        labels[closer] = number
    world = World(stack, labels)
    if rng.random() < 0.8:
        world.membranes = torch.exp(-(((second - nearest) / rng.uniform(1.5, 5.0)) ** 2))
    # Cells of one tissue look alike: most share one intensity, and a wall alone parts them.
    if rng.random() < 0.75:
        world.likeness = {n: 0 for n in range(1, count) if rng.random() < 0.9}
    return world


def _body(rng: np.random.Generator, world: World, frame: Frame) -> None:
    """Air around a body outline, as in most scans."""
    size = world.stack.size
    middle = np.array([world.stack.slices * world.stack.step / 2, size / 2, size / 2])
    outline = shapes.ellipsoid(rng, frame, middle, size * rng.uniform(0.42, 0.65))
    label = world.count
    world.labels[outline < 0] = label
    world.air.add(label)


def scattered_objects(rng: np.random.Generator, stack: Stack) -> World:
    """Objects over a partition into tissues: nested and neighbouring ones, look-alikes, lesions in organs."""
    world = World(stack, tissues(rng, stack))
    frame = Frame.warped(rng, stack)
    if rng.random() < 0.4:
        _body(rng, world, frame)
    for _ in range(int(rng.integers(3, 9))):
        if rng.random() < 0.25:
            frame = Frame.warped(rng, stack)
        radius = float(np.exp(rng.uniform(np.log(5), np.log(50))))
        centre = shapes.random_centre(rng, stack)
        shape = _solid(rng)
        if shape in (shapes.tube, shapes.sheet):
            radius *= 0.5 if shape is shapes.tube else 1.2
        solid = shape(rng, frame, centre, radius)
        if rng.random() < 0.05:
            solid = torch.minimum(solid, shapes.half_space(rng, frame, radius))
        label = world.count
        world.labels[solid > 0] = label
        kind = rng.random()
        if kind < 0.2:
            # A shell: the core is a structure of its own, the rest a ring.
            world.labels[solid > rng.uniform(0.15, 0.5)] = label + 1
            world.parts[label + 1] = label
        elif kind < 0.35:
            inside = centre + rng.standard_normal(3) * radius * 0.4
            lesion = shapes.blob(rng, frame, inside, radius * rng.uniform(0.2, 0.5))
            world.labels[(lesion > 0) & (solid > 0)] = label + 1
            world.parts[label + 1] = label
        elif kind < 0.5:
            twin = shapes.random_centre(rng, stack)
            world.labels[shape(rng, frame, twin, radius) > 0] = label + 1
            world.likeness[label + 1] = label
    return world
