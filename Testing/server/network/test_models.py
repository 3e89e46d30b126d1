"""Models are found by path or name, in the documented order, and a damaged one is told by its card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from memseg3d.network import models
from memseg3d.network.models import ModelDamaged, ModelNotFound, describe_model, find_model, list_models


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The five places that are searched, all empty."""
    package = tmp_path / "checkout" / "server" / "memseg3d"
    places = {
        "given": tmp_path / "given",
        "environment": tmp_path / "environment",
        "package": package / "models",
        "extension": tmp_path / "checkout" / "server" / "Resources" / "Models",
        "checkout": tmp_path / "checkout" / "Resources" / "Models",
    }
    for place in places.values():
        place.mkdir(parents=True)
    monkeypatch.setattr(models, "_PACKAGE", package)
    monkeypatch.setenv("MEMSEG3D_MODELS", str(places["environment"]))
    return places


def test_the_search_goes_from_the_given_folder_to_the_checkout(folders: dict[str, Path]) -> None:
    for place in folders.values():
        (place / "memseg3d-nano.safetensors").write_bytes(b"x")
    for place in folders.values():
        assert find_model(folder=folders["given"]) == place / "memseg3d-nano.safetensors"
        (place / "memseg3d-nano.safetensors").unlink()


def test_a_model_is_found_by_name_with_or_without_suffix_and_by_path(folders: dict[str, Path]) -> None:
    path = folders["checkout"] / "sam2.1_hiera_tiny.pt"
    path.write_bytes(b"x")
    for wanted in ("sam2.1_hiera_tiny", "sam2.1_hiera_tiny.pt", path, str(path)):
        assert find_model(wanted) == path


def test_a_name_that_is_nowhere_is_answered_with_the_folders_and_what_is_there(folders: dict[str, Path]) -> None:
    (folders["environment"] / "MedSAM2.pt").write_bytes(b"x")
    with pytest.raises(ModelNotFound) as refusal:
        find_model("medsam", folders["given"])
    assert str(folders["checkout"]) in str(refusal.value)
    assert "Models there now: MedSAM2." in str(refusal.value)


def test_models_are_listed_once_and_cards_are_no_models(folders: dict[str, Path]) -> None:
    for place in ("given", "package"):
        (folders[place] / "one.safetensors").write_bytes(b"x")
    (folders["package"] / "two.pth").write_bytes(b"x")
    (folders["package"] / "two.json").write_text("{}")
    assert list_models(folders["given"]) == [folders["given"] / "one.safetensors", folders["package"] / "two.pth"]


def test_a_model_is_described_with_its_hash_and_card(tmp_path: Path) -> None:
    path = tmp_path / "one.pt"
    path.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"sha256": sha256.upper(), "license": "MIT"}))
    described = describe_model(path)
    assert (described.name, described.sha256, described.licence) == ("one", sha256, "MIT")


@pytest.mark.parametrize(
    ("card", "told"), [('{"sha256": "00"}', "is not the model"), ("{", "no JSON"), ("[]", "must be a JSON object")]
)
def test_a_card_that_does_not_fit_is_told(tmp_path: Path, card: str, told: str) -> None:
    path = tmp_path / "one.pt"
    path.write_bytes(b"weights")
    path.with_suffix(".json").write_text(card)
    with pytest.raises(ModelDamaged, match=told):
        describe_model(path)
