"""Rounds that a crash left come back, whatever was saved, undone, declined or recovered late before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from lib.scenes import SHAPE, a_ball, voxels_of, write_ball
from lib.test_rounds import MASKS, do_round

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.recovery import ATTRIBUTE, recover
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segmentation
from MemSeg3DLib.segments.writer import SegmentWriter
from MemSeg3DLib.worker.connection.source import RemoteWorker

BALLS = dict(zip("ABCDZ", [*MASKS, a_ball(SHAPE, (4, 8, 9), 3.0), a_ball(SHAPE, (5, 12, 9), 4.0)], strict=True))


class Desk:
    """A segmentation that is saved, opened again and recovered; every round writes the mask of its name."""

    def __init__(self, volume: Any, segments: list[str], folder: Path) -> None:
        self.volume = volume
        self.segments = segments
        self.path = folder / "x.journal"
        self._saved = ""

    def open(self) -> Any:
        """The segmentation as it was saved last."""
        node = add_segmentation(slicer.mrmlScene, self.volume, "opened")
        for segment in self.segments:
            node.GetSegmentation().AddEmptySegment(segment, segment)
        history = RoundHistory(node)
        for step in self._saved.split():
            self.step(node, history, step)
        return node

    @contextmanager
    def sitting(self, *, saves: str = "") -> Iterator[Callable[[str], None]]:
        """One start of Slicer, which crashes. Steps: a round by its letter, "b" on the second segment, "undo", "redo".

        saves: the steps, from nothing, that the saved scene holds from then on.
        """
        node = self.open()
        journal = RecoveryJournal(self.path)
        journal.claim()
        history = RoundHistory(node, journal)

        def do(steps: str) -> None:
            for step in steps.split():
                self.step(node, history, step, journal)

        yield do
        self.left = self.voxels(node)
        self._saved = saves or self._saved
        journal.let_go()

    def step(self, node: Any, history: RoundHistory, step: str, journal: RecoveryJournal | None = None) -> None:
        if step == "recover":
            assert journal is not None
            recover(node, self.volume, history, journal)
        elif step in ("undo", "redo"):
            getattr(history, step)()
        else:
            segment = self.segments[step.islower()]
            do_round(history, self.volume, node, segment, BALLS[step.upper()] if step.isupper() else FAR, step)

    def voxels(self, node: Any) -> np.ndarray:
        return np.stack([voxels_of(self.volume, node, segment) for segment in self.segments])

    def recovered(self) -> tuple[int, list[str], bool]:
        """After the crash: how many rounds came back, the applied ones, and whether all voxels are as they were."""
        node = self.open()
        history = RoundHistory(node)
        count = recover(node, self.volume, history, RecoveryJournal(self.path))
        return count, [one.id for one in history.applied], bool((self.voxels(node) == self.left).all())


FAR = np.zeros(SHAPE, dtype=bool)
FAR[0, :2, :2] = True


@pytest.fixture
def a_desk(an_oblique_volume: Any, segment_ids: list[str], tmp_path: Path) -> Desk:
    return Desk(an_oblique_volume, segment_ids, tmp_path)


def test_a_saved_round_that_was_undone_before_a_new_one_is_undone_again(a_desk: Desk) -> None:
    with a_desk.sitting(saves="Z") as do:
        do("Z undo D")
    assert a_desk.recovered() == (1, ["D"], True)


def test_a_round_saved_as_undone_that_was_redone_before_a_new_one_is_redone(a_desk: Desk) -> None:
    with a_desk.sitting(saves="Z undo") as do:
        do("Z undo redo D")
    assert a_desk.recovered() == (1, ["Z", "D"], True)


def test_an_undo_of_another_sitting_that_was_not_saved_undoes_nothing(a_desk: Desk) -> None:
    with a_desk.sitting(saves="Z") as do:
        do("Z undo")
    with a_desk.sitting() as do:
        do("b")
    assert a_desk.recovered() == (1, ["Z", "b"], True)


@pytest.mark.parametrize(("then", "back"), [("", "A C"), ("D", "A C D")])
def test_an_undo_after_a_late_recovery_holds(a_desk: Desk, then: str, back: str) -> None:
    with a_desk.sitting() as do:
        do("A B")
    with a_desk.sitting() as do:
        do(f"c recover undo {then}")
    count, applied, is_same = a_desk.recovered()
    assert is_same
    assert (count, sorted(applied, key=str.upper)) == (len(back.split()), back.replace("C", "c").split())


def test_rounds_after_a_declined_recovery_and_an_undo_come_back(a_desk: Desk) -> None:
    with a_desk.sitting(saves="Z") as do:
        do("Z A")
    with a_desk.sitting() as do:
        do("undo D")
    assert a_desk.recovered() == (1, ["D"], True)
    with a_desk.sitting() as do:
        do("B undo C")
    assert a_desk.recovered() == (1, ["Z", "C"], True)


def test_a_round_that_was_recovered_twice_comes_back_once(a_desk: Desk) -> None:
    own = a_desk.path
    a_desk.path = own.with_name("x.2.journal")
    with a_desk.sitting() as do:
        do("A")
    other = a_desk.path
    a_desk.path = own
    for _ in range(2):
        node = a_desk.open()
        journal = RecoveryJournal(own)
        journal.claim()
        recover(node, a_desk.volume, RoundHistory(node, journal), RecoveryJournal(other))
        journal.let_go()
    assert a_desk.recovered() == (1, ["A"], True)


def test_what_does_not_fit_leaves_the_segment_and_the_list_as_they_were(a_desk: Desk) -> None:
    with a_desk.sitting(saves="Z") as do:
        do("Z undo D")
    node = a_desk.open()
    writer = SegmentWriter(node, a_desk.volume, a_desk.segments[:1])
    write_ball(writer, a_desk.segments[0], BALLS["C"])
    writer.close()
    before = a_desk.voxels(node)
    history = RoundHistory(node)
    with pytest.raises(RoundError, match="do not fit"):
        recover(node, a_desk.volume, history, RecoveryJournal(a_desk.path))
    assert (a_desk.voxels(node) == before).all()
    assert [one.id for one in history.applied] == ["Z"]


def test_forgetting_what_a_crash_left_keeps_the_rounds_made_since(scene: Any, a_desk: Desk) -> None:
    with a_desk.sitting() as do:
        do("A")
    node = a_desk.open()
    node.SetAttribute(ATTRIBUTE, a_desk.path.stem)
    bench = Workbench(scene, RemoteWorker("http://127.0.0.1:9"), a_desk.path.parent)
    bench.select(a_desk.volume, node, a_desk.segments[0])
    (left,) = bench.recoverable()
    history = bench.history(node)
    a_desk.step(node, history, "C")
    bench.forget(left)
    a_desk.step(node, history, "b")
    assert [one["id"] for one in RecoveryJournal(a_desk.path).rounds()] == ["C", "b"]
    assert bench.recoverable() == []
    bench.close()
