"""`memseg3d refine` goes on from session.json: another round, undo, removal; equal to one session that never ended."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import write_tiny_model
from typer.testing import Result

from memseg3d.network.loading import load_network
from memseg3d.propagation.prompts.prompts import BoxPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume

from .conftest import MODEL, an_oblique_image, words

Command = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[3]
BOX = "block:5,8,6,5,15,13"
CLICK = "block-:4,12,10"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose model sees an object on every slice."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_model(folder / f"{MODEL}.safetensors")
    return folder


@pytest.fixture
def a_case(memseg3d: Command, a_volume: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which one box was segmented."""
    monkeypatch.setenv("MEMSEG3D_MODELS", str(models))
    monkeypatch.chdir(tmp_path)
    result = memseg3d("segment", a_volume, "--box", BOX, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["segments"][0]["name"] == "block"
    return tmp_path / "out"


def labels_in(folder: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "segmentation.nii.gz")))


def session_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    return found


def test_a_round_that_is_added_is_what_one_session_would_have_made(
    memseg3d: Command, a_case: Path, models: Path
) -> None:
    result = memseg3d("refine", a_case, "--point", CLICK)
    assert result.exit_code == 0, result.output
    volume = Volume(sitk.GetArrayFromImage(an_oblique_image()), (2.0, 1.0, 1.0))
    session = Session(volume, load_network(models / f"{MODEL}.safetensors"))
    list(session.begin("1", [BoxPrompt(1, 0, (5, 8, 6), (5, 15, 13))]))
    first = session.labelmap(1)
    list(session.begin("2", [PointPrompt(1, (4, 12, 10), False)]))
    assert np.array_equal(labels_in(a_case) == 1, session.labelmap(1))
    assert not np.array_equal(first, session.labelmap(1))

    assert memseg3d("refine", a_case, "--undo").exit_code == 0
    assert np.array_equal(labels_in(a_case) == 1, first)
    assert session_in(a_case)["applied"] == 1
    assert memseg3d("refine", a_case, "--redo").exit_code == 0
    assert np.array_equal(labels_in(a_case) == 1, session.labelmap(1))

    assert memseg3d("refine", a_case, "--remove", "p2").exit_code == 0
    list(session.begin("3", [], [str(session.rounds[1].prompts[0].id)]))
    assert np.array_equal(labels_in(a_case) == 1, session.labelmap(1))
    assert "no prompt p2; there are: p1" in words(memseg3d("refine", a_case, "--remove", "p2"))
    taken = memseg3d("refine", a_case, "--remove", "p1")
    assert "No prompt is left for block" in words(taken)
    assert "Nothing was found" not in words(taken)


