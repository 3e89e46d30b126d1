"""Where a network may be interrupted: between its layers or parts, so that a click need not wait for a whole slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from memseg3d.experts.companions import experts_of
from memseg3d.network.parts import HasParts
from memseg3d.network.seam import Network


def let_breathe(network: Network, breathe: Callable[[], None]) -> None:
    """Have `breathe` called before every layer of a network and its experts, where they compute on a processor.

    A device of its own takes a slice in less time than it would take to ask, and replays layers without their modules.
    What breathes may itself call the network: it holds no state between two layers.
    """

    def before(*_: Any) -> None:
        breathe()

    for module in _modules(network):
        parameter = next(module.parameters(recurse=False), None)
        if parameter is not None and parameter.device.type == "cpu":
            module.register_forward_pre_hook(before)
    if isinstance(network, HasParts):
        # Of a part that a library computes torch's layers know nothing.
        network.compiled.before = breathe


def _modules(network: Network) -> Iterator[torch.nn.Module]:
    experts = experts_of(network)
    for each in (network, *experts, *(getattr(expert, "network", None) for expert in experts)):
        if isinstance(each, torch.nn.Module):
            yield from each.modules()
