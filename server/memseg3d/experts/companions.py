"""Experts beside a network, or in its place: how they travel together through sessions and the service."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from memseg3d.experts.seam import ExpertInfo, VolumeExpert
from memseg3d.network.seam import Conditioned, Decoded, Features, Memory, MemoryRead, Network, NetworkInfo, Prompts

N = TypeVar("N", bound=Network)


class ExpertAlone:
    """A network that only says which experts answer in its place: nothing is propagated."""

    def __init__(self, *experts: VolumeExpert) -> None:
        self.experts = experts
        name, sha256, licence = _together([each.info for each in experts])
        self.precision = next((each.info.precision for each in experts if each.info.precision != "fp32"), "fp32")
        self.info = NetworkInfo(name, 32, 8, 1, 0, prefers_crop=False, sha256=sha256, licence=licence)

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


def accompany(network: N, *experts: VolumeExpert) -> N:
    """Let experts answer after each propagation of a network. The same network, under all names and hashes."""
    name, sha256, licence = _together([network.info, *(each.info for each in experts)])
    network.info = replace(network.info, name=name, sha256=sha256, licence=licence)
    # past torch's own way of setting attributes, which would take an expert's weights for the network's
    object.__setattr__(network, "experts", experts)
    return network


def experts_of(network: Network) -> tuple[VolumeExpert, ...]:
    """The experts that go with a network, or none."""
    found: tuple[VolumeExpert, ...] = getattr(network, "experts", ())
    return found


def answers_alone(network: Network) -> bool:
    """True where nothing is propagated."""
    return isinstance(network, ExpertAlone)


def _together(infos: Sequence[NetworkInfo | ExpertInfo]) -> tuple[str, str, str]:
    """Name, SHA-256 and licence of models that answer together."""
    if len(infos) == 1:
        return infos[0].name, infos[0].sha256, infos[0].licence
    sha256 = hashlib.sha256("+".join(each.sha256 for each in infos).encode()).hexdigest()
    licences = " and ".join(dict.fromkeys(each.licence for each in infos if each.licence))
    return "+".join(each.name for each in infos), sha256, licences
