"""Runs that are cut, shared out or kept small: resumed ones equal uninterrupted ones, processes agree, states fit."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import fields, replace
from importlib.machinery import ModuleSpec
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from training_folder import write_training_folder

from memseg3d.datasets.training_data import training_cases
from memseg3d.network.loading import load_network
from memseg3d.network.nano import MAPS, NanoConfig, NanoNetwork
from memseg3d.network.nano.network import FIRST_LAYER
from memseg3d.network.seam import POSITIVE, Prompts
from memseg3d.training.clips.cache import CachedClips
from memseg3d.training.clips.clips import Clip, ClipSettings, TrainingClips
from memseg3d.training.clips.stream import ClipStream, Position, StreamSettings, starting_positions
from memseg3d.training.nano.loop import Trainer
from memseg3d.training.nano.release import ReleaseError, command, release
from memseg3d.training.nano.settings import TrainSettings
from memseg3d.training.nano.weights import save_mean
from memseg3d.training.running import logs
from memseg3d.training.running.states import load_state

CONFIG = NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16)
CLIPS = ClipSettings(image_size=32, length=3, canvas=48, slices=4, clips_per_volume=3)
SETTINGS = TrainSettings(
    steps=6,
    single_steps=2,
    decay_steps=1,
    batch=2,
    single_batch=3,
    warmup=1,
    threads=1,
    workers=0,
    tensorboard=False,
    clips=CLIPS,
)
STREAM = StreamSettings(seed=3, batch=4, clips_per_volume=3)


def a_run(folder: Path, **changes: object) -> Trainer:
    """A finished run of a tiny network."""
    trainer = Trainer(folder, CONFIG, replace(SETTINGS, **changes))  # type: ignore[arg-type]
    trainer.run()
    return trainer


@pytest.fixture(scope="module")
def a_finished_run(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run with the usual settings of these tests, which only look at it: each takes seconds."""
    return a_run(tmp_path_factory.mktemp("finished"))


def differing(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in one if not torch.equal(one[name], two[name])]


def test_a_run_shorter_than_its_log_interval_tells_its_first_and_last_step(a_finished_run: Trainer) -> None:
    lines = [json.loads(line) for line in (a_finished_run.folder / "log.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, SETTINGS.steps]


@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, a_finished_run: Trainer, stop: int) -> None:
    # Stopped by hand in mid-run: the schedule is that of all six steps.
    cut = Trainer(tmp_path / "cut", CONFIG, SETTINGS)
    stream = cut._stream()
    batches = iter(stream)
    for _ in range(stop):
        cut._learn(batches, defaultdict(list))
    cut._save(stream)
    resumed = Trainer(tmp_path / "cut", CONFIG, SETTINGS)
    assert resumed.step == stop
    resumed.run()
    assert differing(a_finished_run.network.state_dict(), resumed.network.state_dict()) == []
    assert differing(a_finished_run.average.weights, resumed.average.weights) == []


@pytest.fixture
def some_clips() -> TrainingClips:
    return TrainingClips(3, 1000, CLIPS)


def batches_of(data: TrainingClips, position: Position, count: int, world: int = 1) -> list[list[Clip]]:
    return list(islice(ClipStream(data, STREAM, position, world), count))


def same(one: list[list[Clip]], two: list[list[Clip]]) -> bool:
    pairs = [(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True)]
    names = [each.name for each in fields(Clip)]
    return all(torch.equal(getattr(a, name), getattr(b, name)) for a, b in pairs for name in names)


def test_a_stream_goes_on_from_any_position(some_clips: TrainingClips) -> None:
    everything = batches_of(some_clips, Position(0, 0), 11)
    stream = ClipStream(some_clips, STREAM, Position(0, 0))
    list(islice(stream, 4))
    assert same(everything[4:], batches_of(some_clips, stream.position, 7))


def test_processes_see_different_clips(some_clips: TrainingClips) -> None:
    first, second = starting_positions([], STREAM, 2, same=True)
    one, two = batches_of(some_clips, first, 2, world=2), batches_of(some_clips, second, 2, world=2)
    assert not same(one, two)
    assert first.volume + STREAM.group == second.volume


def test_a_run_by_more_processes_begins_behind_what_was_seen() -> None:
    positions = starting_positions([Position(24, 3)], STREAM, 2, same=True)
    assert positions == [Position(24 + STREAM.group, 0), Position(24 + 2 * STREAM.group, 0)]


def test_large_batches_are_dealt_from_large_groups() -> None:
    assert StreamSettings(1, 96, 6).group * 6 >= 4 * 96


TOGETHER = """
import sys
import torch
from pathlib import Path
from torch import nn
sys.path[:0] = sys.argv[2:]
from test_runs import CONFIG, SETTINGS
from memseg3d.training.nano import loop

loop.HOLD_OUT_VOLUMES = 2
trainer = loop.Trainer(Path(sys.argv[1]), CONFIG, SETTINGS)
processes = trainer.processes
used, half, never = (nn.Parameter(torch.zeros(2, 3)) for _ in range(3))
used.grad = torch.full((2, 3), float(processes.rank))
if processes.rank == 1:
    half.grad = torch.full((2, 3), 4.0)
processes.average_gradients([used, half, never])
assert torch.equal(used.grad, torch.full((2, 3), 0.5)), used.grad
assert torch.equal(half.grad, torch.full((2, 3), 2.0)), half.grad
assert never.grad is None
assert processes.decided(processes.rank == 0) and not processes.decided(processes.rank == 1)
trainer.run()
torch.save(trainer.network.state_dict(), Path(sys.argv[1]) / f"rank{processes.rank}.pt")
"""


def torchrun(script: Path, *arguments: object, processes: int = 2) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
        + [str(word) for word in (script, *arguments)],
        check=True,
        env=environment,
        timeout=300,
    )


