"""Prompts: what is refused and with which sentence, their JSON, their sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memseg3d.propagation.prompts.as_json import prompt_from_json, prompt_to_json
from memseg3d.propagation.prompts.checks import check_prompt
from memseg3d.propagation.prompts.prompts import (
    BoxPrompt,
    MaskPrompt,
    Point3,
    PointPrompt,
    Prompt,
    PromptError,
)
from memseg3d.propagation.prompts.sets import by_slice, propagation_axis, updated_set, with_ids

SHAPE = (10, 20, 30)
MASK = np.zeros((20, 30), bool)
MASK[4:9, 5:17] = True
POINT = {"type": "point", "object": 1, "position": [1, 2, 3]}


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (PointPrompt(1, (10.0, 5.0, 5.0)), "outside"),
        (PointPrompt(1, (-0.6, 5.0, 5.0)), "outside"),
        (PointPrompt(1, (float("nan"), 5.0, 5.0)), "finite"),
        (PointPrompt(1, (1.0, 2.0)), "three finite"),  # type: ignore[arg-type]
        (PointPrompt(0, (1.0, 2.0, 3.0)), "positive whole"),
        (PointPrompt(True, (1.0, 2.0, 3.0)), "positive whole"),
        (PointPrompt(1, (1.0, 2.0, 3.0), axis=3), "axis"),
        (BoxPrompt(1, 0, (2, 5, 5), (2, 5, 9)), "no area"),
        (BoxPrompt(1, 0, (2, 9, 5), (2, 5, 9)), "no area"),
        (BoxPrompt(1, 0, (2, 5, 5), (3, 9, 9)), "one slice"),
        (BoxPrompt(1, 0, (2, 5, 5), (2, 9, 30)), "outside"),
        (BoxPrompt(1, 1, (2, 5, 5), (2, 9, 9)), "one slice"),
        (MaskPrompt(1, 0, 10, MASK), "outside"),
        (MaskPrompt(1, 1, 2, MASK), "shape"),
        (MaskPrompt(1, 0, 2, MASK.astype(np.uint8)), "boolean"),
    ],
)
def test_a_bad_prompt_is_refused_with_a_sentence(prompt: Prompt, words: str) -> None:
    with pytest.raises(PromptError, match=words) as refused:
        check_prompt(prompt, SHAPE)
    assert refused.value.code == "bad_prompt"


@pytest.mark.parametrize("position", [(-0.5, -0.5, -0.5), (9.4, 19.4, 29.4), (0, 0, 0)])
def test_the_outermost_voxels_can_be_clicked(position: Point3) -> None:
    check_prompt(PointPrompt(1, position), SHAPE)
    ((index, _),) = by_slice([PointPrompt(1, position)], 0).items()
    assert index in (0, 9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_prompts_survive_their_json(axis: int) -> None:
    size = tuple(n for other, n in enumerate(SHAPE) if other != axis)
    mask = np.random.default_rng(axis).random(size) < 0.4
    lower, upper = [2.0, 3.0, 4.0], [5.0, 6.0, 7.0]
    upper[axis] = lower[axis]
    prompts: list[Prompt] = [
        PointPrompt(3, (1.25, 2.5, 3.75), False, axis, "p"),
        BoxPrompt(2, axis, (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])),
    ]
    for prompt in prompts:
        assert prompt_from_json(prompt_to_json(prompt), SHAPE) == prompt
    back = prompt_from_json(prompt_to_json(MaskPrompt(1, axis, 6, mask, "m")), SHAPE)
    assert isinstance(back, MaskPrompt)
    np.testing.assert_array_equal(back.mask, mask)
    assert (back.object, back.axis, back.index, back.id) == (1, axis, 6, "m")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "type"),
        ({"type": "spray"}, "spray"),
        ({"type": "point", "object": 1}, "position"),
        ({**POINT, "position": [1, 2]}, "cannot be read"),
        ({**POINT, "position": "here"}, "cannot be read"),
        ({**POINT, "position": None}, "cannot be read"),
        ({**POINT, "positive": "yes"}, "true or false"),
        ({**POINT, "id": 7}, "string"),
        ({**POINT, "object": "1"}, "whole numbers"),
        ({"type": "mask", "object": 1, "axis": 0, "extent": [[2, 3], [0, 4], [0, 4]], "bits": "AAAA"}, "bits"),
        ({"type": "mask", "object": 1, "axis": 0, "extent": [[2, 3], [0, 4], [0, 4]], "bits": "?"}, "cannot be read"),
        ({"type": "mask", "object": 1, "axis": 0, "extent": [[2, 4], [0, 4], [0, 4]], "bits": ""}, "one slice thick"),
        (
            {"type": "mask", "object": 1, "axis": 0, "extent": [[2, 3], [0, 4], [0, 99]], "bits": ""},
            "inside the volume",
        ),
        ({"type": "mask", "object": 1, "axis": 5, "extent": [[2, 3], [0, 4], [0, 4]], "bits": ""}, "axis"),
    ],
)
def test_json_that_is_no_prompt_is_refused_with_a_sentence(data: dict[str, Any], words: str) -> None:
    with pytest.raises(PromptError, match=words):
        prompt_from_json(data, SHAPE)


def test_a_set_gives_names_and_takes_prompts_away() -> None:
    first = updated_set({}, with_ids([PointPrompt(1, (1, 2, 3)), PointPrompt(1, (1, 2, 4), id="mine")], "r"), [], SHAPE)
    assert list(first) == ["r/0", "mine"]
    assert list(updated_set(first, [], ["r/0"], SHAPE)) == ["mine"]


@pytest.mark.parametrize(
    ("added", "removed", "words"),
    [
        ([], [], "no prompt"),
        ([], ["unknown"], "no prompt 'unknown'"),
        ([PointPrompt(1, (1, 2, 3), id="here")], [], "used twice"),
        ([PointPrompt(2, (1, 2, 3), False, id="new")], [], "negative points only"),
        ([], ["here"], "negative points only"),
        (
            [
                BoxPrompt(1, 0, (2, 2, 2), (2, 9, 9), "a"),
                BoxPrompt(1, 1, (2, 2, 2), (9, 2, 9), "b"),
            ],
            [],
            "two axes",
        ),
    ],
)
def test_a_round_that_makes_no_sense_is_refused(added: list[Prompt], removed: list[str], words: str) -> None:
    current: dict[str, Prompt] = {
        "here": PointPrompt(1, (1, 2, 3), id="here"),
        "there": PointPrompt(1, (1, 2, 9), False, id="there"),
    }
    with pytest.raises(PromptError, match=words):
        updated_set(current, added, removed, SHAPE)


def test_the_newest_drawing_decides_the_axis() -> None:
    points = [PointPrompt(1, (1, 2, 3), axis=2), PointPrompt(1, (1, 2, 3), axis=1)]
    assert propagation_axis(points, None) == 2
    assert propagation_axis(points, 0) == 0
    assert propagation_axis([*points, MaskPrompt(1, 0, 2, MASK), BoxPrompt(1, 1, (2, 2, 2), (9, 2, 9))], 0) == 1


def test_points_count_on_the_nearest_slice_of_any_axis() -> None:
    prompts: list[Prompt] = [
        PointPrompt(1, (1.6, 2.4, 3.5), axis=2),
        BoxPrompt(1, 0, (2, 2, 2), (2, 9, 9)),
        BoxPrompt(1, 1, (2, 2, 2), (9, 2, 9)),
    ]
    assert {index: len(each) for index, each in by_slice(prompts, 0).items()} == {2: 2}
    assert {index: len(each) for index, each in by_slice(prompts, 1).items()} == {2: 2}
    assert {index: len(each) for index, each in by_slice(prompts, 2).items()} == {4: 1}


def test_slices_that_show_the_object_come_before_those_that_deny_it() -> None:
    no, yes = PointPrompt(1, (2, 5, 5), False, id="no"), PointPrompt(1, (7, 5, 5), id="yes")
    absent = MaskPrompt(1, 0, 4, np.zeros((20, 30), bool), id="absent")
    assert list(by_slice([no, absent, yes], 0)) == [7, 2, 4]
