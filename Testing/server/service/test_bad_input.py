"""Bad requests: each has its code and a sentence that says what to do, and a good round works right after it."""

from __future__ import annotations

import base64
import json
import uuid
import zlib
from typing import Any

import numpy as np
import pytest

from .conftest import WorkerProcess

Words = dict[str, Any]


@pytest.fixture(scope="module")
def a_session(a_worker: WorkerProcess, a_volume: np.ndarray) -> str:
    """One session that all bad rounds of this file are sent to."""
    return a_worker.open_session(a_worker.upload(a_volume))


def bits(mask: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()


POINT = {"type": "point", "object": 1, "position": [10, 12, 12]}
BOX = {"type": "box", "object": 1, "axis": 0, "lower": [10, 6, 6], "upper": [10, 18, 18]}
MASK = {
    "type": "mask",
    "object": 1,
    "axis": 0,
    "extent": [[10, 11], [0, 8], [0, 8]],
    "bits": bits(np.ones((8, 8), bool)),
}

BOX3D = {**BOX, "type": "box3d", "lower": [8, 6, 6], "upper": [12, 18, 18]}
LINE = [[10, 6, 6], [10, 18, 6], [10, 12, 18]]
SCRIBBLE = {"type": "scribble", "object": 1, "axis": 0, "points": LINE, "radii": [1, 1.5, 1.5]}
LASSO = {"type": "lasso", "object": 1, "axis": 0, "points": LINE}
EDGES = [[10, 6, 12], [10, 18, 12], [10, 12, 6], [10, 12, 18]]
EXTREMES = {"type": "extreme_points", "object": 1, "axis": 0, "points": EDGES}
VOXELS = {**MASK, "type": "voxels", "extent": [[9, 12], [4, 8], [4, 8]], "bits": bits(np.ones((3, 4, 4), bool))}
NOTHING = {**MASK, "bits": bits(np.zeros((8, 8), bool))}
GOOD = {
    "mask": MASK,
    "box3d": BOX3D,
    "scribble": SCRIBBLE,
    "stroke on another view": {**SCRIBBLE, "axis": 2, "points": [[4, 10, 12], [15, 14, 12]]},
    "lasso": LASSO,
    "negative lasso": {**LASSO, "positive": False},
    "extreme_points": EXTREMES,
    "extreme_points in space": {**EXTREMES, "points": [*EDGES, [6, 12, 12], [15, 12, 12]]},
    "voxels": VOXELS,
    "negative voxels": {**VOXELS, "positive": False},
    "empty mask": {**NOTHING, "extent": [[15, 16], [0, 8], [0, 8]]},
    "line that leaves the volume": {**LASSO, "points": [[10, -90, 6], [10, 18, 6], [10, 12, 180]]},
}

BAD_PROMPTS = {
    "point outside": ({**POINT, "position": [10, 12, 44.6]}, 422, "outside"),
    "point of two numbers": ({**POINT, "position": [10, 12]}, 400, "position"),
    "negative point alone": ({**POINT, "object": 77, "positive": False}, 422, "positive"),
    "box outside": ({**BOX, "upper": [10, 18, 50]}, 422, "outside"),
    "box of no area": ({**BOX, "upper": [10, 18, 6]}, 422, "no area"),
    "box over several slices": ({**BOX, "upper": [12, 18, 18]}, 422, "one slice"),
    "box upside down": ({**BOX, "lower": [10, 18, 18], "upper": [10, 6, 6]}, 422, "area"),
    "mask outside": ({**MASK, "extent": [[10, 11], [36, 44], [0, 8]]}, 422, "extent"),
    "mask of two slices": ({**MASK, "extent": [[10, 12], [0, 8], [0, 8]]}, 422, "one slice"),
    "mask with too few bits": ({**MASK, "extent": [[10, 11], [0, 20], [0, 20]]}, 422, "fill"),
    "mask that is empty, of nothing": ({**MASK, "object": 78, "bits": bits(np.zeros((8, 8), bool))}, 422, "positive"),
    "mask of damaged bits": ({**MASK, "bits": "AAAA"}, 422, "zlib"),
    "mask of no base64": ({**MASK, "bits": "***"}, 422, "mask"),
    "box in space outside": ({**BOX3D, "upper": [20, 18, 18]}, 422, "outside"),
    "box in space upside down": ({**BOX3D, "lower": [13, 6, 6]}, 422, "ends before it begins"),
    "box in space of no area": ({**BOX3D, "upper": [12, 18, 6]}, 422, "no area"),
    "stroke over several slices": ({**SCRIBBLE, "points": [[10, 6, 6], [12, 6, 6]]}, 422, "one slice"),
    "stroke of no points": ({**SCRIBBLE, "points": []}, 400, "points"),
    "stroke of too many points": ({**SCRIBBLE, "points": LINE * 1400}, 400, "points"),
    "stroke of negative width": ({**SCRIBBLE, "radii": [1, -1, 1]}, 422, "radii"),
    "stroke without a width": ({"type": "scribble", "object": 1, "axis": 0, "points": LINE}, 400, "radii"),
    "stroke outside": ({**SCRIBBLE, "points": [[10, 90, 90]]}, 422, "covers no voxel"),
    "stroke on no slice": ({**SCRIBBLE, "points": [[99, 9, 9]]}, 422, "outside"),
    "stroke far away": ({**SCRIBBLE, "points": [[10, 1e9, 9]]}, 422, "near the volume"),
    "negative stroke alone": ({**SCRIBBLE, "object": 77, "positive": False}, 422, "positive"),
    "lasso of two points": ({**LASSO, "points": LINE[:2]}, 422, "3 to 4000"),
    "lasso of no area": ({**LASSO, "points": [[10, 6, 6], [10, 9, 6], [10, 7, 6]]}, 422, "covers no voxel"),
    "extreme points, three": ({**EXTREMES, "points": EDGES[:3]}, 400, "points"),
    "extreme points on a line": ({**EXTREMES, "points": [[10, 6, c] for c in (1, 2, 3, 4)]}, 422, "no area"),
    "extreme points nowhere": ({**EXTREMES, "points": [[c, 6, c] for c in (1, 2, 3, 4)]}, 422, "on one slice"),
    "extreme points, two below": (
        {**EXTREMES, "points": [*EDGES, [6, 12, 12], [7, 12, 12]]},
        422,
        "same side",
    ),
    "voxels outside": ({**VOXELS, "extent": [[19, 22], [4, 8], [4, 8]]}, 422, "extent"),
    "voxels without a bit": ({**VOXELS, "bits": bits(np.zeros((3, 4, 4), bool))}, 422, "covers no voxel"),
    "voxels with too few bits": ({**VOXELS, "extent": [[2, 12], [4, 18], [4, 18]]}, 422, "fill"),
    "unknown type": ({**POINT, "type": "spray"}, 400, "type"),
    "unknown field": ({**POINT, "colour": "red"}, 400, "colour"),
    "object zero": ({**POINT, "object": 0}, 400, "object"),
    "object with a name": ({**POINT, "object": "liver"}, 400, "object"),
    "axis three": ({**BOX, "axis": 3}, 400, "axis"),
}


@pytest.mark.parametrize("case", BAD_PROMPTS)
def test_a_bad_prompt_is_told_and_the_next_good_round_works(a_worker: WorkerProcess, a_session: str, case: str) -> None:
    prompt, expected, words = BAD_PROMPTS[case]
    body = {"id": str(uuid.uuid4()), "prompts": [prompt]}
    status, code, message = a_worker.refusal("POST", f"/sessions/{a_session}/rounds", json=body)
    assert (status, code) == (expected, "bad_prompt" if expected == 422 else "bad_request")
    assert words in message
    assert a_worker.run(a_session, [BOX])[-1]["status"] == "closed"
    a_worker.answer("POST", f"/sessions/{a_session}/undo")


@pytest.mark.parametrize("case", GOOD)
def test_a_good_prompt_is_taken(a_worker: WorkerProcess, a_session: str, case: str) -> None:
    state = a_worker.answer("GET", f"/sessions/{a_session}")
    box = [] if state["objects"] else [BOX]
    assert a_worker.run(a_session, [*box, GOOD[case]])[-1]["status"] == "closed"
    a_worker.answer("POST", f"/sessions/{a_session}/undo")


LIMITS = {"axis": 0, "first": 8, "last": 12}
BAD_LIMITS = {
    "first beyond last": ({"1": {**LIMITS, "first": 13}}, 422, "swap them"),
    "outside the volume": ({"1": {**LIMITS, "last": 20}}, 422, "20 slices"),
    "a prompt beyond them": ({"1": {**LIMITS, "last": 9}}, 422, "widen the limits"),
    "no axis": ({"1": {"first": 1, "last": 2}}, 400, "axis"),
    "negative": ({"1": {**LIMITS, "first": -1}}, 400, "first"),
    "an object with a name": ({"liver": LIMITS}, 400, "limits"),
    "an unknown word": ({"1": {**LIMITS, "step": 2}}, 400, "step"),
    "a fraction": ({"1": {**LIMITS, "first": 8.5}}, 400, "first"),
    "a list": ([LIMITS], 400, "limits"),
}


@pytest.mark.parametrize("case", BAD_LIMITS)
def test_bad_limits_are_told(a_worker: WorkerProcess, a_session: str, case: str) -> None:
    limits, expected, words = BAD_LIMITS[case]
    body = {"id": str(uuid.uuid4()), "prompts": [BOX], "limits": limits}
    status, code, message = a_worker.refusal("POST", f"/sessions/{a_session}/rounds", json=body)
    assert (status, code) == (expected, "bad_prompt" if expected == 422 else "bad_request")
    assert words in message


def test_limits_bound_the_slices_that_are_sent(a_worker: WorkerProcess, a_session: str) -> None:
    body = {"id": str(uuid.uuid4()), "prompts": [{**BOX, "object": 5}], "limits": {"5": LIMITS}}
    response = a_worker.call("POST", f"/sessions/{a_session}/rounds", json=body)
    lines = list(a_worker.lines(response))
    assert {line["index"] for line in lines if line["type"] == "slice"} == {8, 9, 10, 11, 12}
    assert lines[-1]["status"] == "closed"


@pytest.mark.parametrize("body", ["{", "", "[]", '{"prompts": []}', '{"id": "first", "prompts": []}', '"a"', "NaN"])
def test_a_body_that_is_no_round_is_refused(a_worker: WorkerProcess, a_session: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    status, code, _ = a_worker.refusal("POST", f"/sessions/{a_session}/rounds", data=body, headers=headers)
    assert (status, code) == (400, "bad_request")


def test_numbers_that_are_none_are_refused(a_worker: WorkerProcess, a_session: str) -> None:
    body = json.dumps({"id": str(uuid.uuid4()), "prompts": [{**POINT, "position": [float("nan"), 1, float("inf")]}]})
    headers = {"Content-Type": "application/json"}
    refusal = a_worker.refusal("POST", f"/sessions/{a_session}/rounds", data=body, headers=headers)
    assert refusal[:2] == (400, "bad_request")


def test_a_round_without_prompts_is_refused(a_worker: WorkerProcess, a_session: str) -> None:
    body = {"id": str(uuid.uuid4()), "prompts": []}
    assert a_worker.refusal("POST", f"/sessions/{a_session}/rounds", json=body)[:2] == (422, "bad_prompt")


def test_a_refused_round_may_be_sent_again_under_its_id(a_worker: WorkerProcess, a_session: str) -> None:
    name = str(uuid.uuid4())
    body = {"id": name, "prompts": [{**POINT, "position": [10, 12, 99]}]}
    assert a_worker.refusal("POST", f"/sessions/{a_session}/rounds", json=body)[1] == "bad_prompt"
    assert a_worker.run(a_session, [BOX], name)[-1]["status"] == "closed"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"windw": [0, 1]}, "windw"),
        ({"axis": 5}, "axis"),
        ({"region": "half"}, "region"),
        ({"window": [5, 5]}, "window"),
        ({"first": 9, "last": 3}, "first"),
        ({"first": -1}, "first"),
        ({"memory": "fifo"}, "self_sorting"),
    ],
)
def test_bad_options_are_refused(a_worker: WorkerProcess, a_volume: np.ndarray, options: Words, words: str) -> None:
    body = {"volume": a_worker.upload(a_volume), "options": options}
    status, code, message = a_worker.refusal("POST", "/sessions", json=body)
    assert (status, code) == (400, "bad_request")
    assert words in message


