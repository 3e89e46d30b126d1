"""What one user may have and do, what administrators see of it, and what is written down of whom."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memseg3d.files import Geometry, write_slabs
from memseg3d.service.settings import AuditSettings, UserLimits
from memseg3d.service.users.account import Account
from memseg3d.service.users.audit import AuditLog
from memseg3d.service.users.token_file import TokenFile
from Testing.audits.users import BOX, Caller, phantom, work

from .conftest import WorkerHere

ServeHere = Callable[..., WorkerHere]


@pytest.fixture
def a_ward(serve_here: ServeHere, tmp_path: Path) -> Callable[..., tuple[WorkerHere, Caller, Caller, Caller]]:
    """A worker with these limits; alice, bob and an administrator of it."""

    def start(**limits: Any) -> tuple[WorkerHere, Caller, Caller, Caller]:
        tokens = TokenFile(tmp_path / "tokens.json")
        made = tokens.add("alice", "user"), tokens.add("bob", "user"), tokens.add("chief", "administrator")
        here = serve_here(
            tokens=tokens.path,
            user_limits=UserLimits(**limits),
            audit=AuditSettings(tmp_path / "audit" / "audit.log"),
        )
        return here, *(Caller(here.url, token) for token in made)  # type: ignore[return-value]

    return start


Ward = Callable[..., tuple[WorkerHere, Caller, Caller, Caller]]


def refused(answer: Any) -> tuple[int, str, str | None]:
    return answer.status_code, answer.json()["error"]["code"], answer.headers.get("Retry-After")


def test_bytes_are_a_users_own_and_count_what_is_coming(a_ward: Ward, tmp_path: Path) -> None:
    _, alice, bob, chief = a_ward(bytes=100_000)
    assert alice.put(phantom(1)).status_code == 201
    assert refused(alice.put(phantom(2))) == (413, "over_quota", "3600")
    assert "0.00 of your 0.00 GiB" in alice.put(phantom(2)).text
    # The same content again costs nothing, another user and an administrator have room of their own.
    assert [who.put(phantom(seed)).status_code for who, seed in ((alice, 1), (bob, 1), (chief, 1), (chief, 2))] == [
        200,
        201,
        201,
        201,
    ]
    file = tmp_path / "a.nrrd"
    voxels = np.random.default_rng(0).integers(0, 255, (10, 100, 90)).astype(np.uint8)
    write_slabs(file, iter(voxels[:, None]), voxels.dtype, Geometry.regular(voxels.shape, (1.0, 1.0, 1.0)))
    answer = alice.call("POST", "/volumes?filename=a.nrrd", data=file.read_bytes())
    assert refused(answer)[:2] == (413, "over_quota")
    used = alice.call("GET", "/usage").json()
    assert (used["volumes"], used["limits"]["bytes"], used["users"]) == (1, 100_000, None)
    assert 70_400 < used["bytes"] < 100_000
    alice.call("DELETE", f"/volumes/{json.loads(alice.put(phantom(1)).text)['id']}").raise_for_status()
    assert alice.put(phantom(2)).status_code == 201


def test_sessions_and_rounds_a_minute_are_counted_for_each(a_ward: Ward) -> None:
    _, alice, bob, chief = a_ward(sessions=1, rounds_per_minute=2)
    things = work(alice, 1)
    body = {"volume": things.volume}
    assert refused(alice.call("POST", "/sessions", json=body)) == (429, "too_many", "3600")
    assert alice.call("POST", "/sessions", json={**body, "id": things.session}).status_code == 200
    path = f"/sessions/{things.session}/rounds"
    names = [str(uuid.uuid4()) for _ in range(2)]
    assert alice.call("POST", path, json={"id": names[0], "prompts": [BOX]}).status_code == 200
    answer = alice.call("POST", path, json={"id": names[1], "prompts": [BOX]})
    status, code, wait = refused(answer)
    assert (status, code) == (429, "too_many")
    assert 1 <= int(wait or 0) <= 60
    assert f"wait {wait} seconds" in answer.json()["error"]["message"]
    # A round that has begun before is no new one.
    assert alice.call("POST", path, json={"id": names[0], "prompts": [BOX]}).status_code == 200
    assert work(bob, 1).volume == things.volume
    for seed in (1, 2, 3):
        work(chief, seed)
    alice.call("DELETE", f"/sessions/{things.session}").raise_for_status()
    assert alice.call("POST", "/sessions", json=body).status_code == 201


def test_what_is_stored_too_long_goes_also_where_it_is_used(a_ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    here, alice, _, _ = a_ward(stored_days=2)
    theirs, shared = work(alice, 1), work(Caller(here.url, str(here.http.headers["Authorization"])[7:]), 2)
    now = here.worker.clock.now
    monkeypatch.setattr(here.worker.clock, "now", lambda: now() + 2.1 * 86400)
    for path in (f"/sessions/{theirs.session}", f"/volumes/{theirs.volume}"):
        assert alice.call("GET", path).status_code == 200
    assert here.call("GET", f"/sessions/{shared.session}").status_code == 200
    here.worker.sweep()
    assert alice.call("GET", f"/sessions/{theirs.session}").status_code == 404
    assert alice.call("GET", f"/volumes/{theirs.volume}").status_code == 404
    assert here.call("GET", f"/sessions/{shared.session}").status_code == 200


def test_administrators_see_counts_and_no_contents(a_ward: Ward) -> None:
    _, alice, bob, chief = a_ward()
    theirs = work(alice, 1)
    bob.put(phantom(1))
    answer = chief.call("GET", "/usage")
    users = {each["user"]: each for each in answer.json()["users"]}
    assert {name: (each["volumes"], each["sessions"]) for name, each in users.items()} == {
        "alice": (1, 1),
        "bob": (1, 0),
    }
    assert users["alice"]["bytes"] > users["bob"]["bytes"] > 70_000
    assert not any(word in answer.text for word in (theirs.session, theirs.volume, theirs.round))


def test_the_audit_log_tells_who_did_what_and_no_more(a_ward: Ward, tmp_path: Path) -> None:
    here, alice, bob, _ = a_ward()
    theirs = work(alice, 1)
    bob.call("DELETE", f"/sessions/{theirs.session}")
    Caller(here.url, "no-token-of-anybody").call("GET", "/info")
    here.call("GET", "/health")
    text = (tmp_path / "audit" / "audit.log").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    told = [(line["user"], line["request"], line["status"], line["result"]) for line in lines]
    assert told == [
        ("alice", "PUT /v1/volumes/{volume_id}", 201, "done"),
        ("alice", "POST /v1/sessions", 201, "done"),
        ("alice", "POST /v1/sessions/{session_id}/rounds", 200, "done"),
        ("bob", "DELETE /v1/sessions/{session_id}", 404, "refused"),
        (None, "GET -", 401, "refused"),
    ]
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    assert not any(word in text for word in (theirs.session, theirs.volume, theirs.round, "no-token"))


def test_the_audit_log_is_turned_by_size_and_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "audit.log"
    audit = AuditLog(file, 1000, 3)
    for _ in range(40):
        audit.write(Account("token:alice", "alice"), "10.0.0.1", "GET /v1/info", 200)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.log", "audit.log.1", "audit.log.2"]
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    audit.close()
    with caplog.at_level(logging.ERROR):
        bad = AuditLog(file, 1000, 3)
        bad._handler.stream.close()
        for _ in range(3):
            bad.write(None, "10.0.0.1", "GET /v1/info", 401)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["the audit log cannot be written"]
