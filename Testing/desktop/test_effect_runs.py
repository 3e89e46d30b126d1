"""The effect in Slicer's own Segment Editor with a real worker: it starts runs, shows them, and none depends on it."""

from __future__ import annotations

import numpy as np
import pytest
from desktop.editor_user import EditorUser
from desktop.session import Session
from lib.scenes import make_volume, voxels_of
from lib.workers import start_worker

from MemSeg3DLib.worker.connection.local_worker import LocalWorker

ROUND = {"lower": (60, 8, 8), "upper": (60, 24, 24)}


@pytest.fixture
def an_editor(slicer_session: Session, a_worker: LocalWorker) -> EditorUser:
    """The Segment Editor on a long volume of noise, with a worker that sees an object on every slice."""
    voxels = np.random.default_rng(5).integers(0, 500, (80, 32, 32)).astype(np.int16)
    volume = make_volume(voxels, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), name="CT")
    user = EditorUser(slicer_session, volume)
    user.use(a_worker)
    return user


def voxels(user: EditorUser, which: int = 0) -> np.ndarray:
    return voxels_of(user.volume, user.segmentation, user.ids[which])


def draw_box(user: EditorUser) -> None:
    user.choose("box")
    user.session.drag("Red", [user.world(*ROUND["lower"]), user.world(*ROUND["upper"])])


def wait_for_slices(user: EditorUser, count: int) -> None:
    seen: list[object] = []
    forget = user.bench.slice_written.connect(seen.append)
    user.session.pump_until(lambda: len(seen) >= count)
    forget()
    assert user.bench.busy, "the run was over before anything could happen in it"


def test_a_box_runs_at_once_and_the_options_show_it(an_editor: EditorUser) -> None:
    draw_box(an_editor)
    wait_for_slices(an_editor, 3)
    assert not an_editor.options._progress.isHidden()
    assert an_editor.options._cancel.enabled
    assert an_editor.options._status.text == an_editor.bench.status != ""
    an_editor.wait()
    assert voxels(an_editor).any(axis=(1, 2)).all()
    assert an_editor.options._progress.isHidden()
    assert not an_editor.options._cancel.enabled


def test_cancel_in_the_options_takes_everything_back(an_editor: EditorUser) -> None:
    draw_box(an_editor)
    wait_for_slices(an_editor, 3)
    an_editor.options._cancel.click()
    assert not voxels(an_editor).any()
    an_editor.wait()
    assert not voxels(an_editor).any()


def test_the_editors_own_undo_takes_a_whole_round_back(an_editor: EditorUser) -> None:
    draw_box(an_editor)
    an_editor.wait()
    after = voxels(an_editor)
    an_editor.editor.undo()
    an_editor.session.pump_until(lambda: [one.applied for one in an_editor.bench.rounds()] == [False])
    assert not voxels(an_editor).any()
    an_editor.editor.redo()
    an_editor.session.pump_until(lambda: [one.applied for one in an_editor.bench.rounds()] == [True])
    assert np.array_equal(voxels(an_editor), after)


@pytest.mark.parametrize("leave", ["effect", "segment", "module", "editor"])
def test_leaving_in_mid_run_does_not_disturb_it(an_editor: EditorUser, leave: str) -> None:
    draw_box(an_editor)
    wait_for_slices(an_editor, 3)
    if leave == "effect":
        an_editor.editor.setActiveEffectByName("Paint")
    elif leave == "segment":
        an_editor.editor.setCurrentSegmentID(an_editor.ids[1])
    elif leave == "module":
        an_editor.session.show_module("Data")
    else:
        # The editor widget is taken apart, and with it this clone of the effect.
        an_editor.effect.cleanup()
        an_editor.editor.setMRMLSegmentEditorNode(None)
    an_editor.wait()
    assert voxels(an_editor, 0).any(axis=(1, 2)).all()
    assert not voxels(an_editor, 1).any()
    assert an_editor.said == []


def test_clicks_during_a_run_are_queued_and_none_is_lost(an_editor: EditorUser) -> None:
    draw_box(an_editor)
    an_editor.choose("point")
    for n in range(6):
        an_editor.click("Red", an_editor.world(20 + 10 * n, 12, 12))
    assert len(an_editor.kinds()) == 7
    an_editor.wait()
    assert [entry.state for entry in an_editor.bench.prompts()] == ["sent"] * 7
    assert len(an_editor.bench.rounds()) == 2


def test_collected_prompts_wait_for_run(an_editor: EditorUser) -> None:
    an_editor.options._auto_run.click()
    draw_box(an_editor)
    assert not an_editor.bench.busy
    an_editor.options._run.click()
    assert an_editor.bench.busy
    an_editor.wait()
    assert voxels(an_editor).any()


