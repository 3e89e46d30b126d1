"""Options chosen in mid-work, segments computed anew, drawings on two axes: nothing that was drawn is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.benches import Seen, box_on, click_on, poll_bench, run_bench
from lib.scenes import SHAPE, voxels_of
from lib.workers import start_worker

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.prompts.prompts import BoxPrompt, LassoPrompt
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import ijk_to_world, volume_array
from MemSeg3DLib.worker.choice import MemoryStore
from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.session_options import MEMORIES, SessionChoice, needed_features
from MemSeg3DLib.worker.sessions import align


def last_record(bench: Workbench) -> RoundRecord:
    return bench.history(bench.segmentation_node).applied[-1]


def voxels(bench: Workbench, segment: str | None = None) -> np.ndarray:
    return voxels_of(bench.volume_node, bench.segmentation_node, segment or str(bench.segment_id))


def on_the_worker(bench: Workbench, worker: LocalWorker, segment: str | None = None) -> np.ndarray:
    record = last_record(bench)
    shape = volume_array(bench.volume_node).shape
    return worker.connect().labelmap(record.session, record.labels[segment or str(bench.segment_id)], shape)


def test_other_options_compute_a_segment_from_all_its_prompts_and_leave_nothing_of_before(
    a_bench: Workbench, a_worker: LocalWorker, an_oblique_volume: Any, segment_ids: list[str]
) -> None:
    seen, (one, two) = Seen(a_bench), segment_ids
    box, other = box_on(an_oblique_volume, one), box_on(an_oblique_volume, two, 5, 12, 18)
    a_bench.add(box)
    run_bench(a_bench)
    a_bench.add(other)
    run_bench(a_bench)
    first, neighbour = voxels(a_bench), voxels(a_bench, two)
    SessionChoice("stm").put_into(a_bench.options)
    a_bench.options["last"] = 9
    click = click_on(an_oblique_volume, one, (6, 9, 9))
    a_bench.add(click)
    run_bench(a_bench)
    assert not seen.errors
    record = last_record(a_bench)
    assert [prompt["id"] for prompt in record.prompts] == [box.id, click.id], "the box goes along, the neighbour's not"
    assert record.afresh == [record.labels[one]]
    assert record.session != a_bench.history(a_bench.segmentation_node).applied[0].session
    found, theirs = voxels(a_bench), on_the_worker(a_bench, a_worker)
    assert theirs.any()
    assert np.array_equal(found[:10], theirs[:10]), "nothing of the earlier session is left where this one may change"
    assert np.array_equal(found[10:], first[10:])
    assert np.array_equal(voxels(a_bench, two), neighbour)
    # The other segment's prompts wait in the first session until it is touched.
    a_bench.add(click_on(an_oblique_volume, two, (5, 15, 15)))
    run_bench(a_bench)
    assert not seen.errors
    assert last_record(a_bench).session == record.session
    assert last_record(a_bench).prompts[0]["id"] == other.id
    a_bench.undo()
    a_bench.undo()
    assert np.array_equal(voxels(a_bench), first)
    assert np.array_equal(voxels(a_bench, two), neighbour)
    a_bench.redo()
    assert np.array_equal(voxels(a_bench), found)


def test_what_a_session_with_other_options_found_beyond_is_emptied(
    a_bench: Workbench, a_worker: LocalWorker, an_oblique_volume: Any, segment_ids: list[str]
) -> None:
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    before = voxels(a_bench)
    assert before.any(axis=(1, 2)).sum() > 5
    a_bench.options["reach"] = 0.05
    a_bench.recompute()
    run_bench(a_bench)
    found = voxels(a_bench)
    assert 0 < found.any(axis=(1, 2)).sum() < before.any(axis=(1, 2)).sum()
    assert np.array_equal(found, on_the_worker(a_bench, a_worker))
    a_bench.undo()
    assert np.array_equal(voxels(a_bench), before), "undo brings back what the other session had found"


def test_a_prompt_of_an_earlier_session_can_be_taken_back(
    a_bench: Workbench, a_worker: LocalWorker, an_oblique_volume: Any, segment_ids: list[str]
) -> None:
    seen = Seen(a_bench)
    box = box_on(an_oblique_volume, segment_ids[0])
    a_bench.add(box)
    run_bench(a_bench)
    click = a_bench.add(click_on(an_oblique_volume, segment_ids[0], (4, 9, 9), positive=False))
    run_bench(a_bench)
    a_bench.options["memory"] = "quality"
    a_bench.remove(click)
    run_bench(a_bench)
    assert not seen.errors
    assert [prompt["id"] for prompt in last_record(a_bench).prompts] == [box.id]
    assert np.array_equal(voxels(a_bench), on_the_worker(a_bench, a_worker))
    a_bench.options.clear()
    a_bench.remove(box.id)
    run_bench(a_bench)
    assert "No prompt of this segment is left" in seen.errors[0]


def test_a_segment_is_computed_anew_undone_and_redone(
    a_bench: Workbench, a_worker: LocalWorker, an_oblique_volume: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    seen, one = Seen(a_bench), segment_ids[0]
    with pytest.raises(RoundError, match="draw a prompt first"):
        a_bench.recompute()
    a_bench.options["tolerance"] = 0.9
    a_bench.add(box_on(an_oblique_volume, one))
    run_bench(a_bench)
    for place in ((2, 9, 9), (12, 11, 12)):
        a_bench.add(click_on(an_oblique_volume, one, place, positive=place[0] == 2))
        run_bench(a_bench)
    rough = voxels(a_bench)
    a_bench.recompute()
    with pytest.raises(RoundError, match="A round is running"):
        a_bench.recompute()
    run_bench(a_bench)
    assert not seen.errors
    record = last_record(a_bench)
    assert (record.full, record.prompts, record.afresh) == ([1], [], [])
    assert a_bench.rounds()[-1].full == (one,)
    exact = voxels(a_bench)
    assert np.array_equal(exact, on_the_worker(a_bench, a_worker))
    a_bench.undo()
    assert np.array_equal(voxels(a_bench), rough)
    a_bench.redo()
    assert np.array_equal(voxels(a_bench), exact)
    a_bench.add(click_on(an_oblique_volume, one, (8, 12, 12)))
    run_bench(a_bench)
    assert np.array_equal(voxels(a_bench), on_the_worker(a_bench, a_worker))
    assert RoundRecord.from_json(record.to_json()) == record
    older = {name: value for name, value in record.to_json().items() if name != "sha256"}
    assert "full" in older
    assert "full" not in a_bench.history(a_bench.segmentation_node).applied[0].to_json(), "old rounds read as ever"


def test_a_segment_computed_anew_survives_a_killed_worker_that_lost_everything(
    a_model: Path, scene: Any, a_long_volume: Any, a_long_segmentation: Any, tmp_path: Path
) -> None:
    segment = str(a_long_segmentation.GetSegmentation().GetNthSegmentID(0))
    with start_worker(a_model, tmp_path / "worker") as worker:
        bench = Workbench(scene, worker, tmp_path / "journals")
        seen = Seen(bench)
        bench.select(a_long_volume, a_long_segmentation, segment)
        bench.options["tolerance"] = 0.9
        bench.add(box_on(a_long_volume, segment, 60, 5, 16))
        run_bench(bench)
        bench.add(click_on(a_long_volume, segment, (50, 9, 9)))
        run_bench(bench)
        bench.recompute()
        poll_bench(bench, lambda: "slices" in bench.status)
        os.kill(worker.process_id, getattr(signal, "SIGKILL", signal.SIGTERM))
        run_bench(bench, 120)
        assert not seen.errors
        assert [one.full for one in bench.history(a_long_segmentation).applied] == [[], [], [1]]
        assert np.array_equal(voxels(bench), on_the_worker(bench, worker))
        # Another worker, or a lost disk: the rounds are run again there, the one that computes anew as well.
        past = bench.history(a_long_segmentation).past()
        worker.connect().delete_session(past[-1].session)
        bench.add(click_on(a_long_volume, segment, (70, 9, 9)))
        run_bench(bench, 120)
        assert not seen.errors
        assert np.array_equal(voxels(bench), on_the_worker(bench, worker))
        client = worker.connect()
        session = last_record(bench).session
        align(client, session, bench.history(a_long_segmentation).past())
        # A crash before the scene was saved: the journal has all of it.
        shown = voxels(bench)
        scene.RemoveNode(a_long_segmentation)
        (left,) = bench.recoverable()
        assert bench.recover(left) == 4
        nodes = scene.GetNodesByClass("vtkMRMLSegmentationNode")
        recovered = nodes.GetItemAsObject(nodes.GetNumberOfItems() - 1)
        assert [one.full for one in bench.history(recovered).applied] == [[], [], [1], []]
        assert np.array_equal(voxels_of(a_long_volume, recovered, segment), shown)
        bench.close()


def test_boxes_on_two_axes_of_one_segment_are_two_rounds_and_both_hold(
    a_bench: Workbench, a_worker: LocalWorker, an_oblique_volume: Any, segment_ids: list[str]
) -> None:
    seen, segment, volume = Seen(a_bench), segment_ids[0], an_oblique_volume

    def at(*points: tuple[float, float, float]) -> list[tuple[float, float, float]]:
        return [ijk_to_world(volume, point) for point in points]

    a_bench.auto_run = False
    lasso = LassoPrompt(segment, at((7, 6, 6), (7, 6, 16), (7, 15, 16), (7, 15, 6)), axis=0)
    box = BoxPrompt(segment, *at((2, 3, 11), (12, 18, 11)), axis=2)
    a_bench.add(lasso)
    a_bench.add(box)
    a_bench.run()
    run_bench(a_bench)
    a_bench.run()
    run_bench(a_bench)
    assert not seen.errors
    first, second = a_bench.history(a_bench.segmentation_node).applied
    assert [one["id"] for one in first.prompts] == [lasso.id]
    assert [one["id"] for one in second.prompts] == [box.id]
    assert first.session == second.session
    assert {place[0] for place in second.quality[segment]} == {2}, "the newest outline decides along which axis"
    found = voxels(a_bench)
    assert found[7].any()
    # What was drawn round on the axial slice bounds every sagittal slice that is computed now, but for its margin; the
    # slice of the box has something newer on it.
    outside = np.ones(SHAPE[1:], bool)
    outside[4:18, 4:19] = False
    outside[:, 11] = False
    assert not (found[7] & outside).any()
    assert (found[6] & outside).any(), "a slice that nobody drew on is not bounded"
    assert np.array_equal(found, on_the_worker(a_bench, a_worker))


def test_what_the_vote_of_three_axes_cost_is_in_the_list_of_rounds(
    a_bench: Workbench, a_worker: LocalWorker, an_oblique_volume: Any, segment_ids: list[str]
) -> None:
    SessionChoice(consensus=True).put_into(a_bench.options)
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    (shown,) = a_bench.rounds()
    assert shown.voted is not None
    seconds, slices = shown.voted
    assert 0 < seconds <= shown.seconds
    assert slices > 0
    assert np.array_equal(voxels(a_bench), on_the_worker(a_bench, a_worker))
    a_bench.options.clear()
    a_bench.add(click_on(an_oblique_volume, segment_ids[0], (4, 9, 9)))
    run_bench(a_bench)
    assert a_bench.rounds()[-1].voted is None


def test_an_older_worker_is_told_of_in_a_sentence_and_the_default_works_with_it(
    a_bench: Workbench, an_oblique_volume: Any, segment_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, told = Seen(a_bench), WorkerClient.info
    monkeypatch.setattr(WorkerClient, "info", lambda client: {**told(client), "features": ["limits"]})
    SessionChoice("tree", consensus=True).put_into(a_bench.options)
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    assert "does not know other memories and the vote of three axes" in seen.errors[0]
    assert not a_bench.rounds()
    SessionChoice().put_into(a_bench.options)
    assert a_bench.options == {}
    a_bench.run()
    run_bench(a_bench)
    assert len(a_bench.rounds()) == 1, "the box was kept and runs"
    a_bench.recompute()
    run_bench(a_bench)
    assert "computing a segment anew" in seen.errors[-1]


def test_choices_are_kept_and_defaults_travel_as_nothing() -> None:
    store, options = MemoryStore(), {"reach": 2.0}
    for memory in MEMORIES:
        SessionChoice(memory, consensus=memory == "stm").keep(store)
        assert SessionChoice.read(store) == SessionChoice(memory, memory == "stm")
    SessionChoice(key_slices=True).keep(store)
    assert SessionChoice.read(store) == SessionChoice(key_slices=True)
    SessionChoice("motion", True, True, True).put_into(options)
    assert options == {"reach": 2.0, "memory": "motion", "consensus": True, "key_slices": True, "region": "crop"}
    assert needed_features(options, [1]) == ["memory", "consensus", "key_slices", "full"]
    SessionChoice().put_into(options)
    assert options == {"reach": 2.0}
    assert needed_features({**options, "tolerance": 0.0}) == ["tolerance"]
    assert needed_features({**options, "key_slices": True}) == ["key_slices"]
    store.set("Advanced/Memory", "of a later version")
    assert SessionChoice.read(store) == SessionChoice(key_slices=True)
