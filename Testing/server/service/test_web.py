"""TLS that takes up renewed files, headers on every answer, and the log as lines of JSON."""

from __future__ import annotations

import datetime
import json
import logging
import os
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from fastapi import FastAPI
from lib.certificates import Authority
from patience import wait_for

from memseg3d.service.server import Server, bind
from memseg3d.service.web.certificate import Certificate, Renewal
from memseg3d.service.web.headers import SecurityHeaders
from memseg3d.service.web.json_log import JsonLines

from .conftest import StartWorker, WorkerProcess


@pytest.fixture
def an_authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


@pytest.fixture
def files(an_authority: Authority, tmp_path: Path) -> Certificate:
    """A server's certificate where an administrator's tool keeps renewing it."""
    for fresh, name in zip(an_authority.issue(tmp_path, "127.0.0.1"), ("chain.pem", "key.pem"), strict=True):
        shutil.copy(fresh, tmp_path / name)
    return Certificate(tmp_path / "chain.pem", tmp_path / "key.pem")


@pytest.fixture
def a_server(files: Certificate) -> Iterator[tuple[Server, int]]:
    app = FastAPI()
    app.add_middleware(SecurityHeaders)
    listener = bind("127.0.0.1", 0)
    server = Server(app, listener, lambda: None, files)
    thread = threading.Thread(target=server.run_until_stopped)
    thread.start()
    wait_for(lambda: server.started)
    yield server, listener.getsockname()[1]
    server.stop()
    thread.join(30)


def serial(authority: Authority, port: int) -> str:
    """Of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=str(authority.file))
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        return str(connection.getpeercert()["serialNumber"])  # type: ignore[index]


def renew(authority: Authority, folder: Path, days: int) -> tuple[Path, Path]:
    return authority.issue(folder, "127.0.0.1", datetime.timedelta(days=-days))


def test_renewed_files_are_taken_up_and_half_of_them_waited_for(
    a_server: tuple[Server, int],
    an_authority: Authority,
    files: Certificate,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, port = a_server
    first = serial(an_authority, port)
    wait_for(lambda: server._renewal is not None)
    chain, key = renew(an_authority, tmp_path, 3)
    assert files.key is not None
    with caplog.at_level(logging.ERROR):
        # As a renewal is seen in the middle: the chain is new, the key is the old one.
        os.replace(chain, files.file)
        wait_for(lambda: "not renewed" in caplog.text, 90)
        assert serial(an_authority, port) == first
    os.replace(key, files.key)
    wait_for(lambda: serial(an_authority, port) != first, 90)
    assert caplog.text.count("not renewed") == 1


def test_files_that_go_or_are_no_certificate_leave_the_last_one(files: Certificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.file, files.key)
    renewal = Renewal(files, context)
    files.file.write_text("our certificate, ask Kim")
    renewal.look()
    files.file.unlink()
    renewal.look()


def test_every_answer_has_the_headers(
    a_server: tuple[Server, int], an_authority: Authority, a_worker: WorkerProcess
) -> None:
    _, port = a_server
    answers = [a_worker.call("GET", path) for path in ("/health", "/info", "/nowhere", "/sessions/x")]
    answers.append(requests.get(f"{a_worker.url}/v1/info", timeout=10))
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in answer.headers
    over_tls = requests.get(f"https://127.0.0.1:{port}/", verify=str(an_authority.file), timeout=10)
    assert over_tls.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_log_can_be_lines_of_json(start_worker: StartWorker, tmp_path: Path) -> None:
    config = tmp_path / "memseg3d.toml"
    config.write_text('log_format = "json"\n[audit]\nlog = "audit.log"\n', "utf-8")
    worker = start_worker(tmp_path / "data", "--config", config)
    worker.answer("GET", "/info")
    # The line comes once the answer is out.
    wait_for(lambda: "GET /v1/info 200" in worker.log.read_text("utf-8"))
    lines = [json.loads(line) for line in worker.log.read_text("utf-8").splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert any(line["message"].startswith("GET /v1/info 200") for line in lines)
    assert json.loads((tmp_path / "audit.log").read_text("utf-8"))["user"] == "shared"
    try:
        raise ValueError("a reason")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it failed", None, sys.exc_info())
    assert "ValueError: a reason" in json.loads(JsonLines().format(record))["error"]
