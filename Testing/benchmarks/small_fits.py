"""Fits the small networks over figures of voxels (`rules/verdicts`) by what simulated rounds told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from memseg3d.propagation.rules.verdicts.small_network import HIDDEN, weights_of

RATE, DECAY = 4e-3, 0.3
HIDDEN_FIGURES = 0.1
"""The share of figures that are not shown: rounds of another kind are not to surprise it."""
KINDS = ("figures", "sides")


@dataclass(frozen=True, eq=False)
class Voxels:
    """Voxels that were met together. figures: (n, figures) float; sides: bool (n), what each is to be called."""

    figures: np.ndarray
    sides: np.ndarray


def keep(file: Path, met: Sequence[Voxels]) -> None:
    """Write them, whole or not at all."""
    partial = file.with_suffix(".partial.npz")
    arrays = {f"{kind}{place}": getattr(each, kind) for place, each in enumerate(met) for kind in KINDS}
    np.savez_compressed(partial, **arrays)
    partial.replace(file)


def kept(file: Path) -> list[Voxels]:
    """What `keep` wrote."""
    with np.load(file) as stored:
        return [Voxels(stored[f"figures{n}"], stored[f"sides{n}"]) for n in range(len(stored.files) // len(KINDS))]


def fit(met: Sequence[Voxels], seed: int, noise: float, epochs: int, batch: int = 1024) -> tuple[float, ...]:
    """The weights, in the order of `SmallNetwork`. What was met together counts by the root of its voxels.

    noise: of a figure's spread, added while it learns.
    """
    torch.manual_seed(seed)
    figures = torch.from_numpy(np.concatenate([each.figures for each in met]).astype(np.float32))
    sides = torch.from_numpy(np.concatenate([each.sides for each in met]).astype(np.float32))
    weights = torch.from_numpy(
        np.concatenate([np.full(len(each.sides), max(50, len(each.sides)) ** -0.5) for each in met])
    ).float()
    weights /= weights.mean()
    mean, spread, count = figures.mean(0), figures.std(0) + 1e-3, figures.shape[1]
    network = nn.Sequential(
        nn.Linear(count, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
    )
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * len(sides) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
    for _ in range(steps):
        drawn = torch.randint(0, len(sides), (batch,))
        shown = (figures[drawn] - mean) / spread + noise * torch.randn(batch, count)
        shown = shown * (torch.rand(shown.shape) >= HIDDEN_FIGURES)
        losses = nn.functional.binary_cross_entropy_with_logits(network(shown)[:, 0], sides[drawn], reduction="none")
        optimiser.zero_grad()
        (losses * weights[drawn]).mean().backward()
        optimiser.step()
        schedule.step()
    layers = [each for each in network if isinstance(each, nn.Linear)]
    with torch.no_grad():
        # The figures' own scales go into the first layer.
        first = layers[0].weight / spread
        numbers = [first.T, layers[0].bias - first @ mean]
        numbers += [part for each in layers[1:] for part in (each.weight.T, each.bias)]
        rule = tuple(float(each) for part in numbers for each in part.reshape(-1))
    assert len(rule) == weights_of(count)
    return rule
