"""Objects that are computed in one batch: each gets what it gets alone."""

from __future__ import annotations

from dataclasses import replace

import torch

from memseg3d.network.joint import joined_features, joined_reads
from memseg3d.network.sam2 import Sam2Network
from memseg3d.network.seam import Features, MemoryRead, Prompts
from Testing.tiny_sam2 import SIDE, tiny_sam2

SMALL, SLICES = SIDE // 2, 9


def remembered(network: Sam2Network, side: int, seed: int) -> tuple[Features, MemoryRead]:
    """Features of a random slice, and its memory read as a conditioning one."""
    features = network.encode(torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(seed)))
    points = Prompts(torch.tensor([[[9.0, 20.0]]]), torch.tensor([[1]]))
    decoded = network.decode(network.attend(features, [], SLICES), points)
    assert decoded.pointers is not None
    memory = network.remember(features, decoded.logits[:, :1], decoded.object_score, decoded.pointers[:, 0], True)
    return features, MemoryRead(memory, 0, 1)


@torch.no_grad()
def test_slices_whose_pointer_alone_is_read_may_have_been_seen_with_any_number_of_pixels() -> None:
    network = tiny_sam2()
    network.info = replace(network.info, smaller_sides=(SMALL,))
    rows = [remembered(network, SMALL, seed) for seed in (1, 2)]
    far = [replace(remembered(network, side, side)[1], slot=None, pointer_offset=7) for side in (SIDE, SMALL)]
    reads = [[near, pointer] for (_, near), pointer in zip(rows, far, strict=True)]
    together = network.attend(joined_features([features for features, _ in rows]), joined_reads(reads), SLICES)
    for row, (features, _) in enumerate(rows):
        alone = network.attend(features, reads[row], SLICES).features.levels[-1]
        torch.testing.assert_close(together.features.levels[-1][row : row + 1], alone, rtol=1e-4, atol=1e-5)
