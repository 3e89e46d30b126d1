"""Opens a model by name or path, whatever it is: a network that propagates, an expert, or NETWORK+EXPERT."""

from __future__ import annotations

from pathlib import Path

import torch

from memseg3d.experts.companions import ExpertAlone, accompany
from memseg3d.experts.loading import load_expert
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
    """The network of a model; an expert alone stands for a network, one behind a `+` goes with it (`expert_of`).

    Raises ModelNotFound, ModelDamaged or UnknownCheckpoint.
    """
    first, second = _parts(model, folder)
    expert = None
    # a 3D network computes in bfloat16 on accelerators alone: on CPUs its convolutions are far slower so
    precise = torch.float32 if torch.device(device).type == "cpu" else dtype
    if second is not None:
        expert = load_expert(second, device, precise)
        if expert is None:
            raise UnknownCheckpoint(f"{second.name} is no volumetric expert: name one behind the +.")
    alone = load_expert(first, device, precise)
    if alone is not None:
        if expert is not None:
            raise UnknownCheckpoint(f"{first.name} is an expert already: name a network before the +.")
        return ExpertAlone(alone)
    network = load_network(first, image_size, device, dtype)
    return network if expert is None else accompany(network, expert)


def _parts(model: str | Path | None, folder: Path | str | None) -> tuple[Path, Path | None]:
    """The files of a network and of an expert; a name that holds a + of its own is one name."""
    try:
        return find_model(model, folder), None
    except ModelNotFound:
        first, plus, second = str(model).rpartition("+")
        if not plus:
            raise
        return find_model(first or None, folder), find_model(second, folder)
