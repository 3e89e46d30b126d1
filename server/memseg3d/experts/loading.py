"""Loads an expert from a checkpoint, recognised by its tensors alone."""

from __future__ import annotations

from pathlib import Path

import torch

from memseg3d.experts.global_expert import GlobalExpert
from memseg3d.experts.nninteractive.expert import NnInteractiveExpert
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.sam_med3d.shapes import is_sam_med3d
from memseg3d.experts.seam import ExpertInfo, VolumeExpert
from memseg3d.network.checkpoint_files import CheckpointFile, UnknownCheckpoint, read_checkpoint
from memseg3d.network.models import describe_model


def load_expert(
    path: Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> VolumeExpert | None:
    """The expert in a checkpoint; None where it holds none that is known here.

    dtype: float32 by default. Raises UnknownCheckpoint where the file cannot be read or is a part of an expert, and
    ModelDamaged where the card beside it tells another hash.
    """
    if path.is_dir():
        return NnInteractiveExpert(path, str(device))
    checkpoint = read_checkpoint(path)
    if not is_sam_med3d(checkpoint.tensors):
        return None
    model = describe_model(path)
    info = ExpertInfo(model.name, frozenset({"points"}), model.sha256, model.licence)
    network = _sam_med3d(path.name, checkpoint)
    network = network.to(device=device, dtype=dtype or torch.float32).eval().requires_grad_(False)
    return GlobalExpert(network, info)


def _sam_med3d(name: str, checkpoint: CheckpointFile) -> SamMed3D:
    try:
        return SamMed3D.of(checkpoint.tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UnknownCheckpoint(
            f"{name} looks like SAM-Med3D, but cannot be one: {str(error)[:300]}. Give a whole checkpoint."
        ) from error