@pytest.mark.skipif(not torch.distributed.is_available(), reason="This torch was built without torch.distributed.")
def test_two_processes_average_their_gradients_and_train_one_network(tmp_path: Path, a_finished_run: Trainer) -> None:
    script = tmp_path / "script.py"
    script.write_text(TOGETHER)
    here = Path(__file__).resolve()
    torchrun(script, tmp_path / "run", here.parent, here.parents[2])
    ranks = [torch.load(tmp_path / "run" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert differing(*ranks) == []
    state = load_state(tmp_path / "run" / "state.pt")
    assert differing(state["network"], ranks[0]) == []
    assert len({tuple(position) for position in state["positions"]}) == 2
    # It is another network than one process alone makes: the second's clips count too.
    assert differing(ranks[0], a_finished_run.network.state_dict())
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len({line["step"] for line in lines if "loss" in line}) == sum("loss" in line for line in lines), (
        "one writes"
    )


def test_gathered_gradients_are_those_of_one_larger_batch(tmp_path: Path) -> None:
    together = a_run(tmp_path / "parts", accumulate=2, steps=3, decay_steps=1)
    apart = a_run(tmp_path / "one", steps=3, decay_steps=1)
    assert together.positions[0].batch == 2 * apart.positions[0].batch
    assert differing(together.network.state_dict(), apart.network.state_dict())


def test_both_precisions_train(tmp_path: Path, a_finished_run: Trainer) -> None:
    half, full = a_finished_run, a_run(tmp_path, precision="fp32")
    assert differing(half.network.state_dict(), full.network.state_dict())
    assert all(tensor.isfinite().all() for tensor in full.network.state_dict().values())


def a_state_of_full_size(folder: Path, light: bool) -> int:
    """Bytes of the state of the embedded network, the optimiser's moments gathered."""
    trainer = Trainer(folder, NanoConfig(), replace(SETTINGS, light_state=light))
    for parameter in trainer.network.parameters():
        parameter.grad = torch.randn_like(parameter)
    trainer.optimiser.step()
    trainer._save(trainer._stream())
    return (folder / "state.pt").stat().st_size


def test_states_are_small_enough_to_move(tmp_path: Path) -> None:
    assert a_state_of_full_size(tmp_path / "whole", light=False) < 100e6
    assert a_state_of_full_size(tmp_path / "light", light=True) < 16 * 2**20


def test_a_light_state_goes_on_with_its_weights(tmp_path: Path) -> None:
    before = a_run(tmp_path, light_state=True, steps=2)
    after = Trainer(tmp_path, CONFIG, replace(SETTINGS, steps=3, light_state=True))
    assert (after.step, after.warm_from) == (2, 2)
    for name, tensor in before.network.state_dict().items():
        torch.testing.assert_close(after.network.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
    after.run()
    assert after.step == 3


def test_a_state_of_an_older_version_is_resumed(tmp_path: Path, a_finished_run: Trainer) -> None:
    state = load_state(a_finished_run.folder / "state.pt")
    for name in ("positions", "group", "warm_from", "history"):
        del state[name]
    torch.save({**state, "volumes": 40}, tmp_path / "state.pt")
    resumed = Trainer(tmp_path, CONFIG, replace(SETTINGS, steps=7))
    assert resumed.step == 6
    assert resumed.positions[0].volume > 40


def test_curves_are_written_where_tensorboard_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    a_run(tmp_path, tensorboard=True, steps=1)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    (point,) = events.Scalars("validation/prompted")
    assert point.step == 1
    assert point.value == pytest.approx(last["validation"]["prompted"])


def test_training_does_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> ModuleSpec | None:
        return None if name == "tensorboard" else ModuleSpec(name, None)

    monkeypatch.setattr(logs, "find_spec", absent)
    a_run(tmp_path, tensorboard=True, steps=1)
    assert not (tmp_path / "tensorboard").exists()
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["finished"]


def test_cached_clips_are_those_that_were_made(some_clips: TrainingClips, tmp_path: Path) -> None:
    cached = CachedClips(some_clips, tmp_path, volumes=2)
    for made, kept in zip(some_clips[1], cached[1], strict=True):
        assert torch.equal(made.masks, kept.masks)
        assert (made.images.float() - kept.images.float()).abs().max() < 1 / 255
    (file,) = tmp_path.glob("*/*.npz")
    stamp = file.stat().st_mtime_ns
    assert same([cached[1]], [CachedClips(some_clips, tmp_path, volumes=2)[1]])
    assert file.stat().st_mtime_ns == stamp


def test_cached_clips_come_back_changed_and_always_alike(some_clips: TrainingClips, tmp_path: Path) -> None:
    cached = CachedClips(some_clips, tmp_path, volumes=2)
    first, second, third = cached[1], cached[3], cached[5]
    assert not same([first], [second])
    assert not same([second], [third])
    assert same([second], [cached[3]])
    for before, after in zip(first, second, strict=True):
        assert before.masks.sum((1, 2)).tolist() == after.masks.sum((1, 2)).tolist()
        assert after.images.min() >= 0
        assert after.images.max() <= 1


def test_a_cached_file_that_was_cut_is_made_again(some_clips: TrainingClips, tmp_path: Path) -> None:
    cached = CachedClips(some_clips, tmp_path, volumes=2)
    whole = cached[0]
    (file,) = tmp_path.glob("*/*.npz")
    file.write_bytes(file.read_bytes()[:200])
    assert same([whole], [cached[0]])


def test_a_run_from_a_cache_is_resumed_like_any_other(tmp_path: Path) -> None:
    trainer = a_run(tmp_path, cache_volumes=5)
    assert len(list((tmp_path / "clips").glob("*/*.npz"))) == 5
    assert trainer.step == 6


def test_the_card_names_a_command_that_makes_such_weights(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from memseg3d.cli.main import app

    a_run(tmp_path / "run", precision="fp32", accumulate=2, steps=2)
    card = json.loads(release(tmp_path / "run", tmp_path / "models").read_text())
    words = card["command"].split()
    assert words[:3] == ["memseg3d", "train", "nano"]
    assert "--precision fp32" in card["command"]
    assert "--accumulate 2" in card["command"]
    # The command line knows every option that the card names.
    told = CliRunner().invoke(app, [*words[1:], "--help"], env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    assert not [option for option in words if option.startswith("--") and option not in told.output]


def test_the_usual_settings_make_a_short_command() -> None:
    from dataclasses import asdict

    assert command(asdict(TrainSettings())) == (
        "memseg3d train nano --steps 6000 --single-steps 1200 --decay-steps 1500 --learning-rate 0.0008 --seed 1 "
        "--batch 6"
    )


def test_the_command_names_the_length_of_the_clips_where_it_is_not_the_usual() -> None:
    from dataclasses import asdict

    settings = replace(TrainSettings(), clips=ClipSettings(length=10, slices=12))
    assert command(asdict(settings)).endswith("--batch 6 --length 10")


def test_a_run_goes_on_from_nothing_but_published_weights(tmp_path: Path) -> None:
    first = a_run(tmp_path / "first", steps=3)
    weights = tmp_path / "first" / f"{CONFIG.name}.safetensors"
    second = Trainer(tmp_path / "second", CONFIG, replace(SETTINGS, steps=4), weights=weights)
    assert second.step == 3
    assert min(position.volume for position in second.positions) > first.volumes, "clips that were not seen yet"
    kept = second.average.weights
    assert all(torch.equal(kept[name], first.average.weights[name].half().float()) for name in kept)
    second.run()
    assert [chapter["from_step"] for chapter in second.history] == [0, 3]
    assert load_state(tmp_path / "second" / "state.pt")["step"] == 4


def test_a_run_goes_on_with_more_guidance_maps_and_the_same_masks(tmp_path: Path) -> None:
    first = a_run(tmp_path / "first", steps=4)
    weights = tmp_path / "first" / f"{CONFIG.name}.safetensors"
    wider = replace(CONFIG, maps=MAPS)
    second = Trainer(tmp_path / "second", wider, replace(SETTINGS, steps=5), weights=weights)
    assert second.warm_from == 4
    images, prior = torch.rand(1, 2, 32, 32), torch.full((1, 1, 32, 32), -5.0)
    click = Prompts(torch.tensor([[[8.0, 8.0]]]), torch.tensor([[POSITIVE]]))
    masks = []
    for trainer in (first, second):
        network = NanoNetwork(trainer.network.config).eval()
        network.load_state_dict({name: tensor.half().float() for name, tensor in trainer.average.weights.items()})
        with torch.no_grad():
            masks.append(network.decode(network.attend(network.encode(images), [], 3), click, prior).logits)
    torch.testing.assert_close(masks[0], masks[1], rtol=1e-4, atol=1e-5)
    second.run()
    assert second.network.state_dict()[FIRST_LAYER][:, -8:].any(), "the new maps are learnt from"
    # A whole state of the smaller network has moments that do not fit: it goes on and warms up again.
    third = Trainer(tmp_path / "first", wider, replace(SETTINGS, steps=5))
    assert (third.step, third.warm_from) == (4, 4)
    with pytest.raises(ValueError, match="other sizes"):
        Trainer(tmp_path / "back", CONFIG, SETTINGS, weights=tmp_path / "second" / f"{CONFIG.name}.safetensors")


def test_a_run_on_real_shapes_notes_what_it_was_given(tmp_path: Path) -> None:
    data = write_training_folder(tmp_path / "data")
    clips = replace(CLIPS, shapes=0.5, pictures=0.4)
    trainer = Trainer(tmp_path / "run", CONFIG, replace(SETTINGS, steps=2, clips=clips), data=data)
    trainer.run()
    (chapter,) = load_state(tmp_path / "run" / "state.pt")["history"]
    assert chapter["cases"] == 2
    assert chapter["data_manifest_sha256"] == hashlib.sha256((data / "MANIFEST.json").read_bytes()).hexdigest()
    assert chapter["settings"]["clips"]["shapes"] == 0.5
    assert str(tmp_path) not in json.dumps(chapter)
    with pytest.raises(ReleaseError, match="name their folder"):
        release(tmp_path / "run", tmp_path / "models")
    card = json.loads(release(tmp_path / "run", tmp_path / "models", data=data).read_text())
    assert card["data"] == {"heads": {"licences": ["CC BY 4.0"], "cases": 2, "images": 1}}
    assert "real label maps" in card["recipe"]
    assert card["command"].endswith("--length 3 --shapes 0.5 --pictures 0.4")
    manifest = json.loads((data / "MANIFEST.json").read_text())
    (data / "MANIFEST.json").write_text(json.dumps(manifest, indent=1))
    with pytest.raises(ReleaseError, match="name their folder"):
        release(tmp_path / "run", tmp_path / "models", data=data)


def test_steps_on_single_slices_take_as_many_clips_as_they_need(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path, CONFIG, replace(SETTINGS, single_batch=5))
    batches = iter(trainer._stream())
    assert len(trainer._taken(batches)) == 5
    trainer.step = 5
    assert trainer._kind == "clip"
    assert len(trainer._taken(batches)) == SETTINGS.batch


def test_weights_that_no_run_can_go_on_from_are_refused(tmp_path: Path) -> None:
    a_run(tmp_path / "run", steps=1)
    weights = tmp_path / "run" / f"{CONFIG.name}.safetensors"
    with pytest.raises(ValueError, match="other sizes"):
        Trainer(tmp_path / "other", replace(CONFIG, key_width=32), SETTINGS, weights=weights)
    (tmp_path / "noise").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="no weights that a training run wrote"):
        Trainer(tmp_path / "other", CONFIG, SETTINGS, weights=tmp_path / "noise")


def test_the_mean_of_two_checkpoints_tells_which_they_were_and_loads(tmp_path: Path) -> None:
    first, second, into = (tmp_path / name for name in ("first.safetensors", "second.safetensors", "mean.safetensors"))
    for path, steps in ((first, 2), (second, 4)):
        a_run(tmp_path / "run", steps=steps)
        (tmp_path / "run" / f"{CONFIG.name}.safetensors").rename(path)
    save_mean(first, second, into)
    one, two, mean = (load_file(path) for path in (first, second, into))
    assert any(not torch.equal(one[name], two[name]) for name in one)
    for name in one:
        assert torch.allclose(mean[name].float(), (one[name].float() + two[name].float()) / 2, atol=1e-3)
    assert load_network(into).info.image_size == CONFIG.image_size
    with safe_open(into, "pt") as file:
        facts = json.loads(file.metadata()["memseg3d.training"])
    assert [each["steps"] for each in facts["mean_of"]] == [2, 4]
    assert facts["mean_of"][1]["sha256"] == hashlib.sha256(second.read_bytes()).hexdigest()
    Trainer(tmp_path / "other", replace(CONFIG, key_width=32), replace(SETTINGS, steps=2)).run()
    with pytest.raises(ValueError, match="different networks"):
        save_mean(first, tmp_path / "other" / f"{CONFIG.name}.safetensors", into)


def test_the_card_tells_every_chapter_of_a_run(tmp_path: Path) -> None:
    a_run(tmp_path / "run", steps=1)
    a_run(tmp_path / "run", steps=2, learning_rate=1e-4)
    card = json.loads(release(tmp_path / "run", tmp_path / "models").read_text())
    assert card["in_one_piece"] is False
    chapters = card["training"]["history"]
    assert [(c["from_step"], c["settings"]["learning_rate"]) for c in chapters] == [(0, 8e-4), (1, 1e-4)]
    assert len(chapters[0]["made_by"]["sources_sha256"]) == 64
    assert (tmp_path / "models" / "LICENSE").read_text().lstrip().startswith("Apache License")


def test_a_release_that_cannot_be_leaves_what_was_there(tmp_path: Path) -> None:
    a_run(tmp_path / "run", steps=1)
    models = tmp_path / "models"
    models.mkdir()
    (models / "LICENSE").write_text("of the user's own models")
    release(tmp_path / "run", models)
    before = {path.name: path.read_bytes() for path in models.iterdir()}
    assert before["LICENSE"] == b"of the user's own models"
    weights = tmp_path / "run" / f"{CONFIG.name}.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ReleaseError, match="damaged"):
        release(tmp_path / "run", models)
    assert {path.name: path.read_bytes() for path in models.iterdir()} == before


def test_results_of_other_weights_do_not_get_into_the_card(tmp_path: Path) -> None:
    a_run(tmp_path / "run", steps=1)
    results = tmp_path / "rounds.json"
    figures = {"all": {"targets": 3, "dice": [0.5, 0.6], "nsd": [0.4, 0.5], "prompted_dice": [0.8, 0.9]}}
    results.write_text(json.dumps({"figures": figures, "protocol": {"model_sha256": "another"}}))
    with pytest.raises(ReleaseError, match="other weights"):
        release(tmp_path / "run", tmp_path / "models", hold_out=results)
    sha256 = json.loads(release(tmp_path / "run", tmp_path / "models").read_text())["sha256"]
    results.write_text(json.dumps({"figures": figures, "protocol": {"model_sha256": sha256}}))
    card = json.loads(release(tmp_path / "run", tmp_path / "models", hold_out=results).read_text())
    assert card["synthetic_hold_out_volumes"]["dice"] == [0.5, 0.6]
    results.write_text("{}")
    with pytest.raises(ReleaseError, match=r"no rounds\.json"):
        release(tmp_path / "run", tmp_path / "models", hold_out=results)


def test_the_notice_names_every_set_that_weights_may_have_seen(training_data: Path) -> None:
    notice = (Path(__file__).resolve().parents[3] / "NOTICE").read_text(encoding="utf-8")
    for case in training_cases(training_data):
        assert f"\n{case.name.partition('/')[0]} " in notice
