"""A batch of clips as tensors on the device of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memseg3d.network.seam import Prompts
from memseg3d.training.clips.clips import Clip


@dataclass(frozen=True)
class Takes:
    """B clips; see `Clip`.

    images: (B, L, 2, S, S) float; truth: (B, L, 1, S, S) float in {0, 1}; first_images: (B, 2, S, S); first_truth,
    outline: (B, 1, S, S) float in {0, 1}; prompts: of the first slice; frame: (B, 3); pixel: (B,); kind: (B,);
    before: (B, L, 1, S, S) float in {0, 1}, or (B, 0, 1, S, S).
    """

    images: Tensor
    truth: Tensor
    first_images: Tensor
    first_truth: Tensor
    outline: Tensor
    prompts: Prompts
    frame: Tensor
    pixel: Tensor
    kind: Tensor
    before: Tensor

    @classmethod
    def of(cls, clips: Sequence[Clip], device: torch.device) -> Takes:
        """The clips, in their order."""

        def stacked(name: str) -> Tensor:
            tensor = torch.stack([getattr(clip, name) for clip in clips])
            return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)

        return cls(
            stacked("images").float(),
            stacked("masks")[:, :, None].float(),
            stacked("first_image").float(),
            stacked("first_mask")[:, None].float(),
            stacked("outline")[:, None].float(),
            Prompts(stacked("points"), stacked("labels")),
            stacked("frame"),
            stacked("pixel"),
            stacked("kind"),
            stacked("before")[:, :, None].float(),
        )
