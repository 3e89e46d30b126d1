"""The same prompts by the command line, the Python API, a worker over HTTP and MemSeg3DLib: equal labelmaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.scenes import voxels_of
from lib.workers import Outcome, run_to_end

from MemSeg3DLib.prompts.prompts import BoxPrompt, PointPrompt
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundRequest
from MemSeg3DLib.scene.nodes import ijk_to_world, volume_array
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

memseg3d = pytest.importorskip("memseg3d", reason="the worker's package is not in this environment")
pytest.importorskip("torch")
LOWER, UPPER, CLICK = (7, 5, 5), (7, 14, 14), (8, 6, 6)


def test_four_ways_give_equal_labelmaps(
    a_controller: RunController,
    a_worker: LocalWorker,
    a_model: Path,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    tmp_path: Path,
) -> None:
    from typer.testing import CliRunner

    from memseg3d.cli.main import app

    voxels = np.array(volume_array(an_oblique_volume))
    spacing = tuple(reversed(an_oblique_volume.GetSpacing()))

    def there(kji: tuple[float, float, float]) -> Any:
        return ijk_to_world(an_oblique_volume, kji)

    outcome = Outcome(a_controller)
    for prompt in (
        BoxPrompt(segment_ids[0], there(LOWER), there(UPPER)),
        PointPrompt(segment_ids[0], there(CLICK), False),
    ):
        a_controller.start(RoundRequest(an_oblique_volume, a_segmentation, [prompt]))
        run_to_end(a_controller)
    assert not outcome.failed
    by_library = voxels_of(an_oblique_volume, a_segmentation, segment_ids[0])
    precision = a_worker.connect().info()["model"]["precision"]

    with memseg3d.open(voxels, spacing, model=str(a_model), device="cpu", precision=precision) as case:
        case.box("one", LOWER, UPPER).click("one", CLICK, positive=False)
        by_api = case.mask
        first, last = case.quality, case.look_next
        case.save(tmp_path / "api")
    with memseg3d.connect(a_worker.url, a_worker.token).open(voxels, spacing) as case:
        case.box("one", LOWER, UPPER).click("one", CLICK, positive=False)
        by_http = case.mask
        assert case.quality == {"one": pytest.approx(first["one"], abs=1e-5)}
        assert case.look_next == last
        case.save(tmp_path / "http")
        assert not np.array_equal(case.undo().mask, by_http)
        assert np.array_equal(case.redo().mask, by_http)

    np.savez(tmp_path / "scan.npz", imgs=voxels, spacing=np.array(spacing[::-1]))
    common = ["--precision", precision, "--device", "cpu", "--model", str(a_model), "--quiet"]
    for arguments in (
        ["segment", str(tmp_path / "scan.npz"), "--box", "one:7,5,5,7,14,14", "--out", str(tmp_path / "cli")],
        ["refine", str(tmp_path / "cli"), "--point", "one-:8,6,6"],
    ):
        result = CliRunner().invoke(app, [*arguments, *common])
        assert result.exit_code == 0, result.output
    from memseg3d.files import read_volume

    saved = {way: read_volume(tmp_path / way / "segmentation.nii.gz").voxels for way in ("api", "http", "cli")}
    assert by_library.any()
    for found in (by_api, by_http, *(labels == 1 for labels in saved.values())):
        assert np.array_equal(found, by_library)
