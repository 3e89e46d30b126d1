"""The reference packages with random weights: pip `sam2` (video predictor) and `transformers` (Sam2VideoModel)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memseg3d.network.sam2.hugging_face import official_name
from memseg3d.network.sam2.network import IMAGE_MEAN, IMAGE_STD

IMAGE_SIZE = 128
"""Small, for speed; the trunks of the other sizes are compared at 256 and 512 pixels."""
SUFFIX = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
PRESENT, OCCLUDED = 3.0, -3.0


def official_predictor(size: str, version: str, image_size: int = IMAGE_SIZE, **options: Any) -> Any:
    """The official video predictor on the CPU with re-randomised weights; `options` override its configuration.

    A correction on a tracked slice makes it a conditioning slice, which is the only working mode of the reference.
    """
    from sam2.build_sam import build_sam2_video_predictor

    folder, name = ("sam2", "sam2") if version == "2.0" else ("sam2.1", "sam2.1")
    grid = f"[{image_size // 16},{image_size // 16}]"
    overrides = [
        f"++model.image_size={image_size}",
        f"++model.memory_attention.layer.self_attention.feat_sizes={grid}",
        f"++model.memory_attention.layer.cross_attention.feat_sizes={grid}",
        "++model.add_all_frames_to_correct_as_cond=true",
        *(f"++model.{key}={value}" for key, value in options.items()),
    ]
    torch.manual_seed(0)
    predictor = build_sam2_video_predictor(
        f"configs/{folder}/{name}_hiera_{SUFFIX[size]}.yaml", None, device="cpu", hydra_overrides_extra=overrides
    )
    randomise(predictor)
    return predictor.requires_grad_(False)


@torch.no_grad()
def randomise(model: torch.nn.Module) -> None:
    """Give weight to what initialisation leaves degenerate, and spread masks and qualities so that nothing is a tie."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "pos_embed" in name or "tpos_enc" in name or name.startswith(("no_mem", "no_obj")):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        elif name.endswith("gamma"):
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.5 + 0.2)
        elif "output_hypernetworks_mlps" in name and ".layers.2." in name:
            parameter.mul_(10)
        elif "iou_prediction_head.layers.2." in name or "pred_obj_score_head.layers.2.weight" in name:
            parameter.mul_(5)
    set_object_score(model, PRESENT)


@torch.no_grad()
def set_object_score(model: Any, bias: float) -> None:
    """Make the object present (+3) or occluded (-3) in a network with official names."""
    model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(bias)


def hugging_face_state(state: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """An official state dict under the Hugging Face `names`."""
    points = [state[f"sam_prompt_encoder.point_embeddings.{label}.weight"] for label in range(4)]
    special = {
        "prompt_encoder.point_embed.weight": torch.cat(points),
        "shared_image_embedding.positional_embedding": state[
            "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
        ],
    }
    return {name: (special[name] if name in special else state[official_name(name)]).clone() for name in names}


def hugging_face_model(state: dict[str, Tensor], version: str, image_size: int = IMAGE_SIZE) -> Any:
    """Transformers' tiny model with the weights of an official state dict."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    config = Sam2VideoConfig(
        enable_occlusion_spatial_embedding=version == "2.1",
        enable_temporal_pos_encoding_for_object_pointers=version == "2.1",
        memory_attention_rope_feat_sizes=[image_size // 16] * 2,
    )
    config.image_size = config.prompt_encoder_config.image_size = image_size
    config.vision_config.backbone_feature_sizes = [[image_size // s] * 2 for s in (4, 8, 16)]
    config.vision_config.backbone_config.image_size = [image_size, image_size]
    model = Sam2VideoModel(config)
    model.load_state_dict(hugging_face_state(state, list(model.state_dict())), strict=True)
    return model.eval().requires_grad_(False)


def grey_slices(count: int, image_size: int = IMAGE_SIZE, seed: int = 7) -> Tensor:
    """Smooth random slices that change slowly: (count, 1, S, S) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    blobs = torch.rand(1, 1, count // 2 + 2, 12, 12, generator=generator)
    size = (count, image_size, image_size)
    volume = torch.nn.functional.interpolate(blobs, size=size, mode="trilinear", align_corners=True)
    texture = torch.rand(count, 1, image_size, image_size, generator=generator)
    return (0.85 * volume[0].transpose(0, 1) + 0.15 * texture).clamp(0, 1)


def normalised(images: Tensor) -> Tensor:
    """Grey slices (N, 1, S, S) as the references want them: (N, 3, S, S), ImageNet mean and deviation removed."""
    mean, deviation = torch.tensor(IMAGE_MEAN).view(3, 1, 1), torch.tensor(IMAGE_STD).view(3, 1, 1)
    return (images - mean) / deviation
