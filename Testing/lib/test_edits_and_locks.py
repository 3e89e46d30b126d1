"""What the user does by hand counts: edits become mask prompts, approved slices are never written, limits hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import slicer
from lib.benches import Seen, box_on, click_on, hand_edit, poll_bench, run_bench
from lib.scenes import SHAPE, a_ball, voxels_of, write_ball

from MemSeg3DLib.base.errors import PromptError, SceneError
from MemSeg3DLib.prompts.slice_limits import SliceLimits
from MemSeg3DLib.rounds.hand_edits import APPROVED, EDITED
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import volume_array
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.segments.writer import SegmentWriter
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


@pytest.fixture
def a_bench(
    scene: Any, a_worker: LocalWorker, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> Iterator[Workbench]:
    """With the oblique volume, its segmentation and the first segment selected; one box has run."""
    bench = Workbench(scene, a_worker)
    bench.select(an_oblique_volume, a_segmentation, segment_ids[0])
    bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(bench)
    yield bench
    bench.close()


@pytest.fixture
def the_segment(segment_ids: list[str]) -> str:
    return segment_ids[0]


def masks_sent(bench: Workbench, segmentation: Any, kind: str) -> dict[int, int]:
    """Slice and number of bits' characters of the mask prompts of the last round, by the beginning of their ids."""
    record = bench.history(segmentation).applied[-1]
    found = [one for one in record.prompts if str(one["id"]).startswith(kind)]
    return {one["extent"][one["axis"]][0]: one["axis"] for one in found}


def test_slices_edited_between_rounds_become_mask_prompts_and_come_back_as_they_were_edited(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, the_segment: str
) -> None:
    painted, erased = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    painted[3, 2:6, 2:9] = True
    erased[10] = True
    hand_edit(a_segmentation, an_oblique_volume, the_segment, painted)
    hand_edit(a_segmentation, an_oblique_volume, the_segment, erased, erase=True)
    wanted = voxels_of(an_oblique_volume, a_segmentation, the_segment)
    assert not wanted[10].any()
    a_bench.add(click_on(an_oblique_volume, the_segment, (6, 9, 9)))
    run_bench(a_bench)
    assert masks_sent(a_bench, a_segmentation, EDITED) == {3: 0, 10: 0}
    now = voxels_of(an_oblique_volume, a_segmentation, the_segment)
    assert np.array_equal(now[3], wanted[3])
    assert not now[10].any(), "the user said that the object is not there"
    a_bench.add(click_on(an_oblique_volume, the_segment, (5, 9, 9)))
    run_bench(a_bench)
    assert masks_sent(a_bench, a_segmentation, EDITED) == {}, "nothing was edited since"


def test_run_alone_sends_edits_and_a_second_edit_takes_the_place_of_the_first(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, the_segment: str
) -> None:
    for row in (2, 14):
        painted = np.zeros(SHAPE, bool)
        painted[3, row : row + 3, 2:28] = True
        hand_edit(a_segmentation, an_oblique_volume, the_segment, painted)
        assert a_bench.run() is not None
        run_bench(a_bench)
    standing = [
        one
        for record in a_bench.history(a_segmentation).applied
        for one in record.prompts
        if str(one["id"]).startswith(EDITED)
    ]
    assert len(standing) == 2
    assert a_bench.history(a_segmentation).applied[-1].removed == [standing[0]["id"]]
    assert a_bench.run() is None


def test_undo_of_the_round_that_took_an_edit_along_leaves_the_edit_and_tells_it_again(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, the_segment: str
) -> None:
    painted = np.zeros(SHAPE, bool)
    painted[3, 2:6, 2:9] = True
    hand_edit(a_segmentation, an_oblique_volume, the_segment, painted)
    edited = voxels_of(an_oblique_volume, a_segmentation, the_segment)
    a_bench.run()
    run_bench(a_bench)
    a_bench.undo()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, the_segment), edited)
    a_bench.run()
    run_bench(a_bench)
    assert masks_sent(a_bench, a_segmentation, EDITED) == {3: 0}


def test_edits_are_still_known_after_the_scene_was_saved_and_loaded(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, the_segment: str
) -> None:
    painted = np.zeros(SHAPE, bool)
    painted[3, 2:6, 2:9] = True
    hand_edit(a_segmentation, an_oblique_volume, the_segment, painted)
    # A history that is read from the scene knows nothing but what the rounds add up to.
    again = RoundHistory(a_segmentation)
    (edit,) = again.edits(an_oblique_volume, [the_segment])
    added, removed = edit.masks()
    assert added.sum() == (painted & ~again_holds(again, the_segment)).sum()
    assert not removed.any()


