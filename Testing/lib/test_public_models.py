"""Public models as the panel offers them: listed from the catalogue, fetched by the worker's command, never unasked."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from lib.workers import worker_command

from MemSeg3DLib.base.background import TaskControl
from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.base.home import Home
from MemSeg3DLib.worker.installation.catalogue import (
    PublicModel,
    fetch_task,
    is_accepted,
    missing_models,
    read_catalogue,
)
from MemSeg3DLib.worker.installation.models import ModelFolder
from MemSeg3DLib.worker.installation.packaged import Packaged

CONTENT = b"PK\x03\x04" + b"weights" * 1000


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Nothing is written beside the tests' own words."""


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packaged]:
    """An extension whose catalogue names one model with a licence, on a server of this computer."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "liver.pt").write_bytes(CONTENT)
    handler = functools.partial(_Quiet, directory=str(tmp_path / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/liver.pt"
    file = {"path": "liver.pt", "url": url, "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    licence = {"title": "NC", "address": "a", "terms": "Research alone.", "needs_consent": True}
    model = {"name": "liver", "use": "livers", "page": "p", "licence": "NC", "files": [file]}
    models = tmp_path / "Resources" / "Models"
    models.mkdir(parents=True)
    words = {"format": 1, "licences": {"NC": licence}, "models": [model]}
    (models / "catalogue.json").write_text(json.dumps(words), encoding="utf-8")
    # the command's own catalogue is that of the first folder of models that has one
    monkeypatch.setenv("MEMSEG3D_MODELS", str(models))
    yield Packaged(tmp_path)
    server.shutdown()
    server.server_close()


def fetched(model: PublicModel, folder: Path) -> str:
    """What came of a fetch: the model's name, or the sentence of why not."""
    task, ends = fetch_task(worker_command(), model, folder), []
    task.finished.connect(ends.append)
    task.failed.connect(lambda error: ends.append(str(error)))
    task.wait()
    while task.poll():
        pass
    return str(ends[0])


def test_a_model_is_fetched_by_the_workers_command(packaged: Packaged, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "models"
    [model] = missing_models(packaged, folder)
    assert (model.name, model.host.split(":")[0], model.terms) == ("liver", "127.0.0.1", "Research alone.")
    assert not is_accepted(model, folder)
    assert fetched(model, folder) == "liver"
    assert (folder / "liver.pt").read_bytes() == CONTENT
    assert is_accepted(model, folder)
    assert missing_models(packaged, folder) == []
    assert [one.name for one in ModelFolder(Home(tmp_path / "home"), packaged).models()] == ["liver"]


def test_what_the_command_refuses_is_told_in_its_words(packaged: Packaged, tmp_path: Path) -> None:
    [model] = read_catalogue(packaged)
    (tmp_path / "site" / "liver.pt").write_bytes(b"another")
    assert "should have" in fetched(model, tmp_path / "models")


def test_the_catalogue_of_the_extension_is_read() -> None:
    listed = {model.name: model for model in read_catalogue(Packaged())}
    assert not listed["sam2.1_hiera_tiny"].needs_consent
    assert listed["nnInteractive_v1.0"].place == "nnInteractive_v1.0"


def test_a_folder_is_a_model_as_well(tmp_path: Path) -> None:
    given = tmp_path / "nnInteractive_v1.0"
    (given / "fold_0").mkdir(parents=True)
    (given / "fold_0" / "checkpoint_final.pth").write_bytes(CONTENT)
    (given / "plans.json").write_text("{}", encoding="utf-8")
    (given / "LICENSE").write_text("\nCC BY-NC-SA 4.0\n", encoding="utf-8")
    shelf = ModelFolder(Home(tmp_path / "home"), Packaged())
    added = shelf.add(given, TaskControl())
    assert (added.name, added.licence) == ("nnInteractive_v1.0", "CC BY-NC-SA 4.0")
    assert (shelf.folder / "nnInteractive_v1.0" / "fold_0" / "checkpoint_final.pth").read_bytes() == CONTENT
    shelf.remove("nnInteractive_v1.0")
    assert list(shelf.folder.iterdir()) == []
    with pytest.raises(MemSeg3DError, match="must hold plans"):
        shelf.add(tmp_path, TaskControl())
