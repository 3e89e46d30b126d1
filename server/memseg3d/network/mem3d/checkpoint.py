"""Mem3D's checkpoints: recognised by their tensors or refused with a reason, written whole, begun from STM's by key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from memseg3d.network.checkpoint_files import CheckpointFile, UnknownCheckpoint, read_checkpoint
from memseg3d.network.mem3d.network import Mem3dNetwork, from_tensors, to_tensors
from memseg3d.network.mem3d.shapes import METADATA, Sight
from memseg3d.network.signs import is_mem3d

TRAINING = "memseg3d.training"
BACKBONE_SIGN = "layer1.0.conv1.weight"
"""A tensor of torchvision's residual networks."""


def mem3d_of(name: str, checkpoint: CheckpointFile, image_size: int | None = None) -> Mem3dNetwork:
    """The network of a checkpoint. image_size: where the file itself tells none. Raises UnknownCheckpoint."""
    try:
        told = checkpoint.metadata.get(METADATA)
        sight = Sight() if told is None else Sight.from_json(told)
        if told is None and image_size is not None:
            sight = replace(sight, image_size=image_size)
        return from_tensors(checkpoint.tensors, sight)
    except (KeyError, ValueError, RuntimeError) as error:
        words = f"the tensor {error.args[0]} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise UnknownCheckpoint(
            f"{name} looks like Mem3D's network, but {words}. It is a part or a variant: give a whole STM or Mem3D "
            "checkpoint, or train one by `memseg3d train mem3d`."
        ) from error


def read_mem3d(path: Path, image_size: int | None = None) -> Mem3dNetwork:
    """The network in a file, in float32. Raises UnknownCheckpoint, also for another method's checkpoint."""
    checkpoint = read_checkpoint(path)
    if not is_mem3d(checkpoint.tensors):
        some = ", ".join(list(checkpoint.tensors)[:3])
        raise UnknownCheckpoint(
            f"{path.name} holds no network of Mem3D's kind (its tensors begin with {some}); Mem3D begins from a file "
            "of STM (YouTube-VOS) or of Mem3D, whose tensors begin with Encoder_M."
        )
    return mem3d_of(path.name, checkpoint, image_size)


def write_mem3d(path: Path, network: Mem3dNetwork, facts: Mapping[str, Any]) -> None:
    """Half precision safetensors, whole or not at all; norms keep their statistics in single precision."""
    kept = {}
    for name, tensor in to_tensors(network).items():
        plain = tensor.detach().cpu().contiguous()
        is_statistic = name.endswith(("running_mean", "running_var"))
        kept[name] = plain.half() if plain.is_floating_point() and not is_statistic else plain
    metadata = {METADATA: network.sight.to_json(), TRAINING: json.dumps(dict(facts), sort_keys=True)}
    partial = path.with_suffix(".partial")
    save_file(kept, partial, metadata=metadata)
    os.replace(partial, path)


@torch.no_grad()
def begin_from(module: nn.Module, path: Path, renamed: Mapping[str, str] | None = None) -> int:
    """Take over what fits of a file's tensors by name and shape, such as STM's of YouTube-VOS; returns how many.

    renamed: beginnings of names in the file -> beginnings of ours. Raises UnknownCheckpoint where nothing fits.
    """
    found = read_checkpoint(path).tensors
    own = module.state_dict()
    taken = 0
    for name, tensor in found.items():
        for ours in _names(name, renamed):
            if ours in own and own[ours].shape == tensor.shape:
                own[ours].copy_(tensor)
                taken += not ours.endswith("num_batches_tracked")
    if not taken:
        some = ", ".join(list(found)[:3])
        raise UnknownCheckpoint(
            f"None of the {len(found)} tensors of {path.name} fits this network (they begin with {some}); give a "
            "checkpoint of the same method and width, or leave it out."
        )
    return taken


def _names(name: str, renamed: Mapping[str, str] | None) -> list[str]:
    if renamed is None:
        return [name]
    return [ours + name.removeprefix(theirs) for theirs, ours in renamed.items() if name.startswith(theirs)]


def backbone_names(prefixes: tuple[str, ...], layers: bool) -> list[dict[str, str]]:
    """torchvision's names of a residual network -> ours behind each prefix. layers: stages keep their names."""
    stages = {f"layer{n}.": f"layer{n}." if layers else f"res{n + 1}." for n in (1, 2, 3, 4)}
    plain = {"conv1.": "conv1.", "bn1.": "bn1.", **stages}
    return [{theirs: prefix + ours for theirs, ours in plain.items()} for prefix in prefixes]


__all__ = ["TRAINING", "backbone_names", "begin_from", "mem3d_of", "read_mem3d", "write_mem3d"]
