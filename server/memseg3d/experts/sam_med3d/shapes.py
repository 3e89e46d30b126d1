"""How wide and deep a SAM-Med3D is: as published, as DualClickMed's 64 voxels, narrower, and as tensors tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

SIGN = "image_encoder.patch_embed.proj.weight"


@dataclass(frozen=True)
class SamMed3DShape:
    """side: voxels of the cubic input; patch: of one token; windows: of each block, 0 for attention over all tokens.

    points: learned kinds of points; masks: mask tokens; has_quality: whether it predicts its own IoU.
    """

    side: int = 128
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    windows: tuple[int, ...] = (14, 14, 0) * 4
    prompt_width: int = 384
    mask_channels: int = 16
    points: int = 2
    masks: int = 4
    decoder_depth: int = 2
    decoder_mlp: int = 2048
    has_iou_token: bool = True
    has_quality: bool = True

    @property
    def grid(self) -> int:
        """Tokens along each side."""
        return self.side // self.patch

    @property
    def low(self) -> int:
        """Side of the mask logits and of the mask prompt."""
        return 4 * self.grid


PUBLISHED = SamMed3DShape()
DUAL_CLICK = SamMed3DShape(side=64, patch=8, masks=1, has_quality=False)


def narrow(width: int = 192, depth: int = 6, prompt_width: int = 96, side: int = 64) -> SamMed3DShape:
    """A smaller network of the same layout for CPUs. width: a multiple of 64; prompt_width: of 24."""
    windows = tuple(0 if (index + 1) % 3 == 0 else 14 for index in range(depth))
    return SamMed3DShape(
        side, side // 8, width, depth, width // 64, windows, prompt_width, masks=1, decoder_mlp=4 * prompt_width,
        has_quality=False,
    )  # fmt: skip


def is_sam_med3d(tensors: Mapping[str, Tensor]) -> bool:
    """True for a state dict of this layout: its patches have three axes."""
    found = tensors.get(SIGN)
    return found is not None and found.ndim == 5 and "prompt_encoder.mask_downscaling.0.weight" in tensors


def shape_of(tensors: Mapping[str, Tensor]) -> SamMed3DShape:
    """The shape of a published or trained state dict. Raises KeyError or ValueError where it is of no such network."""
    patches, positions = tensors[SIGN], tensors["image_encoder.pos_embed"]
    width, patch, grid = int(patches.shape[0]), int(patches.shape[2]), int(positions.shape[1])
    depth = len({name.split(".")[2] for name in tensors if name.startswith("image_encoder.blocks.")})
    reaches = [tensors[f"image_encoder.blocks.{index}.attn.rel_pos_d"] for index in range(depth)]
    sides = [(int(each.shape[0]) + 1) // 2 for each in reaches]
    if any(side < grid for side in sides):
        raise ValueError(f"its windows of {min(sides)} tokens are smaller than its {grid} tokens a side")
    kinds = {name.split(".")[2] for name in tensors if name.startswith("prompt_encoder.point_embeddings.")}
    layers = {name.split(".")[3] for name in tensors if name.startswith("mask_decoder.transformer.layers.")}
    return SamMed3DShape(
        side=grid * patch,
        patch=patch,
        width=width,
        depth=depth,
        heads=width // int(reaches[0].shape[1]),
        windows=tuple(0 if side == grid else side for side in sides),
        prompt_width=int(tensors["image_encoder.neck.0.weight"].shape[0]),
        mask_channels=4 * int(tensors["prompt_encoder.mask_downscaling.0.weight"].shape[0]),
        points=len(kinds),
        masks=int(tensors["mask_decoder.mask_tokens.weight"].shape[0]),
        decoder_depth=len(layers),
        decoder_mlp=int(tensors["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0]),
        has_iou_token="mask_decoder.iou_token.weight" in tensors,
        has_quality="mask_decoder.iou_prediction_head.layers.0.weight" in tensors,
    )
