"""Mem3D's networks against their formulas, their published sizes, and what a file of another method is told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from memseg3d.network.checkpoint_files import UnknownCheckpoint
from memseg3d.network.loading import load_network
from memseg3d.network.mem3d import InteractionShape, Mem3dNetwork, MemoryShape
from memseg3d.network.mem3d.checkpoint import backbone_names, begin_from, read_mem3d, write_mem3d
from memseg3d.network.mem3d.encodings import Box, Guide, cut, pasted, point_map, shown
from memseg3d.network.mem3d.guides import guide_of, innermost
from memseg3d.network.mem3d.interaction import InteractionNetwork
from memseg3d.network.mem3d.memory_network import MemoryNetwork, aggregated, read
from memseg3d.network.mem3d.network import to_tensors
from memseg3d.network.mem3d.shapes import KINDS, SMALL_MEMORY, Kind
from memseg3d.network.precision import precision_of
from memseg3d.propagation.prompts.events import RoundDone
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import (
    BoxPrompt,
    ExtremePointsPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume
from Testing.tiny_mem3d import BLOCKS, SIDE, mem3d, mem3d_file, memory_shape

RESNET50, RESNET101, FOURTH, CLASSIFIER = 25_557_032, 44_549_160, 14_964_736, 2_049_000
"""Parameters that torchvision tells of its networks: whole ones, ResNet-50's fourth stage, the classifier."""


