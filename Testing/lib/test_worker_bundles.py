"""Offline bundles that do not fit this computer, are damaged or are none: told before anything is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib.test_worker_environment import Place, follow

from MemSeg3DLib.base.home import Home
from MemSeg3DLib.worker.installation.environment import EnvironmentState
from MemSeg3DLib.worker.installation.offline_bundle import OfflineBundle, file_hash, is_bundle
from MemSeg3DLib.worker.installation.packaged import Packaged
from MemSeg3DLib.worker.installation.recipe import Machine, lock_hash


def a_bundle(folder: Path, **changes: object) -> Path:
    """A bundle for this computer with words alone; one of its parts changed."""
    folder.mkdir()
    (folder / "uv").write_text("uv")
    (folder / "uv.exe").write_text("uv")
    machine, digest = Machine.this(), file_hash(folder / "uv")
    words = {
        "system": machine.system,
        "processor": machine.processor,
        "lock": lock_hash(Packaged()),
        "torch": "cpu",
        "python": "bin/python3",
        "python_sha256": "0" * 64,
        "uv_sha256": digest,
    }
    OfflineBundle(**{**words, **changes}).write(folder)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"processor": "sparc"}, "make one on a computer of this kind"),
        ({"lock": "0" * 64}, "make it with the version installed here"),
        ({"uv_sha256": "0" * 64}, "copy the whole bundle anew"),
        ({}, "python.tar.gz of the bundle is missing"),
    ],
)
def test_a_bundle_that_does_not_fit_or_is_damaged_is_told(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    place = Place(Home(tmp_path / "home"))
    end = follow(place.maker.task_bundle(a_bundle(tmp_path / "bundle", **changes)))
    assert said in str(end)
    assert place.environment.state() is EnvironmentState.MISSING


def test_a_folder_that_is_no_bundle_is_told(tmp_path: Path) -> None:
    place = Place(Home(tmp_path / "home"))
    assert not is_bundle(tmp_path)
    assert "choose the folder that holds bundle.json" in str(follow(place.maker.task_bundle(tmp_path)))
    for text in ("[]", '{"format": 1}', '{"format": 9}'):
        (tmp_path / "bundle.json").write_text(text)
        end = str(follow(place.maker.task_bundle(tmp_path)))
        assert end.endswith(("choose the folder that holds bundle.json.", "make it anew."))
