"""The group "Advanced": memory, the vote of three axes, a segment computed anew; kept, told in words, and undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from desktop.clinician import Clinician
from desktop.session import MODULES, a_slicer
from desktop.standin.generated import emit

from MemSeg3DLib.worker.connection.client import WorkerClient
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.session_options import MEMORIES, SessionChoice


def choose_memory(user: Clinician, name: str) -> None:
    selector = user.widget("memorySelector")
    selector.setCurrentIndex(MEMORIES.index(name))
    emit(selector, "activated(int)", MEMORIES.index(name))


def records(user: Clinician) -> list[Any]:
    return list(user.bench.history(user.segmentation).applied)


def test_the_group_is_folded_and_every_memory_has_a_title_and_a_sentence(clinician: Clinician) -> None:
    assert clinician.widget("methodGroup").collapsed
    assert clinician.bench.options == {}
    clinician.widget("methodGroup").collapsed = False
    selector, sentences = clinician.widget("memorySelector"), set()
    assert selector.count == len(MEMORIES)
    for name in MEMORIES:
        choose_memory(clinician, name)
        sentences.add(clinician.widget("memoryLabel").text)
        assert clinician.bench.options.get("memory", "default") == name
    assert len(sentences) == len(MEMORIES)
    assert all(sentence.endswith(".") for sentence in sentences)
    assert "two to four times" in clinician.widget("consensusLabel").text
    assert "Experimental" in clinician.widget("consensusLabel").text


def test_another_memory_holds_from_the_next_prompt_on_and_takes_the_earlier_ones_along(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    choose_memory(clinician, "quality")
    clinician.point(40, 16, 16)
    clinician.wait()
    first, second = records(clinician)
    assert (first.options, second.options) == ({}, {"memory": "quality"})
    assert [one["type"] for one in second.prompts] == ["box", "point"]
    assert not clinician.texts("error")


def test_a_vote_of_three_axes_tells_what_it_cost_in_the_list_of_rounds(clinician: Clinician) -> None:
    clinician.load((24, 32, 32))
    clinician.widget("consensusBox").click()
    assert clinician.bench.options == {"consensus": True}
    clinician.widget("roundsButton").collapsed = False
    clinician.box(12)
    clinician.wait()
    assert not clinician.texts("error")
    (row,) = [clinician.widget("roundTree").topLevelItem(0)]
    assert row.text(3).endswith(" s")
    assert "The vote of three axes took" in row.toolTip(0)
    clinician.widget("consensusBox").click()
    assert clinician.bench.options == {}


def test_key_slices_hold_for_rounds_to_come_and_can_be_taken_back(clinician: Clinician) -> None:
    clinician.widget("keySlicesBox").click()
    assert clinician.bench.options == {"key_slices": True}
    clinician.box(60)
    clinician.wait()
    assert not clinician.texts("error")
    assert [one.options for one in records(clinician)] == [{"key_slices": True}]
    assert clinician.voxels().any()
    clinician.widget("keySlicesBox").click()
    assert clinician.bench.options == {}


def test_crops_hold_for_rounds_to_come_and_can_be_taken_back(clinician: Clinician) -> None:
    clinician.widget("methodGroup").collapsed = False
    clinician.widget("cropsBox").click()
    assert clinician.bench.options == {"region": "crop"}
    clinician.box(60)
    clinician.wait()
    assert not clinician.texts("error")
    assert [one.options for one in records(clinician)] == [{"region": "crop"}]
    assert clinician.voxels().any()
    clinician.widget("cropsBox").click()
    assert clinician.bench.options == {}


def test_recompute_everything_is_a_round_that_can_be_undone(clinician: Clinician) -> None:
    clinician.session.pump(0.1)
    button = clinician.widget("recomputeButton")
    assert not button.enabled, "there is nothing to compute anew yet"
    clinician.box(60)
    clinician.wait()
    clinician.point(50, 16, 16, alt=True)
    clinician.wait()
    clinician.session.pump(0.1)
    before = clinician.voxels()
    assert button.enabled
    button.click()
    # One at a time.
    clinician.wait_until(lambda: not button.enabled, 20)
    clinician.wait()
    assert not clinician.texts("error")
    assert [one.full for one in records(clinician)] == [[], [], [1]]
    clinician.bench.undo()
    assert (clinician.voxels() == before).all()
    clinician.widget("roundsButton").collapsed = False
    clinician.session.pump(0.1)
    assert "Computed anew: Segment 1." in clinician.widget("roundTree").topLevelItem(0).toolTip(0)


def test_what_an_older_worker_does_not_know_is_not_offered(
    clinician: Clinician, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = WorkerClient.info
    monkeypatch.setattr(WorkerClient, "info", lambda client: {**told(client), "features": ["memory"]})
    clinician.widget("methodGroup").collapsed = False
    assert not clinician.widget("olderLabel").text, "nobody has asked the worker yet"
    clinician.widget("consensusBox").click()
    clinician.box(60)
    clinician.wait()
    assert "does not know the vote of three axes" in clinician.ui.messageLabel.text
    clinician.wait_until(lambda: "needs a newer one" in clinician.widget("olderLabel").text, 10)
    assert clinician.widget("memorySelector").enabled
    assert clinician.widget("consensusBox").enabled, "what was chosen can be taken back"
    clinician.widget("consensusBox").click()
    assert not clinician.widget("consensusBox").enabled
    clinician.bench.run()
    clinician.wait()
    assert clinician.voxels().any(), "the box was kept"
    assert not clinician.widget("recomputeButton").enabled


def test_choices_are_kept_for_the_next_slicer_with_or_without_the_panel(tmp_path: Path, a_worker: LocalWorker) -> None:
    with a_slicer(tmp_path, MODULES) as session:
        user = Clinician(session)
        choose_memory(user, "motion")
        user.widget("consensusBox").click()
        user.widget("keySlicesBox").click()
        user.widget("methodGroup").collapsed = False
        user.widget("cropsBox").click()
    with a_slicer(tmp_path, MODULES) as session:
        from MemSeg3DPanel.application import application

        chosen = {"memory": "motion", "consensus": True, "key_slices": True, "region": "crop"}
        assert application().workbench.options == chosen
        assert SessionChoice.read(application().settings) == SessionChoice("motion", True, True, True)
        user = Clinician(session)
        assert user.widget("memorySelector").currentIndex == MEMORIES.index("motion")
        assert user.widget("consensusBox").checked
        assert user.widget("keySlicesBox").checked
        assert user.widget("cropsBox").checked
