"""`memseg3d segment --rounds` runs an exported document again: equal voxels, or a sentence that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from sharing import assert_shared_out
from tiny_model import write_tiny_model
from typer.testing import Result

from memseg3d.network.loading import load_network
from memseg3d.propagation.prompts.as_json import prompt_from_json, prompt_to_json
from memseg3d.propagation.prompts.object_limits import limits_from_json
from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import MaskPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.volume import Volume, volume_id

from .conftest import MODEL, an_oblique_image, words

Command = Callable[..., Result]
Words = dict[str, Any]
SPACING = (2.0, 1.0, 1.0)
BOX = {"type": "box", "object": 1, "axis": 0, "lower": [5, 8, 6], "upper": [5, 15, 13], "id": "box"}
OTHER = {"type": "box", "object": 7, "axis": 0, "lower": [5, 0, 0], "upper": [5, 5, 5], "id": "other"}
CLICK = {"type": "point", "object": 1, "position": [4, 12, 10], "positive": False, "axis": 0, "id": "click"}
LASSO = {"type": "lasso", "object": 1, "axis": 0, "points": [[6, 8, 6], [6, 8, 13], [6, 15, 9]], "id": "lasso"}


def voxels() -> np.ndarray:
    return sitk.GetArrayFromImage(an_oblique_image())


def a_round(name: str, prompts: list[Words], session: int = 1, **more: Any) -> Words:
    return {"id": name, "session": session, "options": {}, "prompts": prompts, "removed": [], "limits": {}, **more}


def document(rounds: list[Words], **more: Any) -> Words:
    return {
        "format": "memseg3d-rounds",
        "version": 1,
        "volume": volume_id(voxels(), SPACING),
        "rounds": rounds,
        **more,
    }


ROUNDS = [
    a_round("1", [BOX, OTHER]),
    a_round("2", [CLICK, LASSO], limits={"1": {"axis": 0, "first": 3, "last": 8}}),
    a_round("3", [], removed=["click"]),
]


@pytest.fixture
def run_again(memseg3d: Command, a_volume: Path, tmp_path: Path) -> Callable[..., Result]:
    """Writes a document and runs it on the volume; results go to `out`."""

    def run(words: Any, *more: str) -> Result:
        (tmp_path / "rounds.json").write_text(words if isinstance(words, str) else json.dumps(words))
        return memseg3d("segment", a_volume, "--rounds", tmp_path / "rounds.json", "--out", tmp_path / "out", *more)

    return run


@pytest.fixture
def models_that_see(tmp_path: Path) -> Path:
    """A folder whose model sees an object on every slice."""
    (tmp_path / "models").mkdir()
    write_tiny_model(tmp_path / "models" / f"{MODEL}.safetensors")
    return tmp_path / "models"


def expected(models: Path, rounds: list[Words], image: np.ndarray | None = None) -> Session:
    image = voxels() if image is None else image
    volume = Volume(image, SPACING)
    session = Session(volume, load_network(models / f"{MODEL}.safetensors"), Options.from_json(rounds[0]["options"]))
    for one in rounds:
        prompts = [prompt_from_json(prompt, volume.shape) for prompt in one["prompts"]]
        limits = limits_from_json(one["limits"])
        list(session.begin(one["id"], prompts, one["removed"], limits, one.get("full", ())))
    return session


def labels_in(folder: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "segmentation.nii.gz")))


def test_rounds_run_again_give_the_same_voxels(
    run_again: Callable[..., Result], models_folder: Path, tmp_path: Path
) -> None:
    result = run_again(document(ROUNDS))
    assert result.exit_code == 0, result.output
    session, found = expected(models_folder, ROUNDS), labels_in(tmp_path / "out")
    assert session.labelmap(1).any()
    assert_shared_out(found, {number: session.labelmap(number) for number in (1, 7)})
    side_car = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    assert [segment["name"] for segment in side_car["segments"]] == ["1", "7"]


def test_rounds_with_a_vote_of_three_axes_give_the_same_voxels(
    run_again: Callable[..., Result], models_that_see: Path, tmp_path: Path
) -> None:
    voted = [{**one, "options": {"consensus": True}} for one in ROUNDS]
    assert run_again(document(voted), "--models", str(models_that_see)).exit_code == 0
    session, found = expected(models_that_see, voted), labels_in(tmp_path / "out")
    assert session.options.consensus
    assert_shared_out(found, {number: session.labelmap(number) for number in (1, 7)})
    assert not np.array_equal(session.labelmap(1), expected(models_that_see, ROUNDS).labelmap(1)), "the vote counts"


def test_a_round_that_computes_anew_is_run_again_as_one(
    run_again: Callable[..., Result], models_that_see: Path, tmp_path: Path
) -> None:
    rough = {"options": {"tolerance": 0.9}}
    rounds = [a_round("1", [BOX], **rough), a_round("2", [CLICK], **rough), a_round("3", [], full=[1], **rough)]
    models = "--models", str(models_that_see)
    assert run_again(document(rounds), *models).exit_code == 0
    session = expected(models_that_see, rounds)
    assert session.labelmap(1).any()
    assert np.array_equal(labels_in(tmp_path / "out") == 1, session.labelmap(1))
    unknown = run_again(document([rounds[0], a_round("2", [], full=[5], **rough)]), *models, "--overwrite")
    assert "no object 5" in words(unknown)


def test_a_session_that_computes_an_object_afresh_leaves_nothing_of_the_one_before(
    run_again: Callable[..., Result], models_that_see: Path, tmp_path: Path
) -> None:
    models = "--models", str(models_that_see)
    short = a_round("2", [BOX], 2, options={"reach": 0.05}, afresh=[1])
    assert run_again(document([a_round("1", [BOX, OTHER]), short]), *models).exit_code == 0
    first, found = expected(models_that_see, [a_round("1", [BOX, OTHER])]), labels_in(tmp_path / "out")
    second = expected(models_that_see, [short]).labelmap(1)
    assert second.sum() < first.labelmap(1).sum()
    assert_shared_out(found, {1: second, 7: first.labelmap(7)})
    bounded = {**short, "limits": {"1": {"axis": 0, "first": 5, "last": 6}}}
    assert run_again(document([a_round("1", [BOX]), bounded]), *models, "--overwrite").exit_code == 0
    kept = first.labelmap(1)
    kept[5:7] = expected(models_that_see, [bounded]).labelmap(1)[5:7]
    assert np.array_equal(labels_in(tmp_path / "out") == 1, kept)


def test_names_come_along_where_the_document_has_them(run_again: Callable[..., Result], tmp_path: Path) -> None:
    assert run_again(document(ROUNDS, names={"1": "Läsion", "7": "Läsion"})).exit_code == 0
    side_car = json.loads((tmp_path / "out" / "segmentation.json").read_text(encoding="utf-8"))
    assert [segment["name"] for segment in side_car["segments"]] == ["Läsion (1)", "Läsion (7)"]


def test_rounds_of_two_sessions_are_put_over_each_other(
    run_again: Callable[..., Result], models_folder: Path, tmp_path: Path
) -> None:
    later = a_round("2", [{**BOX, "id": "again"}], 2, options={"first": 4, "last": 6, "window": [0, 300]})
    assert run_again(document([a_round("1", [BOX]), later])).exit_code == 0
    one, two = expected(models_folder, [a_round("1", [BOX])]), expected(models_folder, [later])
    result = one.labelmap(1)
    result[4:7] = two.labelmap(1)[4:7]
    assert np.array_equal(labels_in(tmp_path / "out") == 1, result)


def test_a_volume_whose_slices_slicer_turned_round_is_known(
    run_again: Callable[..., Result], models_folder: Path, tmp_path: Path
) -> None:
    mirror = np.ascontiguousarray(voxels()[::-1])
    mask = np.zeros((24, 20), bool)
    mask[8:16, 6:12] = True
    rounds = [a_round("1", [prompt_to_json(MaskPrompt(1, 0, 4, mask, "mask"))])]
    assert run_again({**document(rounds), "volume": volume_id(mirror, SPACING)}).exit_code == 0
    session = expected(models_folder, rounds, mirror)
    found = labels_in(tmp_path / "out") == 1
    assert np.array_equal(found[5], mask)
    assert np.array_equal(found, session.labelmap(1)[::-1])
    segment = json.loads((tmp_path / "out" / "segmentation.json").read_text())["segments"][0]
    assert [each["index"] for each in segment["slices"] if each["prompted"]] == [5]
    assert {each["index"] for each in segment["slices"]} == {9 - index for index in session.qualities(1)[1]}


def test_a_spacing_that_differs_in_the_last_digits_is_the_same(run_again: Callable[..., Result]) -> None:
    digits = (2.0000001, 1.0, 0.9999999)
    rounds = {**document(ROUNDS), "volume": volume_id(voxels(), digits)}
    assert run_again(rounds).exit_code == 2
    assert run_again({**rounds, "spacing": digits}, "--overwrite").exit_code == 0
    far = (2.1, 1.0, 1.0)
    assert run_again({**rounds, "volume": volume_id(voxels(), far), "spacing": far}, "--overwrite").exit_code == 2


def test_another_volume_is_refused_unless_it_is_meant(run_again: Callable[..., Result], tmp_path: Path) -> None:
    other = {**document(ROUNDS), "volume": "0" * 64}
    refused = run_again(other)
    assert refused.exit_code == 2
    assert "made on another volume" in words(refused)
    assert not (tmp_path / "out").exists()
    assert run_again(other, "--any-volume").exit_code == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("no JSON", "is no JSON that can be read, line 1"),
        ("[]", "is no document of rounds"),
        (json.dumps({"format": "something else"}), "is no document of rounds"),
        ({**document(ROUNDS), "version": 9}, "version 9"),
        (document([]), "holds no prompt"),
        (document([{"id": "1"}]), "is damaged"),
        (document([a_round("1", [{**BOX, "upper": [5, 15, 99]}])]), "outside the volume"),
        (document([a_round("1", [{**BOX, "type": "spray"}])]), "spray"),
        ("[" * 100_000, "is no JSON that can be read"),
        (document([a_round("1", [{**BOX, "object": 0}])]), "greater than or equal to 1"),
        (document([a_round("1", [{**BOX, "colour": 1}])]), "colour"),
        (document([a_round("1", [{**CLICK, "position": [1, 2, float("nan")]}])]), "position"),
        (document([a_round("1", [CLICK] * 1001)]), "1000 prompts"),
        (document([a_round("1", [BOX], session=float("inf"))]), "is damaged"),
        (document([a_round("1", [BOX], full=[float("inf")])]), "is damaged"),
        (document([a_round("1", 5)]), "prompts"),
        (document([a_round("1", [BOX], options={"windw": [0, 1]})]), "Unknown option"),
        (document([a_round("1", [BOX], limits={"1": {"axis": 0}})]), "whole numbers"),
    ],
)
def test_a_document_that_cannot_be_run_is_explained(
    run_again: Callable[..., Result], tmp_path: Path, content: Any, sentence: str
) -> None:
    result = run_again(content)
    assert result.exit_code == 2, result.output
    assert sentence in words(result)
    assert not (tmp_path / "out").exists()


def test_a_round_that_fails_in_the_middle_is_named(run_again: Callable[..., Result]) -> None:
    result = run_again(document([a_round("1", [BOX]), a_round("2", [], removed=["nobody"])]))
    assert result.exit_code == 2
    assert "Round 2 cannot be run" in words(result)
