"""The worker against its own OpenAPI description: generated requests, and never an answer that it does not list."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from memseg3d.service.protocol import RoundRequest

from .conftest import TOKEN, WorkerProcess

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
BOUNDED = settings(
    max_examples=20,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def probe(worker: WorkerProcess, operation: Any, mode: GenerationMode, known: dict[str, Any] | None = None) -> None:
    """Send generated requests to one operation, with known ids in its address, and check every answer."""

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=known))
    def send(case: Case) -> None:
        case.call_and_validate(base_url=worker.url, headers=HEADERS, checks=CHECKS, timeout=30)

    send()


@pytest.fixture(scope="module")
def the_operations(a_worker: WorkerProcess) -> dict[str, Any]:
    """Every operation of the worker's OpenAPI by method and path."""
    schema = schemathesis.openapi.from_url(f"{a_worker.url}/v1/openapi.json", headers=HEADERS)
    found = [operation.ok() for operation in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_every_address_of_the_protocol_is_described(the_operations: dict[str, Any]) -> None:
    session = "/v1/sessions/{session_id}"
    assert set(the_operations) == {
        "GET /v1/health",
        "GET /v1/ready",
        "GET /v1/info",
        "GET /v1/usage",
        "GET /v1/metrics",
        "PUT /v1/volumes/{volume_id}",
        "POST /v1/volumes",
        "GET /v1/volumes/{volume_id}",
        "DELETE /v1/volumes/{volume_id}",
        "POST /v1/sessions",
        "GET /v1/sessions",
        f"GET {session}",
        f"DELETE {session}",
        f"POST {session}/hints",
        f"POST {session}/undo",
        f"POST {session}/redo",
        f"GET {session}/labelmap",
        f"POST {session}/rounds",
        f"GET {session}/rounds/{{round_id}}/events",
        f"POST {session}/rounds/{{round_id}}/cancel",
    }


def test_no_generated_request_gets_an_answer_that_is_not_listed(
    a_worker: WorkerProcess, the_operations: dict[str, Any]
) -> None:
    for operation in the_operations.values():
        probe(a_worker, operation, GenerationMode.POSITIVE)


def test_nor_does_any_request_to_a_real_session(
    a_worker: WorkerProcess, the_operations: dict[str, Any], a_volume: np.ndarray, a_box: dict[str, Any]
) -> None:
    session, name = a_worker.open_session(a_worker.upload(a_volume)), str(uuid.uuid4())
    a_worker.run(session, [a_box], name)
    known = {"session_id": session, "round_id": name}
    for path, operation in the_operations.items():
        if "{session_id}" in path and not path.startswith("DELETE"):
            used = {part: value for part, value in known.items() if f"{{{part}}}" in path}
            probe(a_worker, operation, GenerationMode.POSITIVE, used)
    for path in ("/rounds", "/labelmap"):
        operation = next(operation for name, operation in the_operations.items() if name.endswith(path))
        probe(a_worker, operation, GenerationMode.NEGATIVE, {"session_id": session})
    assert a_worker.run(session, [{**a_box, "object": 9}])[-1]["status"] == "closed"


def test_bounds_of_whole_numbers_are_described() -> None:
    words = RoundRequest.model_json_schema()
    numbers = words["properties"]["full"]["items"]
    assert (numbers["minimum"], numbers["maximum"]) == (1, 65535)
    assert '"ge"' not in json.dumps(words)
