"""The mask decoder of SAM 2: masks, their predicted IoU and the object score from features and prompt embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import Sam2Config
from .layers import LayerNorm2d, Mlp
from .two_way import TwoWayTransformer

Refinement = Callable[[Tensor, Tensor], Tensor]
"""From the decoder's image (B, dim, S/16, S/16) and its token of the predicted IoU (B, dim) to another image."""
CANDIDATES = 3
"""Masks of an ambiguous prompt, besides the single mask."""
STABILITY_MARGIN = 0.05
STABLE_FROM = 0.98


@dataclass(frozen=True)
class RawMasks:
    """Candidates before occlusion is applied.

    logits: (B, M, S/4, S/4); quality: (B, M) in [0, 1]; tokens: (B, M, dim), the decoder's output tokens;
    object_score: (B, 1) logit.
    """

    logits: Tensor
    quality: Tensor
    tokens: Tensor
    object_score: Tensor


class MaskDecoder(nn.Module):
    """Output tokens read the image through the two-way transformer and each becomes a mask by a dot product."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        dim = config.dim
        masks = CANDIDATES + 1
        self.transformer = TwoWayTransformer(dim, config.mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(masks, dim)
        self.obj_score_token = nn.Embedding(1, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.conv_s0 = nn.Conv2d(dim, dim // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(dim, dim // 4, kernel_size=1)
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(dim, dim, dim // 8, 3, "relu") for _ in range(masks))
        self.iou_prediction_head = Mlp(dim, 256, masks, 3, "relu")
        self.pred_obj_score_head = Mlp(dim, dim, 1, 3, "relu")

    def forward(
        self,
        features: tuple[Tensor, Tensor, Tensor],
        grid_positions: Tensor,
        prompt_tokens: Tensor,
        dense_prompt: Tensor,
        ambiguous: bool,
        refine: Refinement | None = None,
    ) -> RawMasks:
        """Masks of the prompts.

        features: (B, dim / 8, S/4, S/4), (B, dim / 4, S/8, S/8) and (B, dim, S/16, S/16); grid_positions:
        (1, dim, S/16, S/16); prompt_tokens: (B, N, dim); dense_prompt broadcasts to the last feature map.
        ambiguous: True gives the three candidates, False one mask. refine: what the image tokens go through before they
        are enlarged; nothing in SAM 2 itself.
        """
        fine, middle, coarse = features
        fixed = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([fixed.expand(prompt_tokens.shape[0], -1, -1), prompt_tokens], dim=1)
        tokens, image = self.transformer(tokens, coarse + dense_prompt, grid_positions)
        if refine is not None:
            image = refine(image, tokens[:, 1])
        mask_tokens = tokens[:, 2 : 3 + CANDIDATES]
        logits = self._masks(mask_tokens, self._upscale(image, middle, fine))
        quality = self.iou_prediction_head(tokens[:, 1]).sigmoid()
        object_score = self.pred_obj_score_head(tokens[:, 0])
        if ambiguous:
            return RawMasks(logits[:, 1:], quality[:, 1:], mask_tokens[:, 1:], object_score)
        single, single_quality = logits[:, :1], quality[:, :1]
        if not self.training:
            single, single_quality = stable_or_best(logits, quality)
        # the object pointer always comes from the single-mask token here, even where another mask replaced it
        return RawMasks(single, single_quality, mask_tokens[:, :1], object_score)

    def _upscale(self, image: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        """(B, dim, S/16, S/16) with the finer features to (B, dim / 8, S/4, S/4)."""
        first, norm, first_activation, second, second_activation = self.output_upscaling
        image = first_activation(norm(first(image) + middle))
        return second_activation(second(image) + fine)

    def _masks(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """Tokens (B, 4, dim) and embedding (B, dim / 8, h, w) to logits (B, 4, h, w)."""
        weights = [mlp(tokens[:, index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)]
        return (torch.stack(weights, dim=1) @ embedding.flatten(2)).unflatten(2, embedding.shape[-2:])


def stable_or_best(logits: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """The single mask where it is stable, else the best of the three candidates.

    logits: (B, 4, h, w) and quality: (B, 4), the single mask first. Returns (B, 1, h, w) and (B, 1). A mask is stable
    where its area hardly depends on the threshold.
    """
    single = logits[:, 0].flatten(1)
    inner = (single > STABILITY_MARGIN).sum(dim=1)
    outer = (single > -STABILITY_MARGIN).sum(dim=1)
    is_stable = inner >= STABLE_FROM * outer
    best = quality[:, 1:].argmax(dim=1) + 1
    chosen = torch.where(is_stable, torch.zeros_like(best), best)
    batch = torch.arange(logits.shape[0], device=logits.device)
    return logits[batch, chosen][:, None], quality[batch, chosen][:, None]
