"""Users kept apart: what is another's is not there, also where both have the same voxels, and after a restart."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from memseg3d.cli.tokens import app as tokens_app
from memseg3d.files import Geometry, write_slabs
from memseg3d.service.users.token_file import TokenFile
from Testing.audits.users import Caller, Things, forged, nobodys, phantom, state, tried, work

from .conftest import TOKEN, WorkerHere

Words = dict[str, Any]
ServeHere = Callable[..., WorkerHere]


@dataclass
class Ward:
    """A worker with two users and an administrator, and the shared token besides."""

    here: WorkerHere
    tokens: TokenFile
    alice: Caller
    bob: Caller
    chief: Caller
    shared: Caller

    @classmethod
    def of(cls, serve_here: ServeHere, folder: Path, **settings: Any) -> Ward:
        tokens = TokenFile(folder / "tokens.json")
        made = [tokens.add("alice", "user"), tokens.add("bob", "user"), tokens.add("chief", "administrator"), TOKEN]
        here = serve_here(tokens=tokens.path, **settings)
        return cls(here, tokens, *(Caller(here.url, token) for token in made))


@pytest.fixture
def a_ward(serve_here: ServeHere, tmp_path: Path) -> Ward:
    return Ward.of(serve_here, tmp_path)


def test_whatever_is_tried_with_anothers_ids_gets_what_unknown_ids_get(a_ward: Ward) -> None:
    theirs, own = work(a_ward.alice, 1), work(a_ward.bob, 9)
    before = state(a_ward.alice, theirs)
    for caller in (a_ward.bob, a_ward.chief, a_ward.shared):
        caller.put(own.voxels).raise_for_status()
        rows = [*tried(caller, theirs, own.volume), *forged(caller, "token:alice", theirs)]
        assert [row for row in rows if row.is_told_apart] == []
        assert sum(row.got.startswith("404") for row in rows) >= 18
    assert state(a_ward.alice, theirs) == before
    # Nor does the shared account have anything that its users could reach.
    shared = work(a_ward.shared, 4)
    assert not any(row.is_told_apart for row in tried(a_ward.bob, shared, own.volume))


def test_equal_voxels_are_sent_by_each_kept_once_and_deleted_by_each(a_ward: Ward, tmp_path: Path) -> None:
    voxels = phantom(1)
    assert [who.put(voxels).status_code for who in (a_ward.alice, a_ward.bob, a_ward.bob)] == [201, 201, 200]
    theirs, own = (work(who, 1) for who in (a_ward.alice, a_ward.bob))
    a_ward.here.worker.sweep()
    files = list((tmp_path / "data" / "volumes").glob("*/voxels.raw"))
    assert len(files) == 2
    assert len({path.stat().st_ino for path in files}) == 1
    a_ward.bob.call("DELETE", f"/volumes/{own.volume}").raise_for_status()
    assert a_ward.bob.call("GET", f"/sessions/{own.session}").status_code == 404
    assert a_ward.alice.call("GET", f"/volumes/{theirs.volume}").status_code == 200
    assert "applied" in a_ward.alice.call("GET", f"/sessions/{theirs.session}").json()


def test_what_is_computed_from_equal_voxels_is_not_shared(a_ward: Ward) -> None:
    theirs, own = (work(who, 1) for who in (a_ward.alice, a_ward.bob))
    sessions = a_ward.here.worker.sessions
    keys = {served._volume.key for served in sessions._loaded.values()}
    assert theirs.volume == own.volume
    assert len(keys) == 2
    assert theirs.volume not in keys


def test_the_grid_of_anothers_file_is_not_known(a_ward: Ward, tmp_path: Path) -> None:
    voxels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    names = []
    for who, spacing in ((a_ward.alice, (2.0, 1.0, 1.0)), (a_ward.bob, (2.0, 1.0, 1.0))):
        file = tmp_path / "a.nrrd"
        grid = Geometry.regular(voxels.shape, spacing)
        write_slabs(file, iter([voxels]), voxels.dtype, grid)
        answer = who.call("POST", "/volumes?filename=a.nrrd", data=file.read_bytes())
        assert answer.status_code == 201
        names.append(answer.json())
    assert names[0] == names[1]
    a_ward.bob.call("DELETE", f"/volumes/{names[1]['id']}")
    body = {"volume": names[0]["id"], "geometry": names[0]["geometry"]}
    assert [who.call("POST", "/sessions", json=body).status_code for who in (a_ward.alice, a_ward.bob)] == [201, 404]


def test_each_may_use_the_same_session_id(a_ward: Ward) -> None:
    theirs = work(a_ward.alice, 1)
    own = work(a_ward.bob, 9)
    answer = a_ward.bob.call("POST", "/sessions", json={"volume": own.volume, "id": theirs.session})
    assert (answer.status_code, answer.json()["id"], answer.json()["applied"]) == (201, theirs.session, 0)
    assert a_ward.alice.call("GET", f"/sessions/{theirs.session}").json()["applied"] == 1


def test_each_lists_their_own_sessions(a_ward: Ward) -> None:
    theirs, own = work(a_ward.alice, 1), work(a_ward.bob, 1)
    for who, things in ((a_ward.alice, theirs), (a_ward.bob, own)):
        listed = who.call("GET", "/sessions").json()["sessions"]
        assert [(each["id"], each["volume"]) for each in listed] == [(things.session, things.volume)]
    assert a_ward.chief.call("GET", "/sessions").json() == a_ward.shared.call("GET", "/sessions").json()
    assert a_ward.chief.call("GET", "/sessions").json()["sessions"] == []


def test_counts_are_for_administrators(a_ward: Ward) -> None:
    work(a_ward.alice, 1)
    refused = a_ward.bob.call("GET", "/metrics")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    for who in (a_ward.chief, a_ward.shared):
        text = who.call("GET", "/metrics").text
        assert 'memseg3d_rounds_total{status="closed"} 1.0' in text
        assert "alice" not in text


def test_a_restart_keeps_what_is_whose(serve_here: ServeHere, tmp_path: Path) -> None:
    ward = Ward.of(serve_here, tmp_path)
    theirs, shared = work(ward.alice, 1), work(ward.shared, 4)
    before = [state(ward.alice, theirs), state(ward.shared, shared)]
    ward.here.stop()
    here = serve_here(tokens=ward.tokens.path)
    alice, bob, all_others = (Caller(here.url, who.token) for who in (ward.alice, ward.bob, ward.shared))
    assert [state(alice, theirs), state(all_others, shared)] == before
    for ids in (theirs, shared):
        assert bob.call("GET", f"/sessions/{ids.session}").status_code == 404
        assert bob.call("GET", f"/volumes/{ids.volume}").status_code == 404
    assert all_others.call("GET", f"/sessions/{theirs.session}").status_code == 404


def tokens_command(file: Path, *words: str) -> str:
    done = CliRunner().invoke(tokens_app, [*words, "--tokens", str(file)])
    return done.output.strip()


def test_a_file_of_tokens_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in tokens_command(tmp_path / "file" / "tokens.json", "add", "dan")
    assert "does not exist" in tokens_command(tmp_path / "nothing.json", "list")


def test_a_huge_file_is_no_file_of_tokens_and_nobodys_token_leaves_nothing(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(1 << 25)
    told = CliRunner().invoke(tokens_app, ["list", "--tokens", str(huge)])
    assert (told.exit_code, "too large" in told.output) == (2, True), told.output
    assert (
        CliRunner().invoke(tokens_app, ["revoke", "anna", "--tokens", str(tmp_path / "new" / "t.json")]).exit_code == 2
    )
    assert list(tmp_path.iterdir()) == [huge]


def test_tokens_come_and_go_while_the_worker_runs(a_ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = a_ward.tokens.path
    first = tokens_command(file, "add", "dan").split()[-1]
    assert first not in file.read_text("utf-8")
    dan = Caller(a_ward.here.url, first)
    theirs = work(dan, 1)
    assert "dan has a token" in tokens_command(file, "add", "dan")
    assert "dan" in tokens_command(file, "revoke", "dan")
    refused = dan.call("GET", "/info")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "token_ended")
    assert "revoked" in refused.json()["error"]["message"]
    second = tokens_command(file, "add", "dan", "--role", "administrator").split()[-1]
    again = Caller(a_ward.here.url, second)
    assert again.call("GET", f"/sessions/{theirs.session}").json()["applied"] == 1
    assert again.call("GET", "/metrics").status_code == 200
    listed = [line for line in tokens_command(file, "list").splitlines() if line.startswith("dan")]
    assert ["revoked" in line for line in listed] == [True, False]
    assert "administrator" in listed[1]
    assert "Nobody called eve" in tokens_command(file, "revoke", "eve")
    assert "no name" in tokens_command(file, "add", "eve/../x")
    told = "\n".join(each.getMessage() for each in caplog.records if each.name.startswith("memseg3d"))
    assert "POST /v1/sessions 201" in told
    assert not any(secret in told for secret in (first, second, theirs.session, theirs.volume, "dan"))


@pytest.mark.parametrize("content", ["", "[]", '{"tokens": [{"name": "a"}]}', None], ids=["", "list", "half", "none"])
def test_a_file_of_tokens_that_cannot_be_read_lets_nobody_in(a_ward: Ward, content: str | None) -> None:
    assert a_ward.alice.call("GET", "/info").status_code == 200
    if content is None:
        a_ward.tokens.path.unlink()
    else:
        a_ward.tokens.path.write_text(content, "utf-8")
    assert a_ward.alice.call("GET", "/info").status_code == 401
    assert a_ward.shared.call("GET", "/info").status_code == 200


def test_ids_of_nobody_are_in_the_right_form() -> None:
    """What the table compares with must not be refused for its form."""
    ids: Things = nobodys()
    assert (len(ids.volume), len(ids.session)) == (64, 36)
    assert json.dumps(ids.geometry)
