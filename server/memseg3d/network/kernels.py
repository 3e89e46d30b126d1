"""Which way of computing attention and linear layers is fastest on a device: measured once a shape, then remembered.

All ways compute the same; they differ in rounding alone.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Literal["none", "relu", "gelu"]

WORTH = 1.05
"""Another way than torch's own must be so many times as fast to be taken."""
CHUNKS = (256, 1024, 4096)
"""Queries whose scores are held at a time, where attention is computed by plain matrix products."""
MOST_BYTES = 8 * 1024**2
"""No more bytes of scores are held at a time, whatever the chunk: more would leave the cache and be mapped anew."""
TRIAL_QUERIES, TRIAL_KEYS, TRIAL_BATCH = 1024, 4096, 64
"""A trial is no larger than this: what is faster there is faster on more of the same."""
FUSED = 0
"""The chunk that stands for torch's own fused attention."""


def attention(q: Tensor, k: Tensor, v: Tensor, last_key_bias: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of q (B, heads, N, d), k (B, heads, M, d), v (B, heads, M, e): (B, heads, N, e).

    last_key_bias: added to the scores of the last key. With log(n) that key counts as n equal keys.
    """
    chunk = _attention_chunk(
        q.device,
        q.dtype,
        min(_rounded(q.shape[0] * q.shape[1]), TRIAL_BATCH),
        min(_rounded(q.shape[2]), TRIAL_QUERIES),
        min(_rounded(k.shape[2]), TRIAL_KEYS),
        q.shape[3],
        v.shape[3],
    )
    if chunk == FUSED:
        return fused_attention(q, k, v, last_key_bias)
    return plain_attention(q, k, v, last_key_bias, chunk)


def fused_attention(q: Tensor, k: Tensor, v: Tensor, last_key_bias: float = 0.0) -> Tensor:
    """`attention` by torch's own kernel."""
    if last_key_bias == 0.0:
        return F.scaled_dot_product_attention(q, k, v)
    bias = q.new_zeros(1, k.shape[-2])
    bias[:, -1] = last_key_bias
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, last_key_bias: float, chunk: int) -> Tensor:
    """`attention` by two matrix products with a softmax between them, so many queries at a time."""
    fitting = max(1, MOST_BYTES // (q.element_size() * q.shape[0] * q.shape[1] * k.shape[2]))
    chunk = math.ceil(q.shape[2] / math.ceil(q.shape[2] / min(chunk, fitting)))
    keys = k.transpose(-1, -2)
    scale = q.shape[-1] ** -0.5
    mixed = []
    for part in q.split(chunk, dim=-2):
        scores = (part * scale) @ keys
        if last_key_bias != 0.0:
            scores[..., -1] += last_key_bias
        mixed.append(scores.softmax(dim=-1) @ v)
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-2)


@dataclass(frozen=True)
class LinearWeights:
    """weight: (out, in); bias: (out,) or None; packed: the weight in the order that the processor's library reads it in
    (oneDNN), None where that does not pay.
    """

    weight: Tensor
    bias: Tensor | None
    packed: Tensor | None = None


def linear_weights(weight: Tensor, bias: Tensor | None = None) -> LinearWeights:
    """Weights made ready for `linear`."""
    learns = torch.is_grad_enabled() and weight.requires_grad
    if learns or weight.device.type != "cpu" or not _packing_pays(weight.dtype):
        return LinearWeights(weight, bias)
    return LinearWeights(weight, bias, _packed(weight.detach()))


def linear(x: Tensor, weights: LinearWeights, activation: Activation = "none") -> Tensor:
    """x (..., in) to (..., out), with the activation (gelu: the exact one)."""
    if weights.packed is not None:
        return torch.ops.mkldnn._linear_pointwise(x, weights.packed, weights.bias, activation, [], "none")
    y = F.linear(x, weights.weight, weights.bias)
    if activation == "relu":
        return F.relu(y)
    return F.gelu(y) if activation == "gelu" else y


def _packed(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), TRIAL_QUERIES)
    return packed


@functools.cache
@torch.no_grad()
def _packing_pays(dtype: torch.dtype) -> bool:
    """Whether linear layers on the CPU are faster with packed weights; never in float32, which stays torch's own."""
    library = getattr(torch.ops, "mkldnn", None)
    if dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available() or not hasattr(library, "_linear_pointwise"):
        return False
    x, weight, bias = torch.ones(1024, 256, dtype=dtype), torch.ones(1024, 256, dtype=dtype), torch.ones(1024).to(dtype)
    try:
        ready = LinearWeights(weight, bias, _packed(weight))
        packed = _seconds(lambda: linear(x, ready, "gelu"))
    except (RuntimeError, NotImplementedError):
        # a build without this entry to oneDNN, or a processor whose bf16 it refuses
        return False
    return packed * WORTH < _seconds(lambda: linear(x, LinearWeights(weight, bias), "gelu"))


@functools.cache
@torch.no_grad()
def _attention_chunk(
    device: torch.device, dtype: torch.dtype, batch: int, queries: int, keys: int, dim: int, value_dim: int
) -> int:
    """The fastest chunk of queries for these sizes, or `FUSED`. Takes some milliseconds, once."""
    q = torch.ones(batch, 1, queries, dim, dtype=dtype, device=device)
    k = torch.ones(batch, 1, keys, dim, dtype=dtype, device=device)
    v = torch.ones(batch, 1, keys, value_dim, dtype=dtype, device=device)
    best, fastest = FUSED, _seconds(lambda: fused_attention(q, k, v)) / WORTH
    for chunk in CHUNKS:
        seconds = _seconds(functools.partial(plain_attention, q, k, v, 0.0, chunk))
        if seconds < fastest:
            best, fastest = chunk, seconds
        if chunk >= queries:
            break
    return best


def _seconds(work: Callable[[], Tensor]) -> float:
    """The best of three, after one to warm up; reading one number waits for the device."""
    best = float("inf")
    for attempt in range(4):
        started = time.perf_counter()
        work().flatten()[0].item()
        if attempt:
            best = min(best, time.perf_counter() - started)
    return best


def _rounded(count: int) -> int:
    """The next power of two: sizes alike share one trial."""
    return 1 << max(count - 1, 0).bit_length()
