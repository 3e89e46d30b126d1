"""VISTA3D's layout by MONAI's names, against MONAI itself where it is there, and what the local expert sees.

MONAI takes long to import, so that the comparison is an audit: `make audit-experts`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from memseg3d.experts.loading import load_expert
from memseg3d.experts.local_expert import LocalExpert
from memseg3d.experts.regions import Region3
from memseg3d.experts.seam import Answer, Box, Click, ExpertInfo, Request, Sighting
from memseg3d.experts.sight import METADATA, Sight3
from memseg3d.experts.vista3d.network import Vista3D, widened
from memseg3d.experts.vista3d.shapes import PUBLISHED, SIGN, SMALL, TINY, Vista3DShape, shape_of
from memseg3d.network.checkpoint_files import UnknownCheckpoint

NEEDS_MONAI = pytest.mark.skipif(
    find_spec("monai") is None or find_spec("einops") is None,
    reason="MONAI is not in this environment: make audit-experts",
)


def a_network(shape: Vista3DShape = TINY) -> Vista3D:
    torch.manual_seed(0)
    return Vista3D(shape).eval().requires_grad_(False)


def answer(expert: LocalExpert, request: Request) -> Answer:
    steps = expert.segment(request)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Answer = end.value
            return found


@NEEDS_MONAI
def test_equal_to_monai(tmp_path: Path) -> None:
    from monai.networks.nets.vista3d import vista3d132

    torch.manual_seed(0)
    reference = vista3d132(encoder_embed_dim=48, in_channels=1).eval()
    torch.save(reference.state_dict(), tmp_path / "model.pt")
    expert = load_expert(tmp_path / "model.pt")
    assert isinstance(expert, LocalExpert)
    assert expert.network.shape == PUBLISHED
    image = torch.rand(1, 1, 48, 32, 32)
    points, labels = torch.tensor([[[3.0, 4.0, 5.0], [40.0, 30.0, 11.0]]]), torch.tensor([[1, 0]])
    with torch.inference_mode():
        wanted = reference(image, point_coords=points, point_labels=labels)
        torch.testing.assert_close(expert.network(image, points, labels), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [PUBLISHED, SMALL, TINY], ids=["published", "small", "tiny"])
def test_a_shape_is_told_by_its_tensors(shape: Vista3DShape) -> None:
    with torch.device("meta"):
        tensors = Vista3D(shape).state_dict()
    assert shape_of(tensors) == shape


def test_the_published_names_and_sizes_are_kept() -> None:
    with torch.device("meta"):
        sizes = {name: tuple(value.shape) for name, value in Vista3D(PUBLISHED).state_dict().items()}
    assert sizes["image_encoder.encoder.conv_init.weight"] == (48, 1, 3, 3, 3)
    assert sizes["image_encoder.encoder.layers.4.blocks.3.conv2.weight"] == (768, 768, 3, 3, 3)
    assert sizes["image_encoder.up_layers.3.head.weight"] == (48, 48, 1, 1, 1)
    assert sizes["image_encoder.up_layers.0.upsample.deconv.weight"] == (768, 384, 3, 3, 3)
    assert sizes["point_head.transformer.layers.1.mlp.linear2.weight"] == (48, 512)
    assert sizes["point_head.pe_layer.positional_encoding_gaussian_matrix"] == (3, 24)


def test_a_wider_input_begins_with_the_same_answers() -> None:
    network = a_network()
    wide = Vista3D.of(widened(network.state_dict())).eval()
    image = torch.rand(1, 1, 8, 8, 8)
    points, labels = torch.tensor([[[3.0, 4.0, 5.0]]]), torch.tensor([[1]])
    shown = torch.cat([image, torch.rand(1, 3, 8, 8, 8)], 1)
    torch.testing.assert_close(wide(shown, points, labels), network(image, points, labels))


def test_a_file_tells_how_it_looks_and_a_part_is_refused(tmp_path: Path) -> None:
    tensors = a_network().state_dict()
    save_file(tensors, tmp_path / "local.safetensors", {METADATA: Sight3(side=32, mm=1.5).to_json()})
    expert = load_expert(tmp_path / "local.safetensors")
    assert isinstance(expert, LocalExpert)
    assert expert.sight == Sight3(1.5, 32)
    assert expert.info.sees_patch
    save_file({**tensors, SIGN: torch.zeros(8, 3, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(UnknownCheckpoint, match="3 channels"):
        load_expert(tmp_path / "other.safetensors")
    save_file(tensors, tmp_path / "odd.safetensors", {METADATA: "{}"})
    with pytest.raises(UnknownCheckpoint, match="how it looks"):
        load_expert(tmp_path / "odd.safetensors")


def test_a_patch_is_moved_into_the_volume_and_small_volumes_are_padded() -> None:
    expert = LocalExpert(a_network(Vista3DShape(8, (1, 1, 1, 1, 1), mlp=32)), ExpertInfo("small", frozenset()))
    region = expert.region(Sighting((300, 200, 40), (1.0, 1.0, 1.0), None, None, ((2.0, 100.0, 20.0),)))
    assert region == Region3((0, 36, -4), (128, 128, 48), (128, 128, 48))
    coarse = LocalExpert(expert.network, expert.info, Sight3(1.5, 128))
    region = coarse.region(Sighting((300, 200, 40), (0.75, 1.5, 3.0), None, None, ((150.0, 100.0, 20.0),)))
    assert region.grid == (128, 128, 80)
    assert region.size == (256, 128, 40)


def test_what_is_shown() -> None:
    """The window, black beyond the volume; previous mask and clicks where the network takes them."""
    region = Region3((-2, 0, 0), (8, 8, 8), (8, 8, 8))
    request = Request("v", region, np.full((8, 8, 8), 40.0, np.float32), None, (), 0, (-160.0, 240.0), (5, 8, 8))
    assert request.shown()[:, 0, 0].tolist() == [0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0]
    image = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    clicks = (Click((3.0, 3.0, 3.0)), Click((6.0, 6.0, 6.0), False))
    first = Request("w", Region3.whole((8, 8, 8)), image, None, clicks, 2)
    again = Request("w", first.region, image, np.ones((8, 8, 8), np.float32), clicks, 0)
    boxed = Request("w", first.region, image, None, (Box((1.0, 1.0, 1.0), (4.0, 4.0, 4.0)),), 1)
    plain = LocalExpert(a_network(), ExpertInfo("plain", frozenset()))
    assert np.array_equal(answer(plain, first).logits, answer(plain, again).logits)
    assert not np.array_equal(answer(plain, first).logits, answer(plain, boxed).logits)
    wide = LocalExpert(a_network(Vista3DShape(8, (1, 1), 4, 32)), ExpertInfo("wide", frozenset()))
    assert not np.array_equal(answer(wide, first).logits, answer(wide, again).logits)
