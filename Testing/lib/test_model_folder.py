"""Models on disk: listed with licence and memory, added from files, never one over another, the embedded one stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from MemSeg3DLib.base.background import TaskCancelled, TaskControl
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.home import Home
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.connection.trial import try_connection
from MemSeg3DLib.worker.installation.models import ModelEntry, ModelFolder, describe, remote_model
from MemSeg3DLib.worker.installation.packaged import Packaged


@pytest.fixture
def a_folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(Home(tmp_path / "home"), Packaged())


@pytest.fixture
def a_file(tmp_path: Path, a_model: Path) -> Path:
    """A checkpoint that the user has got from somewhere, with its card."""
    file = tmp_path / "liver_v2.safetensors"
    shutil.copyfile(a_model, file)
    card = {"name": "liver_v2", "licence": "CC-BY-NC-4.0", "use": "Research only.", "memory_mb": 1500}
    file.with_suffix(".json").write_text(json.dumps(card))
    return file


def test_the_embedded_model_is_listed_with_its_card(a_folder: ModelFolder) -> None:
    first = a_folder.models()[0]
    assert (first.name, first.licence, first.image_size) == ("memseg3d-nano", "Apache-2.0", 128)
    assert first.is_embedded
    assert "not for clinical use" in first.use
    assert first.path is not None
    assert first.bytes == first.path.stat().st_size
    assert first.fit(4_000_000_000).startswith("fits")


def test_a_model_is_added_with_its_card_and_removed_again(a_folder: ModelFolder, a_file: Path) -> None:
    control = TaskControl()
    added = a_folder.add(a_file, control)
    assert (added.name, added.licence, added.needs_bytes) == ("liver_v2", "CC-BY-NC-4.0", 1_500_000_000)
    assert control.lines.get().total == a_file.stat().st_size
    assert [one.name for one in a_folder.models()] == ["memseg3d-nano", "liver_v2"]
    assert added.path is not None
    assert added.path.read_bytes() == a_file.read_bytes()
    a_folder.remove("liver_v2")
    assert list(a_folder.folder.iterdir()) == []
    assert a_file.is_file(), "the user's own file stays where it was"


def test_the_worker_finds_an_added_model_by_its_name(a_folder: ModelFolder, a_file: Path, tmp_path: Path) -> None:
    from lib.workers import worker_command

    a_folder.add(a_file, TaskControl())
    worker = LocalWorker.start(
        command=worker_command(), model="liver_v2", models=a_folder.folder, data_folder=tmp_path / "data", device="cpu"
    )
    with worker:
        report = try_connection(worker.connect())
    assert report.model == "liver_v2"
    assert remote_model(report).licence == "CC-BY-NC-4.0"


@pytest.mark.parametrize("name", ["memseg3d-nano", "MemSeg3D-Nano", "liver_v2"])
def test_no_model_takes_the_place_of_another(a_folder: ModelFolder, a_file: Path, name: str) -> None:
    a_folder.add(a_file, TaskControl())
    with pytest.raises(SetupError, match="give this one another name"):
        a_folder.add(a_file, TaskControl(), name)
    assert a_folder.add(a_file, TaskControl(), "another").name == "another"


def test_the_embedded_model_is_never_removed(a_folder: ModelFolder) -> None:
    with pytest.raises(SetupError, match="came with MemSeg3D"):
        a_folder.remove("memseg3d-nano")
    with pytest.raises(SetupError, match="no model called"):
        a_folder.remove("nobody")
    path = a_folder.models()[0].path
    assert path is not None
    assert path.is_file()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("page.safetensors", b"<!DOCTYPE html><html>", "not a web page"),
        ("half.safetensors", b"\x10", "not a web page"),
        ("page.pt", b"<!DOCTYPE html>", "not a web page"),
        ("notes.txt", b"PK", "choose a file that ends in"),
        ("a name.pt", b"PK\x03\x04", "cannot be a model's name"),
    ],
)
def test_what_is_no_model_is_refused(
    a_folder: ModelFolder, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(SetupError, match=said):
        a_folder.add(file, TaskControl())
    assert not a_folder.folder.exists() or list(a_folder.folder.iterdir()) == []


def test_a_copy_that_is_cancelled_leaves_nothing(a_folder: ModelFolder, a_file: Path) -> None:
    control = TaskControl()
    control.cancelled.set()
    with pytest.raises(TaskCancelled):
        a_folder.add(a_file, control)
    assert list(a_folder.folder.iterdir()) == []


def test_a_damaged_card_hides_no_model(a_folder: ModelFolder, a_file: Path) -> None:
    for text in ("{", "[]"):
        a_file.with_suffix(".json").write_text(text)
        entry = describe(a_file, is_embedded=False)
        assert (entry.name, entry.licence) == ("liver_v2", "")
        assert entry.fault


def test_a_device_that_is_too_small_is_told_with_figures() -> None:
    large = ModelEntry("large", None, 0, "", "", 1024, 6_000_000_000, False)
    assert large.fit(4_000_000_000) == "too large: needs about 6.0 GB, the device has 4.0 GB"
    assert large.fit(7_000_000_000).startswith("tight")
    assert large.fit(24_000_000_000).startswith("fits")
    assert large.fit(0) == ""
