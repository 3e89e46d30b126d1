"""Simulated prompts, losses and the loop: it learns, resumes, and writes weights that load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memseg3d.network.loading import load_network
from memseg3d.network.models import describe_model
from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.network.seam import NEGATIVE, POSITIVE, Decoded
from memseg3d.training.clips.clips import ClipSettings, TrainingClips
from memseg3d.training.clips.corrections import corrective_clicks
from memseg3d.training.clips.takes import Takes
from memseg3d.training.nano.loop import Trainer, TrainSettings
from memseg3d.training.nano.losses import LossWeights, hard_dice, harm_loss, slice_loss, soft_iou
from memseg3d.training.nano.release import ReleaseError, release
from memseg3d.training.nano.rollout import ClipRun
from memseg3d.training.nano.spoiling import as_kept, spoiled

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


def test_a_correction_goes_to_the_larger_error_mostly(a_square: torch.Tensor, dice: torch.Generator) -> None:
    truth = (a_square > 0).repeat(40, 1, 1, 1)
    grown = truth.clone()
    grown[..., 8:20, 16:30] = True
    points, labels = corrective_clicks(grown, truth, dice)
    assert (labels == NEGATIVE).all(), "there is no error of the other sign"
    assert (points[..., 0] > 15).all()
    points, labels = corrective_clicks(torch.zeros_like(truth), truth, dice)
    assert (labels == POSITIVE).all()
    x, y = points.long().unbind(-1)
    assert truth[torch.arange(40)[:, None], 0, y, x].all()


def test_both_signs_are_clicked_where_both_errors_are_worth_it(a_square: torch.Tensor, dice: torch.Generator) -> None:
    truth = (a_square > 0).repeat(80, 1, 1, 1)
    shifted = truth.roll(4, dims=3)
    _, labels = corrective_clicks(shifted, truth, dice)
    assert 20 < (labels == NEGATIVE).sum() < 60


def test_a_correction_confirms_what_has_no_error(a_square: torch.Tensor, dice: torch.Generator) -> None:
    truth = torch.cat([a_square > 0, torch.zeros_like(a_square, dtype=torch.bool)])
    points, labels = corrective_clicks(truth, truth, dice)
    assert labels[:, 0].tolist() == [POSITIVE, NEGATIVE]
    x, y = points[0, 0].long().tolist()
    assert truth[0, 0, y, x]


def test_only_harm_is_punished_away_from_clicks(a_square: torch.Tensor) -> None:
    shown, click = torch.ones(1, dtype=torch.bool), torch.tensor([[[1.0, 1.0]]])
    right, wrong = (a_square * 2 - 1) * 6, (1 - a_square * 2) * 6
    assert harm_loss(_decoded(right), a_square, wrong, click, shown) == 0
    assert harm_loss(_decoded(right), a_square, right, click, shown) == 0
    harmed = harm_loss(_decoded(wrong), a_square, right, click, shown)
    assert harmed > 10
    assert harm_loss(_decoded(wrong), a_square, right, click, ~shown) == 0
    everywhere = torch.cartesian_prod(torch.arange(0.0, 32, 4), torch.arange(0.0, 32, 4))[None]
    assert harm_loss(_decoded(wrong), a_square, right, everywhere, shown) == 0, "near its clicks it may change anything"


def test_a_kept_mask_has_the_pixels_of_the_volume(a_square: torch.Tensor) -> None:
    logits = ((a_square * 2 - 1) * 3).repeat(2, 1, 1, 1)
    fine, coarse = as_kept(logits, torch.tensor([1.0, 4.0])).split(1)
    assert torch.equal(fine > 0, a_square > 0)
    assert torch.allclose(fine.abs(), torch.tensor(10.0), atol=0.1), "every pixel is certain"
    # Columns 12 to 15 make a pixel of the volume that is of the object, columns 16 to 19 one that is not.
    assert (coarse > 0)[..., 12, 13:16].all()
    assert not (coarse > 0)[..., 12, 16:].any()
    assert (coarse[..., 12, 14:18].abs() < 9.5).any(), "borders are as wide as a pixel of the volume"


def test_spoiled_masks_move_their_borders_or_stay_as_they_are(a_square: torch.Tensor, dice: torch.Generator) -> None:
    own = [((a_square * 2 - 1) * 4).repeat(200, 1, 1, 1)] * 2
    truth = a_square[:, None].repeat(200, 2, 1, 1, 1)
    images = torch.zeros(200, 2, 2, 32, 32)
    images[:, :, 1] = 0.5 * a_square[0, 0]
    first, second = spoiled(own, truth, images, dice)
    kept = torch.tensor([torch.equal(mask, logits) for mask, logits in zip(first, own[0], strict=True)])
    gone = ~(first > 0).flatten(1).any(1)
    assert 0.4 < kept.float().mean() < 0.7
    assert 0 < gone.float().mean() < 0.3
    assert torch.equal(kept, torch.tensor([torch.equal(m, o) for m, o in zip(second, own[0], strict=True)]))
    assert first.isfinite().all()


def test_the_loss_prefers_the_truth(a_square: torch.Tensor) -> None:
    good, bad = _decoded((a_square * 2 - 1) * 6), _decoded((1 - a_square * 2) * 6)
    assert slice_loss(good, a_square, LossWeights()) < slice_loss(bad, a_square, LossWeights())
    assert hard_dice(good.logits, a_square).item() == 1
    assert hard_dice(bad.logits, a_square).item() == 0
    assert soft_iou(a_square, a_square).item() == 1


def test_every_weight_of_the_network_is_trained() -> None:
    torch.manual_seed(0)
    network = NanoNetwork(CONFIG)
    takes = Takes.of(TrainingClips(1, 1, CLIPS)[0], torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    outcome = ClipRun(network, takes, generator).clip()
    outcome.mean_loss().backward()
    assert {"prompted", "corrected", "tracked 1"} <= set(outcome.dice)
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in idle if "slot" not in name], idle


@torch.no_grad()
def test_a_mask_is_seen_through_the_tracking_region(dice: torch.Generator) -> None:
    network = NanoNetwork(CONFIG).eval()
    found = 0
    for index in range(12):
        clips = TrainingClips(3, 20, CLIPS)[index]
        if not clips:
            continue
        takes = Takes.of(clips, torch.device("cpu"))
        moved = ClipRun(network, takes, dice)._moved((takes.first_truth * 2 - 1) * 10) > 0
        for own, truth, frame in zip(moved, takes.truth[:, 0] > 0, takes.frame, strict=True):
            found += 1
            # Nothing is taken for the object that is not, but for borders as coarse as the prompts' region shows them.
            assert (own & ~truth).sum() <= 0.15 * truth.sum() + 8 / min(1.0, float(frame[0])) ** 2
    assert found > 15


@pytest.fixture(scope="module")
def a_finished_run(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run that these tests only look at."""
    trainer = Trainer(tmp_path_factory.mktemp("finished"), CONFIG, SETTINGS)
    trainer.run()
    return trainer


