"""Loads an expert from a checkpoint, recognised by its tensors alone."""

from __future__ import annotations

from pathlib import Path

import torch

from memseg3d.experts.global_expert import GlobalExpert
from memseg3d.experts.local_expert import LocalExpert
from memseg3d.experts.nninteractive.expert import NnInteractiveExpert
from memseg3d.experts.opinions import Weighing
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.sam_med3d.shapes import is_sam_med3d
from memseg3d.experts.seam import ExpertInfo, VolumeExpert
from memseg3d.experts.sight import told_sight
from memseg3d.experts.vista3d.network import Vista3D
from memseg3d.experts.vista3d.shapes import is_vista3d
from memseg3d.network.checkpoint_files import UnknownCheckpoint, read_checkpoint
from memseg3d.network.models import describe_model
from memseg3d.network.precision import NAMES


def load_expert(
    path: Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> VolumeExpert | None:
    """The expert in a checkpoint; None where it holds none that is known here.

    dtype: float32 by default. On a CPU, where 3D convolutions are far slower in bfloat16, only the matrix products of a
    global expert's image encoder are in it. Raises UnknownCheckpoint where the file cannot be read or is a part of an
    expert, and ModelDamaged where the card beside it tells another hash.
    """
    if path.is_dir():
        return NnInteractiveExpert(path, str(device))
    checkpoint = read_checkpoint(path)
    is_whole = is_sam_med3d(checkpoint.tensors)
    if not is_whole and not is_vista3d(checkpoint.tensors):
        return None
    model = describe_model(path)
    weighing = Weighing.of_card(model.card)
    wanted = dtype or torch.float32
    kept = torch.float32 if torch.device(device).type == "cpu" else wanted
    precision = NAMES[wanted if is_whole else kept]
    info = ExpertInfo(
        model.name, frozenset({"points"}), model.sha256, model.licence, False, not is_whole, weighing, precision
    )
    kind, layout = (SamMed3D, "SAM-Med3D") if is_whole else (Vista3D, "VISTA3D")
    try:
        network, sight = kind.of(checkpoint.tensors), told_sight(checkpoint.metadata)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UnknownCheckpoint(
            f"{path.name} looks like {layout}, but cannot be one: {str(error)[:300]}. Give a whole checkpoint."
        ) from error
    network = network.to(device=device, dtype=kept).eval().requires_grad_(False)
    if isinstance(network, SamMed3D):
        network.multiply_in(wanted)
        return GlobalExpert(network, info, sight)
    return LocalExpert(network, info, sight)