def again_holds(history: RoundHistory, segment: str) -> np.ndarray:
    k, j, i = SHAPE
    return history.contents.of(segment).read(((0, k), (0, j), (0, i)))


def test_a_segment_that_was_painted_before_its_first_round_is_no_edit(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    hand_edit(a_segmentation, an_oblique_volume, segment_ids[1], a_ball(SHAPE, (6, 10, 20), 4))
    a_bench.select(an_oblique_volume, a_segmentation, segment_ids[1])
    a_bench.add(click_on(an_oblique_volume, segment_ids[1], (6, 10, 20)))
    run_bench(a_bench)
    assert masks_sent(a_bench, a_segmentation, EDITED) == {}
    assert again_holds(a_bench.history(a_segmentation), segment_ids[1]).any()
    assert not a_bench.history(a_segmentation).edits(an_oblique_volume, segment_ids)


def test_an_approved_slice_is_never_written_and_the_worker_learns_it(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, the_segment: str
) -> None:
    a_bench.approve(the_segment, 0, 8)
    before = voxels_of(an_oblique_volume, a_segmentation, the_segment)
    a_bench.add(click_on(an_oblique_volume, the_segment, (6, 12, 20)))
    run_bench(a_bench)
    after = voxels_of(an_oblique_volume, a_segmentation, the_segment)
    assert np.array_equal(after[8], before[8])
    assert not np.array_equal(after, before)
    assert masks_sent(a_bench, a_segmentation, APPROVED) == {8: 0}
    a_bench.unapprove(the_segment, 0, 8)
    a_bench.add(click_on(an_oblique_volume, the_segment, (6, 13, 21)))
    run_bench(a_bench)
    removed = a_bench.history(a_segmentation).applied[-1].removed
    assert len(removed) == 1
    assert removed[0].startswith(APPROVED)


def test_undo_redo_and_restore_leave_approved_slices_alone_and_both_histories_agree(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, the_segment: str
) -> None:
    a_bench.add(click_on(an_oblique_volume, the_segment, (6, 12, 20)))
    run_bench(a_bench)
    two = voxels_of(an_oblique_volume, a_segmentation, the_segment)
    a_bench.approve(the_segment, 0, 6)
    first = a_bench.rounds()[0].id
    a_bench.undo()
    a_bench.poll()
    assert [one.applied for one in a_bench.rounds()] == [True, False]
    now = voxels_of(an_oblique_volume, a_segmentation, the_segment)
    assert np.array_equal(now[6], two[6])
    assert not np.array_equal(now, two)
    a_bench.redo()
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, the_segment), two)
    a_bench.restore(first)
    a_bench.undo()
    now = voxels_of(an_oblique_volume, a_segmentation, the_segment)
    assert np.array_equal(now[6], two[6])
    now[6] = False
    assert not now.any()
    for _ in range(3):
        a_bench.poll()
    assert [one.applied for one in a_bench.rounds()] == [False, False], "what was left alone is no redo of the user's"
    a_bench.add(click_on(an_oblique_volume, the_segment, (4, 10, 10)))
    run_bench(a_bench)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, the_segment)[6], two[6])


def test_a_slice_approved_in_mid_run_stays_even_when_the_run_is_cancelled(
    scene: Any, a_worker: LocalWorker, a_long_volume: Any, a_long_segmentation: Any
) -> None:
    segment = str(a_long_segmentation.GetSegmentation().GetNthSegmentID(0))
    bench = Workbench(scene, a_worker)
    bench.select(a_long_volume, a_long_segmentation, segment)
    seen = Seen(bench)
    bench.add(box_on(a_long_volume, segment, 60))
    poll_bench(bench, lambda: len(seen.slices) >= 8)
    bench.approve(segment, 0, 60)
    bench.approve(segment, 0, 5)
    kept = voxels_of(a_long_volume, a_long_segmentation, segment)[60].copy()
    bench.cancel()
    now = voxels_of(a_long_volume, a_long_segmentation, segment)
    assert kept.any()
    assert np.array_equal(now[60], kept)
    now[60] = False
    assert not now.any()
    bench.run()
    run_bench(bench)
    now = voxels_of(a_long_volume, a_long_segmentation, segment)
    assert np.array_equal(now[60], kept)
    assert not now[5].any(), "an approved empty slice stays empty"
    assert now[30].any()
    bench.close()


