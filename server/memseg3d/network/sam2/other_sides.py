"""One SAM 2 at several sides of its input: no weight depends on the side, only tables of positions do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from ..seam import Features
from .config import Sam2Config

STRIDE = 16
"""Pixels of the input for a cell of the coarsest features."""


class ManySided(Protocol):
    """What is known here of a network; it is a module besides."""

    config: Sam2Config
    no_mem_embed: nn.Parameter

    def unfilled(self, config: Sam2Config) -> Any:
        """A network of this kind whose weights are still to be filled in."""
        ...

    @property
    def state_dict(self) -> Callable[[], dict[str, Any]]:
        """Its weights."""
        ...


N = TypeVar("N", bound=ManySided)


class OtherSides(Generic[N]):
    """Networks that share the parameters of `network`, for images of other sides; not for learning.

    Each is made when it is first used, and anew where the network has got other parameters. Copies make their own.
    """

    def __init__(self, network: N) -> None:
        # In a tuple: a module would take a network that is given to it for a part of itself.
        self._network = (network,)
        self._made: dict[int, N] = {}

    def seeing(self, features: Features) -> N | None:
        """The one that such features come from; None where that is the network itself."""
        side = STRIDE * features.levels[-1].shape[-1]
        return None if side == self._network[0].config.image_size else self.of(side)

    def of(self, side: int) -> N:
        """The network for images of so many pixels a side, a multiple of 32."""
        (network,) = self._network
        made = self._made.get(side)
        if made is None or made.no_mem_embed.data_ptr() != network.no_mem_embed.data_ptr():
            with torch.inference_mode(False):
                with torch.device("meta"):
                    fresh = network.unfilled(replace(network.config, image_size=side)).eval().requires_grad_(False)
                fresh.load_state_dict(network.state_dict(), assign=True)
                self._made[side] = made = fresh.to(network.no_mem_embed.device)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> OtherSides[N]:
        return OtherSides(copy.deepcopy(self._network[0], memo))