def test_the_session_can_be_run_again_from_its_prompts_alone(
    memseg3d: Command, a_case: Path, a_volume: Path, tmp_path: Path
) -> None:
    assert memseg3d("refine", a_case, "--point", CLICK, "--box", "corner:5,0,0,5,5,5").exit_code == 0
    again = memseg3d("segment", a_volume, "--rounds", a_case / "session.json", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert np.array_equal(labels_in(tmp_path / "again"), labels_in(a_case))
    assert session_in(tmp_path / "again")["names"] == {"1": "block", "2": "corner"}
    assert memseg3d("refine", tmp_path / "again", "--undo").exit_code == 0, "and gone on from"


def test_the_session_tells_what_to_look_at_and_what_was_prompted(memseg3d: Command, a_case: Path) -> None:
    side_car = json.loads((a_case / "segmentation.json").read_text(encoding="utf-8"))
    place = side_car["segments"][0]["look_next"]
    assert f"block: slice {place['index']} (k)" in memseg3d("refine", a_case, "--next").stdout
    assert f"block: slice {place['index']} (k)" in memseg3d("refine", a_case, "--next", "--quiet").stdout
    assert f"block: slice {place['index']} (k)" in memseg3d("refine", a_case / "session.json", "--next").stdout
    shown = memseg3d("refine", a_case, "--show").stdout
    assert "round 1: 1 prompts" in shown
    assert "p1  block  box  k, j, i = 5, 8, 6 to 5, 15, 13" in shown
    assert words(memseg3d("refine", a_case)).count("Name one thing to do") == 1


def test_another_image_and_another_model_are_refused(
    memseg3d: Command, a_case: Path, models_folder: Path, tmp_path: Path
) -> None:
    before = (a_case / "session.json").read_bytes()
    image = an_oblique_image()
    image[0, 0, 0] = image[0, 0, 0] + 1
    sitk.WriteImage(image, str(tmp_path / "other.nrrd"))
    other = memseg3d("refine", a_case, "--point", CLICK, "--image", tmp_path / "other.nrrd")
    assert other.exit_code == 2
    assert "made on another volume" in words(other)
    model = memseg3d("refine", a_case, "--point", CLICK, "--models", models_folder)
    assert model.exit_code == 2
    assert "give that one" in words(model)
    assert (a_case / "session.json").read_bytes() == before


def test_a_full_disk_loses_nothing(memseg3d: Command, a_case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in a_case.iterdir()}
    mkdir = Path.mkdir

    def full(self: Path, *arguments: Any, **named: Any) -> None:
        if self.parent == a_case:
            raise OSError(errno.ENOSPC, "No space left on device")
        mkdir(self, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", full)
    result = memseg3d("refine", a_case, "--point", CLICK)
    assert result.exit_code == 4, result.output
    assert {path.name: path.read_bytes() for path in a_case.iterdir()} == before
    elsewhere = Path(words(result).partition("What was computed lies in ")[2].partition(":")[0])
    try:
        assert len(session_in(elsewhere)["rounds"]) == 2
    finally:
        for path in elsewhere.iterdir():
            path.unlink()
        elsewhere.rmdir()


def test_a_box_that_looks_turned_is_questioned(memseg3d: Command, a_volume: Path, tmp_path: Path) -> None:
    sagittal = ("segment", a_volume, "--box", "block:3,12,6,6,12,13", "--out", tmp_path / "out")
    asked = memseg3d(*sagittal)
    assert asked.exit_code == 3
    assert "one slice thick along j" in words(asked)
    assert not (tmp_path / "out").exists()
    assert memseg3d(*sagittal, "--yes", "--quiet").output == ""
    empty = memseg3d(
        "segment", a_volume, "--box", "a:5,8,6,5,15,13", "--window", "5000,6000", "--out", tmp_path / "empty"
    )
    assert empty.exit_code == 3
    assert "nothing but one grey value" in words(empty)


@pytest.mark.parametrize(
    ("order", "box"), [("ijk", "block:6,8,5,13,15,5"), ("itksnap", "block:7,9,6,14,16,6")], ids=["ijk", "itksnap"]
)
def test_the_same_box_in_other_orders_gives_the_same_labelmap(
    memseg3d: Command, a_case: Path, a_volume: Path, tmp_path: Path, order: str, box: str
) -> None:
    result = memseg3d("segment", a_volume, "--box", box, "--coordinates", order, "--out", tmp_path / order)
    assert result.exit_code == 0, result.output
    assert np.array_equal(labels_in(tmp_path / order), labels_in(a_case))


def test_the_report_is_one_page_with_every_slice(memseg3d: Command, a_case: Path) -> None:
    assert memseg3d("refine", a_case, "--point", CLICK, "--report").exit_code == 0
    page = (a_case / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 1
    assert 'src="http' not in page
    assert "DOE JANE" not in page
    assert (a_case / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_the_session_is_what_its_schema_says(memseg3d: Command, a_case: Path) -> None:
    schema = json.loads((ROOT / "docs" / "session.schema.json").read_text(encoding="utf-8"))
    check = jsonschema_rs.validator_for(schema)
    check.validate(session_in(a_case))
    assert memseg3d("refine", a_case, "--point", CLICK).exit_code == 0
    words_of = session_in(a_case)
    check.validate(words_of)
    assert not check.is_valid({**words_of, "applied": -1})
    assert not check.is_valid({**words_of, "rounds": [{"id": "1"}]})


def _without(words: dict[str, Any], name: str) -> None:
    del words[name]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda words: words.update(version=2), "is of version 2"),
        (lambda words: _without(words, "image"), "'image' is missing"),
        (lambda words: words["image"].update(path=5), "is damaged"),
        (lambda words: words["files"].update(format="../../evil"), "files tell no format"),
        (lambda words: words.update(names={"1": "a", "2": "a"}), "two segments have one name"),
        (lambda words: words["rounds"][0]["prompts"][0].update(object="x"), "of no object"),
        (lambda words: words["rounds"][0]["prompts"][0].update(lower="abc"), "is damaged"),
        (lambda words: words["rounds"][0].update(prompts=[5]), "is damaged"),
        (lambda words: words["rounds"][0].update(session={}), "is damaged"),
        (lambda words: words["rounds"][0].update(objects={}), "does not tell what it changed"),
        (lambda words: words["rounds"][0]["objects"]["1"].update(checksum="0"), "is damaged"),
    ],
    ids=["newer", "lacking", "path", "format", "names", "object", "place", "prompt", "session", "objects", "sum"],
)
def test_a_session_that_was_edited_is_refused_with_a_sentence(
    memseg3d: Command, a_case: Path, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    session = session_in(a_case)
    change(session)
    (a_case / "session.json").write_text(json.dumps(session), encoding="utf-8")
    before = {path: path.read_bytes() for path in a_case.iterdir()}
    for words_of_it in (["--undo"], ["--point", CLICK]):
        result = memseg3d("refine", a_case, *words_of_it)
        assert result.exit_code == 2, result.output
        assert isinstance(result.exception, SystemExit)
        assert sentence in words(result)
    assert {path: path.read_bytes() for path in a_case.iterdir()} == before


def test_an_edited_session_keeps_working_where_it_says_the_same(memseg3d: Command, a_case: Path) -> None:
    session = session_in(a_case)
    del session["rounds"][0]["prompts"][0]["id"]
    session["names"] = {}
    (a_case / "session.json").write_text(json.dumps(session), encoding="utf-8-sig")
    assert "round-1/0 1 box" in words(memseg3d("refine", a_case, "--show"))
    assert memseg3d("refine", a_case, "--point", "1-:4,12,10").exit_code == 0
    assert labels_in(a_case).max() == 1


def test_what_contradicts_itself_is_questioned_and_an_input_is_never_replaced(memseg3d: Command, a_case: Path) -> None:
    both = ["--point", "block:+4,12,10", "--point", "block:-4,12,10"]
    assert "as inside and as outside" in words(result := memseg3d("refine", a_case, *both))
    assert result.exit_code == 3
    own = memseg3d("segment", a_case / "segmentation.nii.gz", "--point", "x:+5,12,10", "--out", a_case, "--overwrite")
    assert own.exit_code == 2
    assert "would be replaced" in words(own)


def test_what_the_reader_notes_is_told_to_people_and_programs(memseg3d: Command, a_case: Path, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (10, 24, 20), np.uint8)
    np.savez(tmp_path / "bare.npz", imgs=voxels)
    asked = ["segment", tmp_path / "bare.npz", "--box", BOX, "--out"]
    told = json.loads(memseg3d(*asked, tmp_path / "json", "--json").stdout)
    assert told["notes"] == ["bare.npz holds no spacing; 1 mm is assumed."]
    assert told["notes"][0] in words(memseg3d(*asked, tmp_path / "words"))
