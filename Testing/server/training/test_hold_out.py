"""The synthetic hold-out as volumes: always the same, written once, targets apart; and the page of examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memseg3d.evaluation.targets import find_cases, read_case, read_traits
from memseg3d.training.synthetic import hold_out, sheet
from memseg3d.training.synthetic.fields import Stack
from memseg3d.training.synthetic.hold_out import make_hold_out
from memseg3d.training.synthetic.library import WORLDS


@pytest.fixture(scope="module")
def small_volumes() -> Iterator[None]:
    """Volumes of 64 x 64 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hold_out, "CANVAS", 72)
        patch.setattr(hold_out, "DEPTH", 50.0)
        yield


@pytest.fixture(scope="module")
def a_hold_out(small_volumes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two volumes a world, which the tests only look at."""
    return make_hold_out(tmp_path_factory.mktemp("hold-out"), volumes=2 * len(WORLDS))


def test_the_hold_out_is_a_data_folder(a_hold_out: Path) -> None:
    cases = find_cases(a_hold_out)
    assert len(cases) >= len(WORLDS)
    targets = [target for name, kind in cases.items() for target in read_case(a_hold_out, name, kind).targets]
    assert len(targets) > len(cases)
    assert {target.key for target in targets} == set(read_traits(a_hold_out))
    assert {target.modality for target in targets} <= set(WORLDS)


def test_targets_are_single_structures_that_can_be_seen(a_hold_out: Path) -> None:
    from scipy import ndimage

    for name, kind in find_cases(a_hold_out).items():
        case = read_case(a_hold_out, name, kind)
        for target in case.targets:
            mask = case.labels == target.label
            assert ndimage.label(mask)[1] == 1
            assert target.voxels >= hold_out.FEWEST_VOXELS
            traits = read_traits(a_hold_out)[target.key]
            assert ("ends" in traits) == (not mask[0].any() and not mask[-1].any())
            assert ("ends" in traits) != (hold_out.RUNS_ON in traits)


def test_at_most_one_target_of_a_volume_runs_on(a_hold_out: Path) -> None:
    traits = read_traits(a_hold_out)
    for case in find_cases(a_hold_out):
        own = [words for key, words in traits.items() if key.startswith(f"{case}/")]
        assert sum(hold_out.RUNS_ON in words for words in own) <= 1


def test_the_same_volumes_are_made_again(a_hold_out: Path, tmp_path: Path) -> None:
    again = make_hold_out(tmp_path / "again", volumes=2 * len(WORLDS))
    assert json.loads((again / "MANIFEST.json").read_text()) == json.loads((a_hold_out / "MANIFEST.json").read_text())


def test_another_seed_makes_other_volumes(a_hold_out: Path, tmp_path: Path) -> None:
    others = make_hold_out(tmp_path / "others", volumes=2 * len(WORLDS), seed=5)
    own, other = (json.loads((folder / "MANIFEST.json").read_text()) for folder in (a_hold_out, others))
    assert own.keys() == other.keys()
    assert not {words["sha256"] for words in own.values()} & {words["sha256"] for words in other.values()}


def test_volumes_that_were_written_stay(a_hold_out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (a_hold_out / "MANIFEST.json").read_bytes()
    monkeypatch.setattr(hold_out, "WORLDS", {})
    make_hold_out(a_hold_out)
    assert (a_hold_out / "MANIFEST.json").read_bytes() == before


def test_a_hollow_and_a_thin_target_are_called_so() -> None:
    part = np.zeros((5, 40, 40), bool)
    part[1:4, 5:35, 5:35] = True
    part[1:4, 9:31, 9:31] = False
    words = hold_out._traits(part, 2, contrast=2.0, alike=0.0)
    assert {"hollow", "thin", "ends"} <= words
    solid = np.zeros((5, 40, 40), bool)
    solid[:, 5:35, 5:35] = True
    assert hold_out._traits(solid, 2, contrast=0.4, alike=0.5) == {"runs on", "faint", "look-alikes"}


def test_a_page_of_examples_shows_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "STACK", Stack(6, 64, 4.0))
    monkeypatch.setattr(sheet, "COLUMNS", 2)
    from PIL import Image

    picture = Image.open(sheet.draw_sheet(tmp_path / "sheet.png", seed=1)).convert("RGB")
    assert picture.height > picture.width, "two rows a kind, two columns"
    pixels = np.asarray(picture).reshape(-1, 3).astype(int)
    red = (pixels[:, 0] - pixels[:, 1:].max(axis=1)) > 80
    assert red.sum() > 100, "targets are outlined"


def test_training_refuses_the_seed_of_the_hold_out(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from memseg3d.cli.main import app

    result = CliRunner().invoke(app, ["train", "nano", "--folder", str(tmp_path), "--seed", str(hold_out.SEED)])
    assert result.exit_code == 2
    assert "hold-out" in result.output
