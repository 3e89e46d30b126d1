"""The memory network of Mem3D: keys and values of finished slices (STM, arXiv 1904.00607), read by the current one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memseg3d.network.mem3d.decoder import MaskDecoder
from memseg3d.network.mem3d.encoders import KeyValue, MemoryEncoder, QueryEncoder
from memseg3d.network.mem3d.quality import quality_head
from memseg3d.network.mem3d.resnet import begin
from memseg3d.network.mem3d.shapes import MemoryShape

CLAMP = 1e-7


class Seen(NamedTuple):
    """What the query encoder makes of a slice: features at strides 4, 8 and 16; key and value at 16."""

    four: Tensor
    eight: Tensor
    deep: Tensor
    key: Tensor
    value: Tensor


class MemoryNetwork(nn.Module):
    """One object's memory network. Its tensors bear STM's names, so that a file of STM's fits by them."""

    def __init__(self, shape: MemoryShape | None = None) -> None:
        super().__init__()
        self.shape = shape or MemoryShape()
        self.Encoder_M, self.Encoder_Q = MemoryEncoder(self.shape), QueryEncoder(self.shape)
        self.KV_M_r4 = KeyValue(self.shape.deep, self.shape.key, self.shape.value)
        self.KV_Q_r4 = KeyValue(self.shape.deep, self.shape.key, self.shape.value)
        self.Decoder = MaskDecoder(self.shape)
        self.Quality = quality_head(self.shape)
        begin(self)

    def memorise(self, images: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
        """Key (B, K, h, w) and value (B, V, h, w) of a finished slice. images: (B, 1 or 3, S, S) in [0, 1]."""
        key, value = self.KV_M_r4(self.Encoder_M.remember(images, probability))
        return key, value

    def see(self, images: Tensor) -> Seen:
        """Features of the current slice, (B, 1 or 3, S, S) in [0, 1]."""
        four, eight, deep = self.Encoder_Q(images)
        return Seen(four, eight, deep, *self.KV_Q_r4(deep))

    def segment(self, seen: Seen, keys: Sequence[Tensor], values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logit of the object (B, 1, S, S) after soft aggregation, and what memory gave (B, 2 V, h, w)."""
        found = read(seen.key, seen.value, keys, values)
        return self.decoded(seen, found), found

    def decoded(self, seen: Seen, found: Tensor) -> Tensor:
        """Logit of the object (B, 1, S, S)."""
        return aggregated(self.Decoder(found, seen.eight, seen.four))

    def judged(self, seen: Seen, found: Tensor, logits: Tensor) -> Tensor | None:
        """Logit of the predicted quality (B, 1); None without a head. It judges the mask and does not bend it."""
        return None if self.Quality is None else self.Quality(seen.deep, found, logits.detach().sigmoid())


def read(key: Tensor, value: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """What a slice's key (B, K, h, w) finds in memories, with the slice's own value behind it: (B, 2 V, h, w).

    P = softmax over all positions of all memories of k_m . k_q / sqrt(K); R = sum of P v_m.
    """
    batch, width, rows, columns = key.shape
    places = torch.cat([each.flatten(2) for each in keys], 2)
    told = torch.cat([each.flatten(2) for each in values], 2)
    likeness = torch.bmm(places.transpose(1, 2), key.flatten(2)) / math.sqrt(width)
    found = torch.bmm(told, likeness.float().softmax(1).to(told.dtype))
    return torch.cat([found.reshape(batch, -1, rows, columns), value], 1)


def aggregated(two: Tensor) -> Tensor:
    """Logit of the object after soft aggregation of one object and background.

    two: (B, 2, S, S), background and object; p = softmax, aggregated logits are those of 1 - p and of p, and softmax
    over these two is the sigmoid of their difference.
    """
    low, high = math.log(CLAMP / (1 - CLAMP)), math.log((1 - CLAMP) / CLAMP)
    return 2 * (two[:, 1:] - two[:, :1]).float().clamp(low, high)
