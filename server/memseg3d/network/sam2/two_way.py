"""The two-way transformer of SAM 2's mask decoder: prompt tokens and image tokens read each other."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import Attention, Mlp

HEADS = 8


class TwoWayLayer(nn.Module):
    """Tokens read themselves, then the image; an MLP; then the image reads the tokens.

    is_first: the tokens are their own encodings still, so that their self-attention adds none and no residual.
    """

    def __init__(self, dim: int, mlp_dim: int, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(dim, HEADS)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, HEADS, inner_dim=dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, mlp_dim, dim, 2, "relu")
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, HEADS, inner_dim=dim // 2)

    def forward(self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, dim) and image (B, h * w, dim), each with its positional code, to the same two."""
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            coded = tokens + token_code
            tokens = tokens + self.self_attn(coded, coded, tokens)
        tokens = self.norm1(tokens)
        coded_image = image + image_code
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_code, coded_image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(coded_image, tokens + token_code, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two such layers and a last reading of the image."""

    def __init__(self, dim: int, mlp_dim: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(dim, mlp_dim, is_first=index == 0) for index in range(depth))
        self.final_attn_token_to_image = Attention(dim, HEADS, inner_dim=dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, image: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, dim), image and its code (B or 1, dim, h, w): tokens (B, N, dim), image (B, dim, h, w)."""
        side = image.shape[-1]
        code = image_code.flatten(2).transpose(1, 2)
        pixels = image.flatten(2).transpose(1, 2)
        out = tokens
        for layer in self.layers:
            out, pixels = layer(out, pixels, tokens, code)
        out = self.norm_final_attn(out + self.final_attn_token_to_image(out + tokens, pixels + code, pixels))
        return out, pixels.transpose(1, 2).unflatten(2, (-1, side))
