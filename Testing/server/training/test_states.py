"""States of sessions: played, kept, cut to clips about a corrected slice, and learnt from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.training.clips.clips import ClipSettings
from memseg3d.training.clips.play_states import fill_states
from memseg3d.training.clips.scenes import Shares
from memseg3d.training.clips.session_states import (
    AT,
    LENGTH,
    State,
    clips_of_states,
    cut_state,
    play,
    read_state,
    write_state,
)
from memseg3d.training.clips.takes import Takes
from memseg3d.training.nano.loop import STATES, Trainer
from memseg3d.training.nano.rollout import ClipRun
from memseg3d.training.nano.settings import TrainSettings

CONFIG = NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16)
CLIPS = ClipSettings(image_size=32, length=3, canvas=48, slices=4, clips_per_volume=3)


@pytest.fixture
def state() -> State:
    """A block on slices 3 to 15 of which the session has half from slice 11 on; the box was on slice 5."""
    truth = np.zeros((20, 40, 50), bool)
    truth[3:16, 10:26, 12:32] = True
    mask = truth.copy()
    mask[11:, :, 22:] = False
    voxels = np.random.default_rng(0).normal(0, 5, truth.shape).astype(np.float32) + 60 * truth
    windows = np.array([[-10.0, 80.0], [20.0, 100.0]])
    return State(voxels.astype(np.float32), (2.0, 1.0, 1.0), truth, mask, 5, windows)


def test_a_state_is_kept_as_it_is(state: State, tmp_path: Path) -> None:
    write_state(tmp_path / "000001.npz", state)
    again = read_state(tmp_path / "000001.npz")
    assert again is not None
    assert np.array_equal(again.truth, state.truth)
    assert np.array_equal(again.mask, state.mask)
    assert np.array_equal(again.voxels, state.voxels)
    assert (again.spacing, again.prompted) == (state.spacing, state.prompted)
    assert [path.name for path in tmp_path.iterdir()] == ["000001.npz"]
    (tmp_path / "000001.npz").write_bytes(b"cut short")
    assert read_state(tmp_path / "000001.npz") is None


def test_a_clip_of_a_state_is_about_a_slice_with_an_error(state: State) -> None:
    rng = np.random.default_rng(0)
    clips = [clip for _ in range(10) if (clip := cut_state(rng, state, CLIPS)) is not None]
    assert len(clips) == 10
    for clip in clips:
        assert clip.images.shape == (LENGTH, 2, 32, 32)
        assert torch.equal(clip.before[0], clip.masks[0]), "the boxed slice is right"
        wrong = (clip.before != clip.masks).flatten(1).any(1)
        assert wrong[AT]
        assert not (clip.before[AT] & ~clip.masks[AT]).any()
    right = replace(state, mask=state.truth)
    assert cut_state(rng, right, CLIPS) is None, "nothing to correct"
    near = replace(state, prompted=12)
    assert all(clip is None or clip.masks[AT].any() for clip in [cut_state(rng, near, CLIPS)])


def test_sessions_are_played_and_learnt_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NanoNetwork(CONFIG).eval()
    states = [play(np.random.default_rng(seed), network, [], Shares(0, 0)) for seed in range(3)]
    played = [state for state in states if state is not None]
    assert played, "random weights leave much to correct"
    for state in played:
        assert (state.mask != state.truth).any()
        assert state.truth[state.prompted].any()
        assert (state.windows[:, 0] < state.windows[:, 1]).all()
    settings = TrainSettings(
        steps=2,
        single_steps=0,
        batch=2,
        single_batch=2,
        warmup=1,
        threads=1,
        workers=0,
        tensorboard=False,
        states=True,
        clips=CLIPS,
    )
    trainer = Trainer(tmp_path, CONFIG, settings)
    trainer.step = 1
    assert trainer._kind == "session"
    batches = iter(trainer._stream())
    assert trainer._taken(batches)[0].before.shape[0] == 0, "without states a step takes other clips"
    assert fill_states(tmp_path, network, [], seed=1, count=3) >= 2
    clips = trainer._taken(batches)
    assert [clip.before.shape for clip in clips] == [(LENGTH, 32, 32)] * 2
    before = trainer.network.decoder.fuse2.weight.detach().clone()
    trainer._learn(batches, {kind: [] for kind in ("corrected", "tracked again", *GAINS)})
    assert not torch.equal(before, trainer.network.decoder.fuse2.weight)
    assert sorted(path.suffix for path in (tmp_path / STATES).iterdir()) == [".npz"] * len(
        list((tmp_path / STATES).glob("[0-9]*.npz"))
    )


GAINS = ("gain of a positive click", "gain of a negative click")


def test_a_correction_of_a_state_reads_the_slice_beside_it_and_the_prompted_one(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        write_state(tmp_path / f"{number}.npz", state)
    clips = clips_of_states(np.random.default_rng(0), tmp_path, 2, CLIPS)
    run = ClipRun(NanoNetwork(CONFIG), Takes.of(clips, torch.device("cpu")), torch.Generator().manual_seed(0))
    read: list[tuple[int | None, ...]] = []
    attend = run.network.attend
    monkeypatch.setattr(
        run.network, "attend", lambda f, reads, n: read.append(tuple(r.slot for r in reads)) or attend(f, reads, n)
    )
    outcome = run.session()
    assert read[0] == (0, 1), "the prompted slice as a conditioning one alone, however near it lies in the clip"
    assert set(outcome.dice) >= {"corrected", "tracked again"}
    outcome.mean_loss().backward()
    assert clips_of_states(np.random.default_rng(0), tmp_path, 3, CLIPS) == [], "too few to draw from"
