"""Parity of every stage alone: image encoder in all sizes, memory attention, mask decoder, memory encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from memseg3d.network.sam2 import Sam2Config, Sam2Network
from memseg3d.network.sam2.config import Size
from memseg3d.network.sam2.mask_decoder import stable_or_best
from memseg3d.network.seam import Conditioned, Features, Memory, MemoryRead, Prompts

from .conftest import Pair
from .references import grey_slices, normalised, official_predictor

pytestmark = pytest.mark.parity


def same(ours: Tensor, theirs: Tensor) -> None:
    assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def as_sequence(maps: Tensor) -> Tensor:
    """(B, C, h, w) to the (h * w, B, C) that the official modules take."""
    return maps.flatten(2).permute(2, 0, 1)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("size", "image_size"), [("tiny", 512), ("small", 256), ("base_plus", 256), ("large", 256)], ids=lambda v: str(v)
)
def test_parity_of_a_prompted_slice_and_the_next_in_each_size(size: Size, image_size: int) -> None:
    """Trunk, neck, mask decoder, memory encoder and memory attention of one size, from images to masks."""
    official = official_predictor(size, "2.1", image_size)
    ours = Sam2Network(Sam2Config.of(size, "2.1", image_size)).eval()
    ours.load_state_dict(official.state_dict(), strict=True)
    images = grey_slices(1, image_size)
    features = ours.encode(images)
    theirs = official.forward_image(normalised(images))
    for our_level, their_level in zip(features.levels, theirs["backbone_fpn"], strict=True):
        same(our_level, their_level)
    check_heads(official, ours, features, theirs)


def check_heads(official: Any, ours: Sam2Network, features: Features, theirs: dict[str, Any]) -> None:
    """One box on the slice without memory, and what the slice remembers of it."""
    raw = theirs["backbone_fpn"][-1]
    points, labels = torch.tensor([[[40.0, 50.0], [150.0, 170.0]]]), torch.tensor([[2, 3]])
    decoded = ours.decode(ours.attend(features, [], 20), Prompts(points, labels))
    _, _, ious, low, high, pointer, score = official._forward_sam_heads(
        raw + official.no_mem_embed.view(1, -1, 1, 1),
        {"point_coords": points, "point_labels": labels},
        high_res_features=theirs["backbone_fpn"][:2],
    )
    assert decoded.pointers is not None
    for our_part, their_part in (
        (decoded.logits, low),
        (decoded.quality, ious),
        (decoded.pointers[:, 0], pointer),
        (decoded.object_score, score),
    ):
        same(our_part, their_part)
    side = raw.shape[-1]
    memory, _ = official._encode_new_memory([as_sequence(raw)], [(side, side)], high, score, is_mask_from_pts=False)
    remembered = ours.remember(features, decoded.logits, decoded.object_score, decoded.pointers[:, 0], prompted=False)
    assert_close(remembered.tensors["spatial"], memory.to(torch.bfloat16), atol=1e-2, rtol=1e-2)


@torch.inference_mode()
def test_parity_of_the_image_encoder(pair: Pair) -> None:
    for index in (0, 5):
        theirs = pair.official_features[index][1]["backbone_fpn"]
        for our_level, their_level in zip(pair.our_features[index].levels, theirs, strict=True):
            same(our_level, their_level)


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("pointers", [1, 16])
def test_parity_of_memory_attention(pair: Pair, frames: int, pointers: int) -> None:
    """Random memories of one and seven slices, 4 and 64 pointer tokens."""
    generator = torch.Generator().manual_seed(3)
    side, dim = pair.ours.config.feature_size, pair.ours.config.memory_dim
    memory = torch.randn(1, frames * side**2 + 4 * pointers, dim, generator=generator)
    positions = torch.randn(memory.shape, generator=generator)
    features = pair.our_features[0].levels[-1]
    code = pair.ours.feature_positions.table
    ours = pair.ours.memory_attention(features, code, memory, positions, 4 * pointers)
    theirs = pair.official.memory_attention(
        curr=[as_sequence(features)],
        curr_pos=[as_sequence(code[None])],
        memory=memory.transpose(0, 1),
        memory_pos=positions.transpose(0, 1),
        num_obj_ptr_tokens=4 * pointers,
    )
    same(as_sequence(ours), theirs)


@torch.inference_mode()
@pytest.mark.parametrize("track_in_reverse", [False, True], ids=["forward", "reverse"])
def test_parity_of_what_is_read_from_memory(pair: Pair, track_in_reverse: bool) -> None:
    """Slots, signed pointer offsets and their encodings, with conditioning slices on both sides of slice 9 of 20."""
    generator = torch.Generator().manual_seed(5)
    side, sign = pair.ours.config.feature_size, -1 if track_in_reverse else 1
    bank: dict[int, Memory] = {}
    for index in range(20):
        spatial = torch.randn(1, 64, side, side, generator=generator).to(torch.bfloat16)
        bank[index] = Memory({"spatial": spatial}, torch.randn(1, 256, generator=generator))
    conditioning = [2, 14]
    grid = pair.ours.memory_positions.table[None]
    outputs: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    for index, memory in bank.items():
        kind = "cond_frame_outputs" if index in conditioning else "non_cond_frame_outputs"
        outputs[kind][index] = {
            "maskmem_features": memory.tensors["spatial"],
            "maskmem_pos_enc": [grid],
            "obj_ptr": memory.pointer,
        }
    raw = pair.our_features[9].levels[-1]
    theirs = pair.official._prepare_memory_conditioned_features(
        9, False, [as_sequence(raw)], [as_sequence(pair.ours.feature_positions.table[None])], [(side, side)],
        outputs, 20, track_in_reverse,
    )  # fmt: skip
    reads = [MemoryRead(bank[c], 0, (9 - c) * sign if (9 - c) * sign >= 0 else None) for c in conditioning]
    for distance in range(1, 16):
        at = 9 - sign * distance
        if at in bank and at not in conditioning:
            reads.append(MemoryRead(bank[at], distance if distance < 7 else None, distance))
    ours = pair.ours.attend(pair.our_features[9], reads, 20)
    same(ours.features.levels[-1], theirs)


@torch.inference_mode()
@pytest.mark.parametrize("prompt", ["none", "one point", "box", "four points", "padded"])
@pytest.mark.parametrize("has_prior", [False, True], ids=["no prior", "prior"])
def test_parity_of_the_mask_decoder(pair: Pair, object_score: str, prompt: str, has_prior: bool) -> None:
    """Every candidate with its quality and its pointer, not only the chosen one."""
    points = torch.tensor([[[20.0, 25.0], [75.0, 85.0], [50.0, 49.0], [3.0, 125.0]]])
    labels = torch.tensor([[2, 3, 1, 0]])
    picked = {"none": [], "one point": [2], "box": [0, 1], "four points": [0, 1, 2, 3], "padded": [2, 3]}[prompt]
    prompts = Prompts(points[:, picked], labels[:, picked]) if picked else None
    if prompt == "padded":
        prompts = Prompts(points[:, picked], torch.tensor([[1, -1]]))
    generator = torch.Generator().manual_seed(4)
    side = pair.ours.config.logit_size
    prior = (torch.randn(1, 1, side, side, generator=generator) * 8).clamp(-32, 32) if has_prior else None
    levels = pair.our_features[1].levels
    decoded = pair.ours.decode(Conditioned(Features(levels)), prompts, prior)
    _, _, ious, chosen, _, pointer, score = official_heads = pair.official._forward_sam_heads(
        levels[-1],
        {"point_coords": prompts.points, "point_labels": prompts.labels} if prompts else None,
        prior,
        list(levels[:2]),
        multimask_output=len(picked) <= 1,
    )
    assert decoded.pointers is not None
    same(decoded.logits, official_heads[0])
    same(decoded.quality, ious)
    same(decoded.object_score, score)
    assert int(decoded.chosen) == int(ious.argmax())
    same(decoded.logits[:, int(decoded.chosen)][:, None], chosen)
    same(decoded.pointers[:, int(decoded.chosen)], pointer)


def test_parity_of_the_fall_back_from_an_unstable_mask(pair: Pair) -> None:
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(4, 4, 16, 16, generator=generator)
    logits[0, 0] *= 1000  # its area does not depend on the threshold
    logits[1, 0] *= 0.01
    logits[2, 0] = -5.0  # no area at any threshold
    quality = torch.rand(4, 4, generator=generator)
    ours = stable_or_best(logits, quality)
    theirs = pair.official.sam_mask_decoder._dynamic_multimask_via_stability(logits, quality)
    for our_part, their_part in zip(ours, theirs, strict=True):
        same(our_part, their_part)
    assert torch.equal(ours[0][0], logits[0, :1])
    assert not torch.equal(ours[0][1], logits[1, :1])


@torch.inference_mode()
@pytest.mark.parametrize("prompted", [False, True], ids=["tracked", "prompted"])
def test_parity_of_the_memory_encoder(pair: Pair, prompted: bool) -> None:
    """Present and occluded objects in one batch, before the memory is rounded to bfloat16."""
    generator = torch.Generator().manual_seed(8)
    size, side = pair.ours.config.image_size, pair.ours.config.feature_size
    logits = torch.randn(2, 1, size, size, generator=generator) * 4
    scores = torch.tensor([[2.0], [-2.0]])
    raw = pair.our_features[0].levels[-1].expand(2, -1, -1, -1)
    theirs, _ = pair.official._encode_new_memory([as_sequence(raw)], [(side, side)], logits, scores, prompted)
    remembered = pair.ours.remember(Features((raw,)), logits, scores, None, prompted)
    assert_close(remembered.tensors["spatial"], theirs.to(torch.bfloat16), atol=1e-2, rtol=1e-2)
    mask = (logits > 0).float() if prompted else logits.sigmoid()
    before_rounding = pair.official.memory_encoder(raw, mask * 20 - 10, skip_mask_sigmoid=True)["vision_features"]
    same(pair.ours.memory_encoder(raw, mask * 20 - 10), before_rounding)
