"""An expert beside a network, or in its place: how the two travel together through sessions and the service."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from memseg3d.experts.seam import VolumeExpert
from memseg3d.network.seam import Conditioned, Decoded, Features, Memory, MemoryRead, Network, NetworkInfo, Prompts

N = TypeVar("N", bound=Network)


class ExpertAlone:
    """A network that only says which expert answers in its place: nothing is propagated."""

    def __init__(self, expert: VolumeExpert) -> None:
        self.expert = expert
        info = expert.info
        self.info = NetworkInfo(info.name, 32, 8, 1, 0, prefers_crop=False, sha256=info.sha256, licence=info.licence)

    def encode(self, images: Tensor) -> Features:
        """Nothing: whoever computes ahead is done at once."""
        return Features((torch.zeros(images.shape[0], 1, 1, 1),))

    def attend(self, features: Features, reads: Sequence[MemoryRead], slice_count: int) -> Conditioned:
        """Never called."""
        raise NotImplementedError("an expert that answers alone propagates nothing")

    def decode(self, conditioned: Conditioned, prompts: Prompts | None, prior: Tensor | None = None) -> Decoded:
        """Never called."""
        raise NotImplementedError("an expert that answers alone decodes no slices")

    def remember(
        self, features: Features, logits: Tensor, object_score: Tensor, pointer: Tensor | None, prompted: bool
    ) -> Memory:
        """Never called."""
        raise NotImplementedError("an expert that answers alone remembers no slices")


def accompany(network: N, expert: VolumeExpert) -> N:
    """Let an expert answer after each propagation of a network. The same network, under both names and hashes."""
    own = network.info
    joined = hashlib.sha256(f"{own.sha256}+{expert.info.sha256}".encode()).hexdigest()
    licences = " and ".join(dict.fromkeys(each for each in (own.licence, expert.info.licence) if each))
    network.info = replace(own, name=f"{own.name}+{expert.info.name}", sha256=joined, licence=licences)
    # past torch's own way of setting attributes, which would take the expert's weights for the network's
    object.__setattr__(network, "expert", expert)
    return network


def expert_of(network: Network) -> VolumeExpert | None:
    """The expert that goes with a network, or None."""
    found: VolumeExpert | None = getattr(network, "expert", None)
    return found


def answers_alone(network: Network) -> bool:
    """True where nothing is propagated."""
    return isinstance(network, ExpertAlone)
