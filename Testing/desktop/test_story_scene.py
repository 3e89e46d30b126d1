"""Scenes come and go: closed in mid-run, saved and loaded, lost in a crash. Rounds stay with their segmentation."""

from __future__ import annotations

from pathlib import Path

from desktop.clinician import Clinician
from desktop.session import MODULES, Session, a_slicer
from lib.scenes import a_ball, voxels_of, write_ball
from lib.test_rounds import do_round

from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.recovery import ATTRIBUTE
from MemSeg3DLib.scene.nodes import add_segmentation, volume_array
from MemSeg3DLib.segments.writer import SegmentWriter
from MemSeg3DLib.worker.connection.local_worker import LocalWorker


def test_the_scene_is_closed_in_mid_run(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait_for_slices(3)
    clinician.session.scene.Clear(0)
    clinician.wait_until_given_up()
    clinician.session.pump(0.2)
    assert clinician.bench.segmentation_node is None
    clinician.load()
    clinician.box(60)
    clinician.wait()
    assert clinician.voxels().any(), "the next volume is segmented as usual"


def test_rounds_are_saved_with_the_scene_and_can_be_undone_after_loading(clinician: Clinician, tmp_path: Path) -> None:
    clinician.box(60)
    clinician.wait()
    one = clinician.voxels()
    clinician.point(30, 16, 16, alt=True)
    clinician.wait()
    two = clinician.voxels()
    import slicer

    assert slicer.util.saveScene(str(tmp_path / "case.mrb"))
    assert slicer.util.loadScene(str(tmp_path / "case.mrb"))
    clinician.session.pump(0.2)
    scene = clinician.session.scene
    clinician.show(scene.GetFirstNodeByName("CT"))
    assert [round_.number for round_ in clinician.bench.rounds()] == [1, 2]
    assert (clinician.voxels() == two).all()
    clinician.widget("undoButton").click()
    clinician.session.pump(0.2)
    assert (clinician.voxels() == one).all()
    clinician.point(70, 16, 16)
    clinician.wait()
    assert clinician.texts("error") == "", "and a further round runs on what was loaded"


def test_after_a_crash_the_rounds_are_offered_and_come_back(tmp_path: Path, a_worker: LocalWorker) -> None:
    with a_slicer(tmp_path, MODULES) as session:
        before = _one_round(session, a_worker)
        journals = Clinician(session).application.choice.home.journals
        as_left = {path: path.read_bytes() for path in journals.glob("*.journal")}
    # As a crash leaves it: the scene was never saved, and nobody has closed the journal.
    for path, content in as_left.items():
        path.write_bytes(content)
    with a_slicer(tmp_path, MODULES) as session:
        user = Clinician(session)
        user.use(a_worker)
        user.load()
        # Told by the timer: what was lost is offered as soon as its volume is there.
        user.wait_until(lambda: user.widget("recoveryFrame").visible, 20)
        user.widget("recoverButton").click()
        session.pump(0.1)
        assert (user.voxels() == before).all(), "and the user is shown what came back"
        assert [entry.kind for entry in user.bench.prompts()] == ["box"]
        assert not user.widget("recoveryFrame").visible


def test_rounds_that_do_not_fit_bar_no_others_from_coming_back(clinician: Clinician) -> None:
    journals, volume = clinician.application.choice.home.journals, clinician.volume
    journals.mkdir(parents=True, exist_ok=True)
    shape = volume_array(volume).shape
    nodes = {}
    for name in ("aa", "bb"):
        node = add_segmentation(clinician.session.scene, volume, name)
        history = RoundHistory(node, RecoveryJournal(journals / f"{name}.journal"))
        node.GetSegmentation().AddEmptySegment("one", "one")
        do_round(history, volume, node, "one", a_ball(shape, (60, 16, 16), 5.0), f"of {name}")
        clinician.session.scene.RemoveNode(node)
        nodes[name] = add_segmentation(clinician.session.scene, volume, name)
        nodes[name].SetAttribute(ATTRIBUTE, name)
        nodes[name].GetSegmentation().AddEmptySegment("one", "one")
    # What was painted meanwhile is no longer what the round of this one started from.
    writer = SegmentWriter(nodes["aa"], volume, ["one"])
    write_ball(writer, "one", a_ball(shape, (50, 16, 16), 4.0))
    writer.close()
    clinician.panel.enter()
    assert "1 round" in clinician.widget("recoveryLabel").text
    clinician.widget("recoverButton").click()
    assert "1 of 2 rounds are back" in clinician.ui.messageLabel.text
    assert voxels_of(volume, nodes["bb"], "one").any()
    assert clinician.widget("recoveryFrame").visible, "the other is still offered, and can be discarded"
    clinician.widget("recoverButton").click()
    assert "do not fit" in clinician.ui.messageLabel.text
    clinician.widget("forgetButton").click()
    assert not clinician.widget("recoveryFrame").visible


def test_damaged_rounds_are_set_aside_only_where_the_user_agrees_and_work_goes_on(clinician: Clinician) -> None:
    clinician.box(60)
    clinician.wait()
    before = clinician.voxels()
    stored = clinician.segmentation.GetNodeReference("MemSeg3D.Rounds")
    damaged = stored.GetText().replace('"rounds":[{', '"rounds":[{"of_a_version_to_come":1,')
    stored.SetText(damaged)
    # As the scene is opened again: nobody has read them yet.
    clinician.bench._controller.histories._known.clear()
    clinician.widget("roundsButton").collapsed = False
    clinician.session.pump(0.2)
    assert clinician.widget("damageFrame").visible
    assert "checksum" in clinician.widget("damageLabel").text
    clinician.session.dialogs.answer = False
    clinician.widget("setAsideButton").click()
    assert clinician.bench.damage is not None
    clinician.session.dialogs.answer = True
    clinician.widget("setAsideButton").click()
    clinician.session.pump(0.2)
    assert not clinician.widget("damageFrame").visible
    (kept,) = clinician.application.choice.home.journals.glob("*.damaged")
    assert kept.read_text("utf-8") == damaged
    assert (clinician.voxels() == before).all()
    clinician.point(30, 16, 16)
    clinician.wait()
    assert [one.number for one in clinician.bench.rounds()] == [1]


def _one_round(session: Session, worker: LocalWorker) -> object:
    user = Clinician(session)
    user.use(worker)
    user.load()
    user.box(60)
    user.wait()
    return user.voxels()