def test_what_is_not_there_is_told(a_worker: WorkerProcess, a_session: str) -> None:
    other = str(uuid.uuid4())
    body = {"id": other, "prompts": [POINT]}
    assert a_worker.refusal("POST", "/sessions", json={"volume": "0" * 64})[:2] == (404, "unknown_volume")
    for method, path in [
        ("GET", f"/sessions/{other}"),
        ("GET", "/sessions/not-an-id"),
        ("DELETE", f"/sessions/{other}"),
        ("POST", f"/sessions/{other}/undo"),
        ("GET", f"/sessions/{other}/labelmap"),
        ("GET", f"/sessions/{other}/rounds/{other}/events"),
    ]:
        assert a_worker.refusal(method, path)[:2] == (404, "unknown_session"), path
    assert a_worker.refusal("POST", f"/sessions/{other}/rounds", json=body)[:2] == (404, "unknown_session")
    for method, path in [("GET", "events"), ("POST", "cancel")]:
        refusal = a_worker.refusal(method, f"/sessions/{a_session}/rounds/{other}/{path}")
        assert refusal[:2] == (404, "unknown_round")
    assert a_worker.refusal("GET", "/nowhere")[:2] == (404, "not_found")
    assert a_worker.refusal("DELETE", "/info")[:2] == (405, "method_not_allowed")


def test_an_object_that_was_never_prompted_is_an_empty_labelmap(
    a_worker: WorkerProcess, a_session: str, a_volume: np.ndarray
) -> None:
    assert not a_worker.mask(a_session, a_volume.shape, 4321).any()


def test_an_unknown_format_is_refused(a_worker: WorkerProcess, a_session: str) -> None:
    refusal = a_worker.refusal("GET", f"/sessions/{a_session}/labelmap", params={"format": "mha"})
    assert refusal[:2] == (400, "bad_request")


def test_words_beyond_the_limit_are_refused(a_worker: WorkerProcess, a_session: str) -> None:
    path = f"/sessions/{a_session}/rounds"
    many = {"id": str(uuid.uuid4()), "prompts": [POINT] * 1001}
    assert a_worker.refusal("POST", path, json=many)[:2] == (413, "too_large")
    # Announced and not announced: the body itself is counted as well.
    length = (64 << 20) + 1
    assert a_worker.refusal("POST", path, data=b" " * length)[:2] == (413, "too_large")
