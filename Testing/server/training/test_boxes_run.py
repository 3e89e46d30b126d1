"""A decoder for boxes with room, learnt beside weights that stay; and runs that go on from weights with such a one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from memseg3d.network.loading import load_network
from memseg3d.network.nano import MAPS, NanoConfig, NanoNetwork
from memseg3d.training.nano.roomy import RoomySettings, RoomyTrainer
from memseg3d.training.nano.weights import save_weights, state_of_weights
from memseg3d.training.running.preflight import CannotTrain

CONFIG = NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16)
FACTS = {"steps": 5, "hours": 0.0, "volumes": 9, "history": []}
SETTINGS = RoomySettings(steps=3, decay_steps=1, batch=2)
PUBLISHED = Path(__file__).resolve().parents[3] / "Resources" / "Models" / "memseg3d-nano.safetensors"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / f"{CONFIG.name}.safetensors"
    save_weights(file, CONFIG, NanoNetwork(CONFIG).state_dict(), FACTS)
    return file


def test_a_run_goes_on_from_published_weights_without_what_was_fitted_to_them() -> None:
    state = state_of_weights(PUBLISHED, NanoConfig(maps=MAPS))
    assert state["step"] > 10_000
    NanoNetwork(NanoConfig(maps=MAPS)).load_state_dict({name: each.float() for name, each in state["network"].items()})


def test_all_other_weights_stay_and_a_run_goes_on_as_if_it_had_not_been_stopped(weights: Path, tmp_path: Path) -> None:
    whole = RoomyTrainer(tmp_path / "whole", weights, SETTINGS)
    whole.run()
    for steps in (1, SETTINGS.steps):
        parts = RoomyTrainer(tmp_path / "parts", weights, replace(SETTINGS, steps=steps))
        parts.run()
    with safe_open(weights, "pt") as before, safe_open(whole.file, "pt") as after, safe_open(parts.file, "pt") as same:
        names = set(before.keys())
        assert all(torch.equal(before.get_tensor(name), after.get_tensor(name)) for name in names)
        learnt = set(after.keys()) - names
        assert all(torch.equal(after.get_tensor(name), same.get_tensor(name)) for name in learnt)
        assert any(not torch.equal(before.get_tensor(f"decoder.{n[6:]}"), after.get_tensor(n)) for n in learnt)


def test_what_it_writes_has_two_decoders_and_another_run_goes_on_with_the_second(weights: Path, tmp_path: Path) -> None:
    first = RoomyTrainer(tmp_path / "first", weights, replace(SETTINGS, steps=1))
    first.run()
    network = load_network(first.file)
    assert isinstance(network, NanoNetwork)
    assert network.roomy is not None
    again = RoomyTrainer(tmp_path / "again", first.file, SETTINGS)
    assert torch.equal(again.decoder.fuse2.weight, network.roomy.fuse2.weight)


def test_a_folder_of_other_settings_and_weights_of_no_run_are_refused(weights: Path, tmp_path: Path) -> None:
    RoomyTrainer(tmp_path / "run", weights, replace(SETTINGS, steps=1)).run()
    with pytest.raises(CannotTrain, match="another batch"):
        RoomyTrainer(tmp_path / "run", weights, replace(SETTINGS, batch=3))
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"none")
    with pytest.raises(ValueError, match="no weights"):
        RoomyTrainer(tmp_path / "new", other, SETTINGS)
