"""Two Slicers and one folder of recovery journals: neither offers, deletes or goes on with what the other writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lib.benches import OpenBench, box_on, click_on, run_bench
from lib.scenes import voxels_of

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.base.home import Home
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
from MemSeg3DLib.rounds.history.recovery import ATTRIBUTE
from MemSeg3DLib.rounds.history.scene_text import ROLE
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.worker.connection.local_worker import LocalWorker
from MemSeg3DLib.worker.installation.stored_data import purge_journals

ROOT = Path(__file__).resolve().parents[2]
OTHER = """
import json, sys
from pathlib import Path
from MemSeg3DLib.rounds.history.journal import RecoveryJournal
journal = RecoveryJournal(Path(sys.argv[1]))
journal.claim()
for line in sys.stdin:
    journal.append(json.loads(line))
    print(journal.path.name, flush=True)
"""


class Other:
    """Another program that writes a journal; ends as a crash does."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", OTHER, str(path)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write(self, line: str = '{"type": "undo", "round": "of nobody"}') -> str:
        """Write a line; the name of the file that it went into."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """Crash."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def another_writer(path: Path) -> Iterator[Other]:
    other = Other(path)
    try:
        yield other
    finally:
        other.kill()


def test_what_another_slicer_writes_is_not_offered_forgotten_or_purged_until_it_has_gone(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any, tmp_path: Path
) -> None:
    a_bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(a_bench)
    (path,) = a_bench.journals()
    scene.RemoveNode(a_segmentation)
    (left,) = a_bench.recoverable()
    home = Home(tmp_path)
    with another_writer(path) as other:
        assert other.write() == path.name
        assert a_bench.recoverable() == []
        for act in (a_bench.forget, a_bench.recover):
            with pytest.raises(RoundError, match="Another Slicer"):
                act(left)
        assert purge_journals(home) == [path]
        assert len(RecoveryJournal(path).rounds()) == 1
    (left,) = a_bench.recoverable()
    assert a_bench.recover(left) == 1
    assert purge_journals(home, keep=a_bench.journals()) == []
    assert path.is_file(), "it is the open scene's own now"


def test_two_slicers_with_one_scene_write_beside_each_other_and_both_can_be_recovered(
    a_bench: Workbench,
    a_worker: LocalWorker,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    tmp_path: Path,
) -> None:
    folder, segment = tmp_path / "journals", segment_ids[0]
    name = a_segmentation.GetAttribute(ATTRIBUTE)
    one_s, two_s = folder / f"{name}.journal", folder / f"{name}.2.journal"
    # The scene was opened here before either wrote: the first one to write has the name.
    with another_writer(one_s) as other:
        assert other.write() == one_s.name
        a_bench.add(box_on(an_oblique_volume, segment))
        run_bench(a_bench)
        first = voxels_of(an_oblique_volume, a_segmentation, segment)
        assert [one["id"] for one in RecoveryJournal(two_s).rounds()] == [one.id for one in a_bench.rounds()]
        assert RecoveryJournal(one_s).rounds() == []
        with another_writer(one_s) as third:
            assert third.write() == f"{name}.3.journal"
        assert other.write() == one_s.name, "nobody moved it"
    # Undone, the rounds leave the scene as a crash would; the journal of the second writer brings them back.
    as_left = two_s.read_bytes()
    a_bench.undo()
    a_bench.close()
    two_s.write_bytes(as_left)
    a_segmentation.SetNodeReferenceID("MemSeg3D.Rounds", None)
    again = Workbench(a_segmentation.GetScene(), a_worker, folder)
    again.select(an_oblique_volume, a_segmentation, segment)
    (left,) = again.recoverable()
    assert (left.name, left.segmentation_id, left.end) == (two_s.stem, a_segmentation.GetID(), None)
    assert again.recover(left) == 1
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment), first)
    own = RecoveryJournal(one_s)
    assert [one["id"] for one in own.rounds()] == [one.id for one in again.rounds()], "later rounds build on it there"
    again.close()


def test_a_lock_ends_with_its_slicer_and_a_deleted_journal_is_begun_anew(tmp_path: Path) -> None:
    journal = RecoveryJournal(tmp_path / "a.journal")
    journal.claim()
    journal.append({"type": "undo", "round": "1"})
    assert not journal.is_elsewhere
    with another_writer(journal.path) as other:
        assert other.write() == "a.2.journal"
        journal.path.unlink()
        journal.append({"type": "undo", "round": "2"})
        assert [one["round"] for one in journal.lines()] == ["2"]
        assert RecoveryJournal(tmp_path / "a.2.journal").is_elsewhere
    assert not RecoveryJournal(tmp_path / "a.2.journal").is_elsewhere
    assert RecoveryJournal(journal.path).is_elsewhere, "as others see it"
    journal.close()
    assert not RecoveryJournal(journal.path).is_elsewhere


def test_what_the_user_deleted_is_offered_as_what_it_is(
    a_bench: Workbench, an_oblique_volume: Any, a_segmentation: Any, segment_ids: list[str], scene: Any
) -> None:
    segment = segment_ids[0]
    a_bench.add(box_on(an_oblique_volume, segment))
    run_bench(a_bench)
    wanted = voxels_of(an_oblique_volume, a_segmentation, segment)
    scene.RemoveNode(a_segmentation)
    a_bench.poll()
    (left,) = a_bench.recoverable()
    assert left.end == "deleted"
    a_bench.recover(left)
    recovered = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert np.array_equal(voxels_of(an_oblique_volume, recovered, segment), wanted)
    a_bench.select(an_oblique_volume, recovered, segment)
    a_bench.add(click_on(an_oblique_volume, segment, (5, 10, 10)))
    run_bench(a_bench)
    (path,) = a_bench.journals()
    assert RecoveryJournal(path).end is None, "it is written again: a crash from now on is one"
    assert len(RecoveryJournal(path).rounds()) == 2


@pytest.mark.parametrize("first_end", ["closed", None])
def test_rounds_that_were_not_brought_back_do_not_bar_the_way_to_those_made_since(
    first_end: str | None,
    open_bench: OpenBench,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    tmp_path: Path,
) -> None:
    segment = segment_ids[0]

    def work(click: tuple[float, float, float], end: str | None) -> np.ndarray:
        """A round on the scene as it was saved, which is not saved itself; what the segment held then."""
        bench = open_bench(tmp_path)
        bench.add(click_on(an_oblique_volume, segment, click))
        run_bench(bench)
        held = voxels_of(an_oblique_volume, a_segmentation, segment).copy()
        (path,) = bench.journals()
        as_left = path.read_bytes()
        bench.undo()
        bench.close()
        path.write_bytes(as_left)
        if end is not None:
            RecoveryJournal(path).append({"type": end})
        a_segmentation.GetNodeReference(ROLE).SetText(saved)
        return held

    first = open_bench(tmp_path)
    first.add(box_on(an_oblique_volume, segment))
    run_bench(first)
    first.close()
    saved = a_segmentation.GetNodeReference(ROLE).GetText()
    work((5, 10, 10), first_end)
    wanted = work((9, 6, 12), None)
    again = open_bench(tmp_path)
    (left,) = again.recoverable()
    assert again.recover(left) == 1
    assert np.array_equal(voxels_of(an_oblique_volume, a_segmentation, segment), wanted)
    assert [one.kind for one in again.prompts()] == ["box", "point"]
    again.close()
