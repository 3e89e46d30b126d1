"""Simulated prompts, losses and the loop: it learns, resumes, and writes weights that load."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from memseg3d.network.loading import load_network
from memseg3d.network.models import describe_model
from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.network.seam import BOX_END, BOX_START, NEGATIVE, POSITIVE, Decoded
from memseg3d.training.clips import ClipSettings, SyntheticClips
from memseg3d.training.drawings import extreme_points, stroke
from memseg3d.training.loop import Trainer, TrainSettings
from memseg3d.training.losses import LossWeights, hard_dice, slice_loss, soft_iou
from memseg3d.training.prompting import boxes, corrective_click, deepest_points, first_prompts
from memseg3d.training.release import ReleaseError, release
from memseg3d.training.rollout import ClipRun

CONFIG = NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16)
CLIPS = ClipSettings(image_size=32, length=3, canvas=48, slices=4, clips_per_volume=3)
SETTINGS = TrainSettings(
    steps=4, single_steps=2, decay_steps=1, batch=2, single_batch=3, warmup=1, threads=1, workers=0, clips=CLIPS
)


@pytest.fixture
def a_square() -> torch.Tensor:
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:20, 10:16] = 1
    return truth


@pytest.fixture
def dice() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _decoded(logits: torch.Tensor) -> Decoded:
    one = torch.zeros(logits.shape[0], 1)
    return Decoded(logits, one.sigmoid(), one, torch.zeros(1, dtype=torch.long), extras={"quality_logit": one})


def test_a_box_without_jitter_is_tight(a_square: torch.Tensor, dice: torch.Generator) -> None:
    assert boxes(a_square, dice, jitter=0).tolist() == [[[10, 8], [15, 19]]]


def test_the_deepest_point_lies_deep(a_square: torch.Tensor, dice: torch.Generator) -> None:
    x, y = deepest_points(a_square > 0, dice)[0].tolist()
    assert x in (12, 13)
    assert 10 <= y <= 17


def test_first_prompts_lie_on_the_object(a_square: torch.Tensor, dice: torch.Generator) -> None:
    prompts = first_prompts(a_square.repeat(64, 1, 1, 1), dice)
    assert prompts.points is not None
    assert prompts.labels is not None
    kinds = {tuple(row) for row in prompts.labels.tolist()}
    assert (BOX_START, BOX_END, *[-1] * 12) in kinds
    assert any(POSITIVE in kind for kind in kinds)
    assert any(NEGATIVE in kind for kind in kinds)
    for points, labels in zip(prompts.points, prompts.labels, strict=True):
        for (x, y), label in zip(points.tolist(), labels.tolist(), strict=True):
            inside = 8 <= y < 20 and 10 <= x < 16
            if label in (POSITIVE, NEGATIVE):
                assert inside == (label == POSITIVE)


def test_some_slices_are_begun_by_strokes_and_by_extreme_points(a_square: torch.Tensor, dice: torch.Generator) -> None:
    prompts = first_prompts(a_square.repeat(256, 1, 1, 1), dice)
    assert prompts.points is not None
    assert prompts.labels is not None
    stroked, spanned = (prompts.labels[:, part] == POSITIVE for part in (slice(4, 10), slice(10, 14)))
    assert 0.02 < stroked.any(1).float().mean() < 0.2
    assert stroked.sum(1).amax() > 2
    chosen = spanned.any(1)
    assert 0 < chosen.float().mean() < 0.15
    assert spanned[chosen].all()
    assert prompts.points[chosen, :2].unique(dim=0).tolist() == [[[10, 8], [15, 19]]]
    assert (prompts.labels[chosen, 2:10] == -1).all()


def test_extreme_points_lie_where_the_mask_reaches_furthest() -> None:
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 10:21, 15] = 1
    truth[..., 12, 4:27] = 1
    left, right, top, bottom = extreme_points(truth)[0].tolist()
    assert left == pytest.approx([4, 12], abs=2)
    assert right == pytest.approx([26, 12], abs=2)
    assert top == pytest.approx([15, 10], abs=2)
    assert bottom == pytest.approx([15, 20], abs=2)


def test_a_stroke_leaves_out_what_is_not_the_object(dice: torch.Generator) -> None:
    truth = torch.zeros(64, 1, 32, 32)
    truth[..., 2:6, 2:6] = 1
    truth[..., 26:30, 26:30] = 1
    points, on_mask = stroke(truth, torch.full((64, 2), 3.0), dice)
    x, y = points.long().unbind(-1)
    assert (truth[torch.arange(64)[:, None], 0, y, x].bool() == on_mask).all()
    assert on_mask[:, 0].all()
    assert not on_mask.all()


def test_a_correction_goes_to_the_larger_error(a_square: torch.Tensor, dice: torch.Generator) -> None:
    grown = torch.full_like(a_square, -5.0)
    grown[..., 8:20, 10:30] = 5
    points, labels = corrective_click(grown, a_square, dice)
    assert labels.item() == NEGATIVE
    assert points[0, 0, 0] > 16
    points, labels = corrective_click(torch.full_like(a_square, -5.0), a_square, dice)
    assert labels.item() == POSITIVE


def test_the_loss_prefers_the_truth(a_square: torch.Tensor) -> None:
    good, bad = _decoded((a_square * 2 - 1) * 6), _decoded((1 - a_square * 2) * 6)
    assert slice_loss(good, a_square, LossWeights()) < slice_loss(bad, a_square, LossWeights())
    assert hard_dice(good.logits, a_square).item() == 1
    assert hard_dice(bad.logits, a_square).item() == 0
    assert soft_iou(a_square, a_square).item() == 1


def test_every_weight_of_the_network_is_trained() -> None:
    torch.manual_seed(0)
    network = NanoNetwork(CONFIG)
    clips = SyntheticClips(1, 1, CLIPS)[0]
    images = torch.stack([clip.images for clip in clips]).float()
    truth = torch.stack([clip.masks for clip in clips])[:, :, None].float()
    outcome = ClipRun(network, images, truth, torch.Generator().manual_seed(0)).clip()
    outcome.mean_loss().backward()
    assert {"prompted", "corrected", "tracked 1"} <= set(outcome.dice)
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in idle if "slot" not in name], idle


def test_training_writes_weights_that_load(tmp_path) -> None:
    Trainer(tmp_path, CONFIG, SETTINGS).run()
    network = load_network(tmp_path / "memseg3d-nano.safetensors")
    assert network.info.image_size == 32
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["finished"]
    assert 0 <= last["validation"]["prompted"] <= 1


def test_a_run_resumes_where_it_stopped(tmp_path) -> None:
    Trainer(tmp_path, CONFIG, SETTINGS).run()
    further = Trainer(tmp_path, CONFIG, replace(SETTINGS, steps=6))
    assert further.step == 4
    further.run()
    assert further.step == 6


def test_the_same_seed_trains_the_same_weights(tmp_path) -> None:
    states = []
    for name in ("one", "two"):
        trainer = Trainer(tmp_path / name, CONFIG, SETTINGS)
        trainer.run()
        states.append(trainer.network.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_a_release_carries_its_card(tmp_path) -> None:
    Trainer(tmp_path / "run", CONFIG, SETTINGS).run()
    card = json.loads(release(tmp_path / "run", tmp_path / "models").read_text())
    assert card["command"].startswith("memseg3d train nano --steps 4")
    assert card["synthetic_hold_out_dice"]["prompted"] >= 0
    model = describe_model(tmp_path / "models" / "memseg3d-nano.safetensors")
    assert model.licence == "Apache-2.0"
    assert model.sha256 == card["sha256"]


def test_a_run_without_weights_is_not_released(tmp_path) -> None:
    with pytest.raises(ReleaseError, match="train first"):
        release(tmp_path, tmp_path / "models")
