"""The CVPR 2025 protocol: its cases read safely, its clicks and scores by hand, and runs from a box to five clicks."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from memseg3d.cli.main import app
from memseg3d.evaluation.cvpr25.boxes import class_boxes
from memseg3d.evaluation.cvpr25.cases import ChallengeCase, ClassClicks, read_case, save, write_case
from memseg3d.evaluation.cvpr25.clicks import error_click, with_next_clicks
from memseg3d.evaluation.cvpr25.engine import EnginePlayer
from memseg3d.evaluation.cvpr25.players import CommandPlayer
from memseg3d.evaluation.cvpr25.predict import Entry, predict, rounds_of
from memseg3d.evaluation.cvpr25.running import play_all, play_case, read_scores
from memseg3d.evaluation.cvpr25.scoring import CaseScore, Quirks, RoundScore, area, score_round
from memseg3d.files import UnreadableFile
from memseg3d.network.nano import NanoConfig, NanoNetwork
from memseg3d.propagation.prompts.prompts import Box3DPrompt, PointPrompt

SHAPE = (12, 32, 32)


@pytest.fixture(scope="module")
def network() -> NanoNetwork:
    torch.manual_seed(0)
    return NanoNetwork(NanoConfig(image_size=32, widths=(8, 8, 16, 16), key_width=16)).eval().requires_grad_(False)


def truth_of_two() -> np.ndarray:
    truth = np.zeros(SHAPE, np.uint8)
    truth[3:9, 6:16, 6:16] = 1
    truth[4:7, 20:26, 18:28] = 2
    return truth


def a_case(name: str = "case.npz", with_boxes: bool = True) -> ChallengeCase:
    truth = truth_of_two()
    imgs = (np.random.default_rng(0).normal(60, 8, SHAPE) + 90 * (truth > 0)).clip(0, 255).astype(np.uint8)
    boxes = class_boxes(truth) if with_boxes else None
    return ChallengeCase(name, imgs, (0.8, 0.8, 2.5), boxes, gts=truth)


def test_a_case_comes_back_as_it_was_written(tmp_path: Path) -> None:
    clicks = (ClassClicks(((1, 2, 3),), ((4, 5, 6),), ("bg", "fg", None)), ClassClicks())
    written = a_case()
    write_case(tmp_path / "case.npz", ChallengeCase("case.npz", written.imgs, written.spacing, written.boxes, clicks))
    read = read_case(tmp_path / "case.npz")
    assert (read.boxes, read.clicks, read.spacing) == (written.boxes, clicks, written.spacing)
    assert read.gts is None
    assert clicks[0].in_order() == [((4, 5, 6), False), ((1, 2, 3), True)]
    with np.load(tmp_path / "case.npz", allow_pickle=True) as arrays:
        assert arrays["clicks"][0] == {"fg": [[1, 2, 3]], "bg": [[4, 5, 6]]}, "as others read it"


class _Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("open('harmed', 'w').close()",)


def test_no_case_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    boxes = np.empty(1, object)
    boxes[0] = _Harmful()
    np.savez(tmp_path / "bad.npz", imgs=a_case().imgs, spacing=np.ones(3), boxes=boxes)
    with pytest.raises(UnreadableFile, match="asks for"):
        read_case(tmp_path / "bad.npz")
    assert not (tmp_path / "harmed").exists()


def test_a_click_lies_in_the_middle_of_the_largest_error() -> None:
    truth, prediction = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    truth[2:9, 3:10, 3:10] = True
    prediction[0:2, 20:22, 20:22] = True
    assert error_click(truth, prediction) == (5, 6, 6)
    assert error_click(truth, truth) is None
    # corners touch: 26 neighbours make one error of both
    truth[9:11, 12:30, 12:30] = True
    assert error_click(truth, truth & (np.arange(12) < 9)[:, None, None]) is not None


def test_clicks_add_up_by_class() -> None:
    truth = truth_of_two()
    clicks = with_next_clicks(truth, np.where(truth == 1, 1, 0), (1, 2), (ClassClicks(), ClassClicks()), True)
    assert clicks[0] == ClassClicks(order=(None,))
    assert clicks[1].order == ("fg",)
    over = np.ones(SHAPE, np.uint8)
    again = with_next_clicks(truth, over, (1, 2), clicks, False)
    assert again[0].order == (None, "bg")
    assert again[1].order == ("fg", "fg")


def test_the_area_is_that_of_the_clicks_alone() -> None:
    assert area([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]) == 4.0
    assert area([0.9, 0.0, 0.2, 0.4, 0.6, 0.8]) == pytest.approx(1.6)
    score = CaseScore("a", 2, tuple(RoundScore(0.5, 0.25, 31.0) for _ in range(6)))
    assert (score.dsc_auc, score.nsd_auc, score.seconds, score.is_late) == (2.0, 1.0, 186.0, True)


def test_a_poor_dice_takes_the_surface_dice_along_unless_asked() -> None:
    truth = truth_of_two()
    poor = np.zeros(SHAPE, np.uint8)
    poor[3:9, 6:8, 6:9] = 1
    dsc, nsd = score_round(truth, poor, (1, 1, 1), Quirks())
    assert 0 < dsc <= 0.2
    assert nsd == 0
    assert score_round(truth, poor, (1, 1, 1), Quirks(nsd_needs_dice=-1))[1] > 0
    moved = np.roll(truth, 2, axis=0)
    assert (
        score_round(truth, moved, (1.0, 1.0, 9.0), Quirks())[1]
        > (score_round(truth, moved, (1.0, 1.0, 9.0), Quirks(spacing_as_stored=False))[1])
    )


def test_boxes_are_those_of_the_middle_slice() -> None:
    first, second = class_boxes(truth_of_two())
    assert (first.z_min, first.z_max, first.z_mid) == (3, 8, 6)
    assert first.z_mid_x_min <= 6 < 15 <= first.z_mid_x_max < 32
    assert (second.z_min, second.z_max) == (4, 6)


def test_prompts_become_rounds_in_their_order() -> None:
    case = a_case()
    clicks = (ClassClicks(((6, 10, 10),), ((1, 1, 1),), ("bg", "fg")), ClassClicks(((5, 22, 22),), (), ("fg",)))
    rounds = rounds_of(ChallengeCase("c", case.imgs, case.spacing, case.boxes, clicks))
    assert [name for name, _ in rounds] == ["boxes", "clicks-1", "clicks-2"]
    assert [type(prompt) for prompt in rounds[0][1]] == [Box3DPrompt, Box3DPrompt]
    assert [(p.object, p.positive) for p in rounds[1][1] if isinstance(p, PointPrompt)] == [(1, False), (2, True)]
    assert len(rounds[2][1]) == 1


@pytest.mark.parametrize("with_boxes", [True, False], ids=["boxes", "clicks-alone"])
def test_the_engine_is_played_to_the_end(network: NanoNetwork, tmp_path: Path, with_boxes: bool) -> None:
    write_case(tmp_path / "case.npz", a_case(with_boxes=with_boxes))
    score = play_case(tmp_path / "case.npz", None, EnginePlayer(network), Quirks(), tmp_path / "kept.npz")
    assert len(score.rounds) == 6
    assert score.classes == 2
    assert (score.rounds[0].seconds > 0) == with_boxes
    with np.load(tmp_path / "kept.npz") as arrays:
        assert arrays["all_segs"].shape == (6 if with_boxes else 5, *SHAPE)
        assert arrays["segs"].dtype == np.uint8


def test_a_container_that_starts_anew_answers_as_one_that_goes_on(network: NanoNetwork, tmp_path: Path) -> None:
    base = a_case()
    first = tuple(ClassClicks(((5, 10, 10),), (), ("fg",)) for _ in range(2))
    second = tuple(each.added((1, 2, 2), False) for each in first)
    for place, clicks in enumerate((None, first, second)):
        case = ChallengeCase("case.npz", base.imgs, base.spacing, base.boxes, clicks)
        (tmp_path / "inputs").mkdir(exist_ok=True)
        write_case(tmp_path / "inputs" / "case.npz", case)
        [answer] = predict(network, tmp_path / "inputs", tmp_path / "outputs")
        with np.load(answer) as arrays:
            assert np.array_equal(arrays["segs"], Entry(network).answer(case)), f"round {place}"


def test_one_slice_and_a_constant_image_are_answered(network: NanoNetwork) -> None:
    imgs = a_case().imgs[5:6]
    truth = truth_of_two()[5:6]
    case = ChallengeCase("c", imgs, (1, 1, 1), class_boxes(truth))
    assert Entry(network).answer(case).shape == (1, 32, 32)
    assert not Entry(network).answer(ChallengeCase("c", np.zeros(SHAPE, np.uint8), (1, 1, 1), case.boxes)).any()


def test_a_command_is_judged_and_its_failures_score_the_last_answer(tmp_path: Path) -> None:
    program = tmp_path / "player.py"
    program.write_text(
        "import sys, numpy as np\n"
        "case = np.load(sys.argv[1] + '/case.npz', allow_pickle=True)\n"
        "if 'clicks' in case.files: sys.exit(1)\n"
        "np.savez_compressed(sys.argv[2] + '/case.npz', segs=(case['imgs'] > 110).astype(np.uint8))\n",
        encoding="utf-8",
    )
    write_case(tmp_path / "case.npz", a_case())
    player = CommandPlayer(f'"{Path(sys.executable).as_posix()}" "{program.as_posix()}" {{inputs}} {{outputs}}')
    kept = play_case(tmp_path / "case.npz", None, player, Quirks())
    assert kept.rounds[0].dsc > 0.2
    assert {score.dsc for score in kept.rounds} == {kept.rounds[0].dsc}
    forgotten = play_case(tmp_path / "case.npz", None, player, Quirks(keeps_old_answers=False))
    assert [score.dsc for score in forgotten.rounds[1:]] == [0.0] * 5


def test_volumes_become_cases_and_a_table_of_the_evaluators_columns(network: NanoNetwork, tmp_path: Path) -> None:
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    case = a_case()
    for folder, voxels in (("imagesTr", case.imgs.astype(np.int16)), ("labelsTr", truth_of_two())):
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((0.8, 0.8, 2.5))
        sitk.WriteImage(image, str(tmp_path / "data" / folder / "one.nii.gz"))
    made = CliRunner().invoke(app, ["evaluate", "cvpr25-npz", str(tmp_path / "data"), str(tmp_path / "npz")])
    assert made.exit_code == 0, made.output
    [path] = sorted((tmp_path / "npz").glob("3D_*_npz/*.npz"))
    read = read_case(path)
    assert read.boxes is not None
    assert read.imgs.dtype == np.uint8
    (tmp_path / "out").mkdir()
    player = EnginePlayer(network)
    scores = play_all([path], None, player, tmp_path / "out", Quirks())
    table = tmp_path / "out" / f"{player.name}_metrics.csv"
    with table.open(encoding="utf-8") as file:
        assert next(csv.reader(file))[:3] == ["CaseName", "TotalRunningTime", "RunningTime_1"]
    assert read_scores(table) == scores
    begun = table.stat().st_mtime_ns
    play_all([path], None, player, tmp_path / "out", Quirks())
    assert table.stat().st_mtime_ns == begun, "cases of the table are not played again"


def test_what_is_saved_is_whole_or_not_there(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", {"segs": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_another_precision_has_results_of_its_own(network: NanoNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    fp32 = EnginePlayer(network).identity
    assert fp32 == network.info.sha256
    monkeypatch.setattr(network.compiled, "precision", "int8")
    assert EnginePlayer(network).identity == f"{fp32} int8".strip()
