"""Spines: a row of vertebrae with arches and processes, discs between them, a cord with its grey core in a canal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memseg3d.training.synthetic.anatomy import body_outline
from memseg3d.training.synthetic.fields import Stack, smooth_field
from memseg3d.training.synthetic.shapes import Frame
from memseg3d.training.synthetic.worlds import World


@dataclass(frozen=True)
class _Column:
    """Coordinates about a bent column, each (T, N, N), in radii of a vertebra's body: along, to the front, sideways.

    along: -1 to 1 within one vertebra; number: which vertebra, from 0.
    """

    along: Tensor
    front: Tensor
    side: Tensor
    number: Tensor


def spine(rng: np.random.Generator, stack: Stack) -> World:
    """A made-up spine, along the slices or across them, each vertebra a structure or each kind of part one."""
    world = World(stack, torch.zeros(stack.slices, stack.size, stack.size, dtype=torch.long))
    frame = Frame.warped(rng, stack)
    world.air.add(0)
    outline = body_outline(rng, frame)
    world.paint(outline > 0)
    muscle = world.paint(outline + 0.03 * smooth_field(rng, stack, 25.0)[0] > rng.uniform(0.05, 0.3))
    column = _column(rng, frame)
    soft = smooth_field(rng, stack, 18.0)[0] > rng.uniform(-0.5, 1.5)
    world.paint(soft & (world.labels == muscle))
    _discs(rng, world, column)
    _vertebrae(rng, world, column)
    _cord(rng, world, column)
    world.labels[outline <= 0] = 0
    return world


def _column(rng: np.random.Generator, frame: Frame) -> _Column:
    stack = frame.stack
    radius = float(np.exp(rng.uniform(np.log(8), np.log(30))))
    spacing = radius * rng.uniform(1.0, 1.7)
    centre = np.array([stack.slices * stack.step / 2, *(stack.size * rng.uniform(0.35, 0.65, 2))])
    turn = np.eye(3)[rng.permutation(3)] + 0.12 * rng.standard_normal((3, 3))
    turn = np.linalg.qr(turn)[0]
    offsets = (frame.z - centre[0], frame.y - centre[1], frame.x - centre[2])
    along, front, side = (
        sum((float(w) * o for w, o in zip(row, offsets, strict=True)), torch.zeros(())) for row in turn
    )
    front = front + rng.uniform(-0.3, 0.3) * along * along / (4 * radius) * 0.3
    place = along / spacing + 100 + float(rng.uniform(0, 1))
    number = place.floor()
    return _Column(2 * (place - number) - 1, front / radius, side / radius, (number - number.min()).long())


def _body(column: _Column, height: float) -> Tensor:
    round_ = ((column.front / 0.85).abs() ** 2.5 + column.side.abs() ** 2.5) ** (1 / 2.5)
    return torch.minimum(1 - round_ * (1 - 0.1 * (1 - column.along**2)), height - column.along.abs())


def _discs(rng: np.random.Generator, world: World, column: _Column) -> None:
    disc = _body(column, 2.0) + 0.05 > 0
    label = world.paint(disc)
    if rng.random() < 0.5:
        world.parts[world.paint((_body(column, 2.0) > 0.3) & disc)] = label


def _vertebrae(rng: np.random.Generator, world: World, column: _Column) -> None:
    """Bodies with arches and processes about the canal."""
    body = _body(column, rng.uniform(0.65, 0.9))
    back = rng.uniform(-1.5, -1.2)
    around = ((column.front - back) ** 2 + column.side**2).sqrt()
    thick, high = rng.uniform(0.12, 0.3), rng.uniform(0.35, 0.8)
    arch = ((around - 0.55 - thick / 2).abs() < thick / 2 + 0.05) & (column.along.abs() < high)
    tip = rng.uniform(1.2, 2.2)
    shift = column.along + rng.uniform(0, 0.5) * (back - column.front)
    spinous = (column.side.abs() < rng.uniform(0.1, 0.22)) & (shift.abs() < 0.45) & (around > 0.55)
    spinous &= (column.front < back) & (column.front > back - tip)
    wing = (column.front - back - 0.3 + 0.3 * column.side.abs()).abs() < rng.uniform(0.12, 0.25)
    wing &= (column.side.abs() > 0.45) & (column.side.abs() < rng.uniform(1.2, 2.0)) & (column.along.abs() < 0.35)
    whole = rng.random() < 0.5
    kinds = [body > 0, arch, spinous & ~arch, wing & ~arch & ~(body > 0)]
    if rng.random() < 0.5:
        # Each vertebra is a structure, its neighbours are its look-alikes.
        first = None
        for number in range(int(column.number.max()) + 1):
            here = column.number == number
            pieces = [here & kind for kind in kinds]
            if not any(bool(piece.any()) for piece in pieces):
                continue
            bone = world.paint(pieces[0])
            rest = pieces[1] | pieces[2] | pieces[3]
            other = world.paint(rest)
            if whole:
                world.parts[other] = bone
            first = first or (bone, other)
            if bone != first[0]:
                world.likeness[bone], world.likeness[other] = first
        return
    labels = [world.paint(kind) for kind in kinds]
    for label in labels[2:]:
        if rng.random() < 0.6:
            world.likeness[label] = labels[1]


def _cord(rng: np.random.Generator, world: World, column: _Column) -> None:
    """Fluid, the cord within it, and the cord's grey core in the shape of an H."""
    back = rng.uniform(-1.5, -1.2)
    across = ((column.front - back) ** 2 + (column.side * rng.uniform(0.75, 1.0)) ** 2).sqrt()
    world.paint(across < 0.5)
    inner = rng.uniform(0.2, 0.42)
    cord = world.paint(across < inner)
    if rng.random() < 0.7:
        forward = (column.front - back) / inner
        aside = column.side.abs() / inner
        horns = ((aside - 0.3 - 0.12 * forward) / 0.14) ** 2 + (forward / 0.6) ** 2 < 1
        bar = (forward.abs() < 0.1) & (aside < 0.35)
        world.parts[world.paint((horns | bar) & (across < inner))] = cord
