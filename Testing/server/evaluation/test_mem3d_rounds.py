"""Mem3D's protocol: the order of slices, what a round may change, who chooses the next slice, and what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from memseg3d.cli.main import app
from memseg3d.datasets.errors import DataSetError
from memseg3d.evaluation.mem3d.play import Player, in_turn
from memseg3d.evaluation.mem3d.protocol import Mem3dProtocol
from memseg3d.evaluation.mem3d.running import require_parts
from memseg3d.evaluation.page import runs_in, write_page
from memseg3d.evaluation.video.running import VideoScore
from memseg3d.files import UnreadableFile
from memseg3d.network.mem3d import Mem3dNetwork
from memseg3d.network.seam import Conditioned, Decoded, Features, Memory, MemoryRead
from Testing.tiny_mem3d import SIDE, bright_ball, mem3d, mem3d_file, mem3d_set

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
SLICES = 13


class Traced(Mem3dNetwork):
    """Finds what is bright; writes down which slices each slice has read. Slices tell their number in a corner."""

    def __init__(self) -> None:
        super().__init__(mem3d().memory, {}, mem3d().sight)
        self.reads: dict[int, list[int]] = {}
        self._quality = dict.fromkeys(range(SLICES), 0.9) | {4: 0.2, 9: 0.4}

    def encode(self, images: Tensor) -> Features:
        return Features((images,))

    def attend(self, features: Features, reads: list[MemoryRead], slice_count: int) -> Conditioned:  # type: ignore[override]
        self.reads[number_of(features)] = [int(each.memory.tensors["at"]) for each in reads]
        return Conditioned(features)

    def decode(self, conditioned: Conditioned, prompts: object, prior: object = None) -> Decoded:
        images = conditioned.features.levels[0]
        quality = torch.tensor([[self._quality[number_of(conditioned.features)]]])
        logits = (images - 0.5) * 20
        return Decoded(logits, quality, torch.ones(1, 1), torch.zeros(1, dtype=torch.long))

    def remember(self, features: Features, *_: object) -> Memory:  # type: ignore[override]
        return Memory({"at": torch.tensor(number_of(features))})


def number_of(features: Features) -> int:
    return round(float(features.levels[0][0, 0, 0, 0]) * 100)


@pytest.fixture
def truth() -> np.ndarray:
    """On slices 1 to 11, the middle being 6."""
    ball = bright_ball((SLICES, SIDE, SIDE), (6, 32, 32), 11.5)
    assert list(np.flatnonzero(ball.any((1, 2)))) == list(range(1, 12))
    return ball


def played(truth: np.ndarray, **words: object) -> tuple[Traced, Player]:
    images = torch.from_numpy(truth.astype(np.float32))[:, None]
    images[:, 0, 0, 0] = torch.arange(SLICES) / 100
    network = Traced()
    told = {"interaction": "mask", "shaken": False} | words
    protocol = Mem3dProtocol(3, told.pop("advice", "quality"), "traced", "", **told)  # type: ignore[arg-type]
    return network, Player(network, images, truth, protocol, 1)


def test_slices_are_taken_in_turn_from_both_sides_and_every_fifth_is_kept(truth: np.ndarray) -> None:
    assert in_turn(3, 1, 7) == [2, 4, 1, 5, 6, 7]
    network, player = played(truth)
    first = player.begin()
    assert first.prompted == 6
    assert first.slices == 11
    assert list(network.reads) == [5, 7, 4, 8, 3, 9, 2, 10, 1, 11]
    assert network.reads[5] == [6]
    assert network.reads[7] == [6, 5]
    # The fifth slice that was taken, 3, stays; the slice after it reads it once.
    assert network.reads[9] == [6, 3]
    assert network.reads[2] == [6, 3, 9]
    assert np.array_equal(first.masks[2:11], truth[2:11])


@pytest.mark.parametrize(("cap", "reach"), [(3, {5, 3}), (5, {5, 3, 2, 1}), (0, {5, 3, 2, 1})])
def test_a_round_goes_as_far_as_cap_and_annotated_slices_let_it(truth: np.ndarray, cap: int, reach: set[int]) -> None:
    network, player = played(truth, cap=cap)
    player.begin()
    network.reads.clear()
    corrected = player.correct()
    assert corrected is not None
    assert corrected.prompted == 4
    assert set(network.reads) == reach
    network.reads.clear()
    corrected = player.correct()
    assert corrected is not None
    assert corrected.prompted == 9
    assert min(network.reads) > 6


def test_who_chooses_the_slice(truth: np.ndarray) -> None:
    worst = truth.copy()
    worst[8, :, :32] = False
    _, player = played(truth, advice="truth")
    player.begin()
    player._truth = worst
    corrected = player.correct()
    assert corrected is not None
    assert corrected.prompted == 8
    # Slice 12 shows nothing, which the release takes for fine.
    told = {small: played(truth, small=small, extent="whole")[1].begin().qualities[12] for small in ("fine", "judged")}
    assert told == {"fine": 1.0, "judged": pytest.approx(0.9)}


def test_every_slice_can_be_prompted(truth: np.ndarray) -> None:
    _, player = played(truth, prompted="every")
    all_prompted = player.begin()
    assert all_prompted.slices == 11
    assert np.array_equal(all_prompted.masks, truth)


def test_what_a_model_lacks_is_told() -> None:
    with pytest.raises(DataSetError, match=r"no interaction network hybrid \(it has: dextr\)"):
        require_parts(mem3d("dextr"), Mem3dProtocol(1, "truth", "m", "", interaction="hybrid"))
    with pytest.raises(DataSetError, match="no memory network"):
        require_parts(mem3d("dextr", memory=False), Mem3dProtocol(1, "truth", "m", ""))
    with pytest.raises(ValueError, match="Interaction is one of"):
        Mem3dProtocol(1, "truth", "m", "", interaction="telepathy")


def test_the_command_resumes_and_puts_models_side_by_side_on_one_page(tmp_path: Path) -> None:
    data = mem3d_set(tmp_path / "set", cases=2, slices=5)
    model = mem3d_file(tmp_path, "dextr")
    words = ["evaluate", "mem3d", "--data", str(data), "--model", str(model), "--device", "cpu", "--report"]
    for out, more in (("one", ["--refine-time", "2"]), ("two", ["--interaction", "mask", "--refine-time", "1"])):
        told = CliRunner().invoke(app, [*words, "--out", str(tmp_path / out), *more])
        assert told.exit_code == 0, told.output
    results = list((tmp_path / "one/targets").glob("*/*.json"))
    assert [each.name for each in results] == ["colon_002-1.json"]
    before = results[0].stat().st_mtime_ns
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "one"), "--refine-time", "2"]).exit_code == 0
    assert results[0].stat().st_mtime_ns == before
    figures = json.loads((tmp_path / "one/rounds.json").read_text())["figures"]["all"]
    assert len(figures["dice"]) == len(figures["hd95"]) == 3
    assert "hd95_0" in (tmp_path / "one/rounds.csv").read_text().splitlines()[0]
    page = tmp_path / "both.html"
    folders = [str(tmp_path / name) for name in ("one", "two")]
    told = CliRunner().invoke(app, ["evaluate", "report", *folders, "--out", str(page)])
    assert told.exit_code == 0, told.output
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 2
    assert "data:image/svg+xml;base64," in text
    assert "Against one" in text
    assert "colon_002/1" in text
    assert "http" not in text.replace("http-equiv", "")
    told = CliRunner().invoke(app, ["evaluate", "report", str(tmp_path / "set"), "--out", str(page)])
    assert told.exit_code == 2
    assert page.read_text(encoding="utf-8") == text


def test_runs_of_the_video_protocol_stand_on_the_page_too(tmp_path: Path) -> None:
    scores = [VideoScore(name, 1, 9, 4, 0, 0.8, 0.7, 0.75, 0.0, 1.5) for name in ("one", "<two>")]
    words = {"model": {"name": "sam2.1_hiera_tiny"}, "scores": [asdict(each) for each in scores]}
    (tmp_path / "video.json").write_text(json.dumps(words), encoding="utf-8")
    page = write_page(tmp_path / "page.html", runs_in(tmp_path, command="memseg3d evaluate video")).read_text("utf-8")
    assert "sam2.1_hiera_tiny video" in page
    assert "<td>0.800</td>" in page
    assert "&lt;two&gt;/1" in page
    (tmp_path / "video.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnreadableFile, match=r"video.json is no result of this version"):
        runs_in(tmp_path)


def test_another_network_is_sent_elsewhere(tmp_path: Path) -> None:
    from Testing.tiny_model import write_tiny_model

    model = write_tiny_model(tmp_path / "random.safetensors")
    data = mem3d_set(tmp_path / "set", cases=1, slices=3)
    words = ["evaluate", "mem3d", "--data", str(data), "--out", str(tmp_path / "out"), "--model", str(model)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 2
    assert "evaluate rounds" in told.output
