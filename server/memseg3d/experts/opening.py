"""Opens a model by name or path, whatever it is: a network that propagates, experts, or NETWORK+EXPERT."""

from __future__ import annotations

from pathlib import Path

import torch

from memseg3d.experts.companions import ExpertAlone, accompany
from memseg3d.experts.loading import load_expert
from memseg3d.experts.seam import VolumeExpert
from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.network.loading import load_network
from memseg3d.network.models import ModelNotFound, find_model
from memseg3d.network.seam import Network


def open_model(
    model: str | Path | None,
    folder: Path | str | None = None,
    image_size: int | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Network:
    """The network of a model; experts alone stand for a network, those behind a `+` go with it (`experts_of`).

    Raises ModelNotFound, ModelDamaged or UnknownCheckpoint.
    """
    first, *others = _parts(model, folder)
    behind: list[VolumeExpert] = []
    for path in others:
        expert = load_expert(path, device, dtype)
        if expert is None:
            raise UnknownCheckpoint(f"{path.name} is no volumetric expert: name one behind the +.")
        behind.append(expert)
    alone = load_expert(first, device, dtype)
    if alone is not None:
        return ExpertAlone(alone, *behind)
    network = load_network(first, image_size, device, dtype)
    return accompany(network, *behind) if behind else network


def _parts(model: str | Path | None, folder: Path | str | None) -> list[Path]:
    """The files of a network and of experts; a name that holds a + of its own is one name."""
    try:
        return [find_model(model, folder)]
    except ModelNotFound:
        first, plus, last = str(model).rpartition("+")
        if not plus:
            raise
        return [*_parts(first or None, folder), find_model(last, folder)]
