"""Loads a network from a checkpoint, recognised by its tensors alone: SAM 2, SAM 2.1, MedSAM2, Mem3D or embedded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memseg3d.network.backends.int8 import read_ranges
from memseg3d.network.checkpoint_files import UnknownCheckpoint, read_checkpoint
from memseg3d.network.mem3d.checkpoint import mem3d_of
from memseg3d.network.memrefine.files import KEY as SAM2_KEY
from memseg3d.network.memrefine.files import network_of
from memseg3d.network.models import describe_model
from memseg3d.network.nano import from_state
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.config import TRUNKS, Version
from memseg3d.network.sam2.hugging_face import SIGN as HUGGING_FACE_SIGN
from memseg3d.network.sam2.hugging_face import official_layout
from memseg3d.network.sam2.recorded import RecordedSam2
from memseg3d.network.seam import Network
from memseg3d.network.signs import NANO_KEY, is_mem3d

__all__ = ["UnknownCheckpoint", "load_network"]

OFFICIAL_SIGN = "image_encoder.trunk.patch_embed.proj.weight"
SAM2_IMAGE_SIZE = 1024
MEDSAM2_IMAGE_SIZE = 512

_SIZE_IN_NAME = re.compile(r"(?<!\d)(256|384|512|640|768|1024)(?!\d)")
_BLOCK = re.compile(r"^image_encoder\.trunk\.blocks\.(\d+)\.")


def load_network(
    path: Path | str,
    image_size: int | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Network:
    """The network in a checkpoint, ready for inference, without gradients.

    image_size: side of SAM 2's input in pixels, a multiple of 32; files that training here wrote tell it, no other
    checkpoint does. By default the number in the file's name, 512 where the name says MedSAM2, else 1024. The embedded
    network has its own and ignores this, and so does a Mem3D file that tells its size; others of Mem3D and STM see 512
    by default.
    dtype: by default float32, in which results are alike on all devices within rounding.
    On a CUDA device SAM 2 comes as `RecordedSam2`: the same within rounding, by recorded graphs.
    Raises UnknownCheckpoint where the file cannot be read or holds another network, ValueError for a wrong image size
    and ModelDamaged where the card beside the file tells another hash.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    model = describe_model(path)
    network: Any
    if NANO_KEY in checkpoint.metadata:
        network = _nano(path.name, checkpoint.metadata[NANO_KEY], checkpoint.tensors)
        network = network.to(memory_format=torch.channels_last)
        network.ranges = read_ranges(model.card)
    elif SAM2_KEY in checkpoint.metadata:
        network = network_of(path.name, checkpoint.metadata[SAM2_KEY], checkpoint.tensors, image_size)
    elif is_mem3d(checkpoint.tensors):
        network = mem3d_of(path.name, checkpoint, image_size or _number_in(path))
    else:
        network = _sam2(path, checkpoint.tensors, image_size)
    network.info = replace(
        network.info, name=model.name, sha256=model.sha256, licence=model.licence or network.info.licence
    )
    loaded: Network = network.to(device=device, dtype=dtype or torch.float32).eval().requires_grad_(False)
    # recordings know SAM 2's own calls alone, not those of networks made of it
    if type(loaded) is Sam2Network and torch.device(device).type == "cuda":
        return RecordedSam2(loaded)
    return loaded


def _nano(name: str, config: str, tensors: Mapping[str, Tensor]) -> torch.nn.Module:
    try:
        return from_state(config, tensors)
    except (ValueError, TypeError, KeyError) as error:
        raise UnknownCheckpoint(f"{name} is no embedded model that this version can run: {error}") from error


def _sam2(path: Path, tensors: dict[str, Tensor], image_size: int | None) -> Sam2Network:
    if HUGGING_FACE_SIGN in tensors:
        tensors = official_layout(tensors)
    if OFFICIAL_SIGN not in tensors:
        some = ", ".join(list(tensors)[:3])
        raise UnknownCheckpoint(
            f"{path.name} holds another network than SAM 2 (its {len(tensors)} tensors begin with {some}). "
            "Give a SAM 2, SAM 2.1, MedSAM2 or Mem3D checkpoint."
        )
    network = Sam2Network(_config_of(path.name, tensors, image_size or _image_size_of(path)))
    _require_fit(path.name, network, tensors)
    network.load_state_dict(tensors, strict=True)
    return network


def _image_size_of(path: Path) -> int:
    """What the file's name tells of the size that the network was trained at."""
    number = _number_in(path)
    if number:
        return number
    plain = path.stem.lower().replace("-", "").replace("_", "")
    return MEDSAM2_IMAGE_SIZE if "medsam2" in plain else SAM2_IMAGE_SIZE


def _number_in(path: Path) -> int | None:
    number = _SIZE_IN_NAME.search(path.stem)
    return int(number.group(1)) if number else None


def _config_of(name: str, tensors: Mapping[str, Tensor], image_size: int) -> Sam2Config:
    """Size from the width and depth of the trunk, version from the tensors that 2.1 brought."""
    width = tensors[OFFICIAL_SIGN].shape[0]
    depth = len({match.group(1) for match in map(_BLOCK.match, tensors) if match})
    version: Version = "2.1" if {"no_obj_embed_spatial", "obj_ptr_tpos_proj.weight"} & tensors.keys() else "2.0"
    for size, trunk in TRUNKS.items():
        if (trunk.embed_dim, trunk.depth) == (width, depth):
            return Sam2Config.of(size, version, image_size)
    raise UnknownCheckpoint(
        f"{name} is built like SAM 2, but has {depth} blocks of {width} channels, which is no published size "
        f"({', '.join(TRUNKS)}): give one of those."
    )


def _require_fit(name: str, network: Sam2Network, tensors: Mapping[str, Tensor]) -> None:
    """Raise UnknownCheckpoint unless names and shapes are those of the network."""
    own = network.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - own.keys())
    misshapen = sorted(key for key in own.keys() & tensors.keys() if own[key].shape != tensors[key].shape)
    faults = [
        f"{len(names)} tensors {fault} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, fault in ((missing, "are missing"), (unknown, "are unknown"), (misshapen, "have another shape"))
        if names
    ]
    if faults:
        raise UnknownCheckpoint(
            f"{name} looks like {network.config.name}, but {' and '.join(faults)}. "
            "It is a part or a variant of SAM 2: give a whole SAM 2, SAM 2.1 or MedSAM2 checkpoint."
        )
