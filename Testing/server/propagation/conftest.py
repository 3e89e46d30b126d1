"""Fixtures of the propagation tests: a bright ball in the dark and networks whose behaviour is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.network.seam import (
    BOX_END,
    BOX_START,
    NEGATIVE,
    POSITIVE,
    Conditioned,
    Decoded,
    Features,
    Memory,
    MemoryRead,
    NetworkInfo,
    Prompts,
)
from memseg3d.propagation.prompts.events import RoundDone, SliceDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt
from memseg3d.propagation.rounds.run import Run
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

SIZE = 48
CLICK = 5.0
"""A click adds or removes what lies within so many network pixels of it."""


class ThresholdNetwork:
    """Segments what is brighter than grey and, while tracking, overlaps the adjacent slice's mask. Knows no learning.

    follows: "image": bright pixels next to the remembered mask; "memory": a copy of the adjacent slice's mask.
    """

    def __init__(self, prefers_crop: bool = False, follows: str = "image", tracks_with_prior: bool = False) -> None:
        self.info = NetworkInfo("threshold", SIZE, SIZE, 4, 0, prefers_crop, tracks_with_prior=tracks_with_prior)
        self.follows = follows
        self.priors: list[bool] = []
        """For every decode whether it was given a prior."""
        self.read: list[int] = []
        """For every decode how many memories it read."""

    def encode(self, images: Tensor) -> Features:
        return Features((images,))

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        self.read.append(len(reads))
        if not reads:
            return Conditioned(features, is_initial=True)
        nearest = min(reads, key=lambda read: read.slot or 99)
        return Conditioned(features, {"mask": nearest.memory.tensors["mask"]})

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        self.priors.append(prior is not None)
        bright = conditioned.features.levels[0][:, :1] > 0.5
        if prompts is not None and prompts.mask is not None and prompts.count == 0:
            mask = prompts.mask > 0.5
        elif prompts is not None:
            mask = self._prompted(bright, prompts, prior)
        elif self.follows == "memory":
            mask = conditioned.tensors["mask"]
        else:
            mask = bright & (F.max_pool2d(conditioned.tensors["mask"].float(), 7, stride=1, padding=3) > 0)
        present = mask.flatten(1).any(1, keepdim=True)
        quality = 0.5 + 0.5 * mask.float().mean((1, 2, 3))[:, None]
        score = torch.where(present, 5.0, -5.0)
        return Decoded(torch.where(mask, 8.0, -8.0), quality, score, torch.zeros(len(mask), dtype=torch.long))

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        return Memory({"mask": logits > 0})

    def _prompted(self, bright: Tensor, prompts: Prompts, prior: Tensor | None) -> Tensor:
        assert prompts.points is not None
        assert prompts.labels is not None
        points, labels = prompts.points[0], prompts.labels[0]
        y, x = torch.meshgrid(torch.arange(bright.shape[-2]), torch.arange(bright.shape[-1]), indexing="ij")
        mask = bright.clone() if prior is None else prior > 0
        starts, ends = points[labels == BOX_START], points[labels == BOX_END]
        for (left, top), (right, bottom) in zip(starts, ends, strict=True):
            mask &= (x >= left - 0.5) & (x <= right + 0.5) & (y >= top - 0.5) & (y <= bottom + 0.5)
        for point, label in zip(points, labels, strict=True):
            disc = (x - point[0]) ** 2 + (y - point[1]) ** 2 <= CLICK**2
            if label == POSITIVE:
                mask = mask | (disc & bright)
            elif label == NEGATIVE:
                mask = mask & ~disc
        return mask


def ball(
    shape: tuple[int, int, int], centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> np.ndarray:
    """Boolean (k, j, i) ellipsoid."""
    grid = np.ogrid[tuple(slice(0, size) for size in shape)]
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1.0


def finish(run: Run) -> tuple[list[SliceDone], RoundDone]:
    """All slices of a run and its last event."""
    events = list(run)
    last = events[-1]
    assert isinstance(last, RoundDone)
    return [event for event in events if isinstance(event, SliceDone)], last


BALL = ball((24, 40, 44), (12, 20, 22), (7, 12, 14))


@pytest.fixture
def a_ball() -> Volume:
    """24 x 40 x 44 voxels: a bright ellipsoid on slices 5 to 19, dark elsewhere."""
    return Volume(np.where(BALL, 100, 10).astype(np.int16), (2.0, 1.0, 1.0))


@pytest.fixture
def a_box() -> BoxPrompt:
    """Around the ball's largest slice."""
    return BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))


@pytest.fixture
def a_session(a_ball: Volume) -> Session:
    """The ball before a network that segments by a threshold, on whole slices; corrections are followed to the end."""
    return Session(a_ball, ThresholdNetwork(), Options(window=(0.0, 110.0), tolerance=0.0))


@pytest.fixture
def a_segmented_ball(a_session: Session, a_box: BoxPrompt) -> Session:
    """The session after its first round."""
    finish(a_session.begin("first", [a_box]))
    return a_session


@pytest.fixture(scope="session")
def a_small_nano() -> NanoNetwork:
    """The embedded architecture, tiny, with random weights that find objects present."""
    torch.manual_seed(0)
    network = NanoNetwork(NanoConfig(image_size=32, widths=(8, 16, 16, 16), key_width=16, heads=2)).eval()
    with torch.no_grad():
        network.decoder.presence[-1].bias += 5.0
    return network
