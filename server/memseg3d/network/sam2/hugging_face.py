"""Names of the Hugging Face layout of SAM 2 (transformers, `Sam2VideoModel`) turned into the official names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

SIGN = "vision_encoder.backbone.patch_embed.projection.weight"
"""A tensor that every such checkpoint has and no official one."""

_STACKED_POINTS = "prompt_encoder.point_embed.weight"
_COPY_OF_THE_MATRIX = "shared_image_embedding.positional_embedding"

_HEADS = r"(mask_decoder\.(?:iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d+)|obj_ptr_proj)"

# (pattern, replacement) in order; each name passes through all of them once
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^object_pointer_proj\.", "obj_ptr_proj."),
        # three-layer heads; the middle layer is numbered 0 there and must move before the first becomes 0
        (rf"^{_HEADS}\.layers\.0\.", r"\1.layers.1."),
        (rf"^{_HEADS}\.proj_in\.", r"\1.layers.0."),
        (rf"^{_HEADS}\.proj_out\.", r"\1.layers.2."),
        (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
        (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
        # trunk and neck
        (r"^vision_encoder\.backbone\.patch_embed\.projection\.", "image_encoder.trunk.patch_embed.proj."),
        (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
        (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
        # memory encoder
        (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
        (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
        (r"^memory_encoder\.mask_downsampler\.final_conv\.", "memory_encoder.mask_downsampler.encoder.12."),
        (r"^memory_encoder\.memory_fuser\.layers\.(\d+)\.layer_norm\.", r"memory_encoder.fuser.layers.\1.norm."),
        (r"^memory_encoder\.memory_fuser\.layers\.(\d+)\.scale$", r"memory_encoder.fuser.layers.\1.gamma"),
        (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
        (r"\.depthwise_conv\.", ".dwconv."),
        (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
        # prompt encoder and mask decoder
        (
            r"^prompt_encoder\.shared_embedding\.positional_embedding$",
            "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"^prompt_encoder\.mask_embed\.conv1\.", "sam_prompt_encoder.mask_downscaling.0."),
        (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "sam_prompt_encoder.mask_downscaling.1."),
        (r"^prompt_encoder\.mask_embed\.conv2\.", "sam_prompt_encoder.mask_downscaling.3."),
        (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "sam_prompt_encoder.mask_downscaling.4."),
        (r"^prompt_encoder\.mask_embed\.conv3\.", "sam_prompt_encoder.mask_downscaling.6."),
        (r"^prompt_encoder\.", "sam_prompt_encoder."),
        (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
        (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
        (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
        (r"^mask_decoder\.transformer\.layer_norm_final_attn\.", "mask_decoder.transformer.norm_final_attn."),
        (r"^mask_decoder\.", "sam_mask_decoder."),
        # everywhere
        (r"\.o_proj\.", ".out_proj."),
        (r"\.layer_norm(\d*)\.", r".norm\1."),
        # single tensors
        (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
        (r"^no_memory_embedding$", "no_mem_embed"),
        (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
        (r"^no_object_pointer$", "no_obj_ptr"),
        (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
        (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    )
)

# the mask downsampler groups (convolution, norm, activation) in threes
_DOWNSAMPLER = re.compile(r"^memory_encoder\.mask_downsampler\.layers\.(\d+)\.(conv|layer_norm)\.(weight|bias)$")


def official_name(name: str) -> str:
    """The official name of one tensor of the Hugging Face layout."""
    in_downsampler = _DOWNSAMPLER.match(name)
    if in_downsampler:
        group, part, kind = in_downsampler.groups()
        position = 3 * int(group) + (part == "layer_norm")
        return f"memory_encoder.mask_downsampler.encoder.{position}.{kind}"
    for pattern, replacement in _RULES:
        name = pattern.sub(replacement, name)
    return name


def official_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in the official layout; the stacked point embeddings (4, dim) become four (1, dim)."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == _COPY_OF_THE_MATRIX:
            continue
        if name == _STACKED_POINTS:
            for label, row in enumerate(tensor):
                renamed[f"sam_prompt_encoder.point_embeddings.{label}.weight"] = row[None]
        else:
            renamed[official_name(name)] = tensor
    return renamed
