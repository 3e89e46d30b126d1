"""Files of a fine-tuned SAM 2, with or without MemRefine's modules: safetensors that say what they hold."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.network.memrefine.config import MemRefineConfig
from memseg3d.network.memrefine.network import MemRefineNetwork
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.config import TrunkConfig

KEY = "memseg3d.sam2"
"""Metadata: JSON of the sizes (`sam2`) and of MemRefine's options (`memrefine`, or null)."""
FACTS = "memseg3d.training"


def save_network(path: Path, network: Sam2Network, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `weights` of the network's names, whole or not at all. facts: how they were made, kept in the metadata."""
    refine = asdict(network.refine) if isinstance(network, MemRefineNetwork) else None
    words = {"sam2": asdict(network.config), "memrefine": refine}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(tensors, partial, metadata={KEY: json.dumps(words), FACTS: json.dumps(facts, sort_keys=True)})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def network_of(
    name: str, words: str, tensors: Mapping[str, Tensor], image_size: int | None = None
) -> Sam2Network | MemRefineNetwork:
    """The network of such a file. image_size: None: that of its training. Raises UnknownCheckpoint."""
    try:
        told = json.loads(words)
        sizes = told["sam2"]["trunk"].items()
        trunk: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in sizes}
        config = Sam2Config(**{**told["sam2"], "trunk": TrunkConfig(**trunk)})
        config = replace(config, image_size=image_size or config.image_size)
        network: Sam2Network
        if told["memrefine"] is None:
            network = Sam2Network(config)
        else:
            network = MemRefineNetwork(config, MemRefineConfig(**told["memrefine"]))
        network.load_state_dict(dict(tensors), strict=True)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UnknownCheckpoint(
            f"{name} is no SAM 2 that this version can run: {str(error).splitlines()[0]}"
        ) from error
    return network


def with_epoch(network: Sam2Network, epoch: int) -> None:
    """Tell a network with the release's blend how far its training has come."""
    if isinstance(network, MemRefineNetwork):
        network.refine = replace(network.refine, epoch=epoch)