def test_training_writes_weights_that_load(a_finished_run: Trainer) -> None:
    network = load_network(a_finished_run.folder / "memseg3d-nano.safetensors")
    assert network.info.image_size == 32
    last = json.loads((a_finished_run.folder / "log.jsonl").read_text().splitlines()[-1])
    assert last["finished"]
    assert 0 <= last["validation"]["prompted"] <= 1


def test_the_same_seed_trains_the_same_weights_and_a_run_goes_on(tmp_path: Path, a_finished_run: Trainer) -> None:
    Trainer(tmp_path, CONFIG, SETTINGS).run()
    further = Trainer(tmp_path, CONFIG, replace(SETTINGS, steps=5))
    assert further.step == 4
    again = further.network.state_dict()
    for name, tensor in a_finished_run.network.state_dict().items():
        assert torch.equal(tensor, again[name]), name
    further.run()
    assert further.step == 5


def test_a_release_carries_its_card(tmp_path: Path, a_finished_run: Trainer) -> None:
    card = json.loads(release(a_finished_run.folder, tmp_path / "models").read_text())
    assert card["command"].startswith("memseg3d train nano --steps 4")
    assert card["synthetic_hold_out_dice"]["prompted"] >= 0
    model = describe_model(tmp_path / "models" / "memseg3d-nano.safetensors")
    assert model.licence == "Apache-2.0"
    assert model.sha256 == card["sha256"]


def test_a_run_without_weights_is_not_released(tmp_path) -> None:
    with pytest.raises(ReleaseError, match="train first"):
        release(tmp_path, tmp_path / "models")
