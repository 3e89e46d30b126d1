"""What the editor's masking forbids is told to the worker; hand-drawn slices are filled between. Real worker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lib.benches import Seen, box_on, click_on, hand_edit, run_bench
from lib.scenes import SHAPE, users_editor, voxels_of

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.base.packing import extent_slices, unpack_bits
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.worker.connection.client import WorkerClient


def editor_of(bench: Workbench) -> Any:
    """An editor node of the user's, chosen in the Workbench."""
    node = users_editor(bench.segmentation_node, bench.volume_node).GetSegmentEditorNode()
    bench.select(bench.volume_node, bench.segmentation_node, bench.segment_id, node)
    return node


def test_a_segment_keeps_out_of_the_visible_ones_in_the_scene_and_on_the_worker(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    ours, theirs = segment_ids
    neighbour = np.zeros(SHAPE, bool)
    neighbour[5:10, 4:16, 4:9] = True
    hand_edit(a_segmentation, an_oblique_volume, theirs, neighbour)
    node = editor_of(a_bench)
    node.SetMaskMode(a_segmentation.EditAllowedOutsideVisibleSegments)
    a_bench.add(box_on(an_oblique_volume, ours))
    run_bench(a_bench)
    found = voxels_of(an_oblique_volume, a_segmentation, ours)
    assert found.any()
    assert not (found & neighbour).any()
    told = a_bench.history(a_segmentation).applied[-1].limits["1"]["outside"]
    extent = tuple(tuple(pair) for pair in told["extent"])
    sent = np.zeros(SHAPE, bool)
    sent[extent_slices(extent)] = unpack_bits(told["bits"], [high - low for low, high in extent])
    assert np.array_equal(sent, neighbour), "what the worker was told is the neighbour to the voxel"
    a_segmentation.GetDisplayNode().SetSegmentVisibility(theirs, False)
    a_bench.add(click_on(an_oblique_volume, ours, (7, 10, 12)))
    run_bench(a_bench)
    assert not a_bench.history(a_segmentation).applied[-1].limits, "a segment that is hidden says nothing"


def test_a_segment_stays_within_the_editable_intensity_range(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    seen = Seen(a_bench)
    node = editor_of(a_bench)
    node.SetSourceVolumeIntensityMaskRange(0.0, 250.0)
    node.SourceVolumeIntensityMaskOn()
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    values = volume_array(an_oblique_volume)[voxels_of(an_oblique_volume, a_segmentation, segment_ids[0])]
    assert values.size
    assert values.min() >= 0
    assert values.max() <= 250
    record = a_bench.history(a_segmentation).applied[-1]
    assert record.limits == {"1": {"range": [0.0, 250.0]}}
    assert not seen.errors


def test_an_older_worker_is_not_told_of_what_it_does_not_know(
    a_bench: Workbench,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = WorkerClient.info
    monkeypatch.setattr(WorkerClient, "info", lambda client: {**told(client), "features": ["limits"]})
    node = editor_of(a_bench)
    node.SetSourceVolumeIntensityMaskRange(0.0, 250.0)
    node.SourceVolumeIntensityMaskOn()
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    values = volume_array(an_oblique_volume)[voxels_of(an_oblique_volume, a_segmentation, segment_ids[0])]
    assert values.min() >= 0, "the scene is bounded all the same"
    assert not a_bench.history(a_segmentation).applied[-1].limits


def test_two_slices_that_were_drawn_by_hand_are_filled_between_and_not_beyond(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    ours = segment_ids[0]
    with pytest.raises(RoundError, match="two slices"):
        a_bench.fill_between()
    drawn = np.zeros(SHAPE, bool)
    drawn[3, 4:14, 4:14] = drawn[9, 6:16, 6:16] = True
    hand_edit(a_segmentation, an_oblique_volume, ours, drawn)
    a_bench.fill_between()
    run_bench(a_bench)
    found = voxels_of(an_oblique_volume, a_segmentation, ours)
    assert np.array_equal(found[3], drawn[3])
    assert np.array_equal(found[9], drawn[9])
    assert not found[:3].any()
    assert not found[10:].any()
    record = a_bench.history(a_segmentation).applied[-1]
    assert record.limits == {"1": {"between": True}}
    assert {(one["type"], one["extent"][0][0]) for one in record.prompts} == {("mask", 3), ("mask", 9)}
    a_bench.undo()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, ours), drawn), "what was drawn is left"


def test_a_prompt_that_was_too_weak_is_told_with_its_segment_and_slice(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    seen = Seen(a_bench)
    node = editor_of(a_bench)
    # Nothing has these values, so that no network can find anything.
    node.SetSourceVolumeIntensityMaskRange(5000.0, 6000.0)
    node.SourceVolumeIntensityMaskOn()
    a_bench.add(click_on(an_oblique_volume, segment_ids[0], (7, 10, 12)))
    run_bench(a_bench)
    assert not voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]).any()
    assert seen.rounds[-1].hints == ("one, slice 7: one click was not enough here: draw a stroke or a box.",)
    assert seen.rounds[-1].hints[0] in [message.text for message in seen.messages]
