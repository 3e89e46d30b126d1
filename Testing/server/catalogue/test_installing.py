"""`memseg3d models available|get|add|remove`, on a catalogue of a server on this computer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from memseg3d.catalogue.entries import read_catalogue
from memseg3d.cli.main import app

from .conftest import CONTENT, SHA256, Site


@pytest.fixture
def catalogue(site: Site, tmp_path: Path) -> Path:
    """A free model of one file, and one of a folder whose licence has to be accepted."""
    url = site.url
    files = [
        {"path": "large/fold_0/checkpoint_final.pth", "url": url, "bytes": len(CONTENT), "sha256": SHA256[:8]},
        {"path": "large/plans.json", "url": url},
    ]
    licences = {
        "MIT": {"title": "MIT", "address": "a", "terms": "All is allowed.", "needs_consent": False},
        "NC": {"title": "Not commercial", "address": "b", "terms": "Research alone.", "needs_consent": True},
    }
    words = {"use": "for tests", "page": "c"}
    models = [
        {"name": "small", "licence": "MIT", "files": [{"path": "small.pt", "url": url, "sha256": SHA256}], **words},
        {"name": "Large", "licence": "NC", "files": files, **words},
    ]
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"format": 1, "licences": licences, "models": models}), encoding="utf-8")
    return path


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, not made yet."""
    monkeypatch.setenv("MEMSEG3D_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MEMSEG3D_MODELS", raising=False)
    return tmp_path / "home" / "models"


def models(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def test_a_model_is_fetched_and_then_found_by_its_name(shelf: Path, catalogue: Path) -> None:
    result = models("get", "small", "--catalogue", catalogue)
    assert result.exit_code == 0, result.output
    assert (shelf / "small.pt").read_bytes() == CONTENT
    card = json.loads((shelf / "small.json").read_text("utf-8"))
    assert (card["sha256"], card["licence"]) == (SHA256, "MIT")
    listed = {model["name"]: model for model in json.loads(models("--json").output)}
    assert listed["small"]["licence"] == "MIT"


def test_a_licence_is_shown_and_accepted_once(shelf: Path, catalogue: Path, site: Site) -> None:
    refused = models("get", "large", "--catalogue", catalogue)
    assert refused.exit_code == 2
    assert "Research alone." in refused.output
    assert "--accept-licence NC" in refused.output
    assert models("get", "large", "--catalogue", catalogue, "--accept-licence", "MIT").exit_code == 2
    assert site.asked == [], "nothing is fetched before"
    result = models("get", "large", "--catalogue", catalogue, "--accept-licence", "NC")
    assert result.exit_code == 0, result.output
    assert (shelf / "large" / "fold_0" / "checkpoint_final.pth").read_bytes() == CONTENT
    assert models("remove", "large").exit_code == 0
    assert models("get", "large", "--catalogue", catalogue).exit_code == 0


def test_what_has_come_is_not_fetched_again(shelf: Path, catalogue: Path, site: Site) -> None:
    for _ in range(2):
        models("get", "small", "--catalogue", catalogue)
    assert len(site.asked) == 1


def test_available_tells_what_is_here_without_asking_anybody(shelf: Path, catalogue: Path, site: Site) -> None:
    (shelf).mkdir(parents=True)
    (shelf / "small.pt").write_bytes(CONTENT)
    listed = json.loads(models("available", "--catalogue", catalogue, "--json").output)
    assert [(model["name"], model["installed"]) for model in listed] == [("small", True), ("Large", False)]
    assert site.asked == []


def test_progress_comes_as_lines_for_panels(shelf: Path, catalogue: Path) -> None:
    lines = [
        json.loads(line) for line in models("get", "small", "--catalogue", catalogue, "--json").output.splitlines()
    ]
    assert lines[-2] == {"type": "progress", "file": "small.pt", "done": len(CONTENT), "total": len(CONTENT)}
    assert lines[-1] == {"type": "done", "name": "small", "path": str(shelf / "small.pt")}


def test_a_file_of_ones_own_is_added_and_removed(shelf: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    own.write_bytes(CONTENT)
    own.with_suffix(".json").write_text('{"licence": "MIT"}', encoding="utf-8")
    assert models("add", own, "--name", "liver").exit_code == 0
    assert sorted(path.name for path in shelf.iterdir()) == ["liver.json", "liver.pt"]
    assert "There is a model called liver" in models("add", own, "--name", "liver").output
    assert models("remove", "liver").exit_code == 0
    assert list(shelf.iterdir()) == []
    assert "There is no model liver" in models("remove", "liver").output


def test_a_file_that_is_cut_off_or_a_name_that_leads_out_is_not_added(shelf: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    whole.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-1])
    assert "is damaged or cut off" in models("add", cut).output
    assert "is no name for a model" in models("add", whole, "--name", "../out").output
    assert models("add", whole).exit_code == 0
    assert [path.name for path in shelf.iterdir()] == ["whole.safetensors"]


def test_what_is_left_of_a_fetch_is_removed_by_name(shelf: Path, catalogue: Path, site: Site) -> None:
    site.status = 500
    shelf.mkdir(parents=True)
    (shelf / "small.pt.part").write_bytes(b"half")
    assert models("get", "small", "--catalogue", catalogue).exit_code == 2
    assert models("remove", "small").exit_code == 0
    assert list(shelf.iterdir()) == []


@pytest.mark.parametrize("name", ["../other", "", "/etc"])
def test_no_name_leads_out_of_the_folder(shelf: Path, name: str) -> None:
    assert "is no model's name" in models("remove", name).output


@pytest.mark.parametrize(
    "changed",
    [{"path": name} for name in ("../small.pt", "/small.pt", "a/../../b.pt", "C:small.pt", "a\\b.pt", "", "n" * 300)]
    + [{"sha256": "no sum"}, {"bytes": -1}, {"bytes": "9"}, {"url": None}, {"optional": "yes"}],
)
def test_a_catalogue_does_not_lead_out_of_the_folder_and_says_what_it_should(
    shelf: Path, catalogue: Path, site: Site, changed: dict[str, object]
) -> None:
    words = json.loads(catalogue.read_text(encoding="utf-8"))
    words["models"][0]["files"][0] |= changed
    catalogue.write_text(json.dumps(words), encoding="utf-8")
    assert "no catalogue of models" in models("get", "small", "--catalogue", catalogue).output
    assert not shelf.exists() or list(shelf.iterdir()) == []


def test_what_is_no_checkpoint_is_not_added(shelf: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.pt"
    page.write_bytes(b"<!DOCTYPE html>")
    assert "see that it is not a web page" in models("add", page).output
    assert "a folder of nnInteractive's holds" in models("add", tmp_path).output
    assert not shelf.exists() or list(shelf.iterdir()) == []


def test_the_catalogue_that_comes_with_it_is_whole() -> None:
    listed = {model.name: model for model in read_catalogue()}
    assert len([name for name in listed if name.startswith("sam2")]) == 8
    assert {"MedSAM2_latest", "sam_med3d_turbo", "vista3d", "nnInteractive_v1.0"} <= set(listed)
    for model in listed.values():
        assert model.licence.needs_consent == (model.licence.id != "Apache-2.0")
        assert all(file.url.startswith("https://") for file in model.files)
        assert len(model.files[0].sha256) == 64
