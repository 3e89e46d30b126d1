"""Rounds and prompts of a queue's cases: they are there again when a case comes back, and go on counting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.benches import box_on, click_on, run_bench
from lib.cases import TEMPLATE, drawn, three_volumes

from MemSeg3DLib.cases.listing import find_cases
from MemSeg3DLib.cases.queue import CaseQueue
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segmentation
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


@pytest.fixture
def a_folder(tmp_path: Path) -> Path:
    return three_volumes(tmp_path / "cases")


@pytest.fixture
def a_bench(scene: Any, a_worker: LocalWorker, tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(scene, a_worker, tmp_path / "journals")
    yield bench
    bench.close()


def test_rounds_go_on_after_the_case_was_left(scene: Any, a_bench: Workbench, a_folder: Path, tmp_path: Path) -> None:
    queue = CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE, a_bench)
    queue.next()
    for index in (2, 3):
        a_bench.add(box_on(queue.volume_node, str(a_bench.segment_id), index, 3, 9))
        run_bench(a_bench)
    chosen = str(a_bench.segment_id)
    a_bench.approve(chosen, 0, 4)
    after_two = drawn(queue)
    assert after_two.any()
    rounds = [one.id for one in a_bench.rounds()]
    markups = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")
    assert markups > 0
    queue.next()
    assert a_bench.rounds() == []
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0, "prompts of the case that was left are gone"
    document = json.loads((tmp_path / "out" / "a.rounds.json").read_text("utf-8"))
    assert [one["id"] for one in document["rounds"]] == rounds
    queue.previous()
    assert [one.id for one in a_bench.rounds()] == rounds
    assert a_bench.approved(chosen) == frozenset({(0, 4)})
    assert np.array_equal(drawn(queue), after_two)
    a_bench.unapprove(chosen, 0, 4)
    a_bench.undo()
    run_bench(a_bench)
    a_bench.undo()
    run_bench(a_bench)
    assert not drawn(queue).any()
    queue.next()
    assert not (tmp_path / "out" / "a.rounds.json").exists(), "no round is applied any more"
    queue.previous()
    assert a_bench.can_redo


def test_prompts_are_there_again_and_still_count_when_a_case_comes_back(
    scene: Any, a_bench: Workbench, a_folder: Path, tmp_path: Path
) -> None:
    queue = CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE, a_bench)
    queue.next()
    segment = str(a_bench.segment_id)
    a_bench.add(box_on(queue.volume_node, segment, 2, 3, 9))
    run_bench(a_bench)
    a_bench.auto_run = False
    waiting = a_bench.add(click_on(queue.volume_node, segment, (3.0, 5.0, 6.0)))
    queue.save()
    (mask,) = a_bench.mask_prompt_from(segment, segment, 0, 2)
    assert queue.is_changed, "a mask that waits is something to save"
    known = [(one.id, one.kind, one.state) for one in a_bench.prompts()]
    assert [state for _, _, state in known] == ["sent", "pending", "pending"]
    queue.next()
    assert a_bench.prompts() == []
    queue.previous()
    a_bench.poll()
    assert not a_bench.busy, "nothing runs by itself"
    assert [(one.id, one.kind, one.state) for one in a_bench.prompts()] == known
    a_bench.run()
    run_bench(a_bench)
    last = a_bench.history(queue.segmentation_node).applied[-1]
    assert last.removed == [], "what was drawn before still counts"
    assert {one["id"] for one in last.prompts} == {waiting, mask}


def test_an_open_case_that_is_asked_for_again_keeps_its_prompts(
    scene: Any, a_bench: Workbench, a_folder: Path, tmp_path: Path
) -> None:
    queue = CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE, a_bench)
    queue.next()
    a_bench.auto_run = False
    box = a_bench.add(box_on(queue.volume_node, str(a_bench.segment_id), 2, 3, 9))
    assert queue.open("a") == "a"
    assert not queue.is_changed, "it is saved all the same"
    assert [one.id for one in a_bench.prompts()] == [box]
    scene.RemoveNode(queue.segmentation_node)
    a_bench.poll()
    queue.open("a")
    assert queue.segmentation_node is not None, "what was deleted is there again"


def test_the_first_undo_of_a_case_that_comes_back_takes_its_click_along(
    scene: Any, a_bench: Workbench, a_folder: Path, tmp_path: Path
) -> None:
    queue = CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE, a_bench)
    queue.next()
    segment = str(a_bench.segment_id)
    for index in (2, 3):
        a_bench.add(box_on(queue.volume_node, segment, index, 3, 9))
        run_bench(a_bench)
    first = a_bench.prompts()[0].id
    queue.next()
    queue.previous()
    a_bench.undo()
    assert [one.id for one in a_bench.prompts()] == [first]


def test_prompts_of_a_case_that_an_earlier_version_has_saved_come_back_from_its_rounds(
    scene: Any, a_bench: Workbench, a_folder: Path, tmp_path: Path
) -> None:
    queue = CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE, a_bench)
    queue.next()
    segment = str(a_bench.segment_id)
    gone = a_bench.add(box_on(queue.volume_node, segment, 2, 3, 9))
    run_bench(a_bench)
    kept = a_bench.add(box_on(queue.volume_node, segment, 3, 3, 9))
    run_bench(a_bench)
    a_bench.remove(gone)
    run_bench(a_bench)
    queue.next()
    history = tmp_path / "out" / "a.history.json"
    stored = json.loads(history.read_text("utf-8"))
    assert [one["id"] for one in stored.pop("drawn")] == [kept]
    history.write_text(json.dumps(stored), "utf-8")
    queue.previous()
    assert [one.id for one in a_bench.prompts()] == [kept]


def test_rounds_of_a_case_do_not_hang_on_what_is_selected(
    scene: Any, a_bench: Workbench, a_folder: Path, tmp_path: Path
) -> None:
    queue = CaseQueue(scene, find_cases(a_folder), tmp_path / "out", TEMPLATE, a_bench)
    queue.next()
    a_bench.add(box_on(queue.volume_node, str(a_bench.segment_id), 2, 3, 9))
    run_bench(a_bench)
    other = add_segmentation(scene, queue.volume_node, "the user's own")
    a_bench.select(queue.volume_node, other, None)
    queue.next()
    assert len(json.loads((tmp_path / "out" / "a.rounds.json").read_text("utf-8"))["rounds"]) == 1
