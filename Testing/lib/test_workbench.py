"""The Workbench: prompts go in and segments come out; what is added, moved, deleted or undone is never lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lib.benches import Seen, box_on, click_on, run_bench
from lib.scenes import SHAPE, voxels_of

from MemSeg3DLib.base.errors import PromptError, SceneError
from MemSeg3DLib.prompts.prompts import PointPrompt
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segmentation


def test_a_box_runs_at_once_and_is_listed_as_sent(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    seen = Seen(a_bench)
    prompt = a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    assert a_bench.busy
    assert [(one.id, one.kind, one.index, one.state) for one in a_bench.prompts()] == [(prompt, "box", 7, "queued")]
    run_bench(a_bench)
    assert not seen.errors
    assert voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]).any()
    assert [one.state for one in a_bench.prompts()] == ["sent"]
    assert [(one.number, one.segments, one.applied) for one in a_bench.rounds()] == [(1, (segment_ids[0],), True)]
    assert len(seen.rounds) == 1
    assert seen.slices


def test_clicks_during_a_run_go_together_into_the_next_one(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    seen = Seen(a_bench)
    added = [a_bench.add(box_on(an_oblique_volume, segment_ids[0]))]
    for place in ((3, 10, 10), (9, 12, 12), (5, 9, 9)):
        added.append(a_bench.add(click_on(an_oblique_volume, segment_ids[0], place, positive=place[0] != 9)))
    assert a_bench.waiting == 1
    run_bench(a_bench)
    assert not seen.errors
    assert len(seen.rounds) == 2
    assert sorted(one.id for one in a_bench.prompts()) == sorted(added)
    assert {one.state for one in a_bench.prompts()} == {"sent"}
    assert [one.positive for one in a_bench.prompts() if one.kind == "point"].count(False) == 1


def test_prompts_are_collected_until_run(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    a_bench.auto_run = False
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    a_bench.add(box_on(an_oblique_volume, segment_ids[1], 9, 10, 20))
    assert not a_bench.busy
    assert {one.state for one in a_bench.prompts()} == {"pending"}
    assert a_bench.run() is not None
    run_bench(a_bench)
    for segment in segment_ids:
        assert voxels_of(an_oblique_volume, a_segmentation, segment).any()
    assert len(a_bench.rounds()) == 1
    assert a_bench.run() is None, "there is nothing left to do"


def test_what_cannot_be_is_refused_and_leaves_nothing(
    a_bench: Workbench, an_oblique_volume: Any, segment_ids: list[str], scene: Any
) -> None:
    with pytest.raises(PromptError, match="outside"):
        a_bench.add(PointPrompt(segment_ids[0], (1e4, 0.0, 0.0)))
    with pytest.raises(PromptError, match="not in the selected segmentation"):
        a_bench.add(box_on(an_oblique_volume, "nobody"))
    assert not a_bench.prompts()
    a_bench.select(None, None, None)
    with pytest.raises(SceneError, match="source volume"):
        a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    a_bench.select(an_oblique_volume, None, None)
    with pytest.raises(SceneError, match="segmentation"):
        a_bench.run()


def test_switching_the_segmentation_does_not_disturb_a_run_nor_lose_what_waits(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any
) -> None:
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    a_bench.add(click_on(an_oblique_volume, segment_ids[0], (3, 10, 10)))
    other = add_segmentation(scene, an_oblique_volume, "other")
    a_bench.select(an_oblique_volume, other, None)
    run_bench(a_bench)
    a_bench.select(an_oblique_volume, a_segmentation, segment_ids[0])
    assert len(a_bench.rounds()) == 2
    assert {one.state for one in a_bench.prompts()} == {"sent"}


def test_undo_takes_a_click_away_and_redo_brings_it_back(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    before = voxels_of(an_oblique_volume, a_segmentation, segment_ids[0])
    click = a_bench.add(click_on(an_oblique_volume, segment_ids[0], (3, 10, 10), positive=False))
    run_bench(a_bench)
    after = voxels_of(an_oblique_volume, a_segmentation, segment_ids[0])
    a_bench.undo()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), before)
    assert click not in [one.id for one in a_bench.prompts()]
    a_bench.redo()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), after)
    assert (click, "sent") in [(one.id, one.state) for one in a_bench.prompts()]
    run_bench(a_bench)
    assert len(a_bench.rounds()) == 2, "nothing runs by itself after an undo or a redo"
    assert before.shape == SHAPE
