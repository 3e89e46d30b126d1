"""SAM-Med3D as one module: encode a cube once, then decode it for every set of points and mask."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from memseg3d.experts.sam_med3d.decoder import MaskDecoder
from memseg3d.experts.sam_med3d.image_encoder import ImageEncoder
from memseg3d.experts.sam_med3d.prompts import PromptEncoder
from memseg3d.experts.sam_med3d.shapes import SamMed3DShape, shape_of

_SPARE = ("pixel_mean", "pixel_std")
"""Buffers of the published module that nothing reads."""


class SamMed3D(nn.Module):
    """The published names inside the state dict. Inputs are normalised cubes (B, 1, S, S, S)."""

    def __init__(self, shape: SamMed3DShape) -> None:
        super().__init__()
        self.shape = shape
        self.image_encoder = ImageEncoder(shape)
        self.prompt_encoder = PromptEncoder(shape)
        self.mask_decoder = MaskDecoder(shape)

    def multiply_in(self, dtype: torch.dtype) -> None:
        """Matrix products of the image encoder in `dtype`, nine tenths of all work; the rest stays as it is."""
        self.image_encoder.multiply_in(dtype)

    def decode(self, image: Tensor, points: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, masks, low, low, low) and predicted IoU (B, masks) or None.

        image: of `image_encoder`; points (B, N, 3) in voxels of the input, labels (B, N) 1 or 0; mask (B, 1, low, low,
        low).
        """
        tokens = self.prompt_encoder.points(points, labels)
        found: tuple[Tensor, Tensor | None] = self.mask_decoder(
            image, self.prompt_encoder.grid(), tokens, self.prompt_encoder.mask(mask)
        )
        return found

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> SamMed3D:
        """The network of a state dict, recognised by its shapes. Raises KeyError, ValueError or RuntimeError."""
        with torch.device("meta"):
            network = cls(shape_of(tensors))
        kept = {name: value for name, value in tensors.items() if name not in _SPARE}
        network.load_state_dict(kept, strict=True, assign=True)
        return network
