"""SAM-Med3D's layout by its published names, its attention against the plain one, and what the global expert sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from memseg3d.experts.global_expert import GlobalExpert, clicks_of
from memseg3d.experts.loading import load_expert
from memseg3d.experts.regions import Extent3, Region3
from memseg3d.experts.sam_med3d.image_encoder import _Attention
from memseg3d.experts.sam_med3d.network import SamMed3D
from memseg3d.experts.sam_med3d.shapes import DUAL_CLICK, PUBLISHED, SamMed3DShape, narrow, shape_of
from memseg3d.experts.seam import Answer, Box, Click, ExpertInfo, Request, Sighting
from memseg3d.network.checkpoint_files import UnknownCheckpoint

SMALL = narrow(width=64, depth=3, prompt_width=48, side=32)


def a_network(shape: SamMed3DShape = SMALL) -> SamMed3D:
    torch.manual_seed(0)
    network = SamMed3D(shape).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return network


def answer(expert: GlobalExpert, request: Request) -> Answer:
    steps = expert.segment(request)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Answer = end.value
            return found


def plain_attention(attention: _Attention, tokens: Tensor) -> Tensor:
    """Windowed attention as it is defined: the grid padded to the window, every padded token a key of its own."""
    side, window, heads = attention.grid, attention.window, attention.heads
    batch, width = tokens.shape[0], tokens.shape[-1]
    padded = functional.pad(tokens, (0, 0) + (0, window - side) * 3)
    query, key, value = (
        attention.qkv(padded).reshape(batch, window**3, 3, heads, -1).permute(2, 0, 3, 1, 4)  # (3, B, n, N, c)
    )
    logits = query @ key.transpose(-1, -2) / (width // heads) ** 0.5
    places = torch.stack(torch.meshgrid(*[torch.arange(window)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for axis, table in enumerate((attention.rel_pos_d, attention.rel_pos_h, attention.rel_pos_w)):
        distance = places[:, None, axis] - places[None, :, axis] + window - 1
        logits = logits + torch.einsum("bnqc,qkc->bnqk", query, table[distance])
    found = (logits.softmax(-1) @ value).transpose(1, 2).reshape(batch, window, window, window, width)
    projected: Tensor = attention.proj(found[:, :side, :side, :side])
    return projected


@pytest.mark.parametrize("window", [5, 3], ids=["padded", "whole"])
def test_padding_counts_as_one_key_and_changes_nothing(window: int) -> None:
    torch.manual_seed(1)
    shape = SamMed3DShape(side=24, patch=8, width=32, heads=2, windows=(window,), depth=1)
    attention = _Attention(shape, window)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    tokens = torch.randn(2, 3, 3, 3, 32)
    torch.testing.assert_close(attention(tokens), plain_attention(attention, tokens), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [PUBLISHED, DUAL_CLICK, SMALL], ids=["published", "dual-click", "narrow"])
def test_a_shape_is_told_by_its_tensors(shape: SamMed3DShape) -> None:
    with torch.device("meta"):
        tensors = SamMed3D(shape).state_dict()
    assert shape_of(tensors) == shape


def test_the_published_names_and_sizes_are_kept() -> None:
    with torch.device("meta"):
        sizes = {name: tuple(value.shape) for name, value in SamMed3D(PUBLISHED).state_dict().items()}
    assert sizes["image_encoder.pos_embed"] == (1, 8, 8, 8, 768)
    assert sizes["image_encoder.blocks.0.attn.rel_pos_h"] == (27, 64)
    assert sizes["image_encoder.blocks.2.attn.rel_pos_h"] == (15, 64)
    assert sizes["image_encoder.neck.3.bias"] == (384,)
    assert sizes["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] == (3, 128)
    assert sizes["mask_decoder.transformer.layers.1.cross_attn_image_to_token.q_proj.weight"] == (192, 384)
    assert sizes["mask_decoder.output_upscaling.1.weight"] == (96,)
    assert sizes["mask_decoder.output_hypernetworks_mlps.3.layers.2.weight"] == (48, 384)
    assert sizes["mask_decoder.iou_prediction_head.layers.2.weight"] == (4, 256)


def test_a_training_checkpoint_is_loaded_and_a_part_of_one_refused(tmp_path: Path) -> None:
    tensors = a_network().state_dict()
    torch.save({"model_state_dict": tensors, "epoch": 3}, tmp_path / "expert.pth")
    expert = load_expert(tmp_path / "expert.pth")
    assert isinstance(expert, GlobalExpert)
    assert (expert.info.name, len(expert.info.sha256)) == ("expert", 64)
    tensors.pop("mask_decoder.mask_tokens.weight")
    torch.save(tensors, tmp_path / "part.pth")
    with pytest.raises(UnknownCheckpoint, match="cannot be one"):
        load_expert(tmp_path / "part.pth")
    torch.save({"some": torch.zeros(3)}, tmp_path / "other.pth")
    assert load_expert(tmp_path / "other.pth") is None


def test_a_box_scales_the_region_along_each_axis() -> None:
    expert = GlobalExpert(a_network(), ExpertInfo("small", frozenset()))
    box = Extent3((10.0, 20.0, 20.0), (11.0, 49.0, 39.0))
    region = expert.region(Sighting((60, 100, 100), (5.0, 1.0, 1.0), box, None, ()))
    assert region.size == (8, 54, 36), "1.8 times the box, eight voxels at least"
    assert region.grid == (32, 32, 32)
    assert region.to_grid(box.center) == pytest.approx((15.5, 15.5, 15.5), abs=3.0)


def test_a_mask_that_changes_a_little_is_seen_through_the_same_region() -> None:
    expert = GlobalExpert(a_network(), ExpertInfo("small", frozenset()))
    found = set()
    for grown in (0.0, 1.0, 2.0):
        mask = Extent3((10.0, 21.0, 20.0), (29.0, 60.0 + grown, 59.0 + grown))
        found.add(expert.region(Sighting((60, 100, 100), (5.0, 1.0, 1.0), None, mask, ())))
    [region] = found
    for size, side in zip(region.size, mask.size, strict=True):
        assert 1.75 * side <= size <= 2.2 * side
    assert all(region.holds(corner) for corner in (mask.lower, mask.upper))


def test_a_click_alone_is_seen_in_millimetres_and_the_region_grows() -> None:
    expert = GlobalExpert(a_network(), ExpertInfo("small", frozenset()))
    sighting = Sighting((60, 200, 200), (5.0, 1.0, 1.0), None, None, ((30.0, 100.0, 100.0),))
    region = expert.region(sighting)
    assert region.size == (19, 96, 96)
    assert region.holds((30.0, 100.0, 100.0))
    wider = expert.wider(region, sighting)
    assert wider is not None
    assert wider.size == (28, 144, 144)
    assert expert.wider(Region3((0, 0, 0), (60, 200, 200), (32, 32, 32)), sighting) is None


def test_the_box_is_its_middle_and_negative_clicks_come_last() -> None:
    clicks = clicks_of((Click((1, 1, 1), False), Box((0, 0, 0), (9, 9, 9)), Click((2, 2, 2))), 64)
    assert [(click.position, click.positive) for click in clicks] == [
        ((31.0, 31.0, 31.0), True),
        ((2, 2, 2), True),
        ((1, 1, 1), False),
    ]


def test_a_second_click_in_a_region_costs_the_decoder_alone() -> None:
    expert = GlobalExpert(a_network(), ExpertInfo("small", frozenset()))
    region = Region3((0, 0, 0), (32, 32, 32), (32, 32, 32))
    image = np.random.default_rng(0).random((32, 32, 32), dtype=np.float32)
    request = Request("v", region, image, None, (Click((3.0, 4.0, 5.0)),), 1)
    first = answer(expert, request)
    assert first.logits.shape == (32, 32, 32)
    calls = []
    expert.network.image_encoder.register_forward_hook(lambda *_words: calls.append(1))
    again = answer(expert, Request("v", region, image, None, (*request.prompts, Click((9.0, 9.0, 9.0), False)), 1))
    assert not calls
    assert not np.array_equal(first.logits, again.logits)
    previous = np.ones_like(image)
    assert not np.array_equal(
        first.logits, answer(expert, Request("v", region, image, previous, request.prompts, 0)).logits
    )
