"""`build_sam2_video_predictor`: from the words of SAM 2's scripts to a predictor on our networks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from memseg3d.network.loading import load_network
from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.config import Size, Version
from memseg3d.video.predictor import VideoPredictor

SIZES: dict[str, Size] = {"t": "tiny", "s": "small", "b+": "base_plus", "l": "large"}
SIZES |= {size: size for size in list(SIZES.values())}
_CONFIG = re.compile(r"(?:^|/)(sam2(?:\.1)?)_hiera_(tiny|small|base_plus|large|t|s|b\+|l)(\d+)?(?:\.yaml)?$")
_MEDSAM2 = re.compile(r"(?:^|/)sam2(?:\.1)?_hiera_t512(?:\.yaml)?$")
POSTPROCESSING = {
    "sam_mask_decoder_extra_args.dynamic_multimask_via_stability": "true",
    "binarize_mask_from_pts_for_mem_enc": "true",
}
IGNORED = re.compile(
    r"^(memory_attention\..*\.feat_sizes|fill_hole_area|_target_|compile_.*|sam_mask_decoder_extra_args\..*)$"
)
"""Overrides without effect here: positions follow the image size, and holes are not filled."""


def sam2_config(words: str, image_size: int | None = None) -> Sam2Config:
    """The configuration that a name such as `sam2_hiera_s` or `configs/sam2.1/sam2.1_hiera_t.yaml` means.

    image_size: by default 1024, or the number at the name's end (sam2.1_hiera_t512). Raises ValueError.
    """
    found = _CONFIG.search(str(words).replace("\\", "/"))
    if found is None:
        raise ValueError(f"{words} names no SAM 2 configuration: give one as sam2_hiera_s or sam2.1_hiera_t.yaml.")
    family, size, number = found.groups()
    version: Version = "2.1" if family == "sam2.1" else "2.0"
    if _MEDSAM2.search(str(words).replace("\\", "/")):
        version = "2.1"
    return Sam2Config.of(SIZES[size], version, image_size or int(number or 1024))


def build_sam2_video_predictor(
    config_file: str,
    ckpt_path: str | Path | None = None,
    device: str | torch.device | None = None,
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    image_size: int | None = None,
    **kwargs: Any,
) -> VideoPredictor:
    """A predictor as `sam2.build_sam.build_sam2_video_predictor` makes it.

    config_file: a configuration's name; it must be that of the checkpoint. ckpt_path: any checkpoint that the worker
    loads; None: random weights. device: a GPU where there is one, else the CPU. hydra_overrides_extra: image_size,
    add_all_frames_to_correct_as_cond and non_overlap_masks are obeyed; whatever else would change results is refused by
    ValueError, as are switching off the post-processing and a training mode. vos_optimized changes nothing.
    """
    if mode != "eval" or not apply_postprocessing:
        raise ValueError("This predictor is for inference, with SAM 2's post-processing: leave both options out.")
    if kwargs:
        raise ValueError(f"There is no option {', '.join(kwargs)} here: leave it out.")
    words = _overrides(hydra_overrides_extra)
    size = image_size or (int(words["image_size"]) if "image_size" in words else None)
    config = sam2_config(config_file, size)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if ckpt_path is None:
        network: Any = Sam2Network.random(config).to(where)
    else:
        network = load_network(ckpt_path, config.image_size, where)
        held = getattr(getattr(network, "network", network), "config", None)
        if held != config:
            told = getattr(held, "name", network.info.name)
            raise ValueError(
                f"{ckpt_path} holds {told}, and {config_file} means {config.name}: give what belongs together."
            )
    return VideoPredictor(
        network,
        corrects_as_conditioning=words.get("add_all_frames_to_correct_as_cond") == "true",
        apart=words.get("non_overlap_masks") == "true",
    )


def _overrides(lines: Sequence[str]) -> dict[str, str]:
    """Hydra's `++model.name=value` as a table, of what is obeyed. Raises ValueError."""
    obeyed = ("image_size", "add_all_frames_to_correct_as_cond", "non_overlap_masks")
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.lstrip("+").removeprefix("model.").partition("=")
        if name in obeyed:
            found[name] = value.lower()
        elif POSTPROCESSING.get(name, "") != value.lower() and not IGNORED.match(name):
            raise ValueError(f"The override {line} is not known here: only {', '.join(obeyed)} can be changed.")
    return found
