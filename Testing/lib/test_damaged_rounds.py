"""Rounds in the scene that are damaged, or of a newer version: told, and set aside without losing anything."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.benches import OpenBench, box_on, click_on, run_bench
from lib.scenes import voxels_of

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.rounds.history.recovery import ATTRIBUTE
from MemSeg3DLib.rounds.history.scene_text import ROLE, copied_rounds


def torn(text: str) -> str:
    """Half of it is gone."""
    return text[: len(text) // 2]


def strange(text: str) -> str:
    """JSON, but not of rounds."""
    return json.dumps({"version": 7, "applied": 1, "rounds": [1]})


def flipped(text: str) -> str:
    """One value is another."""
    stored = json.loads(text)
    stored["rounds"][0]["changes"][0]["extent"][0][0] += 1
    return json.dumps(stored)


@pytest.mark.parametrize(
    "stored", [{"version": 2, "applied": 0, "rounds": [], "more": 1}, {"applied": 1, "rounds": ["x"]}, [1]]
)
def test_a_copy_takes_rounds_that_cannot_be_read_as_they_are(stored: object) -> None:
    assert copied_rounds(json.dumps(stored)) == json.dumps(stored)


@pytest.mark.parametrize("damage", [torn, strange, flipped])
def test_rounds_that_cannot_be_read_are_set_aside_and_work_goes_on(
    open_bench: OpenBench,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    tmp_path: Path,
    damage: Callable[[str], str],
) -> None:
    segment = segment_ids[0]
    bench = open_bench(tmp_path)
    assert bench.damage is None
    with pytest.raises(RoundError, match="nothing to set aside"):
        bench.set_damaged_aside()
    box = bench.add(box_on(an_oblique_volume, segment))
    run_bench(bench)
    wanted = voxels_of(an_oblique_volume, a_segmentation, segment)
    name = a_segmentation.GetAttribute(ATTRIBUTE)
    bench.close()
    text = damage(a_segmentation.GetNodeReference(ROLE).GetText())
    a_segmentation.GetNodeReference(ROLE).SetText(text)

    bench = open_bench(tmp_path)
    assert "set them aside in the section Rounds" in str(bench.damage)
    with pytest.raises(RoundError, match="set them aside"):
        bench.undo()
    path = bench.set_damaged_aside()
    assert (path.parent, path.read_text("utf-8")) == (tmp_path, text)
    assert path.name.startswith(name)
    assert bench.damage is None
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment), wanted)
    assert [(one.id, one.state) for one in bench.prompts()] == [(box, "pending")]
    click = bench.add(click_on(an_oblique_volume, segment, (6, 10, 10)))
    run_bench(bench)
    (record,) = bench.history(a_segmentation).applied
    assert {one["id"] for one in record.prompts} == {box, click}
    bench.undo()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment), wanted)
    bench.close()


def test_what_the_journal_still_holds_of_damaged_rounds_comes_back_as_another_segmentation(
    scene: Any,
    open_bench: OpenBench,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    tmp_path: Path,
) -> None:
    segment = segment_ids[0]
    bench = open_bench(tmp_path)
    bench.add(box_on(an_oblique_volume, segment))
    run_bench(bench)
    bench.close()
    a_segmentation.GetNodeReference(ROLE).SetText("no json")
    bench = open_bench(tmp_path)
    path = bench.set_damaged_aside()
    # It was closed, as the user wished; what was closed is not offered, and stays on the disk.
    assert bench.recoverable() == []
    assert len(list(tmp_path.glob("*.journal"))) == 1
    bench.add(click_on(an_oblique_volume, segment, (6, 10, 10)))
    run_bench(bench)
    wanted = voxels_of(an_oblique_volume, a_segmentation, segment)
    a_segmentation.GetNodeReference(ROLE).SetText("no json")
    as_left = {one: one.read_bytes() for one in bench.journals()}
    bench.close()
    # And now a crash.
    for one, content in as_left.items():
        one.write_bytes(content)
    bench = open_bench(tmp_path)
    bench.set_damaged_aside()
    (left,) = bench.recoverable()
    assert (left.end, left.segmentation_id) == ("deleted", "")
    assert bench.recover(left) == 1
    recovered = scene.GetNthNodeByClass(1, "vtkMRMLSegmentationNode")
    assert wanted.any()
    assert np.array_equal(voxels_of(an_oblique_volume, recovered, segment), wanted)
    then = time.time() - 91 * 86_400
    os.utime(path, (then, then))
    bench.close()
    open_bench(tmp_path).close()
    assert not path.exists()
    assert len(list(tmp_path.glob("*.damaged"))) == 1
