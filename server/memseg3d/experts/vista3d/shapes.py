"""How wide and deep a VISTA3D is: as published, narrower, and as tensors tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

SIGN = "image_encoder.encoder.conv_init.weight"
MAPS = 4
"""Input channels of a network that is shown more than the image: previous mask, positive and negative clicks."""


@dataclass(frozen=True)
class Vista3DShape:
    """width: channels at full resolution, doubled at each level; blocks: of each level, from the finest on.

    channels: 1, the image alone, as published; or `MAPS`.
    """

    width: int = 48
    blocks: tuple[int, ...] = (1, 2, 2, 4, 4)
    channels: int = 1
    mlp: int = 512

    @property
    def multiple(self) -> int:
        """Sides of its input are multiples of this."""
        return int(2 ** (len(self.blocks) - 1))


PUBLISHED = Vista3DShape()
SMALL = Vista3DShape(16, (1, 1, 2, 2))
TINY = Vista3DShape(8, (1, 1), mlp=32)


def is_vista3d(tensors: Mapping[str, Tensor]) -> bool:
    """True for a state dict of this layout."""
    return SIGN in tensors and "point_head.mask_tokens.weight" in tensors


def shape_of(tensors: Mapping[str, Tensor]) -> Vista3DShape:
    """The shape of a state dict. Raises KeyError or ValueError where it is of no such network."""
    begin = "image_encoder.encoder.layers."
    width, channels = (int(side) for side in tensors[SIGN].shape[:2])
    if channels not in (1, MAPS):
        raise ValueError(f"its input has {channels} channels, not 1 or {MAPS}")
    places = {tuple(name.removeprefix(begin).split(".")[:3]) for name in tensors if name.startswith(begin)}
    levels = sorted({int(place[0]) for place in places})
    blocks = tuple(len({place[2] for place in places if place[:2] == (str(level), "blocks")}) for level in levels)
    mlp = int(tensors["point_head.transformer.layers.0.mlp.linear1.weight"].shape[0])
    return Vista3DShape(width, blocks, channels, mlp)
