"""VISTA3D as one module: features of a patch once, then a mask for every set of clicks; widened to see more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from memseg3d.experts.vista3d.encoder import ImageEncoder
from memseg3d.experts.vista3d.point_head import PointHead
from memseg3d.experts.vista3d.shapes import MAPS, SIGN, Vista3DShape, shape_of

_UNUSED = (
    "class_head.",
    "image_encoder.up_layers_auto.",
    "point_head.class_embeddings.",
    "point_head.mask_downsample.",
    "point_head.not_a_point_embed.",
    "point_head.special_class_embed.",
    "point_head.zeroshot_embed.",
)
"""Of the published state dict: what segments classes without clicks, or is never read."""


class Vista3D(nn.Module):
    """MONAI's names inside the state dict, those of the point branch."""

    def __init__(self, shape: Vista3DShape) -> None:
        super().__init__()
        self.shape = shape
        self.image_encoder = ImageEncoder(shape)
        self.point_head = PointHead(shape)

    def forward(self, image: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, 1, d, h, w) of (B, channels, d, h, w), points (B, N, 3) in its voxels, and labels (B, N)."""
        found: Tensor = self.point_head(self.image_encoder(image), points, labels)
        return found

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Vista3D:
        """The network of a state dict, recognised by its shapes. Raises KeyError, ValueError or RuntimeError."""
        with torch.device("meta"):
            network = cls(shape_of(tensors))
        kept = {name: value for name, value in tensors.items() if not name.startswith(_UNUSED)}
        network.load_state_dict(kept, strict=True, assign=True)
        return network


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights for a network that is shown previous mask and clicks as well: at first they change nothing."""
    found = dict(tensors)
    first = found[SIGN]
    if first.shape[1] == 1:
        found[SIGN] = torch.cat([first, first.new_zeros(first.shape[0], MAPS - 1, *first.shape[2:])], dim=1)
    return found
