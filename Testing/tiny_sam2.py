"""A SAM 2 of 64 pixels and few channels, for tests that train or serve one: built from its configuration, seeded."""

from __future__ import annotations

from pathlib import Path

import torch

from memseg3d.network.memrefine.files import save_network
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.config import TrunkConfig

SIDE = 64
CONFIG = Sam2Config(
    TrunkConfig(16, 1, (1, 1, 2, 1), (3,), (8, 4, 4, 2)),
    image_size=SIDE,
    dim=32,
    memory_dim=16,
    memory_layers=1,
    mlp_dim=64,
)


def tiny_sam2(seed: int = 0) -> Sam2Network:
    """With random weights."""
    return Sam2Network.random(CONFIG, seed)


def tiny_sam2_file(folder: Path, seed: int = 0) -> Path:
    """A file of it that `load_network` reads."""
    network = tiny_sam2(seed)
    path = folder / "tiny_sam2.safetensors"
    save_network(path, network, network.state_dict(), {})
    return path


def moving_disc(slices: int = 6, side: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright disc that wanders through noise: image (N, side, side) uint8 and mask bool."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.randint(20, 60, (slices, side, side), generator=generator)
    centres = [(side // 2 + k - slices // 2, side // 2 + (seed % 3) - 1) for k in range(slices)]
    mask = torch.stack([(rows - r) ** 2 + (columns - c) ** 2 < (side // 4) ** 2 for r, c in centres])
    return (image + 150 * mask).to(torch.uint8), mask
