"""A data folder of made-up cases, and a network that sees brightness only, so that its mistakes are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor
from torch.nn import functional as F

from memseg3d.network.seam import (
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

SIDE = 48
CLICK = 4.0


class BrightnessNetwork:
    """Takes everything bright; a click adds or takes away what lies within four pixels of it. Follows its own masks."""

    def __init__(self, name: str = "brightness") -> None:
        self.info = NetworkInfo(name, SIDE, SIDE, 4, 0, prefers_crop=False, sha256=f"sha of {name}")

    def encode(self, images: Tensor) -> Features:
        return Features((images,))

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        if not reads:
            return Conditioned(features, is_initial=True)
        nearest = min(reads, key=lambda read: read.slot or 99)
        return Conditioned(features, {"mask": nearest.memory.tensors["mask"]})

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        mask = conditioned.features.levels[0][:, :1] > 0.5
        if prompts is not None and prompts.points is not None and prompts.labels is not None:
            rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
            for (x, y), label in zip(prompts.points[0].tolist(), prompts.labels[0].tolist(), strict=True):
                disc = (columns - x) ** 2 + (rows - y) ** 2 <= CLICK**2
                if label == POSITIVE:
                    mask = mask | disc
                elif label == NEGATIVE:
                    mask = mask & ~disc
        elif "mask" in conditioned.tensors:
            mask = mask & (F.max_pool2d(conditioned.tensors["mask"].float(), 5, stride=1, padding=2) > 0)
        present = torch.where(mask.flatten(1).any(1, keepdim=True), 5.0, -5.0)
        quality = 1.0 - mask.float().mean((1, 2, 3))[:, None]
        return Decoded(torch.where(mask, 8.0, -8.0), quality, present, torch.zeros(1, dtype=torch.long))

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        return Memory({"mask": logits > 0})


def a_ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    """Boolean (16, 48, 48) ball."""
    distance = sum((x - c) ** 2 for x, c in zip(np.indices((16, SIDE, SIDE)), centre, strict=True))
    return distance <= radius**2


def save_case(folder: Path, name: str, image: np.ndarray, labels: np.ndarray) -> None:
    """Write a case as data folders have it, 1 x 1 x 2 mm."""
    (folder / name).mkdir()
    for array, file in ((image, "image"), (labels, "label")):
        volume = sitk.GetImageFromArray(array)
        volume.SetSpacing((1.0, 1.0, 2.0))
        sitk.WriteImage(volume, str(folder / name / f"{file}.nii.gz"))


@pytest.fixture
def a_brightness_network() -> BrightnessNetwork:
    """A network that takes everything bright."""
    return BrightnessNetwork()


@pytest.fixture
def a_data_folder(tmp_path: Path) -> Path:
    """`exact`: a bright ball is the truth. `leaking`: a bright bar runs out of the ball, and a part of it is dark."""
    folder = tmp_path / "data"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 3, (16, SIDE, SIDE))
    ball = a_ball((8, 20, 20), 7)
    save_case(folder, "exact", (1000 * ball + noise).astype(np.int16), ball.astype(np.uint8))
    bar = np.zeros_like(ball)
    bar[6:11, 18:24, 20:40] = True
    dark = a_ball((8, 20, 14), 3)
    save_case(folder, "leaking", (1000 * ((ball | bar) & ~dark) + noise).astype(np.int16), 2 * ball.astype(np.uint8))
    manifest = {"exact": {"modality": "CT"}, "leaking": {"modality": "MR T1"}}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    return folder
