"""The round list survives damage, crashes and torn files, and never writes what it cannot vouch for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from lib.scenes import SHAPE, a_ball, voxels_of, write_ball

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.rounds.history.history import RoundHistory, lattice_of
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.record import RoundRecord
from MemSeg3DLib.rounds.history.recovery import journal_of, missing_rounds, recover
from MemSeg3DLib.rounds.history.scene_text import ROLE
from MemSeg3DLib.scene.nodes import add_segmentation
from MemSeg3DLib.segments.write_settings import WriteSettings
from MemSeg3DLib.segments.writer import SegmentWriter

MASKS = [a_ball(SHAPE, (6, 10, 12), radius) for radius in (3.5, 5.5, 4.5)]


def do_round(history: RoundHistory, volume: Any, segmentation: Any, segment: str, mask: np.ndarray, name: str) -> None:
    """One round as the controller does it, with a mask of the test's own in place of the worker's."""
    settings = WriteSettings(overwrite_mode=slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    writer = SegmentWriter(segmentation, volume, [segment], settings)
    write_ball(writer, segment, mask)
    record = RoundRecord(name, "s", "v", {}, [], [], {segment: 1}, writer.changes(), lattice_of(writer.grid))
    writer.close()
    history.add(record)


def test_undo_and_redo_have_no_bound(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> None:
    history = RoundHistory(a_segmentation)
    states = []
    for n in range(14):
        states.append(voxels_of(an_oblique_volume, a_segmentation, segment_ids[n % 2]))
        do_round(history, an_oblique_volume, a_segmentation, segment_ids[n % 2], MASKS[n % 3], f"r{n}")
    last = [voxels_of(an_oblique_volume, a_segmentation, segment) for segment in segment_ids]
    for n in reversed(range(14)):
        history.undo()
        assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[n % 2]), states[n])
    assert not any(voxels_of(an_oblique_volume, a_segmentation, segment).any() for segment in segment_ids)
    for _ in range(14):
        history.redo()
    for segment, wanted in zip(segment_ids, last, strict=True):
        assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment), wanted)
    with pytest.raises(RoundError, match="no round to redo"):
        history.redo()


def test_checksums_tell_what_a_round_started_from_and_led_to(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    history = RoundHistory(a_segmentation)
    for n, mask in enumerate(MASKS):
        do_round(history, an_oblique_volume, a_segmentation, segment_ids[0], mask, f"r{n}")
    chain = [record.changes[0] for record in history.applied]
    assert chain[0].before == "empty"
    assert [one.after for one in chain[:-1]] == [one.before for one in chain[1:]]
    assert len({one.after for one in chain}) == 3


def test_a_round_that_was_damaged_in_the_scene_file_is_refused(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    history = RoundHistory(a_segmentation)
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[0], MASKS[0], "r")
    text = a_segmentation.GetNodeReference(ROLE)
    whole = text.GetText()
    stored = json.loads(whole)
    stored["rounds"][0]["changes"][0]["extent"][0][0] += 1
    text.SetText(json.dumps(stored))
    with pytest.raises(RoundError, match="damaged"):
        RoundHistory(a_segmentation)
    text.SetText("no json")
    with pytest.raises(RoundError, match="cannot be read"):
        RoundHistory(a_segmentation)
    text.SetText(whole.replace('"version":1', '"version":2', 1))
    with pytest.raises(RoundError, match=r"newer version.*set them aside"):
        RoundHistory(a_segmentation)
    text.SetText(whole)
    assert len(RoundHistory(a_segmentation).applied) == 1
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[0]), MASKS[0])


def test_a_deleted_segment_stays_deleted(an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]) -> None:
    history = RoundHistory(a_segmentation)
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[1], MASKS[1], "r0")
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[0], MASKS[0], "r1")
    a_segmentation.GetSegmentation().RemoveSegment(segment_ids[0])
    history.undo()
    assert a_segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment_ids[1]), MASKS[1])


def test_a_changed_geometry_ends_undo_with_a_sentence(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str]
) -> None:
    history = RoundHistory(a_segmentation)
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[0], MASKS[0], "r")
    an_oblique_volume.SetSpacing(2, 2, 2)
    a_segmentation.SetReferenceImageGeometryParameterFromVolumeNode(an_oblique_volume)
    with pytest.raises(RoundError, match="geometry has changed"):
        history.undo()


def test_rounds_since_the_last_save_come_back_after_a_crash(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    journal = journal_of(a_segmentation, tmp_path)
    assert journal is not None
    history = RoundHistory(a_segmentation, journal)
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[0], MASKS[0], "saved")
    saved = a_segmentation.GetNodeReference(ROLE).GetText()
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[0], MASKS[1], "undone")
    history.undo()
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[0], MASKS[2], "lost 1")
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[1], MASKS[0], "lost 2")
    wanted = [voxels_of(an_oblique_volume, a_segmentation, segment) for segment in segment_ids]
    # The crash: a second segmentation stands for the scene as saved last; one of its segments did not exist then.
    reopened = add_segmentation(slicer.mrmlScene, an_oblique_volume, "reopened")
    reopened.GetSegmentation().AddEmptySegment(segment_ids[0], "one")
    do_round(RoundHistory(reopened), an_oblique_volume, reopened, segment_ids[0], MASKS[0], "saved")
    reopened.GetNodeReference(ROLE).SetText(saved)
    again = RoundHistory(reopened)
    assert [one.id for one in missing_rounds(again, journal)] == ["lost 1", "lost 2"]
    assert recover(reopened, an_oblique_volume, again, journal) == 2
    for segment, mask in zip(segment_ids, wanted, strict=True):
        assert np.array_equal(voxels_of(an_oblique_volume, reopened, segment), mask)
    assert [one.id for one in again.applied] == ["saved", "lost 1", "lost 2"]
    assert recover(reopened, an_oblique_volume, again, journal) == 0


def test_a_journal_of_another_segmentation_is_refused_before_anything_is_written(
    an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], tmp_path: Path
) -> None:
    journal = RecoveryJournal(tmp_path / "x.journal")
    history = RoundHistory(a_segmentation, journal)
    do_round(history, an_oblique_volume, a_segmentation, segment_ids[0], MASKS[0], "r")
    other = add_segmentation(slicer.mrmlScene, an_oblique_volume, "other")
    other.GetSegmentation().AddEmptySegment(segment_ids[0], "one")
    writer = SegmentWriter(other, an_oblique_volume, segment_ids[:1])
    write_ball(writer, segment_ids[0], MASKS[1])
    writer.close()
    with pytest.raises(RoundError, match="do not fit"):
        recover(other, an_oblique_volume, RoundHistory(other), journal)
    assert np.array_equal(voxels_of(an_oblique_volume, other, segment_ids[0]), MASKS[1])


def test_a_line_that_a_crash_tore_apart_is_left_out(tmp_path: Path) -> None:
    journal = RecoveryJournal(tmp_path / "x.journal")
    for n in range(3):
        journal.append({"type": "round", "round": {"id": str(n)}})
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[:-7])
    assert [one["id"] for one in journal.rounds()] == ["0", "1"]
    journal.append({"type": "round", "round": {"id": "9"}})
    assert [one["id"] for one in journal.rounds()] == ["0", "1", "9"]
    assert journal.path.stat().st_mode & 0o077 == 0


def test_undoing_a_round_that_the_disk_refused_does_not_lose_the_one_before(tmp_path: Path) -> None:
    journal = RecoveryJournal(tmp_path / "x.journal")
    journal.append({"type": "round", "round": {"id": "kept"}})
    journal.append({"type": "undo", "round": "refused"})
    assert [one["id"] for one in journal.rounds()] == ["kept"]
    journal.append({"type": "redo", "round": "refused"})
    journal.append({"type": "undo", "round": "kept"})
    assert journal.rounds() == []


def test_a_scene_cannot_name_a_journal_outside_its_folder(a_segmentation: Any, tmp_path: Path) -> None:
    a_segmentation.SetAttribute("MemSeg3D.Journal", "../elsewhere")
    with pytest.raises(RoundError, match="cannot be one"):
        journal_of(a_segmentation, tmp_path)
