"""The library of worlds: which kinds of synthetic volumes there are, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from memseg3d.training.synthetic.anatomy import body
from memseg3d.training.synthetic.fields import Stack
from memseg3d.training.synthetic.head import head
from memseg3d.training.synthetic.spine import spine
from memseg3d.training.synthetic.uptake import uptake
from memseg3d.training.synthetic.worlds import World, cells, scattered_objects

Maker = Callable[[np.random.Generator, Stack], World]

WORLDS: dict[str, tuple[Maker, float]] = {
    "objects": (scattered_objects, 0.26),
    "body": (body, 0.28),
    "cells": (cells, 0.13),
    "head": (head, 0.13),
    "spine": (spine, 0.07),
    "uptake": (uptake, 0.13),
}
"""Name -> what makes the world, and its share of the volumes."""


def make_world(rng: np.random.Generator, stack: Stack) -> World:
    """A world of a random kind."""
    makers = list(WORLDS.values())
    return makers[int(rng.choice(len(makers), p=[share for _, share in makers]))][0](rng, stack)
