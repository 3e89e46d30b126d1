"""`memseg3d sessions` against a worker over HTTP: listed, a running round ended, deleted; tokens stay off the line."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from memseg3d.cli.main import app

from .conftest import TOKEN, SlowNetwork, WorkerHere

Ask = Callable[..., Result]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`memseg3d sessions ...` at a worker, with its token in a file."""
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")

    def call(worker: WorkerHere, *arguments: str) -> Result:
        return CliRunner().invoke(
            app, ["sessions", *arguments, "--worker", worker.url, "--token", str(tmp_path / "token")]
        )

    return call


def test_sessions_are_listed_ended_and_deleted(
    ask: Ask,
    serve_here: Callable[..., WorkerHere],
    a_slow_network: SlowNetwork,
    a_long_volume: np.ndarray,
    a_volume: np.ndarray,
    a_box: dict[str, Any],
) -> None:
    worker = serve_here(a_slow_network)
    assert "no session" in ask(worker, "list").output
    large, small = worker.upload(a_long_volume), worker.upload(a_volume)
    idle, running, third = worker.open_session(small), worker.open_session(large), worker.open_session(large)
    name = str(uuid.uuid4())
    last: list[dict[str, Any]] = []
    with worker.begin(running, [a_box], name) as stream:
        lines = worker.lines(stream)
        assert next(lines)["type"] in ("progress", "slice")
        follower = threading.Thread(target=lambda: last.extend(lines))
        follower.start()
        listed = {one["id"]: one for one in json.loads(ask(worker, "list", "--json").output)}
        assert set(listed) == {idle, running, third}
        assert (listed[running]["running"], listed[running]["volume"]) == (name, large)
        assert listed[idle]["running"] is None
        shown = ask(worker, "list").output
        assert "computing" in shown
        assert large[:12] in shown

        ended = ask(worker, "end", running, idle)
        assert ended.exit_code == 0, ended.output
        assert f"{running}: its round has ended." in ended.output
        assert f"{idle}: nothing runs." in ended.output
        follower.join(10)
    assert last[-1]["status"] == "cancelled"
    assert worker.answer("GET", f"/sessions/{running}")["applied"] == 0

    assert ask(worker, "delete", idle[:8]).output == f"{idle}: deleted.\n"
    assert worker.refusal("GET", f"/sessions/{idle}")[1] == "unknown_session"
    assert worker.answer("GET", f"/volumes/{small}")
    assert ask(worker, "delete", running, "--volume").exit_code == 0
    assert worker.refusal("GET", f"/volumes/{large}")[1] == "unknown_volume"
    assert worker.answer("GET", "/sessions") == {"sessions": []}, "the other session on that volume is gone too"


def test_refusals_say_what_to_do(
    ask: Ask, serve_here: Callable[..., WorkerHere], a_volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = serve_here()
    session = worker.open_session(worker.upload(a_volume))
    unknown = ask(worker, "delete", session, "ffffffff-0000")
    assert unknown.exit_code == 2
    assert "no session ffffffff-0000" in unknown.output
    assert worker.answer("GET", f"/sessions/{session}"), "nothing is deleted where one of the names is wrong"
    listing = ["sessions", "list", "--worker", worker.url]
    refused = CliRunner().invoke(app, [*listing, "--token", TOKEN])
    assert refused.exit_code == 2
    assert "never written on a command line" in " ".join(refused.output.replace("│", " ").split())
    monkeypatch.delenv("MEMSEG3D_TOKEN", raising=False)
    assert (CliRunner().invoke(app, listing)).exit_code == 1
    monkeypatch.setenv("MEMSEG3D_TOKEN", TOKEN)
    assert session in CliRunner().invoke(app, [*listing, "--json"]).output
    assert "no worker at" in CliRunner().invoke(app, [*listing[:-1], "http://127.0.0.1:9"]).output
