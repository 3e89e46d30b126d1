"""Gradient checkpointing: parts of a network are computed again on the way back instead of being kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_parts(parts: Iterable[nn.Module]) -> None:
    """From now on each part keeps its inputs alone while gradients are wanted; results stay the same."""
    for part in parts:
        forward = part.forward

        def again(*inputs: Any, _forward: Any = forward, **words: Any) -> Any:
            if not torch.is_grad_enabled():
                return _forward(*inputs, **words)
            return checkpoint(_forward, *inputs, use_reentrant=False, **words)

        part.forward = again