def test_approved_slices_of_a_neighbour_and_across_other_axes_are_not_taken(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    ours, theirs = segment_ids
    ball = a_ball(SHAPE, (6, 10, 12), 5)
    writer = SegmentWriter(a_segmentation, an_oblique_volume, [theirs])
    write_ball(writer, theirs, ball)
    writer.close()
    overwriting = WriteSettings(overwrite_mode=slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    locked = {theirs: frozenset({(0, 6), (2, 12)}), ours: frozenset({(1, 10)})}
    writer = SegmentWriter(a_segmentation, an_oblique_volume, [ours], overwriting, locked=locked)
    write_ball(writer, ours, np.ones(SHAPE, bool), axis=0)
    writer.close()
    kept, taken = (voxels_of(an_oblique_volume, a_segmentation, one) for one in (theirs, ours))
    assert np.array_equal(kept[6], ball[6])
    assert np.array_equal(kept[:, :, 12], ball[:, :, 12])
    assert not taken[:, 10].any()
    assert not (kept & taken).any(), "no voxel is in both"
    assert taken[5, 3, 3]


def test_approved_slices_and_limits_are_refused_where_they_mean_nothing(a_bench: Workbench, the_segment: str) -> None:
    with pytest.raises(SceneError, match="no slice 99"):
        a_bench.approve(the_segment, 0, 99)
    with pytest.raises(SceneError, match="comes after"):
        a_bench.set_limits(the_segment, SliceLimits(0, 9, 3))
    with pytest.raises(SceneError, match="no slice 40"):
        a_bench.set_limits(the_segment, SliceLimits(0, 3, 40))
    assert a_bench.limits(the_segment) is None


def test_nothing_is_written_beyond_the_limits(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    segment = segment_ids[1]
    a_bench.select(an_oblique_volume, a_segmentation, segment)
    a_bench.set_limits(segment, SliceLimits(0, 5, 9))
    a_bench.add(box_on(an_oblique_volume, segment, 7, 3, 12))
    run_bench(a_bench)
    where = np.flatnonzero(voxels_of(an_oblique_volume, a_segmentation, segment).any(axis=(1, 2)))
    assert where.min() >= 5
    assert where.max() <= 9
    assert where.size > 1
    record = a_bench.history(a_segmentation).applied[-1]
    assert list(record.limits.values()) == [{"axis": 0, "first": 5, "last": 9}]
    assert a_bench.limits(segment) == SliceLimits(0, 5, 9)
    a_bench.set_limits(segment, None)
    assert a_bench.limits(segment) is None


def test_a_segment_is_a_mask_prompt_of_another_and_can_be_taken_back(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    source, target = segment_ids[1], segment_ids[0]
    with pytest.raises(PromptError, match="empty"):
        a_bench.mask_prompt_from(source)
    painted = np.zeros(SHAPE, bool)
    painted[4, 3:9, 3:12] = True
    hand_edit(a_segmentation, an_oblique_volume, source, painted)
    (given,) = a_bench.mask_prompt_from(source)
    run_bench(a_bench)
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, target)[4], painted[4])
    entry = next(one for one in a_bench.prompts() if one.kind == "mask")
    assert (entry.id, entry.index, entry.state, entry.segment_id) == (given, 4, "sent", target)
    a_bench.remove(given)
    run_bench(a_bench)
    assert not [one for one in a_bench.prompts() if one.kind == "mask"]
    assert a_bench.history(a_segmentation).applied[-1].removed == [given]


def test_the_quality_curve_follows_the_rounds_and_skips_what_is_approved(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, the_segment: str
) -> None:
    curve = a_bench.quality(the_segment)
    assert curve is not None
    assert curve.axis == 0
    assert 7 in curve.prompted
    assert len(curve.indices) == len(curve.values) > 3
    suggestion = a_bench.next_slice(the_segment)
    assert suggestion is not None
    assert suggestion.index not in curve.prompted
    # A round of before, whose pixels nobody counted, names its least sure slice.
    older = replace(curve, pixels={}).next_slice()
    assert older is not None
    assert older.quality == min(q for n, q in zip(curve.indices, curve.values, strict=True) if n not in curve.prompted)
    a_bench.approve(the_segment, 0, suggestion.index)
    other = a_bench.next_slice(the_segment)
    assert other is not None
    assert other.index != suggestion.index
    a_bench.undo()
    assert a_bench.quality(the_segment) is None
    assert volume_array(an_oblique_volume).shape == SHAPE
