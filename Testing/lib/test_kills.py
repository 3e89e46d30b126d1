"""A worker that is killed again and again loses no prompt and no closed round (a hundred: benchmarks/kills.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lib.killing import KilledSession
from lib.workers import start_worker

from MemSeg3DLib.rounds.workbench import Workbench


@pytest.mark.timeout(900)
def test_three_kills_at_random_moments_lose_nothing(
    scene: Any, a_model: Path, a_long_volume: Any, a_long_segmentation: Any, tmp_path: Path
) -> None:
    segment = str(a_long_segmentation.GetSegmentation().GetNthSegmentID(0))
    with start_worker(a_model, tmp_path / "worker") as worker:
        bench = Workbench(scene, worker, tmp_path / "journals")
        bench.select(a_long_volume, a_long_segmentation, segment)
        session = KilledSession(bench, worker, segment, seed=3)
        while session.tally.kills < 3:
            session.step()
        assert session.agrees_with_the_worker()
        assert session.tally.lost == []
        assert session.tally.mid_round >= 1
        bench.close()
