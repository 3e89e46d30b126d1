"""Uptake: blurred hot lesions and organs over a faint body, as in PET."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from memseg3d.training.synthetic import shapes
from memseg3d.training.synthetic.anatomy import body_outline
from memseg3d.training.synthetic.fields import Stack, smooth_field
from memseg3d.training.synthetic.shapes import Frame
from memseg3d.training.synthetic.worlds import World


def uptake(rng: np.random.Generator, stack: Stack) -> World:
    """Lesions that shine through a wide point spread, some with a cold core, beside organs that shine less."""
    world = World(stack, torch.zeros(stack.slices, stack.size, stack.size, dtype=torch.long))
    frame = Frame.warped(rng, stack)
    world.air.add(0)
    world.levels[world.paint(body_outline(rng, frame) > 0)] = rng.uniform(0.02, 0.15)
    for _ in range(int(rng.integers(1, 6))):
        radius = float(np.exp(rng.uniform(np.log(10), np.log(45))))
        organ = shapes.blob(rng, frame, shapes.random_centre(rng, stack), radius) > 0
        world.levels[world.paint(organ)] = rng.uniform(0.05, 0.35)
    world.shine = torch.ones(world.labels.shape)
    for _ in range(int(rng.integers(1, 5))):
        _lesion(rng, world, frame, world.shine)
    world.spread = float(rng.uniform(1.5, 4.0))
    return world


def _lesion(rng: np.random.Generator, world: World, frame: Frame, shine: Tensor) -> None:
    radius = float(np.exp(rng.uniform(np.log(6), np.log(36))))
    centre = shapes.random_centre(rng, world.stack)
    make = shapes.union if rng.random() < 0.35 else shapes.blob
    field = make(rng, frame, centre, radius)
    hot = rng.uniform(0.45, 1.0)
    world.levels[world.paint(field > 0)] = hot
    if rng.random() < 0.25:
        # The core of a large lesion is dead, and its rim shines: it is one lesion all the same.
        rough = 0.15 * smooth_field(rng, world.stack, radius * 0.5)[0]
        shine[field > rng.uniform(0.2, 0.55) + rough] = rng.uniform(0.05, 0.4)
    elif rng.random() < 0.75:
        # Uptake is uneven: parts of a lesion shine more, and a core may be dead. It is one lesion all the same.
        uneven = field + 0.4 * smooth_field(rng, world.stack, radius * 0.5)[0]
        part = (uneven > rng.uniform(0.2, 0.6)) & (field > 0)
        shine[part] = rng.uniform(0.5, 1.8) if rng.random() < 0.7 else rng.uniform(0.1, 0.5)