def test_without_a_choice_of_worker_nothing_is_sent_and_a_sentence_says_what_to_do(slicer_session: Session) -> None:
    volume = make_volume(np.zeros((20, 32, 32), dtype=np.int16), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0))
    user = EditorUser(slicer_session, volume)
    user.choose("box")
    user.session.drag("Red", [user.world(10, 8, 8), user.world(10, 24, 24)])
    user.wait()
    assert any("choose" in text.lower() for text in user.said)
    assert not voxels(user).any()
    assert len(user.kinds()) == 1, "the prompt is kept for when a worker was chosen"


# Keys, signs, clones.


def test_keys_live_while_the_effect_is_active(an_editor: EditorUser) -> None:
    an_editor.session.key("P")
    assert an_editor.effect.parameter("Tool") == "point"
    an_editor.session.key("M")
    assert an_editor.effect.parameter("Sign") == "negative"
    an_editor.editor.setActiveEffectByName("Paint")
    an_editor.session.key("D")
    an_editor.session.key("M")
    assert (an_editor.effect.parameter("Tool"), an_editor.effect.parameter("Sign")) == ("point", "negative")
    an_editor.editor.setActiveEffectByName("MemSeg3D")
    an_editor.session.key("D")
    assert an_editor.effect.parameter("Tool") == "box"


def test_escape_leaves_the_effect_and_not_the_run(an_editor: EditorUser) -> None:
    draw_box(an_editor)
    wait_for_slices(an_editor, 3)
    an_editor.session.key("Esc")
    assert an_editor.editor.activeEffect() is None
    an_editor.wait()
    assert voxels(an_editor).any(axis=(1, 2)).all()


def test_a_negative_sign_does_not_follow_to_another_segment(an_editor: EditorUser) -> None:
    an_editor.choose("point", "negative")
    an_editor.editor.setCurrentSegmentID(an_editor.ids[1])
    assert an_editor.effect.parameter("Sign") == "positive"
    assert an_editor.options._positive.checked
    assert an_editor.bench.segment_id == an_editor.ids[1]


def test_buttons_show_and_set_what_the_effect_remembers(an_editor: EditorUser) -> None:
    buttons = an_editor.options._tool_buttons
    buttons["lasso"].click()
    assert an_editor.effect.parameter("Tool") == "lasso"
    assert [name for name, button in buttons.items() if button.checked] == ["lasso"]
    an_editor.options._negative.click()
    assert an_editor.effect.parameter("Sign") == "negative"
    buttons["box"].click()
    assert not an_editor.options._negative.enabled
    assert an_editor.options._positive.checked


def test_placing_a_markup_elsewhere_does_not_put_the_effect_away(an_editor: EditorUser) -> None:
    import slicer

    node = slicer.modules.memseg3d_application.GetInteractionNode()
    node.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.Place)
    assert an_editor.editor.activeEffect() is an_editor.effect


def test_editor_and_panel_have_their_own_tools_and_one_workbench(an_editor: EditorUser) -> None:
    an_editor.choose("point")
    panel = an_editor.session.show_module("MemSeg3D").panel
    theirs = panel.segments.editor.effectByName("MemSeg3D")
    assert theirs is not an_editor.effect
    assert theirs.parameter("Tool") == "box"
    assert theirs.self().work.bench is an_editor.bench
    assert theirs.self().work.options.widget.isHidden(), "the panel has its own"
    an_editor.session.show_module("SegmentEditor")
    assert an_editor.effect.parameter("Tool") == "point"


def test_the_way_to_the_panel_leads_there(an_editor: EditorUser) -> None:
    an_editor.options._panel.click()
    assert an_editor.session.current == "MemSeg3D"


def test_an_effect_that_is_gone_is_told_of_nothing(an_editor: EditorUser) -> None:
    before = len(an_editor.bench.changed._listeners)
    an_editor.effect.cleanup()
    assert len(an_editor.bench.changed._listeners) == before - 1
    an_editor.bench.changed.emit(None)


# First steps.


def test_the_sample_is_offered_and_loaded_without_any_download(slicer_session: Session) -> None:
    import SampleData

    (source,) = SampleData.SampleDataLogic.sampleDataSourcesByCategory("MemSeg3D")
    assert list(source.uris) == []
    node = source.customDownloader(source)
    assert node.GetImageData().GetDimensions() == (144, 112, 40)


def test_the_self_test_passes_with_the_embedded_model(
    slicer_session: Session, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import MemSeg3D
    from MemSeg3DPanel.application import application

    with start_worker("memseg3d-nano", tmp_path_factory.mktemp("nano")) as worker:
        choice = application().choice
        choice.set_remote(worker.url, worker.token, allows_plain_text=True)
        choice.mode = "remote"
        case = MemSeg3D.MemSeg3DTest()
        case.runTest()


def test_the_self_test_says_what_is_missing(slicer_session: Session) -> None:
    import unittest

    import MemSeg3D

    case = MemSeg3D.MemSeg3DTest()
    case.runTest()
    with pytest.raises(unittest.SkipTest, match="choose in the module MemSeg3D"):
        case.test_one_round()
