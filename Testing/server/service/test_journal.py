"""The journal keeps every record that was answered for, and nothing that was torn, altered or out of order."""

from __future__ import annotations

from pathlib import Path

import pytest

from memseg3d.service.history import History
from memseg3d.service.journal import Journal, JournalError, Record

FIRST: Record = {"type": "session", "version": 1, "id": "s", "volume": "v", "options": {}, "model": "m", "time": 1.0}
BEGUN: Record = {"type": "begun", "round": "a", "request": {"prompts": [{}], "removed": []}, "time": 2.0}
CLOSED: Record = {"type": "closed", "round": "a", "record": {"id": "a"}, "time": 3.0}


@pytest.fixture
def a_journal(tmp_path: Path) -> Journal:
    """A journal of a session with one closed round."""
    journal = Journal.create(tmp_path / "journal.ndjson", FIRST)
    journal.append(BEGUN)
    journal.append(CLOSED)
    return journal


def test_what_was_appended_is_read_again(a_journal: Journal) -> None:
    assert Journal.open(a_journal.path)[1] == [FIRST, BEGUN, CLOSED]


@pytest.mark.parametrize("missing", [1, 2, 30, 70])
def test_a_torn_last_record_is_dropped_and_writing_goes_on(a_journal: Journal, missing: int) -> None:
    content = a_journal.path.read_bytes()
    a_journal.path.write_bytes(content[:-missing])
    journal, records = Journal.open(a_journal.path)
    assert records == [FIRST, BEGUN]
    journal.append(CLOSED)
    assert a_journal.path.read_bytes() == content


def test_a_journal_cut_anywhere_gives_a_prefix_of_its_records(a_journal: Journal, tmp_path: Path) -> None:
    content = a_journal.path.read_bytes()
    first_line = content.index(b"\n") + 1
    for length in range(first_line, len(content) + 1):
        path = tmp_path / "cut.ndjson"
        path.write_bytes(content[:length])
        assert Journal.open(path)[1] == [FIRST, BEGUN, CLOSED][: content[:length].count(b"\n")]


def test_an_altered_record_ends_the_journal_and_the_rest_is_kept_aside(a_journal: Journal) -> None:
    a_journal.path.write_bytes(a_journal.path.read_bytes().replace(b'"begun"', b'"begin"'))
    assert Journal.open(a_journal.path)[1] == [FIRST]
    assert b'"closed"' in a_journal.path.with_suffix(".damaged").read_bytes()


def test_swapped_records_are_noticed(a_journal: Journal) -> None:
    first, second, third = a_journal.path.read_bytes().splitlines(keepends=True)
    a_journal.path.write_bytes(first + third + second)
    assert Journal.open(a_journal.path)[1] == [FIRST]


def test_a_journal_without_a_sound_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "journal.ndjson").write_bytes(b"no journal\n")
    with pytest.raises(JournalError, match="no readable record"):
        Journal.open(tmp_path / "journal.ndjson")


def test_a_record_that_the_disk_refuses_leaves_the_journal_as_it_was(
    a_journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = a_journal.path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", _no_space)
        with pytest.raises(OSError, match="No space left"):
            a_journal.append({"type": "undo", "time": 4.0})
    assert a_journal.path.read_bytes() == before
    a_journal.append({"type": "undo", "time": 4.0})
    assert len(Journal.open(a_journal.path)[1]) == 4


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def record(kind: str, round_id: str = "") -> Record:
    more = {"request": {"prompts": [], "removed": []}} if kind == "begun" else {"record": {"id": round_id}}
    return {"type": kind, "round": round_id, "time": 0.0, **more}


def test_history_knows_what_is_applied_after_undo_and_redo() -> None:
    rounds = [record("begun", "a"), record("closed", "a"), record("begun", "b"), record("closed", "b")]
    history = History.of([FIRST, *rounds, record("undo"), record("undo"), record("redo")])
    assert [item.id for item in history.applied] == ["a"]
    assert [item.id for item in history.redoable] == ["b"]


def test_a_new_round_drops_what_was_undone() -> None:
    rounds = [record("begun", "a"), record("closed", "a"), record("undo"), record("begun", "b"), record("closed", "b")]
    history = History.of([FIRST, *rounds])
    assert [(item.id, item.status) for item in history.rounds] == [("a", "dropped"), ("b", "closed")]


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_round_that_ended_without_a_result_keeps_what_was_undone(end: str) -> None:
    rounds = [record("begun", "a"), record("closed", "a"), record("undo"), record("begun", "b"), record(end, "b")]
    history = History.of([FIRST, *rounds])
    assert [item.id for item in history.redoable] == ["a"]
    assert history.open is None


def test_a_round_without_an_end_is_open() -> None:
    history = History.of([FIRST, record("begun", "a"), record("resumed", "a")])
    assert history.open is not None
    assert (history.open.id, history.open.restarts) == ("a", 1)


def test_records_of_another_version_are_refused() -> None:
    with pytest.raises(JournalError, match="another version"):
        History.of([{**FIRST, "version": 2}])
