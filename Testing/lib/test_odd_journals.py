"""Journals and rounds with right checksums and odd content: the library's own errors, and no file hides the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lib.benches import OpenBench, box_on, run_bench
from lib.scenes import users_editor
from lib.workers import Outcome, run_to_end

from MemSeg3DLib.base.errors import RoundError
from MemSeg3DLib.prompts.as_json import drawn_from_json
from MemSeg3DLib.prompts.prompts import BoxPrompt
from MemSeg3DLib.rounds.history.history import RoundHistory
from MemSeg3DLib.rounds.history.journal import RecoveryJournal, _line
from MemSeg3DLib.rounds.history.record import RoundRecord, _checksum
from MemSeg3DLib.rounds.running.active_run import ActiveRun
from MemSeg3DLib.rounds.running.controller import RunController
from MemSeg3DLib.rounds.running.states import RoundRequest
from MemSeg3DLib.rounds.workbench import Workbench
from MemSeg3DLib.scene.nodes import add_segmentation, ijk_to_world
from MemSeg3DLib.worker.connection.local_worker import LocalWorker

CHANGE = {"segment_id": "a", "extent": [[0, 1], [0, 1], [0, 8]], "added": "", "removed": "", "before": "", "after": ""}
POINT = {"type": "point", "object": 1, "position": [1.0, 2, 3], "axis": 0, "positive": True, "id": "p"}
MASK = {"type": "mask", "object": 1, "axis": 0, "extent": [[1, 2], [0, 8], [0, 8]], "bits": "", "id": "m"}
RECORD: dict[str, Any] = {
    "id": "r", "session": "s", "volume": "v", "options": {}, "prompts": [POINT], "removed": [],
    "labels": {"a": 1}, "changes": [CHANGE], "lattice": [1.0] * 16,
}  # fmt: skip


def signed(**change: Any) -> dict[str, Any]:
    """A record with its checksum, whatever it holds."""
    values = {**RECORD, **change}
    return {**values, "sha256": _checksum(values)}


ODD: list[Any] = [
    5, None, [], signed(id=[1]), signed(prompts=5), signed(prompts=[7]), signed(prompts=[{"object": "one"}]),
    signed(labels=[1]), signed(labels={"a": "x"}), signed(changes=[5]), signed(changes={"a": 1}), signed(lattice=[1]),
    signed(lattice="x"), signed(changes=[{**CHANGE, "extent": [[0, 0], [0, 1], [0, 1]]}]), signed(more=1),
    signed(changes=[{**CHANGE, "extent": [["0", "1"], [0, 1], [0, 1]]}]), signed(changes=[{**CHANGE, "added": 5}]),
    signed(quality={"a": [[1]]}), signed(quality=[1]), signed(time="now"), signed(limits={"1": 5}), signed(drawn=[1]),
    *(signed(prompts=[{**POINT, **odd}]) for odd in (
        {"type": "dot"}, {"type": []}, {"position": [1, 2]}, {"position": [1, 2, "3"]}, {"position": [1, 2, 10**400]},
        {"object": 0}, {"object": True}, {"object": 70_000}, {"axis": 3}, {"axis": "0"}, {"id": ""}, {"id": "x" * 300},
        {"id": None}, {"positive": "no"}, {"colour": "red"}, {"position": [1, 2, float("nan")]},
    )),
    *(signed(prompts=[{**MASK, **odd}]) for odd in (
        {"extent": [[1, 2], [0, 8]]}, {"extent": [[2, 1], [0, 8], [0, 8]]}, {"extent": [[1, 3], [0, 8], [0, 8]]},
        {"extent": [[-1, 0], [0, 8], [0, 8]]}, {"extent": 5}, {"bits": 5}, {"bits": "\u00e9"},
    )),
    signed(full="1"), signed(consensus={"slices": []}), signed(removed=[5]), signed(options=None),
]  # fmt: skip


@pytest.mark.parametrize("value", ODD)
def test_an_odd_record_is_the_librarys_own_error(value: Any) -> None:
    assert RoundRecord.from_json(signed(prompts=[POINT, MASK])).id == "r"
    with pytest.raises(RoundError):
        RoundRecord.from_json(value)


def test_odd_voxels_of_a_change_are_the_librarys_own_error() -> None:
    huge = [[0, 10**6], [0, 10**6], [0, 10**6]]
    for change in ({"added": "?"}, {"added": "eJw="}, {"extent": huge, "added": "eNpjYAAAAAEAAQ=="}):
        record = RoundRecord.from_json(signed(changes=[{**CHANGE, **change}]))
        with pytest.raises(RoundError):
            record.changes[0].masks()


@pytest.mark.parametrize("value", [5, None, {"kind": []}, {"kind": "box", "more": 1}, "x"])
def test_an_odd_drawn_prompt_is_the_librarys_own_error(value: Any) -> None:
    with pytest.raises(RoundError):
        drawn_from_json(value)


@pytest.mark.parametrize(
    "line", [5, [], {}, {"type": 5}, {"type": "round"}, {"type": "round", "round": 5}, {"type": "undo", "round": [1]}]
)
def test_an_odd_line_of_a_journal_is_the_librarys_own_error(tmp_path: Path, line: Any) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(_line(line))
    for read in (RecoveryJournal(path).rounds, RecoveryJournal(path).sittings):
        with pytest.raises(RoundError):
            read()


def test_an_odd_journal_hides_no_other(
    open_bench: OpenBench,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    tmp_path: Path,
    scene: Any,
    a_worker: LocalWorker,
) -> None:
    bench = open_bench(tmp_path)
    bench.add(box_on(an_oblique_volume, segment_ids[0]))
    run_bench(bench)
    bench.close()
    held = next(tmp_path.glob("*.journal"))
    for number, value in enumerate(ODD):
        (tmp_path / f"{number:03d}odd.journal").write_bytes(_line({"type": "round", "round": value}))
    (tmp_path / "deep.journal").write_bytes(json.dumps("x").encode())
    # As after a crash: the end that the bench wrote is not there, and the segmentation is gone.
    whole = [line for line in held.read_bytes().splitlines(keepends=True) if b'"closed"' not in line]
    held.write_bytes(b"".join(whole))
    scene.RemoveNode(a_segmentation)
    again = Workbench(scene, a_worker, tmp_path)
    again.select(an_oblique_volume, add_segmentation(scene, an_oblique_volume), None)
    assert [one.name for one in again.recoverable()] == [held.stem]
    again.close()


@pytest.mark.parametrize("place", ["write_next", "record", "result", "reason_to_stop", "receive"])
def test_what_nobody_foresaw_ends_the_run_and_the_next_one_runs(
    a_worker: LocalWorker,
    an_oblique_volume: Any,
    a_segmentation: Any,
    segment_ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    def fail(*_: object) -> None:
        raise KeyError(7)

    one, other = (ijk_to_world(an_oblique_volume, (7, n, n)) for n in (5, 14))
    request = RoundRequest(an_oblique_volume, a_segmentation, [BoxPrompt(segment_ids[0], one, other)])
    users_editor(a_segmentation, an_oblique_volume)
    with RunController(a_worker) as controller:
        outcome = Outcome(controller)
        with monkeypatch.context() as patch:
            patch.setattr(ActiveRun, place, fail)
            controller.start(request)
            run_to_end(controller, 20)
        assert len(outcome.failed) == 1
        assert "KeyError" in str(outcome.failed[0].error)
        assert outcome.failed[0].run
        controller.start(request)
        run_to_end(controller, 30)
        assert len(outcome.finished) == 1
        assert len(RoundHistory(a_segmentation).applied) >= 1
