"""Undo, redo and restore: exact, without bound, without computing, and refused where a record is damaged."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from memseg3d.propagation.prompts.options import Options
from memseg3d.propagation.prompts.prompts import BoxPrompt, MaskPrompt, PointPrompt
from memseg3d.propagation.rounds.session import Session
from memseg3d.propagation.volume.errors import SessionError
from memseg3d.propagation.volume.volume import Volume

from .conftest import BALL, ThresholdNetwork, finish

State = tuple[dict[int, Any], dict[int, Any], list[np.ndarray]]


def state_of(session: Session) -> State:
    return session.objects, session.suggested, [session.labelmap(number) for number in session.objects]


def assert_same(one: State, other: State) -> None:
    assert one[:2] == other[:2]
    for mine, theirs in zip(one[2], other[2], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def play(session: Session) -> list[State]:
    """Five rounds of every kind; the states before, between and after."""
    mask = BALL[9] & (np.arange(44)[None, :] > 20)
    rounds: list[tuple[list[Any], list[str]]] = [
        ([BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))], []),
        ([PointPrompt(1, (16.0, 20.0, 22.0), False, id="off"), BoxPrompt(2, 0, (10, 10, 10), (10, 30, 30))], []),
        ([MaskPrompt(1, 0, 9, mask)], ["off"]),
        ([BoxPrompt(1, 2, (6, 8, 20), (18, 30, 20))], []),
        ([], ["1/1"]),
    ]
    states = [state_of(session)]
    for place, (prompts, removed) in enumerate(rounds):
        finish(session.begin(str(place), prompts, removed))
        states.append(state_of(session))
    return states


def restored(session: Session, records: list[dict[str, Any]], applied: int | None = None) -> Session:
    """A new session with the records, by way of JSON text, before a network that must not be asked."""
    new = Session(session.volume, ThresholdNetwork(), session.options)
    new.restore(json.loads(json.dumps(records)), applied)
    return new


def test_undo_and_redo_walk_through_every_state(a_session: Session) -> None:
    states = play(a_session)
    for state in reversed(states[:-1]):
        a_session.undo()
        assert_same(state_of(a_session), state)
    with pytest.raises(SessionError, match="no round to undo") as error:
        a_session.undo()
    assert error.value.code == "nothing_to_undo"
    for state in states[1:]:
        a_session.redo()
        assert_same(state_of(a_session), state)
    with pytest.raises(SessionError, match="no undone round") as error:
        a_session.redo()
    assert error.value.code == "nothing_to_redo"


def test_undo_tells_the_slices_that_changed(a_session: Session) -> None:
    play(a_session)
    for step in (a_session.undo, a_session.undo, a_session.undo, a_session.redo):
        before = {number: a_session.labelmap(number) for number in a_session.objects}
        changes = step()
        for change in changes:
            place = (slice(None),) * change.axis + (change.index,)
            assert (before[change.object][place] != change.mask).any()
            before[change.object][place] = change.mask
        for number in a_session.objects:
            np.testing.assert_array_equal(before[number], a_session.labelmap(number))


def test_a_new_round_takes_the_place_of_undone_ones(a_segmented_ball: Session) -> None:
    finish(a_segmented_ball.begin("second", [PointPrompt(1, (16.0, 20.0, 22.0), False)]))
    a_segmented_ball.undo()
    run = a_segmented_ball.begin("cancelled", [PointPrompt(1, (8.0, 20.0, 22.0), False)])
    next(run)
    run.cancel()
    assert [each.id for each in a_segmented_ball.rounds] == ["first", "second"], "what is cancelled keeps redo"
    finish(a_segmented_ball.begin("third", [PointPrompt(1, (8.0, 20.0, 22.0), False)]))
    assert [each.id for each in a_segmented_ball.rounds] == ["first", "third"]
    with pytest.raises(SessionError):
        a_segmented_ball.redo()


def test_a_round_after_undo_is_the_round_that_was(a_segmented_ball: Session) -> None:
    click = PointPrompt(1, (16.0, 20.0, 22.0), False)
    finish(a_segmented_ball.begin("second", [click]))
    expected = a_segmented_ball.labelmap(1)
    a_segmented_ball.undo()
    finish(a_segmented_ball.begin("again", [click]))
    np.testing.assert_array_equal(a_segmented_ball.labelmap(1), expected)


def test_a_restored_session_is_equal_and_computed_nothing(a_session: Session) -> None:
    states = play(a_session)
    new = restored(a_session, a_session.records())
    assert_same(state_of(new), states[-1])
    assert new.store.encoded == 0
    assert new.records() == a_session.records()
    for state in reversed(states[:-1]):
        new.undo()
        assert_same(state_of(new), state)


def test_undone_rounds_are_restored_as_undone(a_session: Session) -> None:
    states = play(a_session)
    a_session.undo()
    a_session.undo()
    new = restored(a_session, a_session.records(), a_session.applied)
    assert_same(state_of(new), states[3])
    new.redo()
    assert_same(state_of(new), states[4])


def test_a_restored_session_goes_on(a_segmented_ball: Session) -> None:
    new = restored(a_segmented_ball, a_segmented_ball.records())
    click = PointPrompt(1, (16.0, 20.0, 22.0), False)
    expected, _ = finish(a_segmented_ball.begin("second", [click]))
    slices, _ = finish(new.begin("second", [click]))
    assert [each.index for each in slices] == [each.index for each in expected]
    np.testing.assert_array_equal(new.labelmap(1), a_segmented_ball.labelmap(1))
    with pytest.raises(SessionError, match="already"):
        new.begin("first", [click])


def damaged(records: list[dict[str, Any]], **change: Any) -> list[dict[str, Any]]:
    records = copy.deepcopy(records)
    records[0]["objects"]["1"].update(change)
    return records


def test_a_damaged_record_is_refused_and_the_session_stays_empty(a_segmented_ball: Session) -> None:
    records = a_segmented_ball.records()
    delta = records[0]["objects"]["1"]["delta"]
    moved = {**delta, "extent": [[low + 1, high + 1] for low, high in delta["extent"]]}
    beyond = {**delta, "extent": [[low + 9, high + 9] for low, high in delta["extent"]]}
    cases = [
        damaged(records, checksum="0" * 64),
        damaged(records, delta=moved),
        damaged(records, delta=beyond),
        damaged(records, delta={**delta, "bits": "AAAA"}),
        damaged(records, delta={**delta, "bits": "no base64!"}),
        damaged(records, qualities=None),
        damaged(records, axis=3),
        [{**records[0], "prompts": [{"type": "point"}]}],
        [{key: value for key, value in records[0].items() if key != "finished"}],
    ]
    for case in cases:
        new = Session(a_segmented_ball.volume, ThresholdNetwork(), a_segmented_ball.options)
        with pytest.raises(SessionError) as error:
            new.restore(case)
        assert error.value.code == "bad_record"
        assert new.objects == {}
        assert new.rounds == ()
        new.restore(records)
        assert new.objects == a_segmented_ball.objects


def test_rounds_are_restored_into_new_sessions_only(a_segmented_ball: Session) -> None:
    with pytest.raises(SessionError, match="new session"):
        a_segmented_ball.restore(a_segmented_ball.records())


def test_a_record_tells_when_and_how(a_ball: Volume) -> None:
    options = Options(window=(0.0, 110.0), bidirectional="shared")
    session = Session(a_ball, ThresholdNetwork(), options)
    finish(session.begin("first", [BoxPrompt(1, 0, (12, 7, 7), (12, 33, 37))]))
    (record,) = session.records()
    assert Options.from_json(record["options"]) == options
    assert 0 <= record["finished"] - record["started"] < 60
    assert record["prompts"][0]["id"] == "first/0"