def count(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_at_published_width_parameters_are_as_the_architecture_has_them() -> None:
    with torch.device("meta"):
        memory = MemoryNetwork()
        interaction = {kind: InteractionNetwork(InteractionShape(kind)) for kind in KINDS}
    trunk = RESNET50 - FOURTH - CLASSIFIER
    assert count(memory.Encoder_Q) == trunk
    assert count(memory.Encoder_M) == trunk + 2 * 49 * 64
    assert count(memory.KV_Q_r4) == count(memory.KV_M_r4) == 9 * 1024 * (128 + 512) + 128 + 512
    assert memory.Quality is not None
    assert count(memory.Quality) == 9 * 1026 * 1024 + FOURTH + 2048 * 1000 + 1000 + 1000 + 1
    block = 2 * (9 * 256 * 256 + 256)
    branches = 1024 * 256 + 256 + 1024 * 256 + 3 * 9 * 1024 * 256 + 4 * 2 * 256
    aspp = branches + 9 * 5 * 256 * 256 + 256
    refine = [9 * given * 256 + 256 + 2 * block for given in (512, 256)]
    assert count(memory.Decoder) == aspp + block + sum(refine) + 9 * 256 * 2 + 2
    for kind, network in interaction.items():
        extra = 2 if kind in ("two_point", "hybrid") else 1
        assert count(network.backbone) == RESNET101 - CLASSIFIER + 49 * 64 * extra
        assert network.psp.fuse[0].weight.shape == (512, 4096, 1, 1)
        assert network.fine.last[0].conv1.in_channels == 1024
    assert 1.9e6 < count(MemoryNetwork(SMALL_MEMORY)) < 2.2e6


def test_memory_is_read_as_the_formula_has_it() -> None:
    rng = torch.Generator().manual_seed(1)
    key, value = (torch.randn(1, width, 2, 3, generator=rng) for width in (4, 5))
    keys, values = ([torch.randn(1, width, 2, 3, generator=rng) for _ in range(2)] for width in (4, 5))
    found = read(key, value, keys, values)[0].numpy()
    places = [
        (each.numpy()[0, :, r, c], told.numpy()[0, :, r, c])
        for each, told in zip(keys, values, strict=True)
        for r in range(2)
        for c in range(3)
    ]
    for row in range(2):
        for column in range(3):
            asked = key.numpy()[0, :, row, column].astype(float)
            weights = np.exp([float(asked @ place) / math.sqrt(4) for place, _ in places])
            expected = sum(w * told for w, (_, told) in zip(weights / weights.sum(), places, strict=True))
            assert np.allclose(found[:5, row, column], expected, atol=1e-5)
            assert np.allclose(found[5:, row, column], value.numpy()[0, :, row, column])


def test_soft_aggregation_is_the_release_s_for_one_object() -> None:
    two = torch.tensor([[[[0.3, -4.0, 30.0]], [[1.1, 2.0, -30.0]]]])
    p = two.double().softmax(1)[:, 1]
    both = torch.stack([1 - p, p], 1).clamp(1e-7, 1 - 1e-7)
    expected = (both / (1 - both)).log().softmax(1)[:, 1:]
    assert torch.allclose(aggregated(two).sigmoid().double(), expected, atol=1e-6)


def test_a_point_s_map_has_its_width_at_half_its_height() -> None:
    map_ = point_map([(100, 100), (300, 200)], 512)
    assert map_.max() == pytest.approx(255) == map_[300, 200]
    assert map_[105, 100] == pytest.approx(255 / 2, rel=1e-5)
    assert map_[100, 110] == pytest.approx(255 / 16, rel=1e-5)
    assert map_[400, 400] < 1e-6
    assert point_map([], 8).eq(0).all()


def test_a_part_is_cut_and_pasted_where_it_was() -> None:
    image = torch.zeros(1, 64, 64)
    image[0, 20:30, 40:60] = 1
    part = Box(8, 30, 39, 61)
    seen = cut(image, part, 64)
    assert seen[0, 25:43, 21:59].min() > 0.97
    back = pasted(seen, part, 64, -1)
    assert ((back > 0.5) == (image > 0.5)).all()
    assert back[0, 50, 50] == -1
    beyond = cut(torch.ones(1, 64, 64), Box(-32, -32, 31, 31), 64)
    assert beyond[0, :30, :30].abs().max() == 0
    assert beyond[0, 34:, 34:].min() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_prompted_and_shown_as_each_network_takes_it(kind: Kind) -> None:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[20:41, 10:31] = True
    guide = guide_of(kind, mask)
    assert guide is not None
    seen, part = shown(kind, torch.ones(1, SIDE, SIDE), guide, SIDE)
    assert len(seen) == 3 + (2 if kind in ("two_point", "hybrid") else 1)
    assert seen[3].max() > 150
    assert seen[:3].max() == 255
    relax = {"dextr": 50, "inter": 30, "hybrid": 50}.get(kind)
    if relax is not None:
        assert part == Box(20, 10, 40, 30).grown(relax * SIDE / 512)
    if kind == "two_point":
        assert part == Box(0, 0, SIDE - 1, SIDE - 1)
        assert guide.points == [(30.0, 20.0)]
        assert len(guide.others) == 1
    assert guide_of(kind, torch.zeros(SIDE, SIDE, dtype=torch.bool)) is None
    assert innermost(mask) == (30.0, 20.0)


def test_guides_count_nothing_before_training() -> None:
    network = InteractionNetwork(InteractionShape("two_point", 4, BLOCKS)).eval()
    one, other = torch.rand(1, 5, SIDE, SIDE), torch.rand(1, 5, SIDE, SIDE)
    other[:, :3] = one[:, :3]
    outputs = network(one)
    assert [each.shape for each in outputs] == [(1, 1, SIDE, SIDE)] * 5
    assert all(torch.equal(a, b) for a, b in zip(outputs, network(other), strict=True))


def test_a_file_is_read_by_its_tensors_alone(tmp_path: Path) -> None:
    network = mem3d("dextr", "hybrid")
    write_mem3d(tmp_path / "some.safetensors", network, {"steps": 3})
    loaded = load_network(tmp_path / "some.safetensors")
    assert isinstance(loaded, Mem3dNetwork)
    assert loaded.info.image_size == SIDE
    assert loaded.info.memory_rule == "stm"
    assert sorted(loaded.networks) == ["dextr", "hybrid"]
    assert loaded.memory is not None
    assert loaded.memory.shape == memory_shape()
    read_back = to_tensors(loaded)
    for name, tensor in to_tensors(network).items():
        assert torch.allclose(read_back[name].double(), tensor.double(), atol=2e-3), name
    assert precision_of(load_network(tmp_path / "some.safetensors", dtype=torch.bfloat16)) == "bf16"


@pytest.mark.parametrize(("quality", "aspp"), [("", False), ("", True), ("figure", True), ("release", True)])
def test_stm_s_and_every_variant_s_tensors_are_told_apart(tmp_path: Path, quality: str, aspp: bool) -> None:
    shape = memory_shape(quality, aspp)  # type: ignore[arg-type]
    tensors = MemoryNetwork(shape).state_dict()
    if not aspp:
        # As YouTube-VOS files of STM have it.
        tensors |= {"Encoder_M.mean": torch.zeros(1, 3, 1, 1), "Encoder_Q.std": torch.ones(1, 3, 1, 1)}
    torch.save({"state_dict": {f"module.{name}": each for name, each in tensors.items()}}, tmp_path / "stm_384.pth")
    loaded = load_network(tmp_path / "stm_384.pth")
    assert isinstance(loaded, Mem3dNetwork)
    assert loaded.memory is not None
    assert loaded.memory.shape.aspp is aspp
    assert loaded.memory.shape.quality == quality
    assert loaded.info.image_size == 384


def test_another_method_s_or_half_a_checkpoint_is_refused_with_a_reason(tmp_path: Path) -> None:
    save_file({"image_encoder.trunk.pos_embed": torch.zeros(1)}, tmp_path / "sam2.safetensors")
    with pytest.raises(UnknownCheckpoint, match=r"sam2.safetensors holds no network of Mem3D's kind .*STM"):
        read_mem3d(tmp_path / "sam2.safetensors")
    tensors = dict(MemoryNetwork(memory_shape()).state_dict())
    del tensors["Decoder.pred2.bias"]
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(UnknownCheckpoint, match=r"half.safetensors looks like Mem3D's.*Decoder.pred2.bias is missing"):
        load_network(tmp_path / "half.safetensors")
    with pytest.raises(UnknownCheckpoint, match=r"None of the 1 tensors of sam2\.safetensors fits"):
        begin_from(MemoryNetwork(memory_shape()), tmp_path / "sam2.safetensors")


def test_stm_and_residual_networks_are_taken_over_by_key(tmp_path: Path) -> None:
    stm = MemoryNetwork(memory_shape("", aspp=False))
    torch.save(stm.state_dict(), tmp_path / "stm.pth")
    network = MemoryNetwork(memory_shape())
    fresh = network.Decoder.ASPP.fuse.weight.clone()  # type: ignore[union-attr]
    begin_from(network, tmp_path / "stm.pth")
    assert torch.equal(network.Encoder_M.res3[0].conv2.weight, stm.Encoder_M.res3[0].conv2.weight)
    assert torch.equal(network.Decoder.RF2.convFS.weight, stm.Decoder.RF2.convFS.weight)
    assert torch.equal(network.Decoder.ASPP.fuse.weight, fresh)  # type: ignore[union-attr]
    query = stm.Encoder_Q.state_dict()
    plain = {name.replace("res2", "layer1").replace("res3", "layer2"): each for name, each in query.items()}
    torch.save(plain, tmp_path / "resnet.pth")
    for renamed in backbone_names(("Encoder_Q.",), layers=False):
        assert begin_from(network, tmp_path / "resnet.pth", renamed) > 10
    assert torch.equal(network.Encoder_Q.res2[0].conv1.weight, stm.Encoder_Q.res2[0].conv1.weight)


SHAPE = (7, 48, 48)
WAYS: dict[str, list[Prompt]] = {
    "box": [BoxPrompt(1, 0, (3, 14, 14), (3, 31, 31))],
    "extremes": [ExtremePointsPrompt(1, 0, ((3, 14, 22), (3, 31, 22), (3, 22, 14), (3, 22, 31)))],
    "scribble": [ScribblePrompt(1, 0, ((3, 18, 18), (3, 26, 26)), (0.5, 2, 2), SHAPE)],
    "clicks": [PointPrompt(1, (3, 22, 22)), PointPrompt(1, (3, 40, 40), False)],
    "mask": [MaskPrompt(1, 0, 3, np.pad(np.ones((18, 18), bool), 15))],
}


@pytest.mark.parametrize("parts", ["both", "memory", "interaction"])
@pytest.mark.parametrize("way", list(WAYS))
def test_sessions_run_with_every_prompt_and_go_on_with_a_click(way: str, parts: str) -> None:
    kinds: tuple[Kind, ...] = () if parts == "memory" else ("dextr", "scribble")
    network = mem3d(*kinds, memory=parts != "interaction")
    voxels = np.random.default_rng(2).normal(0, 1, SHAPE).astype(np.float32)
    voxels[1:6, 14:32, 14:32] += 6
    session = Session(Volume(voxels, (2.0, 1.0, 1.0)), network, Options())
    events = list(session.begin("one", WAYS[way]))
    assert isinstance(events[-1], RoundDone)
    before = session.labelmap(1)
    click = PointPrompt(1, (3, 22, 24), False)
    assert isinstance(list(session.begin("two", [click]))[-1], RoundDone)
    after = session.labelmap(1)
    assert not after[3, 22, 24]
    if way == "mask":
        assert before[3].sum() == 18 * 18
        assert 0 < after[3].sum() < 18 * 18


def test_what_was_drawn_reaches_the_network_that_was_made_for_it() -> None:
    network = mem3d("dextr", "scribble", "inter", "two_point")
    asked: list[str] = []
    for kind, each in network.networks.items():
        each.register_forward_hook(lambda *_, kind=kind: asked.append(kind))
    voxels = np.random.default_rng(2).normal(0, 1, SHAPE).astype(np.float32)
    for way in ("box", "extremes", "scribble", "clicks"):
        list(Session(Volume(voxels, (2.0, 1.0, 1.0)), network, Options()).begin("one", WAYS[way]))
    assert list(dict.fromkeys(asked)) == ["inter", "dextr", "scribble", "two_point"]


def test_the_model_file_of_the_tests_opens(tmp_path: Path) -> None:
    assert isinstance(load_network(mem3d_file(tmp_path, "inter")), Mem3dNetwork)
    assert MemoryShape.of(MemoryNetwork(SMALL_MEMORY).state_dict()) == SMALL_MEMORY
    assert Guide(Box(0, 0, 1, 1)).drawn is None
