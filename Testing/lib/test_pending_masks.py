"""Mask prompts that wait for Run lie in the scene: a copy has none of the original's, damage takes no other one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.benches import OpenBench, box_on, run_bench

from MemSeg3DLib.prompts.pending_masks import ROLE, PendingMasks, masks_text, store_masks
from MemSeg3DLib.prompts.prompts import MaskPrompt
from MemSeg3DLib.rounds.history.scene_histories import SceneHistories
from MemSeg3DLib.rounds.history.scene_text import ROLE as ROUNDS_ROLE
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


@pytest.fixture
def two_masks(a_segmentation: Any, segment_ids: list[str]) -> list[MaskPrompt]:
    """Kept with the segmentation."""
    rng = np.random.default_rng(3)
    masks = [MaskPrompt(segment_ids[n], rng.random((9, 7)) > 0.5, 3 + n, n, f"mask-{n}") for n in range(2)]
    PendingMasks().add(a_segmentation, masks)
    return masks


def test_a_copy_of_a_segmentation_shares_no_pending_mask(
    scene: Any, a_segmentation: Any, two_masks: list[MaskPrompt]
) -> None:
    copy = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
    copy.UnRegister(None)
    copy.Copy(a_segmentation)
    copy = scene.AddNode(copy)
    histories, waiting = SceneHistories(None), PendingMasks()
    histories.of(a_segmentation)
    assert waiting.of(copy) == []
    waiting.add(copy, two_masks[:1])
    waiting.remove(copy, ["mask-0"])
    assert [one.id for one in waiting.of(a_segmentation)] == ["mask-0", "mask-1"]


def test_a_mask_that_was_damaged_in_the_scene_hides_no_other(a_segmentation: Any, two_masks: list[MaskPrompt]) -> None:
    waiting = PendingMasks()
    stored = json.loads(masks_text(a_segmentation))
    stored["masks"][0]["shape"] = [9000, 7]
    store_masks(a_segmentation, json.dumps(stored))
    (left,) = waiting.of(a_segmentation)
    assert (left.id, left.segment_id, left.axis, left.index) == ("mask-1", two_masks[1].segment_id, 1, 4)
    assert np.array_equal(left.mask, two_masks[1].mask)
    a_segmentation.GetNodeReference(ROLE).SetText("no json")
    assert waiting.of(a_segmentation) == []


def test_a_mask_that_waited_in_the_saved_scene_is_not_given_twice_when_its_round_is_recovered(
    scene: Any,
    a_worker: LocalWorker,
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
    bench.auto_run = False
    (mask,) = bench.mask_prompt_from(segment, segment, 0, 7)
    rounds = a_segmentation.GetNodeReference(ROUNDS_ROLE).GetText()
    masks = masks_text(a_segmentation)
    bench.run()
    run_bench(bench)
    # The crash: the scene is as it was saved before Run, the journal holds what ran since.
    (path,) = bench.journals()
    as_left = path.read_bytes()
    bench.close()
    path.write_bytes(as_left)
    a_segmentation.GetNodeReference(ROUNDS_ROLE).SetText(rounds)
    store_masks(a_segmentation, masks)
    again = Workbench(scene, a_worker, tmp_path)
    again.auto_run = False
    again.select(an_oblique_volume, a_segmentation, segment)
    (left,) = again.recoverable()
    assert again.recover(left) == 1
    assert [one.state for one in again.prompts() if one.id == mask] == ["sent"]
    assert again.run() is None, "nothing is left to do"
    again.close()
