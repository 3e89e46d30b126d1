"""The worker serves Mem3D's network as it serves the others: by its file, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from memseg3d.network.loading import load_network
from memseg3d.service.settings import Settings
from Testing.tiny_mem3d import mem3d_file

from .conftest import TOKEN, WorkerHere


def test_a_round_with_extreme_points_and_one_with_a_click_come_back(tmp_path: Path) -> None:
    network = load_network(mem3d_file(tmp_path, "dextr", "two_point"))
    worker = WorkerHere(Settings(tmp_path / "data", TOKEN), network)
    try:
        voxels = np.random.default_rng(1).integers(0, 100, (8, 40, 40)).astype(np.int16)
        voxels[2:6, 10:26, 10:26] += 200
        session = worker.open_session(worker.upload(voxels))
        points = [[4, 10, 18], [4, 25, 18], [4, 18, 10], [4, 18, 25]]
        drawn: dict[str, Any] = {"type": "extreme_points", "object": 1, "axis": 0, "points": points}
        assert worker.run(session, [drawn])[-1]["type"] == "round"
        click = {"type": "point", "object": 1, "position": [4, 18, 18], "positive": False, "axis": 0}
        assert worker.run(session, [click])[-1]["type"] == "round"
        assert worker.mask(session, voxels.shape)[4, 18, 18] == 0
    finally:
        worker.stop()
